"""From a model's input to LFADS's prediction: training by generations, checkpoints, and posterior averaging."""

import math
import os
from collections.abc import Mapping, Sequence

# Large tensors get huge pages if the system has them; touching small pages takes longer than the arithmetic.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import numpy as np
import torch
from torch import Tensor

from nlbflow.errors import NlbflowError
from nlbflow.methods.lfads import net as lfads
from nlbflow.methods.lfads.folder import HISTORY, Folder
from nlbflow.methods.lfads.joint import Joint
from nlbflow.methods.lfads.members import Workers
from nlbflow.methods.lfads.net import Sizes
from nlbflow.methods.lfads.population import (
    EPOCHS,
    EVERYONE,
    PREDICTION,
    Population,
    Range,
    Schedule,
    Trials,
    draw,
    exploit_and_explore,
    first_population,
    seed_of,
    stream,
    validation_loss,
)
from nlbflow.methods.lfads.progress import Progress
from nlbflow.methods.lfads.refit import refit
from nlbflow.methods.lfads.training import needed
from nlbflow.methods.networks.device import reproducible
from nlbflow.methods.networks.memory import tell
from nlbflow.metrics.formulas import bits_per_spike

# Every fifth training trial, starting with the first, is for validation: nlb_tools' valid_ratio 0.2.
VALIDATION_EVERY = 5
# Bound of predicted log rates, whose exponential is finite.
HIGHEST_LOG_RATE = 20.0
# Rows (trials times samples) per pass in prediction; more take memory, fewer take time, most of all on a GPU.
PREDICT_ROWS = {"cpu": 400, "cuda": 2000}


