"""A model that breaks its contract is told what is wrong, with its name and the array's."""

import numpy as np
import pytest

from faulty_model import MODEL
from nlbflow.errors import NlbflowError
from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import check_model, run_model, tiny_input


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            'rates["eval_rates_heldout"][1, 2, 3] = np.nan',
            "model mine returned eval_rates_heldout, which has 1 value that is NaN",
        ),
        (
            'rates["eval_rates_heldin"][1, 2, 3] = -1',
            "1 value that is negative, first at (trial, bin, neuron) (1, 2, 3)",
        ),
        (
            'rates["eval_rates_heldin"] = rates["eval_rates_heldin"][:-1]',
            "model mine returned eval_rates_heldin of shape (4, 20, 10); expected (trials, bins, neurons) (5, 20, 10)",
        ),
        ('del rates["train_rates_heldin"]', "missing ['train_rates_heldin']"),
        ('rates["eval_rates"] = 1', "unknown ['eval_rates']"),
        ('rates["eval_rates_heldin"] += np.random.rand()', "gave two different eval_rates_heldin for the same seed"),
        ("rates = None", "model mine returned NoneType"),
        (
            "data.eval_spikes_heldin = data.eval_spikes_heldin[:2]\n"
            "    rates = {name: array[:2] if 'eval' in name else array for name, array in rates.items()}",
            "eval_rates_heldin of shape (2, 20, 10)",
        ),
        ('rates["eval_rates_heldin"] = rates["eval_rates_heldin"] * 1j', "of type complex128; expected real numbers"),
        ('rates["eval_rates_heldin"] = [[1, 2], [3]]', "eval_rates_heldin that is no array"),
        ('rates["facts"] = 3', "returned facts of type int"),
        ('rates["history"] = {"loss": [[1], [2, 3]]}', "returned a history that is no table"),
        ('rates["history"] = {"loss": [2, 1]}', "write HISTORY = True there, so that its learning curves are drawn"),
        ('rates["train_latents"] = rates["train_rates_heldin"]', "missing ['eval_latents']"),
        ('rates["eval_states"] = np.zeros((5, 20), int)', "missing ['train_states']"),
        (
            'rates |= {"train_states": np.zeros((12, 20), int), "eval_states": np.zeros((5, 19), int)}',
            "eval_states of shape (5, 19); expected (trials, bins) (5, 20)",
        ),
        ('rates["neuron_labels"] = np.zeros(13, int)', "shape (13,); expected (neurons,) (14,)"),
        ('rates["neuron_labels"] = np.zeros(14)', "neuron_labels of type float64; expected whole numbers"),
        ('rates["neuron_labels"] = np.full(14, 2**40)', "expected small whole numbers"),
        ('rates["neuron_similarity"] = np.zeros((14, 10))', "expected (neurons, neurons) (14, 14)"),
        ('rates["neuron_similarity"] = np.full((14, 14), np.inf)', "first at (neurons, neurons) (0, 0)"),
        ('rates["eval_rates_heldin"] = rates["eval_rates_heldin"] * 1000 / data.bin_ms', "in spikes per second"),
        ('rates["eval_rates_heldin"] = rates["eval_rates_heldin"] * 1e5', "and so cannot be rates in spikes per bin"),
        ('rates["eval_rates_heldin"] = np.log(rates["eval_rates_heldin"] / 2)', "exponentiate if these are log rates"),
    ],
)
def test_model_that_breaks_the_contract(tmp_path, fault, sentence):
    (tmp_path / "mine.py").write_text(MODEL.format(fault=fault))
    with pytest.raises(NlbflowError) as error:
        check_model(tmp_path / "mine.py", "mine", {})
    assert sentence in str(error.value)


def test_what_a_model_shows_beyond_rates_is_kept(tmp_path):
    shown = {
        "neuron_labels": "np.arange(14) % 3", "neuron_similarity": "np.eye(14)",
        "train_states": "np.ones((12, 20), int)", "eval_states": "np.ones((5, 20), np.uint8)",
    }  # fmt: skip
    fault = f"rates |= {{{', '.join(f'{name!r}: {array}' for name, array in shown.items())}}}"
    (tmp_path / "mine.py").write_text(MODEL.format(fault=fault))
    assert shown.keys() <= check_model(tmp_path / "mine.py", "mine", {})["arrays"].keys()
    arrays, _ = run_model(tmp_path / "mine.py", "mine", tiny_input(), {}, 0)
    assert {name: arrays[name].dtype for name in shown} == {
        "neuron_labels": np.int32, "neuron_similarity": np.float32, "train_states": np.int32, "eval_states": np.int32,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        ("data, params, seed", True),
        ("data, params, seed, verbose=False", True),
        ("data, *rest", True),
        ("data, params", False),
        ("data, params, seed, more", False),
        ("data, params, seed, *, more", False),
    ],
)
def test_what_predict_takes_is_read_while_planning(tmp_path, arguments, taken):
    path = tmp_path / "mine.py"
    path.write_text(f'"""A model."""\nDEFAULTS = {{}}\n\n\ndef predict({arguments}):\n    return None\n')
    if taken:
        assert read_declaration(path)["DEFAULTS"] == {}
    else:
        with pytest.raises(NlbflowError, match=r"predict takes \(.*\); expected \(data, params, seed\)"):
            read_declaration(path)


SEEDS = "\n\ndef predict_seeds(data, params, seeds):\n    "


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ("return predict(data, params, 0)", "model mine returned dict for 2 seeds; predict_seeds must return a list"),
        ("return [predict(data, params, 0)]", "model mine returned 1 results for 2 seeds"),
        (
            "return [predict(data, params, seed) | {'eval_rates_heldin': None} for seed in seeds]",
            "model mine (seed 0) returned eval_rates_heldin of type object",
        ),
        (
            "wrong = [predict(data, params, seed) for seed in seeds]\n"
            "    wrong[1]['train_rates_heldin'] = wrong[1]['train_rates_heldin'] + 2e-4\n"
            "    return wrong",
            "gave another train_rates_heldin for seed 1 with predict_seeds than with predict; each seed must become",
        ),
        (
            "states = {'train_states': np.zeros((12, 20), int), 'eval_states': np.zeros((5, 20), int)}\n"
            "    return [predict(data, params, seed) | states for seed in seeds]",
            "returned eval_states, train_states with only one of predict and predict_seeds",
        ),
    ],
)
def test_seeds_side_by_side_become_what_they_are_alone(tmp_path, returned, sentence):
    path = tmp_path / "mine.py"
    path.write_text(MODEL.format(fault="") + SEEDS + returned)
    with pytest.raises(NlbflowError) as error:
        check_model(path, "mine", {})
    assert sentence in str(error.value)


def test_a_model_that_keeps_its_word_on_seeds(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MODEL.format(fault="") + SEEDS + "return [predict(data, params, seed) for seed in seeds]\n")
    assert read_declaration(path)["predict_seeds"] and check_model(path, "mine", {})["arrays"]
    path.write_text(MODEL.format(fault="") + "\n\ndef predict_seeds(data):\n    pass\n")
    with pytest.raises(NlbflowError, match=r"predict_seeds takes \(data\); expected \(data, params, seeds\)"):
        read_declaration(path)
