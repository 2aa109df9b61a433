# Models: held to their contract on tiny data, then run.


rule check_model:
    input:
        stamp=model_stamp("check_model"),
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
        mem_mb=2000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Checking the contract of model {wildcards.model}"
    script:
        "../scripts/check_model.py"


# No answers among the inputs: the DAG, not discipline, keeps a model from reading them.
rule train:
    input:
        input=f"results/{PLACE}/input.h5",
        check="results/checks/{model}.json",
        stamp=model_stamp("train"),
    output:
        prediction=f"results/{PLACE}/{{model}}/{{seed}}/prediction.h5",
    log:
        f"logs/train/{PLACE}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/train/{PLACE}/{{model}}/{{seed}}.benchmark.tsv"
    wildcard_constraints:
        model=named(oracles=False),
    conda:
        model_environment
    threads: 1
    resources:
        mem_mb=lambda w: model_resource(w, "mem_mb", 4000),
        runtime=lambda w: model_resource(w, "runtime", 60),
        gpu=lambda w: model_resource(w, "gpu", 0),
    params:
        digest=planned_digest,
    message:
        "Training {wildcards.model}, seed {wildcards.seed}, on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/train.py"


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
        model=named(oracles=True),
    conda:
        model_environment
    threads: 1
    resources:
        mem_mb=lambda w: model_resource(w, "mem_mb", 4000),
        runtime=lambda w: model_resource(w, "runtime", 60),
        gpu=lambda w: model_resource(w, "gpu", 0),
    params:
        digest=planned_digest,
    message:
        "Asking the oracle {wildcards.model} on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/oracle.py"
