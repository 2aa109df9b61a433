"""The best member trained once more, on all training trials: those kept for validation are a fifth of small data.

Population-based training finds a course of hyperparameters (Jaderberg et al. 2017, arXiv:1711.09846): those of the best
member's ancestors, generation by generation. The new member follows it from the ancestors' first weights, for as many
epochs as the best weights took. Without a population the course is constant.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nlbflow.methods.lfads.net import Sizes
from nlbflow.methods.lfads.population import (
    EPOCHS,
    HYPERPARAMETERS,
    Population,
    Range,
    Schedule,
    Trials,
    first_population,
    seed_of,
)
from nlbflow.methods.lfads.training import Training


def lineage(history: list, generation: int) -> list[tuple[int, list[float]]]:
    """The number and hyperparameters in each generation of the ancestors of the best member of `generation`, its own
    at the end.

    Args:
        history: rows of generation, member, hyperparameters, validation loss, parent, as a population has them.
    """
    rows = {(row[0], row[1]): row for row in history}
    member = min((row for row in history if row[0] == generation), key=lambda row: row[-2])[1]
    path = []
    for number in range(generation, 0, -1):
        # its weights came from the parent that it had after the generation before
        member = member if number == generation else rows[number, member][-1]
        path.append((member, rows[number, member][2:-2]))
    return path[::-1]


def refit(
    population: Population,
    sizes: Sizes,
    trials: Trials,
    schedule: Schedule,
    epochs: int,
    seed: int,
    keep: Callable[[Population], None],
) -> Tensor:
    """The running mean of the weights of a member trained on all trials along the best one's course: (parameters,).

    Args:
        population: after its training; it holds what a killed job has already done here.
        trials: all training trials.
        epochs: those of a generation.
        keep: called with the population after each generation.
    """
    course, device = lineage(population.history, population.best_generation), trials.counts.device.type
    if population.refitted:
        again = Population(**population.refitted)
    else:
        ranges = {name: Range(v, v, start=v) for name, v in zip(HYPERPARAMETERS, course[0][1], strict=True)}
        again = first_population(sizes, trials, ranges, seed, [course[0][0]])
    draws = torch.Generator(device)
    training = Training(again, sizes, trials, schedule, [draws])
    for generation in range(again.generation, len(course)):
        member, hyper = course[generation]
        again.hyper = torch.tensor([hyper], dtype=torch.float64)
        draws.manual_seed(seed_of(seed, member, EPOCHS, generation))
        training.epochs(epochs)
        again.generation += 1
        population.refitted = vars(again)
        keep(population)
    return again.average[0]
