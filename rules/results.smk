# From predictions to scores and tables. Nothing here needs a GPU or trains anything.


rule score:
    input:
        prediction=prediction_of,
        target=f"results/{PLACE}/target.h5",
        stamp=lambda w: stamp("score"),
    output:
        scores=f"results/{PLACE}/{{model}}/{{seed}}/scores.json",
    log:
        f"logs/score/{PLACE}/{{model}}/{{seed}}.log",
    benchmark:
        f"logs/score/{PLACE}/{{model}}/{{seed}}.benchmark.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Scoring {wildcards.model}, seed {wildcards.seed}, on {wildcards.dataset} ({wildcards.bin_ms} ms, {wildcards.phase})"
    script:
        "../scripts/score.py"


rule tables:
    input:
        scores=[result(run, "scores.json") for run in scored()],
        stamp=lambda w: stamp("tables", parameters=frozen(runs=[list(run) for run in scored()])),
    output:
        scores="results/scores.csv",
        costs="results/costs.csv",
    log:
        "logs/tables.log",
    benchmark:
        "logs/tables.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Collecting all scores and costs"
    script:
        "../scripts/tables.py"


rule leaderboard:
    input:
        scores="results/scores.csv",
        stamp=lambda w: stamp("leaderboard", parameters=frozen(absent=absences())),
    output:
        markdown="results/leaderboard.md",
        html=report(
            "results/leaderboard.html",
            caption="../report/leaderboard.rst",
            category="Leaderboards",
            labels={"content": "all datasets"},
        ),
    log:
        "logs/leaderboard.log",
    benchmark:
        "logs/leaderboard.benchmark.tsv"
    conda:
        "../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        digest=planned_digest,
    message:
        "Writing the leaderboards"
    script:
        "../scripts/leaderboard.py"
