# From predictions to scores and tables. Nothing here needs a GPU or trains anything.


# One job scores many predictions, since starting it takes longer than most scores. Those that it scored before, from
# the same files by the same code, it keeps; it leaves each prediction's scores.json and bootstrap.h5 beside it.
rule score:
    input:
        predictions=bundle_predictions,
        input=f"results/{PLACE}/input.h5",
        target=f"results/{PLACE}/target.h5",
        scoring=score_one_stamp,
        stamp=score_stamp,
    output:
        scores=f"results/{PLACE}/scored/{{bundle}}.json",
        bootstraps=f"results/{PLACE}/scored/{{bundle}}.h5",
    log:
        f"logs/score/{PLACE}/scored/{{bundle}}.log",
    benchmark:
        f"logs/score/{PLACE}/scored/{{bundle}}.benchmark.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        # for each prediction
        runtime=lambda wildcards, attempt: 20 * len(bundle(wildcards)) * attempt,
    params:
        digest=planned_digest,
        scoring=lambda wildcards, input: STAMPS.digests[STORE.name_of(input.scoring)],
    message:
        "Scoring on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase}), bundle {wildcards.bundle} of predictions"
    script:
        "../scripts/score.py"


# `snakemake results/.../scores.json` scores one prediction.
rule score_one:
    input:
        prediction=prediction_of,
        input=f"results/{PLACE}/input.h5",
        target=f"results/{PLACE}/target.h5",
        stamp=score_one_stamp,
    output:
        bootstrap=f"results/{PLACE}/{{model}}/{{seed}}/bootstrap.h5",
        scores=f"results/{PLACE}/{{model}}/{{seed}}/scores.json",
    log:
        f"logs/score/{PLACE}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/score/{PLACE}/{{model}}/{{seed}}.benchmark.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(20),
    params:
        digest=planned_digest,
    message:
        "Scoring {wildcards.model}, seed {wildcards.seed}, on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/score_one.py"


rule compare:
    input:
        scores=lambda w: SELECTION.bundle_files(place(w), "json"),
        bootstraps=lambda w: SELECTION.bundle_files(place(w), "h5"),
        predictions=compared_files("prediction.h5"),
        stamp=compare_stamp,
    output:
        comparison=f"results/{PLACE}/comparison.json",
    log:
        f"logs/compare/{PLACE}.log",
    benchmark:
        f"logs/compare/{PLACE}.benchmark.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        digest=planned_digest,
    message:
        "Comparing the models on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/compare.py"


rule tables:
    input:
        scores=SELECTION.scored_files(),
        comparisons=[at_place(place, "comparison.json") for place in SELECTION.scored_places()],
        datasets=[at_place(place, "dataset.json") for place in SELECTION.cut_places()],
        stamp=tables_stamp,
    output:
        scores="results/scores.csv",
        costs="results/costs.csv",
        neurons="results/neurons.csv",
        ranks="results/ranks.csv",
        differences="results/differences.csv",
        cross_decoding="results/cross_decoding.csv",
        consistency="results/consistency.csv",
        summaries="results/summaries.csv",
        notes="results/notes.csv",
    log:
        "logs/tables.log",
    benchmark:
        "logs/tables.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        digest=planned_digest,
    message:
        "Collecting all scores and costs"
    script:
        "../scripts/tables.py"


rule leaderboard:
    input:
        scores="results/scores.csv",
        ranks="results/ranks.csv",
        differences="results/differences.csv",
        notes="results/notes.csv",
        stamp=leaderboard_stamp,
    output:
        markdown="results/leaderboard.md",
    log:
        "logs/leaderboard.log",
    benchmark:
        "logs/leaderboard.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        digest=planned_digest,
    message:
        "Writing the leaderboards"
    script:
        "../scripts/leaderboard.py"


rule page:
    input:
        scores=SELECTION.scored_files(),
        ranks="results/ranks.csv",
        differences="results/differences.csv",
        consistency="results/consistency.csv",
        summaries="results/summaries.csv",
        notes="results/notes.csv",
        figures=[f"results/figures/{figure_name(kind, *place)}.png" for kind, place in page_figures(SELECTION)],
        stamp=page_stamp,
    output:
        html=report(
            "results/leaderboard.html",
            caption="../report/leaderboard.rst",
            category="Leaderboards",
            labels={"content": "all datasets"},
        ),
    log:
        "logs/page.log",
    benchmark:
        "logs/page.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Writing the leaderboard page"
    script:
        "../scripts/page.py"


rule leaderboard_json:
    input:
        scores=SELECTION.scored_files(),
        comparisons=[at_place(place, "comparison.json") for place in SELECTION.scored_places()],
        notes="results/notes.csv",
        stamp=leaderboard_json_stamp,
    output:
        json="results/leaderboard.json",
    log:
        "logs/leaderboard_json.log",
    benchmark:
        "logs/leaderboard_json.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Writing the leaderboards for programs"
    script:
        "../scripts/leaderboard_json.py"


rule boards:
    input:
        scores="results/scores.csv",
        ranks="results/ranks.csv",
        differences="results/differences.csv",
        notes="results/notes.csv",
        stamp=boards_stamp,
    output:
        **table_files(SELECTION.boards, ("csv", "parquet", "md", "tex")),
        **{
            name: report(f"results/tables/{name}", category="Tables", **place)
            for name, place in tables_in_report(SELECTION.boards).items()
        },
    log:
        "logs/boards.log",
    benchmark:
        "logs/boards.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Writing the tables"
    script:
        "../scripts/boards.py"


rule paper:
    input:
        tables=table_files(SELECTION.boards).values(),
        figures=[f"results/figures/{name}.pdf" for name in figure_names(SELECTION)],
        stamp=paper_stamp,
    output:
        folder=directory("results/paper"),
    log:
        "logs/paper.log",
    benchmark:
        "logs/paper.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Gathering tables and figures into a paper"
    script:
        "../scripts/paper.py"


# `snakemake crate` packs tables, leaderboards and config for an archive; no result depends on it.
rule crate:
    input:
        board="results/leaderboard.json",
        files=SELECTION.shown(),
        stamp=crate_stamp,
    output:
        crate="results/crate.zip",
    log:
        "logs/crate.log",
    benchmark:
        "logs/crate.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Packing the run for an archive"
    script:
        "../scripts/crate.py"
