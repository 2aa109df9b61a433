"""Several populations of LFADS trained as one program, as if their members were of one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from nlbflow.methods.lfads.population import MEMBERS, Population


class Joint:
    """A population `whole` of the members of several, which have had equally many updates. Their tensors become its
    rows, so what changes one of them in place changes the other.
    """

    def __init__(self, populations: Sequence[Population]):
        self.populations = populations
        sizes = [len(population.weights) for population in populations]
        rows = {name: torch.cat([getattr(population, name) for population in populations]) for name in MEMBERS}
        for name, whole in rows.items():
            for population, own in zip(populations, whole.split(sizes), strict=True):
                setattr(population, name, own)
        self.whole = Population(**rows, best=rows["weights"][0], updates=populations[0].updates)

    @contextmanager
    def together(self) -> Iterator[Population]:
        """The whole, always the same object, to train it."""
        # a generation replaces them
        self.whole.hyper = torch.cat([population.hyper for population in self.populations])
        yield self.whole
        for population in self.populations:
            population.updates = self.whole.updates
