"""What a user can get wrong: one sentence that names the file or the key, exit code not 0, nothing half-written."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from snakemake.utils import update_config

from faulty_model import MODEL
from nlbflow.errors import NlbflowError
from nlbflow.planning.selection import Selection
from workflow import ROOT, SMALL, copy_results, run


def write_config(folder: Path, change) -> Path:
    config = yaml.safe_load(SMALL.read_text())
    change(config)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def merged(config: dict) -> dict:
    """With what the config leaves out, as the Snakefile merges it."""
    whole: dict = {}
    for part in ("resources/datasets.yaml", "config.yaml"):
        update_config(whole, yaml.safe_load((ROOT / part).read_text()))
    update_config(whole, config)
    return whole


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.update(rum={}), "unknown key 'rum' at the top level (did you mean run?)"),
        (lambda c: c["run"].update(dataset=["x"]), "unknown key 'dataset' under run (did you mean datasets?)"),
        (lambda c: c["run"].update(bin_ms=[2.5]), "config key run.bin_ms.0 is 2.5"),
        (lambda c: c["run"].update(phases=["eval"]), "config key run.phases.0 is 'eval'"),
        (lambda c: c["run"].update(seeds="0"), "config key run.seeds is '0'"),
        (lambda c: c["run"].update(datasets=["simulated_mase"]), "(did you mean simulated_maze?)"),
        (lambda c: c["run"].update(models=["smothing"]), "(did you mean smoothing?)"),
        (lambda c: c["run"].update(bin_ms=[3]), "bins of 3 ms do not divide window_ms [-250, 450]"),
        (lambda c: c["datasets"]["simulated_maze"].update(lag=3), "unknown key 'lag' under datasets.simulated_maze"),
        (
            lambda c: c["datasets"]["simulated_maze"]["simulator"].update(seeds=3),
            "unknown key 'seeds' under datasets.simulated_maze.simulator (did you mean seed?)",
        ),
        (
            lambda c: c.update(models={"smoothing": {"params": {"alfa": 1}}}),
            "models.smoothing.params: the model has no parameter 'alfa' (did you mean alpha?)",
        ),
        (
            lambda c: c.update(models={"smoothing": {"per_dataset": {"simulated_maze": {"sd": 1}}}}),
            "models.smoothing.per_dataset.simulated_maze: the model has no parameter 'sd'",
        ),
        (lambda c: c.update(models={"smoothing": {"parms": {}}}), "unknown key 'parms' under models.smoothing"),
        (
            lambda c: c.update(models={"smoothing": {"file": "gone.py"}}),
            "the model file gone.py does not exist",
        ),
        (lambda c: c.update(pins="gone.tsv"), "gone.tsv"),
        (
            lambda c: c["datasets"]["simulated_maze"].update(split={"val": 0.2, "test": 0.2, "seed": 0}),
            "config key datasets.simulated_maze draws held-out units or splits",
        ),
        (lambda c: c["run"].update(bin_ms=[5.0]), "config key run.bin_ms.0 is 5.0"),
        (lambda c: c["run"].update(models=["null"]), "names the model 'null'"),
        (lambda c: c["datasets"]["simulated_maze"].update(window_ms=[450, -250]), "ends before it begins"),
        (
            lambda c: c.update(models={"smoothing": {"per_dataset": {"simulated_mase": {}}}}),
            "names the dataset 'simulated_mase', which the catalogue `datasets:` does not have",
        ),
        (
            lambda c: c.update(models={"smoothing": {"per_dataset": {"mc_rtt": {"at_20s": {"alpha": 1}}}}}),
            "models.smoothing.per_dataset.mc_rtt.at_20s is {'alpha': 1}; expected a key like at_20ms",
        ),
        (
            lambda c: c.update(models={"smoothing": {"per_dataset": {"mc_rtt": {"at_20ms": {"alfa": 1}}}}}),
            "models.smoothing.per_dataset.mc_rtt.at_20ms: the model has no parameter 'alfa'",
        ),
        (
            lambda c: c.update(models={"smoothing": {"params": {"alpha": "0.1"}}}),
            "models.smoothing.params.alpha is '0.1'; expected a value like its default",
        ),
        (lambda c: c.update(models={"smoothing": {"env": "envs/gone.yaml"}}), "envs/gone.yaml, which does not exist"),
        (
            lambda c: (c["run"].update(models=["theirs"]), c.update(models={"theirs": {"prediction": "{phase}.h5"}})),
            "config key models.theirs.prediction names val.h5 for phase val, which is not a file",
        ),
        (
            lambda c: c.update(models={"smoothing": {"prediction": "rates.h5"}}),
            "config key models.smoothing has the keys file, per_dataset, prediction, tune, which fits none",
        ),
        (
            lambda c: c.update(models={"theirs": {"prediction": "rates.h5", "params": {}}}),
            "one of `file`, a model to run; `prediction`, a submission to score; `ensemble`, the mean",
        ),
        (
            lambda c: c.update(models={"smoothing": {"datasets": ["mc_mase"]}}),
            "models.smoothing.datasets names the dataset 'mc_mase', which the catalogue `datasets:` does not have",
        ),
        (
            lambda c: (
                c["run"].update(models=["true_rates_tuned"]),
                c.update(models={"true_rates": {"tune": {"grid": {"a": [1]}}}}),
            ),
            "config key models.true_rates.tune: an oracle is not tuned",
        ),
        (
            lambda c: (
                c["run"].update(models=["smoothing_tuned"]),
                c.update(models={"smoothing": {"tune": {"grid": {"alpha": 3}}}}),
            ),
            "models.smoothing.tune.grid.alpha is 3; expected a list of values",
        ),
        (
            lambda c: c.update(models={"smoothing_tuned": {"file": "smoothing.py"}}),
            "config key models.smoothing_tuned has the name of the tuned model",
        ),
        (lambda c: c.update(scoring={"bootstrap_draws": 10}), "config key scoring.bootstrap_draws is 10"),
        (
            lambda c: c["datasets"]["simulated_maze"].update(behavior={"columns": ["a", "b"]}),
            "config key datasets.simulated_maze.behavior",
        ),
    ],
)
def test_config(tmp_path, monkeypatch, change, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NlbflowError) as error:
        Selection.of(merged(yaml.safe_load(write_config(tmp_path, change).read_text())), ROOT)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.update(rum={}), "unknown key 'rum' at the top level (did you mean run?)"),
        (lambda c: c.update(models={"smoothing": {"file": "gone.py"}}), "the model file gone.py does not exist"),
    ],
)
def test_config_as_the_user_sees_it(tmp_path, change, sentence):
    output = run(ROOT, tmp_path / "work", "-n", config=write_config(tmp_path, change), fails=True)
    assert sentence in " ".join(output.split()), output
    assert "Traceback" not in output


def test_submission_that_is_refused(finished, tmp_path):
    """Through the whole workflow: one sentence, no prediction."""
    work = copy_results(finished[1], tmp_path / "work")
    place = work / "results/simulated_maze/5ms/val"
    with h5py.File(tmp_path / "val.h5", "w") as file, h5py.File(place / "mean_rate/0/prediction.h5") as good:
        for name in good:
            file[f"simulated_maze/{name}"] = good[name][()] * (np.nan if name == "eval_rates_heldout" else 1)

    def change(config):
        config["run"].update(models=["theirs"], bin_ms=[5], phases=["val"])
        config["models"] = {"theirs": {"prediction": str(tmp_path / "{phase}.h5")}}

    output = run(ROOT, work, config=write_config(tmp_path, change), fails=True)
    assert "val.h5: dataset simulated_maze/eval_rates_heldout has 5,040 values that are NaN" in output
    assert "Traceback" not in output and not [*(place / "theirs").rglob("*.*")]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ('rates["eval_rates_heldout"][1, 2, 3] = np.nan', "model mine returned eval_rates_heldout, which has 1 value"),
        ("import sys; sys.exit(0)", "model mine was ended by SystemExit(0) before `predict` returned"),
        ("raise RuntimeError('out of luck')", "model mine raised RuntimeError (mine.py, line 15): out of luck"),
    ],
)
def test_such_a_model_in_the_workflow(tmp_path, fault, sentence):
    (tmp_path / "mine.py").write_text(MODEL.format(fault=fault))

    def change(config):
        config["run"]["models"] = ["mine"]
        config["models"] = {"mine": {"file": str(tmp_path / "mine.py")}}

    work = tmp_path / "work"
    output = run(ROOT, work, "results/checks/mine.json", config=write_config(tmp_path, change), fails=True)
    assert sentence in output, output
    assert not (work / "results/checks/mine.json").exists()
    assert not list((work / "results/checks").glob(".*"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """A folder in which the small session has been simulated."""
    work = tmp_path_factory.mktemp("simulated")
    run(ROOT, work, "results/simulated_maze/5ms/val/input.h5")
    return work


def spoil_own_files(tmp_path: Path, simulated: Path, spoil) -> str:
    """Point a dataset of our own at copies of the session's files, one of them spoilt; the output of the run."""
    for part in ("train_behavior+ecephys", "test_ecephys"):
        name = f"sub-Sim_desc-{part}.nwb"
        shutil.copy(simulated / "data/nwb/simulated/simulated_maze/sub-Sim" / name, tmp_path / name)
    train = tmp_path / "sub-Sim_desc-train_behavior+ecephys.nwb"
    sha = spoil(train)
    stanza = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]["simulated_maze"]
    del stanza["simulator"]
    files = {"train": {"path": train.name}, "test": {"path": "sub-Sim_desc-test_ecephys.nwb"}}
    if sha:
        files["train"]["sha256"] = sha
    stanza.update(source="files", version="mine-1", files=files)
    config = {
        "run": {"datasets": ["mine"], "bin_ms": [5], "phases": ["val"], "models": [], "seeds": [0]},
        "datasets": {"mine": stanza},
        "data_folder": str(tmp_path),
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    output = run(ROOT, tmp_path / "work", "results/mine/5ms/val/input.h5", config=path, fails=True)
    left = [p for p in (tmp_path / "work").rglob("*.h5*") if ".snakemake" not in p.parts]
    assert not left, left
    return output


def test_truncated_nwb(tmp_path, simulated):
    def cut(path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    output = spoil_own_files(tmp_path, simulated, cut)
    assert "train_behavior+ecephys.nwb" in output and "truncated" in output


def test_nwb_without_heldout(tmp_path, simulated):
    def drop(path):
        with h5py.File(path, "a") as file:
            del file["units/heldout"]

    output = spoil_own_files(tmp_path, simulated, drop)
    assert "has no /units/heldout" in output


def test_wrong_sha256(tmp_path, simulated):
    output = spoil_own_files(tmp_path, simulated, lambda path: "0" * 64)
    assert "0" * 64 in output and "train_behavior+ecephys.nwb" in output


def test_missing_file(tmp_path, simulated):
    output = spoil_own_files(tmp_path, simulated, lambda path: path.unlink())
    assert "datasets.mine.files.train names" in output and "which does not exist" in output


def test_unknown_column_lists_those_there_are(tmp_path, simulated):
    def change(config):
        config["datasets"]["simulated_maze"]["align"] = "movement_onset"

    work = copy_results(simulated, tmp_path / "work", "data")
    config = write_config(tmp_path, change)
    output = run(ROOT, work, "results/simulated_maze/20ms/val/input.h5", config=config, fails=True)
    assert "has no trial column 'movement_onset'; it has" in output and "move_onset_time" in output
    assert not (work / "results/simulated_maze/20ms/val/input.h5").exists()


def test_folder_without_the_file(tmp_path):
    output = run(
        ROOT,
        tmp_path / "work",
        "--config",
        f"data_folder={tmp_path}",
        config=ROOT / "configs/official_test_files.yaml",
        fails=True,
    )
    assert "sub-Jenkins_ses-small_desc-test_ecephys.nwb" in output and "data_folder" in output
