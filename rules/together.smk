# With the config key side_by_side, one job trains several seeds of a model: those that a plan finds missing or outdated.
import json
from math import inf
from types import SimpleNamespace

# Which they are, for processes on other nodes, which find other files when they read this.
TOGETHER_FILE = "results/side_by_side.json"


def outdated_seeds():
    """For each place and model, the seeds that are to be trained, in runs and as members of ensembles: those without a
    prediction, or with one of other code or parameters. One of another input is trained alone."""
    found = {}
    for place_ in SELECTION.places:
        runs = [run[3:] for run in SELECTION.runs_at(*place_)]
        ensembles = [MODELS.ensemble_runs(model) for model, _ in runs if MODELS.kind(model) == "ensemble"]
        wanted = sorted({*runs}.union(*ensembles))
        for model in filter(MODELS.trains_seeds, dict(wanted)):
            dated = date_of_stamp(*place_, model)
            paths = {seed: result((*place_, model, seed), "prediction.h5") for other, seed in wanted if other == model}
            found[(*place_, model)] = [seed for seed, path in paths.items() if (STORE.modified(path) or 0) < dated]
    return found


def date_of_stamp(dataset, bin_ms, phase, model):
    """The date of the stamp of a model's trainings; in the future, if this plan is to rewrite it."""
    name, of = of_model(SimpleNamespace(dataset=dataset, bin_ms=str(bin_ms), phase=phase, model=model))
    path, content = stamp_of("train", *name, **of)
    path = path.as_posix()
    return STORE.modified(path) if is_text_of(STORE.read(path), content) else inf


def together():
    """The seeds that one job trains, and the places and models, as in paths, of which it does."""
    if config["side_by_side"] == 1:
        return []
    if not workflow.is_main_process:
        return json.loads(STORE.read(TOGETHER_FILE))
    found = {}
    for (dataset, bin_ms, phase, model), seeds in outdated_seeds().items():
        for first in range(0, len(seeds), config["side_by_side"]):
            some = tuple(seeds[first : first + config["side_by_side"]])
            if len(some) > 1:
                found.setdefault(some, []).append(f"{dataset}/{bin_ms}ms/{phase}/{model}")
    return [[list(seeds), where] for seeds, where in found.items()]


TOGETHER = together()


def keep_together():
    """Let processes on other nodes read the same."""
    if config["side_by_side"] > 1:
        STORE.write(TOGETHER_FILE, json.dumps(TOGETHER).encode())


# The inputs and the stamp are those of `train`, so that a result counts for both.
for NUMBER, (SEEDS, WHERE) in enumerate(TOGETHER):

    rule:
        name:
            f"train_together_{NUMBER}"
        input:
            input=f"results/{PLACE}/input.h5",
            check="results/checks/{model}.json",
            best=best_of,
            stamp=model_stamp("train"),
        output:
            **{f"seed_{seed}": f"results/{PLACE}/{{model}}/{seed}/prediction.h5" for seed in SEEDS},
        log:
            f"logs/train/{PLACE}/{{model}}/{SEEDS[0]}-{SEEDS[-1]}.log",
        benchmark:
            f"logs/train/{PLACE}/{{model}}/{SEEDS[0]}-{SEEDS[-1]}.benchmark.tsv"
        wildcard_constraints:
            # what follows `results/` is one of these
            dataset=f"(?=(?:{'|'.join(WHERE)})/)[A-Za-z]\\w*",
        conda:
            model_environment
        threads: model_threads
        resources:
            # a prediction is held for each seed
            mem_mb=growing_by_model("mem_mb", 4000, 1 + (len(SEEDS) - 1) / 4),
            # as long as they take one after the other: without a GPU they do
            runtime=growing_by_model("runtime", 60, len(SEEDS)),
            gpu=model_gpus,
        params:
            digest=planned_digest,
        message:
            f"Training {{wildcards.model}}, seeds {', '.join(map(str, SEEDS))}, on {{wildcards.dataset}} ({{wildcards.bin_ms}} ms, {{wildcards.phase}})"
        script:
            "../scripts/train.py"

    workflow.ruleorder(f"train_together_{NUMBER}", "train")
