"""What LFADS's score hangs on: one change at a time from its settings on the simulated session.

    .venv/bin/python benchmarks/lfads_ablation.py [SETTING ...] [--base SETTING] [--session 7] [--shifts 0 1] [--fast]

Each setting is a process of its own, on one CPU thread. A row has co-bps and loss (nats) on the training trials that
are kept for validation, by which settings are chosen; co-bps on the evaluation trials, which is only reported; and
seconds of CPU. A shift moves the training trials on, so that others are kept; a row is the mean over shifts. SETTING is
a name of SETTINGS or, like `learning_rate=0.004,factors=8`, changes of parameters; in capitals, of constants in
population.py, training.py and net.py; SAMPLED=0 predicts from the posterior's mean, NOISE=0 trains without noise.
--fast trains for a third of the epochs. --session takes another simulated session, with 300 trials that no score of
ours is of: what is found there may decide. --data FOLDER takes the excerpt of MC_Maze_Large
(configs/mc_maze_large_excerpt.yaml). All of SETTINGS take about ten minutes.
"""

import argparse
import json
import sys
from pathlib import Path

import yaml

from side_by_side import ROOT, measure

# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

SETTINGS = {
    "as configured": {},
    "fitted to the training trials alone": {"refit": False},
    "counts read in as they are": {"read_in": 0},
    "steps of 5 ms": {"step_ms": 5},
    "steps of 40 ms": {"step_ms": 40},
    "small networks": {"ic_encoder": 32, "ci_encoder": 24, "controller": 24, "generator": 48},
    "constant learning rate": {"decay_epochs": 0},
    "half the learning rate": {"learning_rate": 0.004},
    "batches of 60": {"batch": 60},
    "inferred inputs held to their prior": {"kl_input": 1.0},
    "dropout .3": {"dropout": 0.3},
    "coordinated dropout .7": {"cd_rate": 0.7},
    "divergences of the evidence lower bound": {"kl_ic": 4e-5, "kl_input": 4e-5},
    "no noise in training": {"NOISE": 0, "kl_ic": 0.0, "kl_input": 0.0},
    "predicted from the posterior's mean": {"SAMPLED": 0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--model", default="lfads", help="gru, say, to have it beside")
    parser.add_argument("--base", default="", help="changes that every setting has")
    parser.add_argument("--data", type=Path, help="the folder with the excerpt")
    parser.add_argument("--session", type=int, help="the seed of another simulated session")
    parser.add_argument("--bin-ms", type=int, default=5)
    parser.add_argument("--shifts", type=int, nargs="+", default=[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true")
    told = parser.parse_args()
    print(f"{'setting':<44}{'validation':>11}{'nats':>9}{'evaluation':>11}{'CPU s':>7}", flush=True)
    for name in told.settings:
        changes = parsed(told.base) | (SETTINGS[name] if name in SETTINGS else parsed(name))
        found = []
        for shift in told.shifts:
            case = [told.model, told.session or str(told.data or ""), told.bin_ms, told.seed, shift, told.fast, changes]
            process = measure(sys.executable, __file__, "case", json.dumps(case))
            found.append([*json.loads(process.output.splitlines()[-1]), process.cpu_seconds])
        validation, nats, evaluation, seconds = (sum(column) / len(found) for column in zip(*found, strict=True))
        print(f"{name:<44}{validation:>11.4f}{nats:>9.5f}{evaluation:>11.4f}{seconds:>7.0f}", flush=True)


def parsed(changes: str) -> dict:
    """Parameters of `name=value,name=value`."""
    return {name: json.loads(value) for name, value in (part.split("=") for part in changes.split(",") if part)}


# The part below runs in the process of a case.


def session(seed: int) -> tuple[dict[str, Path], dict]:
    """The training file of a simulated session of that seed, with 300 trials to choose settings by, and its stanza."""
    from nlbflow.recordings.datasets import SIMULATED
    from nlbflow.recordings.simulator.kinds import simulate
    from nlbflow.recordings.simulator.nwb import write_session

    stanza = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]["simulated_maze"]
    settings = stanza["simulator"] | {"seed": seed, "val_trials": 300, "test_trials": 1}
    files = {part: ROOT / f".cache/benchmarks/session_{seed}" / file for part, file in SIMULATED.items()}
    if not files["train"].is_file():
        files["train"].parent.mkdir(parents=True, exist_ok=True)
        write_session(simulate(settings), files)
    return {"train": files["train"]}, stanza


def take_case(model: str, folder: str | int, bin_ms: int, seed: int, shift: int, fast: bool, changes: dict) -> list:
    """co-bps and loss on the validation trials, co-bps on the evaluation trials."""
    import numpy as np

    import nlbflow
    from nlbflow.methods.lfads import fit, net, population, training
    from nlbflow.metrics.formulas import bits_per_spike
    from nlbflow.models.catalogue import resolve_params
    from nlbflow.models.contract import load_model, run_model
    from nlbflow.recordings.model_input import ModelInput

    stanza = yaml.safe_load((ROOT / "config.yaml").read_text())["models"][model]
    name, place, definition = "simulated_maze", "simulated_maze", None
    if isinstance(folder, int):
        place, definition = session(folder)
    elif folder:
        name = "mc_maze_large_excerpt"
        config = yaml.safe_load((ROOT / "configs/mc_maze_large_excerpt.yaml").read_text())
        deep = yaml.safe_load((ROOT / "configs/mc_maze_large_excerpt_deep.yaml").read_text())["models"]
        definition = config["datasets"][name]
        place = {part: Path(folder, file["path"]) for part, file in definition["files"].items()}
        of = stanza.get("per_dataset", {})
        stanza |= {"per_dataset": of | deep.get(model, {}).get("per_dataset", {})}
    data = nlbflow.load(place, bin_ms, "val", ROOT / ".cache/benchmarks", stanza=definition)
    module = load_model(ROOT / "scripts/models" / stanza["file"])
    params = resolve_params(model, stanza, module.DEFAULTS, name, bin_ms) | changes
    if not params.pop("NOISE", True):
        population._normal = lambda shape, streams, like: like.new_zeros(shape)
    if not params.pop("SAMPLED", True):
        fit.draw = lambda sizes, _, seen, streams: population.no_noise(sizes, seen)
    for constant in [key for key in params if key.isupper()]:
        of = [part for part in (population, training, net) if hasattr(part, constant)]
        setattr(of[0], constant, params.pop(constant))
    if fast:
        params |= {key: -(-params[key] // 3) for key in ("max_epochs", "epochs") if key in params}
    names = [key for key in vars(data) if key.startswith("train_spikes_")]
    spikes = {key: np.roll(getattr(data, key), shift, axis=0) for key in names}
    given = ModelInput(bin_ms=bin_ms, eval_spikes_heldin=data.eval_spikes_heldin, **spikes)
    arrays, facts = run_model(ROOT / "scripts/models" / stanza["file"], model, given, params, seed)
    print({key: facts[key] for key in facts if "generation" in key or "epoch" in key}, file=sys.stderr)
    evaluation = bits_per_spike(arrays["eval_rates_heldout"], data.answers["eval_spikes_heldout"])
    loss = facts.get("validation_nats_per_bin", facts.get("validation_loss"))
    return [facts["validation_co_bps"], loss, float(evaluation)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["case"]:
        print(json.dumps(take_case(*json.loads(sys.argv[2]))))
    else:
        main()
