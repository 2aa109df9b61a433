"""Training of a population: members independent of each other, Adam as torch's, resumed runs as unbroken ones."""

import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nlbflow.errors import NlbflowError
from nlbflow.methods.lfads.members import Workers
from nlbflow.methods.lfads.population import (
    HYPERPARAMETERS,
    MEMBERS,
    Range,
    Schedule,
    Trials,
    exploit_and_explore,
    first_population,
    stream,
    training_loss,
    validation_loss,
)
from nlbflow.methods.lfads.training import Training
from nlbflow.models.contract import check_model, load_model, run_model, tiny_input
from small_lfads import RANGES, SIZES, population, trials
from workflow import ROOT

MODELS = Path(__file__).parents[2] / "scripts/models"


@pytest.mark.parametrize(("block", "processes"), [(1, 1), (2, 1), (3, 1), (1, 2)])
def test_three_members_at_once_are_three_runs(block, processes, monkeypatch):
    """Ten updates, each member with its own hyperparameters and batches, in double precision."""
    monkeypatch.setattr("nlbflow.methods.lfads.training.CPU_MEMBERS", block)
    data = trials()
    together = population([0, 1, 2], data)
    start = together.weights.clone()
    with Workers(processes, SIZES, data) as workers:
        workers.train(together, Schedule(4, 2, 0.9), [stream(3, m, 1) for m in range(3)], 5)
    assert together.updates == 10 and (together.weights - start).abs().max() > 1e-3
    for member in range(3):
        alone = population([member], data)
        Training(alone, SIZES, data, Schedule(4, 2, 0.9), [stream(3, member, 1)]).epochs(5)
        for name in ("weights", "average", "first", "second"):
            difference = getattr(together, name)[member] - getattr(alone, name)[0]
            assert difference.abs().max() <= 1e-10 * (
                1 if name in ("weights", "average") else getattr(alone, name).abs().max()
            )
    assert (together.weights[0] - together.weights[1]).abs().max() > 1e-3


def test_processes_change_no_byte():
    ends = []
    for processes in (1, 2, 5):
        group, streams = population([0, 1, 2, 3], trials()), [stream(3, m, 1) for m in range(4)]
        with Workers(processes, SIZES, trials()) as workers:
            for epochs in (2, 3):
                workers.train(group, Schedule(4, 2, 0.9), streams, epochs)
        assert group.updates == 10
        rows = [getattr(group, name).numpy().tobytes() for name in MEMBERS]
        ends.append((*rows, *(s.get_state().numpy().tobytes() for s in streams)))
    assert ends[0] == ends[1] == ends[2]


def test_a_process_that_fails_or_is_killed():
    group, streams = population([0, 1], trials()), [stream(3, m, 1) for m in range(2)]
    with Workers(2, SIZES, trials()) as workers:
        with pytest.raises(ZeroDivisionError) as failure:
            workers.train(group, Schedule(0, 2, 0.9), streams, 1)
        assert "in epochs" in failure.value.__notes__[0]
        workers.train(group, Schedule(4, 2, 0.9), streams, 1)
        pids = [process.pid for process in workers.processes]
        workers.processes[1].kill()
        # the other one has much to do, for which nobody waits
        with pytest.raises(MemoryError, match="ended with status -9"):
            workers.train(group, Schedule(4, 2, 0.9), streams, 10**6)
    assert len(pids) == 2 and all(ended(pid) for pid in pids)


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


