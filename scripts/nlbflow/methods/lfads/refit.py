"""The best member trained once more, on all training trials: those kept for validation are a fifth of small data.

Population-based training finds a course of hyperparameters (Jaderberg et al. 2017, arXiv:1711.09846): those of the best
member's ancestors, generation by generation. The new member follows it from the ancestors' first weights, for as many
epochs as the best weights took. Without a population the course is constant.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nlbflow.methods.lfads.joint import Joint
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
    populations: Sequence[Population],
    sizes: Sizes,
    trials: Trials,
    schedule: Schedule,
    epochs: int,
    seeds: Sequence[int],
    keep: Callable[[Sequence[Population]], None],
) -> list[Tensor]:
    """For each population the running mean of the weights of a member trained on all trials along the best one's
    course: (parameters,).

    Args:
        populations: after their training; each holds what a killed job has already done here.
        trials: all training trials.
        epochs: those of a generation.
        seeds: one for each.
        keep: called with the populations after each generation.
    """
    courses = [lineage(population.history, population.best_generation) for population in populations]
    device, again = trials.counts.device.type, []
    for population, course, seed in zip(populations, courses, seeds, strict=True):
        if population.refitted:
            again.append(Population(**population.refitted))
        else:
            ranges = {name: Range(v, v, start=v) for name, v in zip(HYPERPARAMETERS, course[0][1], strict=True)}
            again.append(first_population(sizes, trials, ranges, seed, [course[0][0]]))

    def active() -> list[int]:
        return [number for number, course in enumerate(courses) if again[number].generation < len(course)]

    while trained := active():
        joint = Joint([again[number] for number in trained])
        draws = [torch.Generator(device) for _ in trained]
        training = Training(joint.whole, sizes, trials, schedule, draws)
        # until one of them ends; the others go on without it
        while len(active()) == len(trained):
            for number, generator in zip(trained, draws, strict=True):
                one = again[number]
                member, hyper = courses[number][one.generation]
                one.hyper = torch.tensor([hyper], dtype=torch.float64)
                generator.manual_seed(seed_of(seeds[number], member, EPOCHS, one.generation))
            with joint.together():
                training.epochs(epochs)
            for number in trained:
                again[number].generation += 1
                populations[number].refitted = vars(again[number])
            keep(populations)
    return [one.average[0] for one in again]
