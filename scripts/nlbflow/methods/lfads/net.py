"""LFADS: latent factor analysis via dynamical systems, for a population of members at once.

Sussillo et al. 2016, arXiv:1608.06315, and Pandarinath et al. 2018, Nature Methods 15:805; coordinated dropout:
Keshtkaran & Pandarinath 2019, arXiv:1908.07896. All functions are pure. The first dimension of tensors is the member:
weights (members, in, out), data (members, time, trials, n). Random numbers are arguments. A trial's held-in counts go
through one bidirectional GRU to a Gaussian posterior of the generator's initial condition, and through another to the
controller, which gives the generator (a GRU) a Gaussian inferred input in each step. Factors are linear in the
generator's state; log rates of all neurons, observed and forward, are linear in the factors. No encoder sees a
held-out neuron or a forward bin. A step may last several bins: encoders then get the sums of their counts, and factors
are linear between the middles of steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from nlbflow.methods.lfads.divergences import kl_autoregressive, kl_gaussian
from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.recurrent import controlled_generator, gru_states

# Priors at the start of training, and the floor of the initial condition's posterior variance, as in the papers' models
# for this benchmark. Time constants are in bins.
IC_PRIOR_VARIANCE, IC_VARIANCE_FLOOR = 0.1, 1e-4
INPUT_PRIOR_VARIANCE, INPUT_PRIOR_TAU = 0.1, 10.0
# Bound of the first recurrent state, and thereby of all (see nlbflow.methods.networks.recurrent).
STATE_BOUND = 5.0
# Lowest mean count per bin at which a neuron's rate starts.
LEAST_RATE = 1e-4


@dataclass(frozen=True)
class Sizes:
    """The numbers that fix all shapes: neurons, bins, and the units of each part.

    Attributes:
        length: bins in a time step.
        read_in: dimensions of a linear map of the counts that both encoders read; 0: they read the counts themselves.
    """

    heldin: int
    neurons: int
    bins: int
    ahead: int
    ic_encoder: int
    ci_encoder: int
    controller: int
    inferred_inputs: int
    ic_dim: int
    generator: int
    factors: int
    read_in: int = 0
    length: int = 1

    @property
    def seen_steps(self) -> int:
        """Time steps in which counts are observed."""
        return -(-self.bins // self.length)

    @property
    def steps(self) -> int:
        """Time steps of the whole trial, forward window included."""
        return -(-(self.bins + self.ahead) // self.length)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight of one member."""
        shapes = {"read_in": (self.heldin, self.read_in)} if self.read_in else {}
        for name, units in (("ic", self.ic_encoder), ("ci", self.ci_encoder)):
            # two directions
            shapes[f"{name}_in"] = self.read_in or self.heldin, 2 * 3 * units
            shapes[f"{name}_bias"] = 1, 2 * 3 * units
            shapes[f"{name}_first"] = 2, 1, units
            shapes[f"{name}_state"] = 2, units, 3 * units
        return shapes | {
            "ic_posterior": (2 * self.ic_encoder, 2 * self.ic_dim),
            "ic_posterior_bias": (1, 2 * self.ic_dim),
            "ic_prior_mean": (1, self.ic_dim),
            "ic_to_generator": (self.ic_dim, self.generator),
            "ic_to_generator_bias": (1, self.generator),
            "controller_in": (2 * self.ci_encoder, 3 * self.controller),
            "controller_bias": (1, 3 * self.controller),
            "controller_feedback": (self.factors, 3 * self.controller),
            "controller_first": (1, self.controller),
            "controller_state": (self.controller, 3 * self.controller),
            "input_posterior": (self.controller, 2 * self.inferred_inputs),
            "input_posterior_bias": (1, 2 * self.inferred_inputs),
            "input_prior_log_tau": (1, self.inferred_inputs),
            "input_prior_log_variance": (1, self.inferred_inputs),
            "generator_in": (self.inferred_inputs, 3 * self.generator),
            "generator_bias": (1, 3 * self.generator),
            "generator_state": (self.generator, 3 * self.generator),
            "to_factors": (self.generator, self.factors),
            "to_log_rates": (self.factors, self.neurons),
            "to_log_rates_bias": (1, self.neurons),
        }

    def parameters(self) -> int:
        """The number of weights of one member."""
        return sum(math.prod(shape) for shape in self.shapes().values())