PARENT = """
import sys
sys.path[:0] = {paths!r}
from nlbflow.methods.lfads.members import Workers
from nlbflow.methods.lfads.population import Schedule, stream
from nlbflow.methods.lfads.training import Training
from small_lfads import SIZES, population, trials
import threading, time
def tell():
    while len(workers.processes) < 2:
        time.sleep(0.01)
    time.sleep({seconds})
    print(*(process.pid for process in workers.processes), flush=True)
with Workers(2, SIZES, trials()) as workers:
    threading.Thread(target=tell).start()
    workers.train(population([0, 1], trials()), Schedule(4, 2, 0.9), [stream(3, m, 1) for m in range(2)], 10**6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux alone ends children")
@pytest.mark.parametrize("seconds", [0, 4])
def test_processes_end_with_a_killed_parent(seconds, tmp_path):
    """While they start and while they train, and with a file that looks like torch where they run."""
    (tmp_path / "torch.py").write_text("raise SystemExit('not torch')")
    paths = [str(ROOT / "scripts"), str(ROOT / "tests/helpers")]
    command = [sys.executable, "-P", "-c", PARENT.format(paths=paths, seconds=seconds)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2 and not any(map(ended, pids))
        parent.kill()
    deadline = time.monotonic() + 20
    while not all(map(ended, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(map(ended, pids))


@pytest.mark.parametrize(("decay", "shares"), [(0, [1] * 6), (4, [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0, 0])])
def test_updates_are_adams(decay, shares):
    """Against torch.optim.Adam on the same losses, with its gradient clipped to the same norm and its rate set."""
    data = trials()
    ours = population([0], data)
    theirs = ours.weights.clone().requires_grad_()
    rate = float(ours.hyper[0, HYPERPARAMETERS.index("learning_rate")])
    adam = torch.optim.Adam([theirs], lr=rate)
    values = dict(zip(HYPERPARAMETERS, ours.hyper.unbind(1), strict=True))
    random = stream(3, 0, 1)
    average, memory = theirs.detach().clone(), []
    for update in range(1, 7):
        order = torch.randperm(8, generator=random)
        batch = Trials(data.counts[None][:, :, order], data.known[None])
        adam.zero_grad()
        training_loss(theirs, SIZES, batch, values, 1.0, [random]).sum().backward()
        torch.nn.utils.clip_grad_norm_([theirs], 200.0)
        adam.param_groups[0]["lr"] = rate * shares[update - 1]
        adam.step()
        memory.append(min(0.5, update / (update + 10)))
        average = memory[-1] * average + (1 - memory[-1]) * theirs.detach()
    Training(ours, SIZES, data, Schedule(8, 0, 0.5, decay), [stream(3, 0, 1)]).epochs(6)
    torch.testing.assert_close(ours.weights, theirs.detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.average, average, rtol=0, atol=1e-6)
    assert min(memory) < 0.1


def test_exploit_copies_rows_and_explore_stays_in_range():
    winners = 0
    for generation in range(30):
        group = population([0, 1, 2, 3])
        rows = {"average": 1, "first": 2, "second": 3}
        for name, number in rows.items():
            setattr(group, name, group.weights + number)
        before = {name: getattr(group, name).clone() for name in ("weights", *rows, "hyper")}
        losses = torch.tensor([0.3, 0.1, float("inf"), 0.2])
        parents = exploit_and_explore(group, losses, RANGES, 0, generation)
        for member, parent in enumerate(parents):
            for name in ("weights", *rows):
                assert torch.equal(getattr(group, name)[member], before[name][parent])
            factor = group.hyper[member] / before["hyper"][parent]
            if parent == member:
                assert torch.equal(group.hyper[member], before["hyper"][member])
            else:
                assert losses[parent] < losses[member] and (factor != 1).any()
            for value, change, name in zip(group.hyper[member], factor, HYPERPARAMETERS, strict=True):
                allowed = RANGES[name]
                assert allowed.low <= value <= allowed.high and abs(change - 1) <= allowed.explore + 1e-12
        assert parents[1] == 1 and parents[2] != 2  # the best stays, what diverged goes
        winners += parents[0] == 0
    assert 0 < winners < 30  # the opponent is drawn: member 0 loses to 1 and 3, and wins against 2


def test_learns_what_the_heldout_neurons_do():
    """Validation loss approaches that of the true rates: neurons that follow one oscillation of random phase."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, (1, 80, 1)) + np.linspace(0, 3, 10)[:, None, None]
    rates = 0.8 * np.exp(1.2 * np.sin(phase + np.arange(9)))
    counts = torch.from_numpy(rng.poisson(rates)).float()
    both = [Trials(c, torch.ones_like(c)) for c in (counts[:, :60], counts[:, 60:])]
    sizes = replace(SIZES, ic_encoder=16, ci_encoder=8, controller=8, ic_dim=8, generator=16, factors=4)
    values = {"learning_rate": 0.01, "cd_rate": 0.3, "kl_ic": 1e-3, "kl_input": 1e-3}
    fixed = {name: Range(v, v, start=v) for name in HYPERPARAMETERS for v in [values.get(name, 0.0)]}
    group = first_population(sizes, both[0], fixed, 0, [0])
    Training(group, sizes, both[0], Schedule(60, 50, 0.9), [stream(0, 0, 1)]).epochs(400)
    found = float(validation_loss(group.weights, sizes, both[1])[0])

    hidden = counts[:7, 60:, 6:].double().numpy(), rates[:7, 60:, 6:]
    constant = counts[:7, :60, 6:].double().numpy().mean(axis=(0, 1))
    least, most = (float((r - hidden[0] * np.log(r)).mean()) for r in (hidden[1], constant))
    assert least < found < least + 0.5 * (most - least)


