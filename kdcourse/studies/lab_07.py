"""The study of lab 07, Train online: no trained teacher exists, and budgets are what is compared."""

from dataclasses import replace
from functools import partial

from kdcourse.data.splits import ImageData
from kdcourse.experiments.experiment import Arm, Recipe
from kdcourse.experiments.schemes import Chain, CoTraining, MutualLearning, Peers, peer_accuracy
from kdcourse.methods import Distillation, HardTarget
from kdcourse.models import convnet
from kdcourse.studies.engine import define
from kdcourse.studies.lab_04 import PICTURES, STUDENT

TEACHER = (16, 32, 64, 64)


@define("07-online", {"": peer_accuracy}, equal_budgets=False)
def online(data: ImageData) -> dict[str, Arm]:
    """Peers, teacher and student at once, generations; and the same student alone with one budget, two and three."""
    shape = {"classes": len(data.classes), "channels": data.train.images.shape[1]}
    small, large = partial(convnet, STUDENT, **shape), partial(convnet, TEACHER, **shape)
    alone = Recipe(small, lambda seed: data.train.sample(PICTURES, seed), HardTarget(), steps=600, batch_size=32)
    taught = replace(alone, method=Distillation(temperature=4, alpha=0.5))

    def peers(count: int, seed: int) -> Peers:
        return Peers([small(seed=seed + 1000 * number) for number in range(count)])

    def pair(seed: int) -> Peers:
        return Peers([large(seed=seed + 1000), small(seed=seed)], evaluated=[1])

    return {
        "alone": alone,
        "alone, budget × 2": replace(alone, steps=2 * alone.steps),
        "alone, budget × 3": replace(alone, steps=3 * alone.steps),
        "two peers": _at_once(alone, lambda seed: peers(2, seed), MutualLearning(), 2),
        "three peers": _at_once(alone, lambda seed: peers(3, seed), MutualLearning(), 3),
        "with its teacher": _at_once(alone, pair, CoTraining(alpha=0.5, temperature=4), 2),
        "after its teacher": Chain([replace(alone, student=large), taught]),
        "born again": Chain([alone, taught]),
        "born again, twice": Chain([alone, taught, taught]),
    }


def _at_once(recipe: Recipe, student, method, networks: int) -> Recipe:
    return replace(recipe, student=student, method=method, networks=networks)
