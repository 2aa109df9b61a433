# Figures of the data, the scores, the predictions behind them, and the workflow. Nothing here trains anything.


# `snakemake figures` makes all of them.
rule figures:
    input:
        figure_files(SELECTION),


# One job draws them all, because starting Python for each would take longer than drawing.
rule plot_scores:
    input:
        scores="results/scores.csv",
        ranks="results/ranks.csv",
        neurons="results/neurons.csv",
        costs="results/costs.csv",
        differences="results/differences.csv",
        tensors=[at_place((d, *at), "input.h5") for _, *at, members in SELECTION.scored_families() for d in members],
        stamp=plot_scores_stamp,
    output:
        **{key: file for kind, place in score_figures(SELECTION) for key, file in drawn(kind, place).items()},
    log:
        "logs/plot_scores.log",
    benchmark:
        "logs/plot_scores.benchmark.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Drawing the scores"
    script:
        "../scripts/plot_scores.py"


rule plot_dataset:
    input:
        input=f"results/{PLACE}/input.h5",
        dataset=f"results/{PLACE}/dataset.json",
        stamp=plot_dataset_stamp,
    output:
        **drawn("dataset"),
    log:
        f"logs/plot_dataset/{PLACE}.log",
    benchmark:
        f"logs/plot_dataset/{PLACE}.benchmark.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Drawing the data of {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/plot_dataset.py"


rule plot_predictions:
    input:
        input=f"results/{PLACE}/input.h5",
        target=f"results/{PLACE}/target.h5",
        comparison=f"results/{PLACE}/comparison.json",
        predictions=compared_files("prediction.h5"),
        stamp=plot_stamp("plot_predictions"),
    output:
        **drawn("trials"),
        **drawn("psths"),
        **drawn("latents"),
    log:
        f"logs/plot_predictions/{PLACE}.log",
    benchmark:
        f"logs/plot_predictions/{PLACE}.benchmark.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Drawing the predictions on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/plot_predictions.py"


rule plot_speed:
    input:
        input=f"results/{PLACE}/input.h5",
        target=f"results/{PLACE}/target.h5",
        comparison=f"results/{PLACE}/comparison.json",
        predictions=compared_files("prediction.h5"),
        stamp=plot_stamp("plot_speed"),
    output:
        **drawn("speed"),
    log:
        f"logs/plot_speed/{PLACE}.log",
    benchmark:
        f"logs/plot_speed/{PLACE}.benchmark.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Drawing neural speed on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/plot_speed.py"


rule plot_learning:
    input:
        input=f"results/{PLACE}/input.h5",
        target=f"results/{PLACE}/target.h5",
        comparison=f"results/{PLACE}/comparison.json",
        predictions=compared_files("prediction.h5"),
        stamp=plot_stamp("plot_learning"),
    output:
        **drawn("learning"),
    log:
        f"logs/plot_learning/{PLACE}.log",
    benchmark:
        f"logs/plot_learning/{PLACE}.benchmark.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Drawing the learning curves on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/plot_learning.py"


rule plot_structure:
    input:
        input=f"results/{PLACE}/input.h5",
        target=f"results/{PLACE}/target.h5",
        comparison=f"results/{PLACE}/comparison.json",
        predictions=compared_files("prediction.h5"),
        stamp=plot_stamp("plot_structure"),
    output:
        **drawn("structure"),
    log:
        f"logs/plot_structure/{PLACE}.log",
    benchmark:
        f"logs/plot_structure/{PLACE}.benchmark.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Drawing what models show beyond rates on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/plot_structure.py"


rule plot_pipeline:
    input:
        stamp=plot_pipeline_stamp,
    output:
        **figure_outputs("pipeline", "pipeline", "pipeline", {"figure": FIGURE_TITLES["pipeline"]}),
    log:
        "logs/plot_pipeline.log",
    benchmark:
        "logs/plot_pipeline.benchmark.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=5,
    params:
        digest=planned_digest,
    message:
        "Drawing the pipeline"
    script:
        "../scripts/plot_pipeline.py"
