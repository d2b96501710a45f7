"""The studies of lab 12, Choose your compression: one network made smaller in every way, and repaired.

One learning rate for every arm, of 3e-4, 1e-3 and 3e-3: on each data set the best for the small student, by validation accuracy
with seeds 100 to 102, which nothing that is ranked uses; labels and the teacher agree on it.

The network in 2 bits has others, chosen on Fashion-MNIST by validation accuracy with seed 100: of 3e-4 and 1e-3 the better for
each of its two kinds of scales, on which labels and the teacher agree; of 1e-4 and 3e-4 the better where nothing is rounded.
Fine-tuning after pruning has the best of 1e-4, 3e-4 and 1e-3 with seed 100 on each data set, but for the first training's own
rate, which is rewinding.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from kdcourse import zoo
from kdcourse.data.splits import ImageData, Split
from kdcourse.deployment.compression import prune, prune_units, quantize, rewind, round_weights
from kdcourse.evaluation import measure
from kdcourse.experiments.experiment import Arm, NoTraining, Recipe
from kdcourse.experiments.facts import Facts, starts_trained
from kdcourse.experiments.schemes import WarmStart
from kdcourse.methods import HardTarget, SoftTarget
from kdcourse.models import perceptron
from kdcourse.studies.engine import define
from kdcourse.training.cache import TeacherCache

PICTURES, STEPS = 5000, 300
WEIGHTS, UNITS = 0.9, 0.875  # the shares that are pruned
BITS, BITS_STEPS = 2, 100  # fewer bits than the weights can spare; a step of the whole network is dear
BITS_RATES = {"largest": 1e-3, "best": 3e-4}  # by the scales
ALL_BITS_RATE = 1e-4
TICKET_HIDDEN, TICKET_STEPS, TICKET_SHARE = 128, 400, 0.95
TUNING_RATE, TUNING_RATES = 1e-3, {"glyphs": 3e-4}
OTHER_WEIGHTS = 1000  # added to a seed: weights that belong to no run
TEMPERATURE = 2
LEARNING_RATES = {"glyphs": 1e-3}
LEARNING_RATE = 3e-3  # on other pictures


@dataclass(frozen=True)
class PostTraining:
    """A recipe whose student is changed once it is trained."""

    recipe: Recipe
    change: Callable[[nn.Module], nn.Module]

    @property
    def budget(self) -> int:
        return self.recipe.budget

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        return self.change(self.recipe.run(seed))

    def describe(self, student: nn.Module) -> dict:
        return {**self.recipe.describe(student), "then": self.change.__name__}

    def facts(self, seed: int = 0) -> Facts:
        return self.recipe.facts(seed)


def small(data: ImageData, hidden: int) -> Callable[..., nn.Module]:
    """A student of two hidden layers, its weights by seed."""
    return partial(perceptron, (hidden, hidden), **data.sizes)


def start_from(network: nn.Module, change: Callable[..., nn.Module], *settings, **more) -> Callable[..., nn.Module]:
    """A student that begins as change(network, …), whatever the seed."""
    return starts_trained(lambda seed=0: change(network, *settings, **more))


def as_it_is(network: nn.Module) -> NoTraining:
    """An arm: the network, whatever the seed."""
    return NoTraining(starts_trained(lambda seed=0: network))


def by_labels(data: ImageData, student: Callable[..., nn.Module]) -> Recipe:
    rate = LEARNING_RATES.get(data.name, LEARNING_RATE)
    return Recipe(student, partial(data.train.sample, PICTURES), HardTarget(), steps=STEPS, learning_rate=rate)


def by_teacher(data: ImageData, student: Callable[..., nn.Module], teacher: TeacherCache) -> Recipe:
    """The same pictures; their labels are not looked at."""
    return replace(by_labels(data, student), method=SoftTarget(TEMPERATURE), teacher=teacher)


@define("12-compression", equal_budgets=False)
def compression(data: ImageData) -> dict[str, Arm]:
    """The shipped perceptron as it is, in 8 bits, without weights, without units; repaired; and small students from scratch."""
    network = zoo.teacher("perceptron", data, announce=False)
    cache = TeacherCache(network)
    fewer_weights, fewer_units = start_from(network, prune, WEIGHTS), start_from(network, prune_units, UNITS)
    scratch = by_teacher(data, small(data, fewer_units().classifier.in_features), cache)
    repaired = by_teacher(data, fewer_units, cache)
    with_holes = by_labels(data, fewer_weights)
    return {
        "the network": as_it_is(network),
        "int8": NoTraining(start_from(network, quantize, activations=True)),
        "weights pruned": NoTraining(fewer_weights),
        "weights pruned, labels": with_holes,
        "weights pruned, teacher": replace(with_holes, method=SoftTarget(TEMPERATURE), teacher=cache),
        "units pruned": NoTraining(fewer_units),
        "units pruned, labels": by_labels(data, fewer_units),
        "units pruned, teacher": repaired,
        "units pruned, teacher, int8": PostTraining(repaired, quantize),
        "small, labels": replace(scratch, method=HardTarget(), teacher=None),
        "small, teacher": scratch,
        "small, teacher, budget × 4": replace(scratch, steps=4 * STEPS),
    }


@define("12-bits", equal_budgets=False)
def few_bits(data: ImageData) -> dict[str, Arm]:
    """The network in 2 bits, by plain rounding and by better scales; trained with the rounding, by labels and by its teacher.

    The rivals: trained as long by labels in all its bits, as it is then and rounded afterwards. Its teacher is the network
    itself, in all bits, from which there is nothing to learn before the rounding.
    """
    network = zoo.teacher("perceptron", data, announce=False)
    cache = TeacherCache(network)
    arms: dict[str, Arm] = {"the network": as_it_is(network)}
    for name, scales in ((f"{BITS} bits", "largest"), (f"{BITS} bits, best scales", "best")):
        rounded = start_from(network, round_weights, BITS, scales=scales)
        labels = replace(by_labels(data, rounded), steps=BITS_STEPS, learning_rate=BITS_RATES[scales])
        arms[name] = NoTraining(rounded)
        arms[f"{name}, labels"] = labels
        arms[f"{name}, teacher"] = replace(labels, method=SoftTarget(TEMPERATURE), teacher=cache)
    nowhere = starts_trained(lambda seed=0: round_weights(network, BITS, layers=()))  # no dropout, as in the others
    longer = replace(by_labels(data, nowhere), steps=BITS_STEPS, learning_rate=ALL_BITS_RATE)
    arms["all bits, labels"] = longer
    arms["all bits, labels, then best scales"] = PostTraining(longer, in_few_bits)
    return arms


def in_few_bits(model: nn.Module) -> nn.Module:
    return round_weights(model, BITS, scales="best")


class Tickets:
    """Networks that were trained and lost their weights nearest to zero, and go on from an earlier step of that training.

    recipe: of the training, once for each seed. share: of the weights that go, by their magnitude after the last step; all
    that is asked of one seed has the same mask. Source: Frankle, Carbin (2019), who prune in several rounds; here it is one.
    """

    def __init__(self, recipe: Recipe, share: float, early: int):
        self.recipe, self.share, self.early = recipe, share, early
        self._kept: dict[int, dict[int, nn.Module]] = {}

    def after(self, step: int) -> Callable[..., nn.Module]:
        """A builder of students with the mask of the end and the weights of this step: 0, `early` or the recipe's last."""
        return self._builder(lambda seed: self._stages(seed)[step])

    def by_chance(self) -> Callable[..., nn.Module]:
        """A builder of students with the same mask, on first weights that are not those of the training."""
        return self._builder(lambda seed: self.recipe.student(seed=seed + OTHER_WEIGHTS))

    def _builder(self, weights: Callable[[int], nn.Module]) -> Callable[..., nn.Module]:
        def ticket(*, seed: int = 0) -> nn.Module:
            return rewind(prune(self._stages(seed)[self.recipe.steps], self.share), weights(seed))

        ticket.work = self.recipe.work
        ticket.untrained = lambda *, seed: self.recipe.student(seed=seed)
        return starts_trained(ticket)

    def _stages(self, seed: int) -> dict[int, nn.Module]:
        """The network before training, after `early` steps and after the last: {step: model}."""
        if seed not in self._kept:
            student, training = self.recipe.begin(seed)
            stages = {0: copy.deepcopy(student)}

            def keep(state) -> None:
                if state.step == self.early:
                    stages[self.early] = copy.deepcopy(student)

            training(callbacks=[keep], progress=False)
            self._kept[seed] = {**stages, self.recipe.steps: student}
        return self._kept[seed]


