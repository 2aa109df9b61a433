"""Gated recurrent units over whole sequences, for many members at once, with gradients written out.

A member is an index of the first dimension: weights (members, in, out), data (members, time, trials, n), so one batched
product serves a population. Autograd would record a dozen operations per time step and add up each weight's gradient
step by step. Here the backward pass of a GRU takes four operations per step, and each weight's gradient is one product
over all steps; tests compare the gradients with finite differences.

The unit (Cho et al. 2014, arXiv:1406.1078, reset applied after the product): with x = (x_r, x_z, x_n) the input's
projection, r = sigmoid(x_r + h W_r), z = sigmoid(x_z + h W_z), n = tanh(x_n + r * (h W_n)), h' = (1 - z) n + z h.
A state is a mean of its predecessor and a number in (-1, 1), so if the first state is within a bound of at least 1, all
are: clipping the first state clips them all.
"""

import torch
from torch import Tensor


def gru_states(x: Tensor, first: Tensor, weight: Tensor) -> Tensor:
    """States of a GRU after each step: (members, time, trials, units).

    Args:
        x: the input's projection, (members, time, trials, 3 units): reset gate, update gate, candidate.
        first: state before the first step, (members, trials, units).
        weight: the state's weight, (members, units, 3 units).
    """
    return _Gru.apply(x, first, weight)