@dataclass(frozen=True)
class Draws:
    """The random numbers of a pass: standard normal noise, and dropout's factors 0 or 1 / (1 - rate); None: no dropout.

    Attributes:
        ic_noise: (members, trials, ic_dim).
        input_noise: (members, steps, trials, inferred_inputs).
        keep_ic: for the initial condition's encoding, (members, trials, 2 ic_encoder).
        keep_ci: for the controller's encoding, (members, seen_steps, trials, 2 ci_encoder).
        keep_factors: for the factors that make the rates, (members, steps, trials, factors).
    """

    ic_noise: Tensor
    input_noise: Tensor
    keep_ic: Tensor | None = None
    keep_ci: Tensor | None = None
    keep_factors: Tensor | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of a pass: log_rates (members, bins + ahead, trials, neurons), factors (..., factors), and the two
    divergences of posterior from prior in nats, summed over dimensions and time, (members, trials) each.
    """

    log_rates: Tensor
    factors: Tensor
    kl_ic: Tensor
    kl_input: Tensor


def initial_weights(sizes: Sizes, mean_counts: Tensor, generator: torch.Generator) -> Tensor:
    """One member's weights, flat (parameters,): normal with variance 1 / inputs; update gates tend to keep the state.

    Args:
        mean_counts: (neurons,) mean count per bin, at which each neuron's rate starts.
    """
    weights = {}
    for name, shape in sizes.shapes().items():
        if name.endswith(("_bias", "_first", "_mean", "_tau", "_variance")):
            weights[name] = torch.zeros(shape, dtype=mean_counts.dtype)
        else:
            draw = torch.randn(shape, generator=generator, dtype=mean_counts.dtype)
            weights[name] = draw / math.sqrt(shape[-2])
    for name in ("ic_bias", "ci_bias", "controller_bias", "generator_bias"):
        # the order is reset gate, update gate, candidate, in each direction
        directions = 2 if name in ("ic_bias", "ci_bias") else 1
        weights[name].view(directions, 3, -1)[:, 1] = 1.0
    weights["ic_posterior_bias"][:, sizes.ic_dim :] = math.log(IC_PRIOR_VARIANCE)
    weights["input_posterior_bias"][:, sizes.inferred_inputs :] = math.log(INPUT_PRIOR_VARIANCE)
    weights["input_prior_log_tau"] += math.log(INPUT_PRIOR_TAU / sizes.length)
    weights["input_prior_log_variance"] += math.log(INPUT_PRIOR_VARIANCE)
    weights["to_log_rates_bias"][0] = mean_counts.clamp_min(LEAST_RATE).log()
    return torch.cat([weight.flatten() for weight in weights.values()])


def unpack(flat: Tensor, sizes: Sizes) -> dict[str, Tensor]:
    """The weights by name, each (members, ...), as views of flat (members, parameters)."""
    shapes = sizes.shapes()
    parts = flat.split([math.prod(shape) for shape in shapes.values()], dim=1)
    return {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def run(weights: dict[str, Tensor], counts: Tensor, draws: Draws, sizes: Sizes) -> Outcome:
    """Factors and log rates of trials.

    Args:
        weights: as from `unpack`.
        counts: observed held-in counts, (members, bins, trials, heldin).
        draws: the random numbers; zero noise gives the rates of the posterior's mean.
    """
    time = time_steps(sizes, counts.dtype, counts.device)
    counts = _over_time(time.sums, counts)[:, : sizes.seen_steps] if sizes.length > 1 else counts
    counts = _product(counts, weights["read_in"]) if sizes.read_in else counts
    ic_states = _encode(weights, "ic", counts)
    ends = torch.cat([ic_states[:, 0, -1], ic_states[:, 1, -1]], dim=-1)
    mean, log_variance = _affine(_drop(ends, draws.keep_ic), weights, "ic_posterior").chunk(2, dim=-1)
    variance = log_variance.exp() + IC_VARIANCE_FLOOR
    condition = mean + variance.sqrt() * draws.ic_noise
    first = _affine(condition, weights, "ic_to_generator").clamp(-STATE_BOUND, STATE_BOUND)

    ahead, behind = _encode(weights, "ci", counts).unbind(1)
    # a step gets the encodings of the steps before it and of the steps after it (lag 1)
    lagged = torch.cat([pad(ahead, (0, 0, 0, 0, 1, 0))[:, :-1], pad(behind.flip(1), (0, 0, 0, 0, 0, 1))[:, 1:]], dim=-1)
    encoded = pad(_drop(lagged, draws.keep_ci), (0, 0, 0, 0, 0, sizes.steps - sizes.seen_steps))
    given = _product(encoded, weights["controller_in"]) + weights["controller_bias"].unsqueeze(1)
    to_factors = normalize(weights["to_factors"], dim=1)
    states, posterior = controlled_generator(
        given,
        draws.input_noise,
        _bounded(weights["controller_first"]).expand(-1, counts.shape[2], -1),
        first,
        to_factors @ weights["controller_feedback"],
        weights["controller_state"],
        weights["input_posterior"],
        weights["input_posterior_bias"],
        weights["generator_in"],
        weights["generator_bias"],
        weights["generator_state"],
    )
    factors = _product(states, to_factors)
    kept = _over_time(time.interpolate, _drop(factors, draws.keep_factors))
    factors = kept if draws.keep_factors is None else _over_time(time.interpolate, factors)
    log_rates = _product(kept, weights["to_log_rates"]) + weights["to_log_rates_bias"].unsqueeze(1)
    mean_input, log_variance_input = posterior.chunk(2, dim=-1)
    sample = mean_input + (0.5 * log_variance_input).exp() * draws.input_noise
    prior = weights["input_prior_log_tau"], weights["input_prior_log_variance"]
    kl_input = kl_autoregressive(mean_input, log_variance_input, sample, *(p.unsqueeze(1) for p in prior))
    kl_ic = kl_gaussian(mean, variance, weights["ic_prior_mean"], torch.full_like(variance, IC_PRIOR_VARIANCE))
    return Outcome(log_rates, factors, kl_ic.sum(-1), kl_input.sum(dim=(1, 3)))


def mean_squares(weights: dict[str, Tensor], part: str) -> Tensor:
    """Half the mean square of the recurrent weights of `part` (controller or generator): (members,)."""
    return 0.5 * weights[f"{part}_state"].square().mean(dim=(1, 2))


def reconstruction(log_rates: Tensor, counts: Tensor, learns: Tensor) -> Tensor:
    """Poisson negative log-likelihood in nats (without log n!) of entries that learn, averaged over all: (members,).

    Args:
        log_rates, counts: (members, time, trials, neurons).
        learns: 1 where an entry has a gradient, otherwise 0.
    """
    return ((log_rates.exp() - counts * log_rates) * learns).mean(dim=(1, 2, 3))


def coordinated_dropout(counts: Tensor, dropped: Tensor, rate: Tensor) -> Tensor:
    """What the encoders see: dropped entries are 0, the others scaled by 1 / (1 - rate).

    Gradients come from dropped entries only (see `learning_entries`), so no count explains itself.

    Args:
        counts: (members, bins, trials, heldin).
        dropped: booleans of the same shape, True with probability `rate`.
        rate: (members,).
    """
    return counts * ~dropped / (1 - rate).to(counts.dtype).view(-1, 1, 1, 1)


def learning_entries(dropped: Tensor, rate: Tensor, known: Tensor) -> Tensor:
    """1 where an entry has a gradient, otherwise 0: (members, bins + ahead, trials, neurons).

    Held-out and forward entries always have one; observed held-in entries have one if they were dropped or rate is 0.

    Args:
        dropped: (members, bins, trials, heldin).
        rate: (members,).
        known: 1 where there is a count to learn from, in the result's shape.
    """
    learns = known.clone()
    bins, heldin = dropped.shape[1], dropped.shape[3]
    learns[:, :bins, :, :heldin] *= dropped | (rate == 0).view(-1, 1, 1, 1)
    return learns


def sizes_of(params: dict, heldin: int, neurons: int, bins: int, ahead: int, bin_ms: int) -> Sizes:
    """Sizes from a model's params, which name the units of each part as Sizes does."""
    names = ("ic_encoder", "ci_encoder", "controller", "inferred_inputs", "ic_dim", "generator", "factors", "read_in")
    length = max(1, params["step_ms"] // bin_ms)
    return Sizes(heldin, neurons, bins, ahead, length=length, **{name: params[name] for name in names})


@lru_cache
def time_steps(sizes: Sizes, dtype: torch.dtype, device: torch.device) -> TimeSteps:
    return TimeSteps(sizes.bins, sizes.ahead, sizes.length).to(device, dtype)


def _over_time(change: Callable[[Tensor], Tensor], data: Tensor) -> Tensor:
    """Change the times of (members, time, trials, n) by what changes those of (members, time, n)."""
    return change(data.flatten(2)).unflatten(2, data.shape[2:])


def _encode(weights: dict[str, Tensor], name: str, counts: Tensor) -> Tensor:
    """States of a bidirectional GRU, each direction in its own order of time: (members, 2, steps, trials, units)."""
    members, _, trials, _ = counts.shape
    given = _product(counts, weights[f"{name}_in"]) + weights[f"{name}_bias"].unsqueeze(1)
    forward, backward = given.chunk(2, dim=-1)
    both = torch.stack([forward, backward.flip(1)], dim=1).flatten(0, 1)
    first = _bounded(weights[f"{name}_first"]).flatten(0, 1).expand(-1, trials, -1)
    return gru_states(both, first, weights[f"{name}_state"].flatten(0, 1)).unflatten(0, (members, 2))


def _product(data: Tensor, weight: Tensor) -> Tensor:
    """(members, time, trials, in) times (members, in, out)."""
    return torch.bmm(data.flatten(1, 2), weight).unflatten(1, data.shape[1:3])


def _affine(data: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """(members, trials, in) times a weight, plus its bias."""
    return torch.baddbmm(weights[f"{name}_bias"], data, weights[name])


def _drop(data: Tensor, keep: Tensor | None) -> Tensor:
    return data if keep is None else data * keep


def _bounded(state: Tensor) -> Tensor:
    return state.clamp(-STATE_BOUND, STATE_BOUND)