def in_part(model: nn.Module) -> nn.Module:
    """The network without the share of its weights that the study of rewinding takes."""
    return prune(model, TICKET_SHARE)


@define("12-rewinding", equal_budgets=False)
def rewinding(data: ImageData) -> dict[str, Arm]:
    """A small network, trained by labels and pruned: trained on, or from earlier weights, or with the first learning rate."""
    first = replace(by_labels(data, small(data, TICKET_HIDDEN)), steps=TICKET_STEPS)
    tickets = Tickets(first, TICKET_SHARE, TICKET_STEPS // 10)
    rewound = replace(first, student=tickets.after(TICKET_STEPS))
    return {
        "fine-tuned": replace(rewound, learning_rate=TUNING_RATES.get(data.name, TUNING_RATE)),
        "learning rate rewound": rewound,
        "weights rewound, a tenth": replace(first, student=tickets.after(TICKET_STEPS // 10)),
        "weights rewound, start": replace(first, student=tickets.after(0)),
        "the mask, other weights": replace(first, student=tickets.by_chance()),
        "pruned": PostTraining(first, in_part),
        "not pruned": first,
        "not pruned, trained on": replace(first, student=WarmStart(first)),
    }


def rotated(split: Split) -> Split:
    """The same pictures on their side: a new camera, another task."""
    return Split(split.images.rot90(1, (2, 3)).contiguous(memory_format=torch.channels_last), split.labels)


def accuracy_on_rotated(model: nn.Module, split: Split) -> float:
    return measure.accuracy(model, rotated(split))


@define("12-fine-tuning", {"": accuracy_on_rotated, "-before": measure.accuracy}, equal_budgets=False)
def fine_tuning(data: ImageData) -> dict[str, Arm]:
    """The network on turned pictures, as it is and trained further on them; "-before": on the pictures that it was made for."""
    network = zoo.teacher("perceptron", data, announce=False)
    further = by_labels(data, starts_trained(lambda seed: copy.deepcopy(network).requires_grad_(True)))
    return {
        "the network": as_it_is(network),
        "fine-tuned": replace(further, train=lambda seed: rotated(data.train.sample(PICTURES, seed))),
    }