def predict(data, params: Mapping, ranges: Mapping[str, Range], seeds: Sequence[int]) -> list[dict]:
    """Train a population with each seed, side by side, and predict with the best weights of all its members and
    generations. It becomes what it would alone, but for the last digits.

    Args:
        data: train_spikes_heldin, train_spikes_heldout, their _forward windows if there are any, and
            eval_spikes_heldin are used. If `data.work` is a folder, it keeps a checkpoint and the members' history
            (population.csv, below a folder for each of several seeds), and an interrupted run continues from the last
            generation.
        params: see DEFAULTS of the models lfads and autolfads.
        ranges: the range of each hyperparameter in `nlbflow.methods.lfads.population.HYPERPARAMETERS`.

    Returns:
        for each seed: rates in spikes per bin (trials, time, neurons), averaged over posterior samples; latents, the
        factors averaged likewise (trials, time, factors); facts.

    Raises:
        NlbflowError: too few training trials, or no member has learnt anything.
    """
    _check(data, params)
    # members that are trained side by side share the threads; a single member uses all of them
    torch.set_num_threads(params["threads"] // min(params["threads"], params["population"] * len(seeds)))
    device = reproducible(params["device"]).type
    trials = _trials(data)
    sizes = _sizes(data, params)
    folder = Folder(data, params, ranges, seeds, device)
    populations = fit(_to(trials, device), sizes, params, ranges, seeds, folder)
    weights = [population.best for population in populations]
    if params["refit"]:
        schedule, epochs = _schedule(params), params["generation_epochs"]
        weights = refit(populations, sizes, _to(trials, device), schedule, epochs, seeds, folder.keep)
    of_each = zip(populations, weights, seeds, strict=True)
    return [_predict_with(population, best, data, trials, sizes, params, seed) for population, best, seed in of_each]


def _predict_with(
    population: Population, weights: Tensor, data, trials: Trials, sizes: Sizes, params: Mapping, seed: int
) -> dict:
    """What `predict` returns of one seed, with the weights of its population that predict."""
    device = weights.device.type
    counts = {"train": data.train_spikes_heldin, "eval": data.eval_spikes_heldin}
    prediction = {}
    for part, seen in counts.items():
        seen = torch.from_numpy(np.ascontiguousarray(seen.transpose(1, 0, 2))).to(device)
        samples = stream(seed, EVERYONE, PREDICTION, device=device)
        rates, factors = posterior_average(weights[None], sizes, seen, params["samples"], samples)
        prediction[f"{part}_latents"] = factors[:, : sizes.bins]
        for group, neurons in (("heldin", slice(sizes.heldin)), ("heldout", slice(sizes.heldin, None))):
            prediction[f"{part}_rates_{group}"] = rates[:, : sizes.bins, neurons]
            if part == "eval" and sizes.ahead:
                prediction[f"eval_rates_{group}_forward"] = rates[:, sizes.bins :, neurons]
    facts = {
        "parameters": sizes.parameters(),
        "generations": population.generation,
        "best_generation": population.best_generation,
        "validation_nats_per_bin": population.best_loss,
        "validation_co_bps": _validation_co_bps(population.best[None], sizes, trials, params["samples"], seed),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }
    columns = zip(*population.history, strict=True)
    return {**prediction, "facts": facts, "history": dict(zip(HISTORY, columns, strict=True))}


def fit(
    trials: Trials, sizes: Sizes, params: Mapping, ranges: Mapping[str, Range], seeds: Sequence[int], folder: Folder
) -> list[Population]:
    """Train a population with each seed, generation by generation, until `patience` of them have brought no
    improvement.

    Raises:
        NlbflowError: no member's validation loss is a number.
    """
    training, validation = (_pick(trials, chosen) for chosen in _divide(trials))
    schedule = _schedule(params)
    members, device = range(params["population"]), trials.counts.device.type
    populations = folder.resume(device)
    if populations is None:
        populations = [first_population(sizes, training, ranges, seed, list(members)) for seed in seeds]
    length = params["generation_epochs"]
    generations = math.ceil(params["max_epochs"] / length)

    def active() -> list[tuple[int, Population]]:
        of_each = zip(seeds, populations, strict=True)
        return [(seed, each) for seed, each in of_each if not _done(each, generations, params["patience"])]

    done = max(population.generation for population in populations) * length
    progress = Progress(validation, sizes, generations * length, done)
    while trained := active():
        joint = Joint([population for _, population in trained])
        if device == "cuda":
            tell(needed(joint.whole, sizes, training, params["batch"]), training.counts.device)
        processes = min(params["threads"], len(members) * len(trained)) if device == "cpu" else 1
        streams = [torch.Generator(device) for _ in joint.whole.weights]
        with Workers(processes, sizes, training) as workers:
            # until one of them ends; the others go on without it
            while len(active()) == len(trained):
                of_all = [(seed, member, each.generation) for seed, each in trained for member in members]
                for (seed, member, generation), generator in zip(of_all, streams, strict=True):
                    generator.manual_seed(seed_of(seed, member, EPOCHS, generation))
                measured = []
                for epochs in _portions(length, params["validate_epochs"]):
                    with joint.together() as whole:
                        workers.train(whole, schedule, streams, epochs)
                    measured.append(validation_loss(joint.whole.average, sizes, validation))
                    progress.log(epochs, measured[-1])
                losses = torch.stack(measured).mean(dim=0)  # smoothed over the generation
                for (seed, population), own in zip(trained, losses.split(len(members)), strict=True):
                    _end_generation(population, own, ranges, seed)
                folder.keep(populations)
    if not all(math.isfinite(population.best_loss) for population in populations):
        raise NlbflowError("LFADS did not learn: no validation loss is a number; lower learning_rate.")
    return populations


def _end_generation(population: Population, losses: Tensor, ranges: Mapping[str, Range], seed: int) -> None:
    """Keep the best weights so far, and let members exploit and explore."""
    population.generation += 1
    winner = int(losses.argmin())
    if losses[winner] < population.best_loss:
        population.best, population.best_loss = population.average[winner].clone(), float(losses[winner])
        population.best_generation = population.generation
    rows = [population.hyper.tolist(), losses.tolist()]
    parents = exploit_and_explore(population, losses, ranges, seed, population.generation)
    for member, (hyper, loss, parent) in enumerate(zip(*rows, parents, strict=True)):
        population.history.append([population.generation, member, *hyper, loss, parent])


def posterior_average(
    weights: Tensor, sizes: Sizes, seen: Tensor, samples: int, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean rates and factors over samples of the initial condition and the inferred inputs.

    Args:
        weights: one row, (1, parameters).
        seen: observed held-in counts, (bins, trials, heldin).

    Returns:
        rates (trials, bins + ahead, neurons) in spikes per bin and factors (trials, bins + ahead, factors), float32.
    """
    named = lfads.unpack(weights, sizes)
    rates, factors = [], []
    for block in seen.split(max(1, PREDICT_ROWS[seen.device.type] // samples), dim=1):
        repeated = block.repeat(1, samples, 1).unsqueeze(0)
        with torch.no_grad():
            draws = draw(sizes, None, repeated, [generator])
            outcome = lfads.run(named, repeated, draws, sizes)
        for whole, parts in ((outcome.log_rates.clamp_max(HIGHEST_LOG_RATE).exp(), rates), (outcome.factors, factors)):
            mean = whole[0].unflatten(1, (samples, block.shape[1])).mean(dim=1)
            parts.append(mean.transpose(0, 1).float().cpu().numpy())
    return np.concatenate(rates), np.concatenate(factors)


def _divide(trials: Trials) -> tuple[Tensor, Tensor]:
    """Booleans of the trials for training, and of those for validation."""
    validate = torch.arange(trials.counts.shape[1]) % VALIDATION_EVERY == 0
    return ~validate, validate


def _validation_co_bps(weights: Tensor, sizes: Sizes, trials: Trials, samples: int, seed: int) -> float:
    """Bits per spike of the held-out neurons in the validation trials; comparable between models."""
    counts = _pick(trials, _divide(trials)[1]).counts[: sizes.bins]
    seen, hidden = counts[:, :, : sizes.heldin], counts[:, :, sizes.heldin :]
    generator = stream(seed, EVERYONE, PREDICTION, device=str(weights.device))
    rates, _ = posterior_average(weights, sizes, seen.to(weights.device), samples, generator)
    return bits_per_spike(rates[:, : sizes.bins, sizes.heldin :], hidden.transpose(0, 1).numpy())


def _schedule(params: Mapping) -> Schedule:
    return Schedule(params["batch"], params["ramp_epochs"], params["averaging"], params["decay_epochs"])


def _done(population: Population, generations: int, patience: int) -> bool:
    waited = population.generation - population.best_generation
    return population.generation >= generations or waited >= patience


def _portions(whole: int, part: int) -> list[int]:
    """`whole` epochs in portions of `part`, of which the last may be smaller."""
    return [min(part, whole - start) for start in range(0, whole, part)]


def _trials(data) -> Trials:
    """All training trials on the CPU, time first."""
    groups = []
    for name in ("train_spikes_heldin", "train_spikes_heldout"):
        ahead = getattr(data, f"{name}_forward")
        groups.append(np.concatenate([getattr(data, name), *([] if ahead is None else [ahead])], axis=1))
    counts = torch.from_numpy(np.ascontiguousarray(np.concatenate(groups, axis=2).transpose(1, 0, 2)))
    known = torch.isfinite(counts)
    return Trials(torch.where(known, counts, 0.0), known.to(counts.dtype))


def _pick(trials: Trials, chosen: Tensor) -> Trials:
    return Trials(trials.counts[:, chosen].contiguous(), trials.known[:, chosen].contiguous())


def _to(trials: Trials, device: str) -> Trials:
    return Trials(trials.counts.to(device), trials.known.to(device))


def _sizes(data, params: Mapping) -> Sizes:
    _, bins, heldin = data.train_spikes_heldin.shape
    ahead = 0 if data.train_spikes_heldin_forward is None else data.train_spikes_heldin_forward.shape[1]
    return lfads.sizes_of(params, heldin, heldin + data.train_spikes_heldout.shape[2], bins, ahead, data.bin_ms)


def _check(data, params: Mapping) -> None:
    if len(data.train_spikes_heldin) < 2:
        raise NlbflowError(
            f"LFADS needs at least two training trials, one of them for validation, but found "
            f"{len(data.train_spikes_heldin)}."
        )
    for name in (
        "population", "batch", "generation_epochs", "validate_epochs", "max_epochs", "patience", "samples", "threads"
    ):  # fmt: skip
        if params[name] < 1:
            raise NlbflowError(f"LFADS needs {name} of at least 1; found {params[name]}.")
    if params["device"] not in ("auto", "cpu", "cuda"):
        raise NlbflowError(f"LFADS's device is {params['device']!r}; expected auto, cpu or cuda.")
