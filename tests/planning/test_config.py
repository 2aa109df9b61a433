"""What the config's check says of a user's mistakes, and where paths that begin with ~ lead."""

import copy
from pathlib import Path

import pytest
import yaml

from nlbflow.errors import NlbflowError
from nlbflow.models.apart import Reach
from nlbflow.models.catalogue import find_model, read_as_text
from nlbflow.planning.selection import Selection
from workflow import ROOT

CONFIG = {
    **yaml.safe_load((ROOT / "resources/datasets.yaml").read_text()),
    **yaml.safe_load((ROOT / "config.yaml").read_text()),
}
# from YAML, which decides what is a number
SMALL_VALUES = yaml.safe_load("{alpha: 1e-3, rates: [1e-5, 0.01], grid: {log_uniform: [1e-4, 1]}, kernel: 5e1}")


def selection(change) -> Selection:
    config = copy.deepcopy(CONFIG)
    change(config)
    return Selection.of(config, ROOT)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda c: c["models"]["smoothing"].update(params={"alpha": SMALL_VALUES["alpha"]}),
            "models.smoothing.params.alpha is '1e-3'; expected a value like its default 0.1. YAML reads 1e-3 as text; "
            "write 0.001 or 1.0e-3.",
        ),
        (
            lambda c: (
                c["run"].update(models=["autolfads"]),
                c["models"]["autolfads"].update(params={"learning_rate_range": SMALL_VALUES["rates"]}),
            ),
            "YAML reads 1e-5 as text; write 0.00001 or 1.0e-5.",
        ),
        (
            lambda c: (
                c["run"].update(models=["smoothing_tuned"]),
                c["models"]["smoothing"].update(tune={"grid": {"alpha": SMALL_VALUES["grid"]}}),
            ),
            "YAML reads 1e-4 as text; write 0.0001 or 1.0e-4.",
        ),
        (
            lambda c: c["datasets"]["simulated_maze"].update(psth_kernel_ms=SMALL_VALUES["kernel"]),
            "YAML reads 5e1 as text; write 50 or 5.0e+1.",
        ),
        (
            lambda c: c["datasets"]["mc_rtt"].update(stream=True, source="folder"),
            "config key datasets.mc_rtt.source is 'folder': 'dandi' was expected (only files of the archive can be "
            "streamed).",
        ),
        (
            lambda c: c["run"].update(models=["mean_rate_tuned"]),
            "config key run.models names the model 'mean_rate_tuned', but models.mean_rate has no `tune:` with a grid "
            "to tune it by; add one, or run mean_rate.",
        ),
        (
            lambda c: c["models"].update({"my-model": {"file": "gru.py"}}),
            "config key models has the name 'my-model'; expected a name of letters, digits and _ that begins with a "
            "letter, other than null.",
        ),
        (
            lambda c: c["models"].update({"null": {"file": "gru.py"}}),
            "config key models has the name 'null'; expected a name of",
        ),
        (
            lambda c: c["datasets"].update({"2nd": {}}),
            "config key datasets has the name '2nd'; expected a name of letters, digits and _ that begins with a",
        ),
        (
            lambda c: c.update(archive="api.dandiarchive.org"),
            "config key archive is 'api.dandiarchive.org'; expected the API address of the DANDI instance, beginning "
            "with http:// or https://.",
        ),
        (
            lambda c: c["datasets"]["mc_rtt"].update(links={"paper": "javascript:alert(1)"}),
            "config key datasets.mc_rtt.links.paper is 'javascript:alert(1)'; expected an address that begins with "
            "http:// or https://.",
        ),
    ],
)
def test_mistakes_are_told_in_words(change, sentence):
    with pytest.raises(NlbflowError) as error:
        selection(change)
    assert sentence in str(error.value)


@pytest.mark.parametrize("value", [0.001, "relu", "1.0", "gru_1e-3", ["a", 3], {}, None, True])
def test_only_numbers_are_taken_for_numbers(value):
    assert read_as_text(value) == ""


def test_what_is_advised_is_a_number_to_yaml():
    for text in ("1e-3", "-2.5e6", "1.0e3", "3E-08", "1.e5"):
        assert yaml.safe_load(text) == text
        plain, short = read_as_text(text).split("write ")[1].rstrip(".").split(" or ")
        assert yaml.safe_load(plain) == yaml.safe_load(short) == float(text)


def test_every_form_in_the_schema_is_yaml():
    """What a message shows in braces can be copied into a config."""
    found = []

    def look(node) -> None:
        if isinstance(node, dict):
            found.extend(node["description"].split("{")[1:] if isinstance(node.get("description"), str) else [])
            for child in node.values():
                look(child)

    look(yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text()))
    forms = [form.split("}")[0] for form in found if form.split("}")[0] not in ("phase", "...")]
    assert len(forms) > 5
    assert all(": " in form for form in forms), forms


def test_paths_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)
    for name in ("mine.py", "theirs_val.h5", "data/mine.nwb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('"""Mine."""\nDEFAULTS = {}\n\n\ndef predict(data, params, seed): ...\n')
    own = {**CONFIG["datasets"]["simulated_maze"], "source": "files", "version": "1", "split": {"column": "split"}}
    del own["simulator"]

    def change(config):
        config["run"].update(datasets=["own"], phases=["val"], models=["mine", "theirs"])
        config["models"] |= {"mine": {"file": "~/mine.py"}, "theirs": {"prediction": "~/theirs_{phase}.h5"}}
        config["datasets"]["own"] = {**own, "files": {"train": {"path": "mine.nwb"}}}
        config["data_folder"] = "~/data"

    chosen = selection(change)
    assert find_model("~/mine.py", ROOT / "scripts/models") == tmp_path / "mine.py"
    assert chosen.models.submission_file("theirs", "val") == str(tmp_path / "theirs_val.h5")
    assert chosen.user_file("own", "train") == str(tmp_path / "data/mine.nwb")


def test_recordings_and_submissions_at_home_are_hidden_from_models(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = {
        "data_folder": "",
        "datasets": {
            name: {"files": {"whole": {"path": path}}} for name, path in (("a", "~/mine.nwb"), ("b", "b.nwb"))
        },
        "models": {"theirs": {"prediction": "~/theirs_{phase}.h5"}},
    }
    hidden = Reach.of(tmp_path / "mine.py", config).hidden
    assert {tmp_path / "mine.nwb", tmp_path / "theirs_val.h5", Path("b.nwb")} <= set(hidden)