@pytest.mark.parametrize("name", ["lfads", "autolfads"])
def test_contract(name):
    path = MODELS / f"{name}.py"
    facts = check_model(path, name, load_model(path).DEFAULTS)["facts"]
    assert facts["parameters"] == 1416
    a, b = (run_model(path, name, tiny_input(), params(name), seed)[0]["eval_rates_heldout"] for seed in (0, 1))
    assert not np.array_equal(a, b)


def params(name, **changes):
    model = load_model(MODELS / f"{name}.py")
    return {**model.DEFAULTS, **model.CHECK, "device": "cpu", **changes}


def flat(arrays):
    """The arrays of a prediction, with the columns of its history."""
    return {**{key: array for key, array in arrays.items() if key != "history"}, **arrays["history"]}


@pytest.mark.parametrize("name", ["lfads", "autolfads"])
def test_resumed_run_is_the_unbroken_one(name, tmp_path, caplog, monkeypatch):
    """Interrupted in the third generation of five, whose work is lost."""
    path, settings = MODELS / f"{name}.py", params(name, max_epochs=10)

    def run(work, seed=0):
        data = tiny_input()
        data.work = work
        return run_model(path, name, data, settings, seed)[0]

    unbroken = run(tmp_path / "unbroken")
    history = (tmp_path / "unbroken/population.csv").read_text()
    assert len(history.splitlines()) == 1 + 5 * settings.get("population", 1)

    calls = []

    def interrupted(*args, original=Workers.train):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Workers, "train", interrupted)
        run(tmp_path / "killed")
    assert len((tmp_path / "killed/population.csv").read_text().splitlines()) < len(history.splitlines())
    with caplog.at_level(logging.INFO, "nlbflow"):
        resumed = run(tmp_path / "killed")
    assert "continuing after generation 2" in caplog.text
    assert (tmp_path / "killed/population.csv").read_text() == history
    unbroken, resumed = (flat(arrays) for arrays in (unbroken, resumed))
    for key, array in unbroken.items():
        assert resumed[key].tobytes() == array.tobytes(), key
    assert len(unbroken["parent"]) == len(history.splitlines()) - 1

    # of another seed, or damaged: training starts anew, and ends as if there had been none
    other = run(tmp_path / "other", seed=1)
    for damage in (lambda b: b, lambda b: b[: len(b) // 2], lambda b: b""):
        checkpoint = tmp_path / "killed/checkpoint.pt"
        checkpoint.write_bytes(damage((tmp_path / "unbroken/checkpoint.pt").read_bytes()))
        again = run(tmp_path / "killed", seed=1)
        assert again["eval_rates_heldout"].tobytes() == other["eval_rates_heldout"].tobytes()


def test_patience_ends_the_training_and_the_best_weights_predict(tmp_path):
    """With a huge rate the first generation stays the best: a run that ends there predicts the same."""
    long = params("lfads", max_epochs=100, patience=3, learning_rate=1.0, refit=False)
    data = tiny_input()
    arrays, facts = run_model(MODELS / "lfads.py", "lfads", data, long, 0)
    assert facts["generations"] == facts["best_generation"] + 3 < 50
    short = {**long, "max_epochs": 2 * facts["best_generation"]}
    same, _ = run_model(MODELS / "lfads.py", "lfads", data, short, 0)
    assert all(same[key].tobytes() == arrays[key].tobytes() for key in arrays if key != "history")


def test_faults_are_named():
    few = tiny_input()
    for name in ("train_spikes_heldin", "train_spikes_heldout"):
        for suffix in ("", "_forward"):
            setattr(few, name + suffix, getattr(few, name + suffix)[:1])
    for data, changes, words in (
        (few, {}, "two training trials"),
        (tiny_input(), {"batch": 0}, "batch"),
        (tiny_input(), {"device": "tpu"}, "auto, cpu or cuda"),
        (tiny_input(), {"learning_rate": float("nan")}, "learning_rate"),
    ):
        with pytest.raises(NlbflowError, match=words):
            run_model(MODELS / "lfads.py", "lfads", data, params("lfads", **changes), 0)


def test_without_forward_window():
    data = replace(tiny_input(), train_spikes_heldin_forward=None, train_spikes_heldout_forward=None)
    arrays, _ = run_model(MODELS / "lfads.py", "lfads", data, params("lfads"), 0)
    assert not [name for name in arrays if name.endswith("forward")]


def test_both_models_have_the_same_sizes():
    plain, searched = (load_model(MODELS / f"{name}.py").DEFAULTS for name in ("lfads", "autolfads"))
    shared = plain.keys() & searched.keys()
    assert "generator" in shared and all(plain[key] == searched[key] for key in shared)
