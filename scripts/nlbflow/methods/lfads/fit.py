"""From a model's input to LFADS's prediction: training by generations, checkpoints, and posterior averaging."""

import csv
import hashlib
import io
import json
import logging
import math
import os
import pickle
from collections.abc import Mapping
from pathlib import Path

# Large tensors get huge pages if the system has them; touching small pages takes longer than the arithmetic.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import numpy as np
import torch
from torch import Tensor

from nlbflow.errors import NlbflowError
from nlbflow.methods.lfads import net as lfads
from nlbflow.methods.lfads.members import Workers
from nlbflow.methods.lfads.net import Sizes
from nlbflow.methods.lfads.population import (
    EPOCHS,
    EVERYONE,
    HYPERPARAMETERS,
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
from nlbflow.running.code import code_files

# Every fifth training trial, starting with the first, is for validation: nlb_tools' valid_ratio 0.2.
VALIDATION_EVERY = 5
# Bound of predicted log rates, whose exponential is finite.
HIGHEST_LOG_RATE = 20.0
# Rows (trials times samples) per pass in prediction; more take memory, fewer take time, most of all on a GPU.
PREDICT_ROWS = {"cpu": 400, "cuda": 2000}
# The columns of the history, which has a row for each generation and member.
HISTORY = ("generation", "member", *HYPERPARAMETERS, "validation_loss", "parent")


def predict(data, params: Mapping, ranges: Mapping[str, Range], seed: int) -> dict:
    """Train a population, and predict with the best weights of all members and generations.

    Args:
        data: train_spikes_heldin, train_spikes_heldout, their _forward windows if there are any, and
            eval_spikes_heldin are used. If `data.work` is a folder, it keeps a checkpoint and the members' history
            (population.csv), and an interrupted run continues from the last generation.
        params: see DEFAULTS of the models lfads and autolfads.
        ranges: the range of each hyperparameter in `nlbflow.methods.lfads.population.HYPERPARAMETERS`.

    Returns:
        rates in spikes per bin (trials, time, neurons), averaged over posterior samples; latents, the factors averaged
        likewise (trials, time, factors); facts.

    Raises:
        NlbflowError: too few training trials, or no member has learnt anything.
    """
    _check(data, params)
    # members that are trained side by side share the threads; a single member uses all of them
    torch.set_num_threads(params["threads"] // min(params["threads"], params["population"]))
    device = reproducible(params["device"]).type
    trials = _trials(data)
    sizes = _sizes(data, params)
    folder = _Folder(data, params, ranges, seed, device)
    population = fit(_to(trials, device), sizes, params, ranges, seed, folder)
    weights = population.best
    if params["refit"]:
        schedule, epochs = _schedule(params), params["generation_epochs"]
        weights = refit(population, sizes, _to(trials, device), schedule, epochs, seed, folder.keep)
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
    trials: Trials, sizes: Sizes, params: Mapping, ranges: Mapping[str, Range], seed: int, folder: "_Folder"
) -> Population:
    """Train generation by generation, until `patience` of them have brought no improvement.

    Raises:
        NlbflowError: no member's validation loss is a number.
    """
    training, validation = (_pick(trials, chosen) for chosen in _divide(trials))
    schedule = _schedule(params)
    members, device = range(params["population"]), trials.counts.device.type
    population = folder.resume(device)
    if population is None:
        population = first_population(sizes, training, ranges, seed, list(members))
    length = params["generation_epochs"]
    generations = math.ceil(params["max_epochs"] / length)
    progress = Progress(validation, sizes, generations * length, population.generation * length)
    if device == "cuda":
        tell(needed(population, sizes, training, params["batch"]), training.counts.device)
    processes = min(params["threads"], len(members)) if device == "cpu" else 1
    streams = [torch.Generator(device) for _ in members]
    with Workers(processes, sizes, training) as workers:
        while not _done(population, generations, params["patience"]):
            for member, generator in zip(members, streams, strict=True):
                generator.manual_seed(seed_of(seed, member, EPOCHS, population.generation))
            measured = []
            for epochs in _portions(length, params["validate_epochs"]):
                workers.train(population, schedule, streams, epochs)
                measured.append(validation_loss(population.average, sizes, validation))
                progress.log(epochs, measured[-1])
            losses = torch.stack(measured).mean(dim=0)  # smoothed over the generation
            population.generation += 1
            winner = int(losses.argmin())
            if losses[winner] < population.best_loss:
                population.best, population.best_loss = population.average[winner].clone(), float(losses[winner])
                population.best_generation = population.generation
            rows = [population.hyper.tolist(), losses.tolist()]
            parents = exploit_and_explore(population, losses, ranges, seed, population.generation)
            for member, (hyper, loss, parent) in enumerate(zip(*rows, parents, strict=True)):
                population.history.append([population.generation, member, *hyper, loss, parent])
            folder.keep(population)
    if not math.isfinite(population.best_loss):
        raise NlbflowError("LFADS did not learn: no validation loss is a number; lower learning_rate.")
    return population


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


class _Folder:
    """Where a run keeps its checkpoint and history: `data.work`, if there is one."""

    def __init__(self, data, params: Mapping, ranges: Mapping, seed: int, device: str):
        self.work = getattr(data, "work", None)
        if self.work is not None:
            self.work = Path(self.work)
            made_of = hashlib.sha256(json.dumps([dict(params), repr(ranges), seed, device, torch.__version__]).encode())
            for name in ("train_spikes_heldin", "train_spikes_heldout"):
                for array in (getattr(data, name), getattr(data, f"{name}_forward")):
                    made_of.update(b"" if array is None else str(array.shape).encode() + array.tobytes())
            for file in code_files(Path(__file__)):
                made_of.update(file.read_bytes())
            self.digest = made_of.hexdigest()

    def resume(self, device: str) -> Population | None:
        """The population of the last checkpoint, if that was made with this input, parameters and code."""
        path = self.work and self.work / "checkpoint.pt"
        if not path or not path.is_file():
            return None
        try:
            kept = torch.load(path, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            logging.getLogger("nlbflow").info(f"LFADS: {path} cannot be read ({error}); training starts anew")
            return None
        if kept.pop("digest", None) != self.digest:
            logging.getLogger("nlbflow").info(f"LFADS: {path} belongs to another run; training starts anew")
            return None
        population = Population(**kept)
        population.hyper = population.hyper.cpu()
        logging.getLogger("nlbflow").info(f"LFADS: continuing after generation {population.generation} of {path}")
        return population

    def keep(self, population: Population) -> None:
        """Write the checkpoint and the members' history, each whole or not at all."""
        if self.work is None:
            return
        self.work.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save({"digest": self.digest, **vars(population)}, content)
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(HISTORY)
        rows.writerows(population.history)
        for name, text in (("population.csv", table.getvalue().encode()), ("checkpoint.pt", content.getvalue())):
            temporary = self.work / f".{name}.{os.getpid()}"
            temporary.write_bytes(text)
            os.replace(temporary, self.work / name)


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