def controlled_generator(
    x: Tensor,
    noise: Tensor,
    first_control: Tensor,
    first: Tensor,
    feedback: Tensor,
    control: Tensor,
    posterior: Tensor,
    posterior_bias: Tensor,
    drive: Tensor,
    drive_bias: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """LFADS's generator with its controller (Sussillo et al. 2016, arXiv:1608.06315, section 2).

    In each step the controller, a GRU, gets x and the generator's last state. Its own state gives mean and log-variance
    of the inferred inputs, and a sample of these drives the generator, also a GRU.

    Args:
        x: the controller's input from the encoder, projected, (members, time, trials, 3 controls).
        noise: standard normal, (members, time, trials, inputs); zeros give the posterior mean.
        first_control: (members, trials, controls).
        first: (members, trials, units).
        feedback: generator to controller, (members, units, 3 controls).
        control: the controller's own weight, (members, controls, 3 controls).
        posterior: controller to mean and log-variance, (members, controls, 2 inputs).
        posterior_bias: (members, 1, 2 inputs).
        drive: inputs to generator, (members, inputs, 3 units).
        drive_bias: (members, 1, 3 units).
        weight: the generator's own weight, (members, units, 3 units).

    Returns:
        (generator's states (members, time, trials, units), mean and log-variance (members, time, trials, 2 inputs)).
    """
    return _ControlledGenerator.apply(
        x, noise, first_control, first, feedback, control, posterior, posterior_bias, drive, drive_bias, weight
    )


class _Steps:
    """The forward pass of a GRU, step by step; the tensors of all steps, (members, time, trials, n), are kept.

    Views of every step are made once, because slicing inside the loop would take as long as the arithmetic.
    """

    def __init__(self, first: Tensor, weight: Tensor, steps: int):
        members, trials, units = first.shape
        self.weight = weight
        self.states = first.new_empty(members, steps + 1, trials, units)
        self.states[:, 0] = first
        self.gates = first.new_empty(members, steps, trials, 3 * units)  # r, z, n
        self.hidden = torch.empty_like(self.gates)  # what the state contributes to them
        self.state = self.states.unbind(1)
        self._hidden, self._both_hidden, self._own = self.split(self.hidden)
        self._r, self._z, self._n = (part.unbind(1) for part in self.gates.split(units, dim=-1))
        self._both = self.gates[..., : 2 * units].unbind(1)

    def split(self, x: Tensor) -> tuple:
        """Views of each step of (members, time, trials, 3 units): all, the two gates, the candidate."""
        gates = 2 * x.shape[-1] // 3
        return x.unbind(1), x[..., :gates].unbind(1), x[..., gates:].unbind(1)

    def step(self, t: int, x_gates: Tensor, x_candidate: Tensor) -> None:
        """From state[t] to state[t + 1]."""
        torch.bmm(self.state[t], self.weight, out=self._hidden[t])
        torch.add(x_gates, self._both_hidden[t], out=self._both[t]).sigmoid_()
        torch.addcmul(x_candidate, self._r[t], self._own[t], out=self._n[t]).tanh_()
        torch.lerp(self._n[t], self.state[t], self._z[t], out=self.state[t + 1])

    def kept(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `_slopes` needs."""
        units = self.states.shape[-1]
        return self.states, self.gates, self.hidden[..., 2 * units :]


def _slopes(states: Tensor, gates: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of each new state by x and by the product with the previous state, (members, time, trials, 3, units)
    each, and z, the share of the previous state that is kept.
    """
    r, z, n = gates.split(own.shape[-1], dim=-1)
    by_n = (1 - z) * (1 - n * n)
    by_gates = by_n * own * r * (1 - r), (states[:, :-1] - n) * z * (1 - z)
    return torch.stack([*by_gates, by_n], dim=-2), torch.stack([*by_gates, by_n * r], dim=-2), z


def _weight_gradient(before: Tensor, after: Tensor) -> Tensor:
    """Sum over steps and trials of before' after: (members, in, out) of (members, time, trials, in), (..., out)."""
    return torch.bmm(before.flatten(1, 2).mT, after.flatten(1, 2))


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, first, weight):
        steps = _Steps(first, weight, x.shape[1])
        _, gates, candidate = steps.split(x)
        for t in range(x.shape[1]):
            steps.step(t, gates[t], candidate[t])
        ctx.save_for_backward(*steps.kept(), weight)
        return steps.states[:, 1:]

    @staticmethod
    def backward(ctx, grad):
        *steps, weight = ctx.saved_tensors
        by_x, by_hidden, kept = _slopes(*steps)
        by_state = torch.empty_like(kept)
        # Two views of the same memory: multiplying the slopes in place makes them gradients, in the products' layout.
        slopes, products = by_hidden.unbind(1), by_hidden.flatten(-2).unbind(1)
        outer, total, kept = grad.unbind(1), by_state.unbind(1), kept.unbind(1)
        before, back = steps[0][:, :-1], weight.mT
        carry = torch.zeros_like(before[:, 0])
        for t in reversed(range(len(outer))):
            torch.add(outer[t], carry, out=total[t])
            slopes[t].mul_(total[t].unsqueeze(-2))
            carry = torch.baddbmm(total[t] * kept[t], products[t], back)
        grad_x = by_x.mul_(by_state.unsqueeze(-2)).flatten(-2)
        return grad_x, carry, _weight_gradient(before, by_hidden.flatten(-2))


class _ControlledGenerator(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, noise, first_control, first, *weights):
        feedback, control, posterior, posterior_bias, drive, drive_bias, weight = weights
        members, steps, trials, inputs = noise.shape
        controller, generator = _Steps(first_control, control, steps), _Steps(first, weight, steps)
        given, driven = x.new_empty(members, trials, x.shape[-1]), first.new_empty(members, trials, 3 * first.shape[-1])
        given_parts, driven_parts = (
            (whole[..., : 2 * whole.shape[-1] // 3], whole[..., 2 * whole.shape[-1] // 3 :])
            for whole in (given, driven)
        )
        inferred = noise.new_empty(members, steps, trials, 2 * inputs)
        spread, sample = torch.empty_like(noise), torch.empty_like(noise)  # standard deviation * noise; plus the mean
        means, log_variances = (part.unbind(1) for part in inferred.split(inputs, dim=-1))
        views = (tensor.unbind(1) for tensor in (x, noise, inferred, spread, sample))
        for t, (x_t, noise_t, inferred_t, spread_t, sample_t) in enumerate(zip(*views, strict=True)):
            torch.baddbmm(x_t, generator.state[t], feedback, out=given)
            controller.step(t, *given_parts)
            torch.baddbmm(posterior_bias, controller.state[t + 1], posterior, out=inferred_t)
            torch.mul(log_variances[t], 0.5, out=spread_t).exp_().mul_(noise_t)
            torch.add(means[t], spread_t, out=sample_t)
            torch.baddbmm(drive_bias, sample_t, drive, out=driven)
            generator.step(t, *driven_parts)
        products = feedback, control, posterior, drive, weight
        ctx.save_for_backward(*generator.kept(), *controller.kept(), spread, sample, *products)
        return generator.states[:, 1:], inferred

    @staticmethod
    def backward(ctx, grad, grad_inferred):
        saved = ctx.saved_tensors
        states, control_states, spread, sample = saved[0], saved[3], *saved[6:8]
        to_state, to_control, to_sample, to_drive, to_before = (w.mT for w in saved[8:])
        by_x, by_hidden, kept = _slopes(*saved[:3])
        by_given, by_control, control_kept = _slopes(*saved[3:6])
        # the sample's derivatives by mean and log-variance
        by_posterior = torch.stack([torch.ones_like(spread), spread / 2], dim=-2)
        slopes = by_x, by_hidden, by_given, by_control, by_posterior
        # Two views of the same memory: multiplying the slopes in place makes them gradients, in the products' layout.
        x_slope, hidden_slope, given_slope, control_slope, posterior_slope = (s.unbind(1) for s in slopes)
        grad_driven, grad_hidden, grad_x, grad_control, grad_posterior = flat = [s.flatten(-2) for s in slopes]
        driven, hidden, given, controlled, posterior = (g.unbind(1) for g in flat)
        outer, outer_posterior = grad.unbind(1), grad_inferred.unflatten(-1, (2, -1)).unbind(1)
        kept, control_kept = kept.unbind(1), control_kept.unbind(1)
        carry, control_carry = torch.zeros_like(states[:, 0]), torch.zeros_like(control_states[:, 0])
        for t in reversed(range(len(outer))):
            carry.add_(outer[t])
            hidden_slope[t].mul_(carry.unsqueeze(-2))
            x_slope[t].mul_(carry.unsqueeze(-2))
            by_sample = torch.bmm(driven[t], to_drive)
            posterior_slope[t].mul_(by_sample.unsqueeze(-2)).add_(outer_posterior[t])
            control_carry.baddbmm_(posterior[t], to_sample)
            control_slope[t].mul_(control_carry.unsqueeze(-2))
            given_slope[t].mul_(control_carry.unsqueeze(-2))
            control_carry.mul_(control_kept[t]).baddbmm_(controlled[t], to_control)
            carry.mul_(kept[t]).baddbmm_(hidden[t], to_before).baddbmm_(given[t], to_state)
        return (
            grad_x,
            None,
            control_carry,
            carry,
            _weight_gradient(states[:, :-1], grad_x),
            _weight_gradient(control_states[:, :-1], grad_control),
            _weight_gradient(control_states[:, 1:], grad_posterior),
            grad_posterior.sum(dim=(1, 2)).unsqueeze(1),
            _weight_gradient(sample, grad_driven),
            grad_driven.sum(dim=(1, 2)).unsqueeze(1),
            _weight_gradient(states[:, :-1], grad_hidden),
        )
