# With the config key side_by_side, one job trains several seeds of a model: those that a plan finds missing or outdated.
import json
from types import SimpleNamespace

# Which they are, for processes on other nodes, which find other files when they read this.
TOGETHER_FILE = "results/side_by_side.json"


def outdated_seeds():
    """For each place and model, the seeds that are to be trained, in runs and as members of ensembles: those without a
    prediction, or with one of other code or parameters. Others that Snakemake makes again are trained alone, as are, in
    a bucket, all that are there: to look into them would take as long as to fetch them."""
    found, stored = {}, {*BUCKET.below()} if BUCKET else None
    for place_ in SELECTION.places:
        wanted = sorted(with_members([run[3:] for run in SELECTION.runs_at(*place_)]))
        for model in filter(MODELS.trains_seeds, dict(wanted)):
            made_of = training_of(*place_, model)
            paths = {seed: result((*place_, model, seed), "prediction.h5") for other, seed in wanted if other == model}
            found[(*place_, model)] = [
                seed for seed, path in paths.items() if (path not in stored if BUCKET else trained_by(path) != made_of)
            ]
    return found


def with_members(runs):
    """Models and seeds, and those that ensembles among them average."""
    members = [MODELS.ensemble_runs(model) for model, _ in runs if MODELS.kind(model) == "ensemble"]
    return {*runs}.union(*map(with_members, members))


def training_of(dataset, bin_ms, phase, model):
    """The digest of a model's code and parameters on a dataset, and the parameters, chosen ones too."""
    wildcards = SimpleNamespace(dataset=dataset, bin_ms=str(bin_ms), phase=phase, model=model)
    name, of = of_model(wildcards)
    _, content = stamp_of("train", *name, **of)
    best = best_of(wildcards)
    chosen = read_json(best)["params"] if best and Path(best).is_file() else {}
    return content["digest"], json.loads(json.dumps(of["parameters"]["params"])) | chosen


def trained_by(path):
    """What a prediction says of that; None if there is none that can be read."""
    try:
        about = read_attributes(path)
        return about["provenance"]["code_digest"], about["params"]
    except (NlbflowError, KeyError):
        return None


def together():
    """The seeds that one job trains, and the places and models, as in paths, of which it does."""
    if config["side_by_side"] == 1:
        return []
    if not workflow.is_main_process:
        if (content := STORE.read(TOGETHER_FILE)) is None:
            raise WorkflowError(f"{TOGETHER_FILE} has gone, which says what this job is to train; run again.")
        return json.loads(content)
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


def together_name(seeds):
    """A name that means these seeds in every plan, so that a forgotten job of a cluster trains no others."""
    few = "_".join(map(str, seeds))
    return f"train_together_{few if len(seeds) <= 8 else f'{seeds[0]}_to_{seeds[-1]}_{digest_of(seeds)[:8]}'}"


# The inputs and the stamp are those of `train`, so that a result counts for both.
for SEEDS, WHERE in TOGETHER:

    rule:
        name:
            together_name(SEEDS)
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
            # what follows `results/` is one of these; another node is told which one
            dataset=f"(?=(?:{'|'.join(WHERE)})/)[A-Za-z]\\w*" if workflow.is_main_process else r"[A-Za-z]\w*",
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

    workflow.ruleorder(together_name(SEEDS), "train")
