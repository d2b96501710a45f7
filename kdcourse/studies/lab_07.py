"""The studies of lab 07, Train online: what schemes without a trained teacher bring for their cost, and why peers help."""

from dataclasses import replace
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.experiments.experiment import Arm, Recipe
from kdcourse.experiments.schemes import Chain, CoTraining, Ensemble, MutualLearning, Peers, peer_accuracy
from kdcourse.methods import Distillation, HardTarget
from kdcourse.methods.base import Batch, Method
from kdcourse.models import convnet
from kdcourse.studies.engine import define
from kdcourse.studies.lab_04 import PICTURES, STUDENT

TEACHER = (16, 32, 64, 64)
SMOOTHING = 0.1


class Smoothed(Method):
    """Labels only, a tenth of each spread over all classes; for one network or for `Peers`."""

    needs_teacher, needs_labels = False, True

    def forward(self, batch: Batch) -> Tensor:
        logits = batch.student_logits
        networks = logits.unbind(dim=1) if logits.ndim == 3 else [logits]
        return sum(F.cross_entropy(one, batch.labels, label_smoothing=SMOOTHING) for one in networks)


class OnlyHowSure(MutualLearning):
    """Mutual learning in which a peer hears how likely the other finds the labelled class, and nothing of the other classes."""

    def of_peer(self, number: int, peers, labels: Tensor) -> Tensor:
        told = [peer if other == number else without_classes(peer, labels) for other, peer in enumerate(peers)]
        return super().of_peer(number, told, labels)


class SharedGradient(MutualLearning):
    """Mutual learning of two peers without the cut: the same loss, and each gets the gradient of both divergences."""

    def forward(self, batch: Batch) -> Tensor:
        peers = batch.student_logits.unbind(dim=1)
        hard = sum(F.cross_entropy(one, batch.labels) for one in peers)
        log_p, log_q = (one.log_softmax(dim=1) for one in peers)
        both = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        return hard + both + F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


def without_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits of the same probability for the labelled class, the others sharing the rest evenly: (N, C), (N,) -> (N, C)."""
    right = logits.softmax(dim=1).gather(1, labels[:, None])
    rest = ((1 - right) / (logits.shape[1] - 1)).clamp(min=1e-8)
    return rest.expand_as(logits).scatter(1, labels[:, None], right).log()


def averaged_accuracy(model: nn.Module, split: Split) -> float:
    """Right answers in percent when the peers answer together, by the mean of their probabilities."""
    return measure.accuracy(Ensemble(model.members, temperature=1), split)


def peer_agreement(model: nn.Module, split: Split) -> float:
    """How often two peers give the same answer, in percent."""
    return measure.agreement(*model.members, split)


def peer_confidence(model: nn.Module, split: Split) -> float:
    """The mean probability that peers give their answers, in percent."""
    sure = [measure.predict(one, split).softmax(dim=1).amax(dim=1).mean().item() for one in model.members]
    return 100 * sum(sure) / len(sure)


@define(
    "07-peers",
    {"": peer_accuracy, "-averaged": averaged_accuracy, "-agreement": peer_agreement, "-confidence": peer_confidence},
)
def pairs(data: ImageData) -> dict[str, Arm]:
    """Two networks each: the same first weights, pictures, batches and arithmetic. Only what they tell each other differs."""
    strangers = _at_once(_alone(data), lambda seed: _small(data, seed, 2), MutualLearning(weight=0), 2)
    return {
        "two strangers": strangers,
        "two peers": replace(strangers, method=MutualLearning()),
        "told only how sure": replace(strangers, method=OnlyHowSure()),
        "label smoothing": replace(strangers, method=Smoothed()),
        "shared gradient": replace(strangers, method=SharedGradient()),
    }


@define("07-online", {"": peer_accuracy}, equal_budgets=False)
def online(data: ImageData) -> dict[str, Arm]:
    """Peers, teacher and student at once, generations; and the same student alone with one budget, two and three."""
    shape = {"classes": len(data.classes), "channels": data.train.images.shape[1]}
    large = partial(convnet, TEACHER, **shape)
    alone = _alone(data)
    taught = replace(alone, method=Distillation(temperature=4, alpha=0.5))

    def pair(seed: int) -> Peers:
        return Peers([large(seed=seed + 1000), alone.student(seed=seed)], evaluated=[1])

    return {
        "alone": alone,
        "alone, budget × 2": replace(alone, steps=2 * alone.steps),
        "alone, budget × 3": replace(alone, steps=3 * alone.steps),
        "smoothed, budget × 2": replace(alone, steps=2 * alone.steps, method=Smoothed()),
        "two peers": _at_once(alone, lambda seed: _small(data, seed, 2), MutualLearning(), 2),
        "three peers": _at_once(alone, lambda seed: _small(data, seed, 3), MutualLearning(), 3),
        "with its teacher": _at_once(alone, pair, CoTraining(alpha=0.5, temperature=4), 2),
        "after its teacher": Chain([replace(alone, student=large), taught]),
        "born again": Chain([alone, taught]),
        "born again, twice": Chain([alone, taught, taught]),
    }


def _alone(data: ImageData) -> Recipe:
    shape = {"classes": len(data.classes), "channels": data.train.images.shape[1]}
    small = partial(convnet, STUDENT, **shape)
    return Recipe(small, lambda seed: data.train.sample(PICTURES, seed), HardTarget(), steps=600, batch_size=32)


def _small(data: ImageData, seed: int, count: int) -> Peers:
    return Peers([_alone(data).student(seed=seed + 1000 * number) for number in range(count)])


def _at_once(recipe: Recipe, student, method, networks: int) -> Recipe:
    return replace(recipe, student=student, method=method, networks=networks)
