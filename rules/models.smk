# Models are checked against their contract on tiny data, then run.


rule check_model:
    input:
        stamp=check_stamp,
    output:
        report="results/checks/{model}.json",
    log:
        "logs/check_model/{model}.log",
    benchmark:
        "logs/check_model/{model}.benchmark.tsv"
    conda:
        model_environment
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        digest=planned_digest,
    message:
        "Checking the contract of model {wildcards.model}"
    script:
        "../scripts/check_model.py"


# The answers are not among the inputs, and the kernel keeps a model from opening them.
rule train:
    input:
        input=f"results/{PLACE}/input.h5",
        check="results/checks/{model}.json",
        best=best_of,
        stamp=model_stamp("train"),
    output:
        prediction=f"results/{PLACE}/{{model}}/{{seed}}/prediction.h5",
    log:
        f"logs/train/{PLACE}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/train/{PLACE}/{{model}}/{{seed}}.benchmark.tsv"
    wildcard_constraints:
        model=named("trained"),
    conda:
        model_environment
    threads: model_threads
    resources:
        mem_mb=growing_by_model("mem_mb", 4000),
        runtime=growing_by_model("runtime", 60),
        gpu=model_gpus,
    params:
        digest=planned_digest,
    message:
        "Training {wildcards.model}, seed {wildcards.seed}, on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/train.py"


# Scores one candidate by cross-validation on the training trials, from input.h5 alone.
rule tune:
    input:
        input=f"results/{PLACE}/input.h5",
        check="results/checks/{model}.json",
        stamp=tune_stamp,
    output:
        result=f"results/{PLACE}/{{model}}/tune/{{candidate}}.json",
    log:
        f"logs/tune/{PLACE}/{{model}}/{{candidate}}.log",
    benchmark:
        f"logs/tune/{PLACE}/{{model}}/{{candidate}}.benchmark.tsv"
    conda:
        model_environment
    threads: model_threads
    resources:
        mem_mb=growing_by_model("mem_mb", 4000),
        runtime=growing_by_model("runtime", 60),
        gpu=model_gpus,
    params:
        digest=planned_digest,
    message:
        "Tuning {wildcards.model} on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase}): candidate {wildcards.candidate}"
    script:
        "../scripts/tune.py"


rule choose:
    input:
        results=candidate_results,
        stamp=choose_stamp,
    output:
        best=f"results/{PLACE}/{{model}}/tune/best.json",
        candidates=f"results/{PLACE}/{{model}}/tune/candidates.csv",
    log:
        f"logs/choose/{PLACE}/{{model}}.log",
    benchmark:
        f"logs/choose/{PLACE}/{{model}}.benchmark.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        digest=planned_digest,
    message:
        "Choosing the best {wildcards.model} on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/choose.py"


rule oracle:
    input:
        input=f"results/{PLACE}/input.h5",
        target=f"results/{PLACE}/target.h5",
        check="results/checks/{model}.json",
        stamp=model_stamp("oracle"),
    output:
        prediction=f"results/{PLACE}/{{model}}/{{seed}}/prediction.h5",
    log:
        f"logs/oracle/{PLACE}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/oracle/{PLACE}/{{model}}/{{seed}}.benchmark.tsv"
    wildcard_constraints:
        model=named("oracle"),
    conda:
        model_environment
    threads: 1
    resources:
        mem_mb=growing_by_model("mem_mb", 4000),
        runtime=growing_by_model("runtime", 60),
        gpu=model_gpus,
    params:
        digest=planned_digest,
    message:
        "Asking the oracle {wildcards.model} on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/oracle.py"


# A submission may come from anyone. It is read without running any of its owner's code.
rule read_submission:
    input:
        submission=submission_of,
        input=f"results/{PLACE}/input.h5",
        stamp=submission_file_stamp,
    output:
        prediction=f"results/{PLACE}/{{model}}/{{seed}}/prediction.h5",
    log:
        f"logs/read_submission/{PLACE}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/read_submission/{PLACE}/{{model}}/{{seed}}.benchmark.tsv"
    wildcard_constraints:
        model=named("submission"),
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        digest=planned_digest,
    message:
        "Reading the submission {wildcards.model} on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/read_submission.py"


# The public board: `snakemake entries` makes it, and `snakemake entry --config entry=NAME` tries one entry.
rule entries:
    input:
        SELECTION.wanted(),


rule entry:
    input:
        shown_entry,


# No stamp: the checksum that the entry names defines the file. The address is a stranger's.
rule fetch_entry:
    output:
        rates="data/entries/{entry}/{phase}_{seed}_{digest}.h5",
    log:
        "logs/fetch_entry/{entry}/{phase}_{seed}_{digest}.log",
    benchmark:
        "logs/fetch_entry/{entry}/{phase}_{seed}_{digest}.benchmark.tsv"
    wildcard_constraints:
        entry=r"[A-Za-z]\w*",
        digest=r"[0-9a-f]{16}",
    conda:
        "../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(120),
    params:
        sha256=lambda w: MODELS.entry_file(w.entry, w.phase, w.seed)["sha256"],
    message:
        "Fetching rates of the entry {wildcards.entry}, phase {wildcards.phase}, seed {wildcards.seed}"
    script:
        "../scripts/fetch_entry.py"


# The mean of other predictions, which are chosen by the scores of their own validation trials.
rule ensemble:
    input:
        input=f"results/{PLACE}/input.h5",
        predictions=member_predictions,
        stamp=ensemble_stamp,
    output:
        prediction=f"results/{PLACE}/{{model}}/{{seed}}/prediction.h5",
    log:
        f"logs/ensemble/{PLACE}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/ensemble/{PLACE}/{{model}}/{{seed}}.benchmark.tsv"
    wildcard_constraints:
        model=named("ensemble"),
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        digest=planned_digest,
    message:
        "Averaging the ensemble {wildcards.model} on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/ensemble.py"


# `snakemake submission` writes the selected models' rates in the benchmark's submission layout.
rule submission:
    input:
        lambda w: SELECTION.submissions(),


rule write_submission:
    input:
        predictions=lambda w: [result(run, "prediction.h5") for run in SELECTION.submitted(w.model, w.phase)],
        stamp=submission_stamp,
    output:
        submission="results/submissions/{model}_{phase}.h5",
    log:
        "logs/write_submission/{model}_{phase}.log",
    benchmark:
        "logs/write_submission/{model}_{phase}.benchmark.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        digest=planned_digest,
    message:
        "Writing the submission of {wildcards.model}, phase {wildcards.phase}"
    script:
        "../scripts/write_submission.py"
