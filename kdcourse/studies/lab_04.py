"""The studies of lab 04, Distil features.

Weights are chosen by validation accuracy on Fashion-MNIST with seeds 100 to 102, which nothing that is ranked uses: the studies
04-weights and 04-pairing-weights. Glyphs get the same weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from torch import nn

from kdcourse import zoo
from kdcourse.data.splits import ImageData
from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import (
    ActivationBoundary,
    AttentionTransfer,
    Distillation,
    GradientAttention,
    HardTarget,
    Hint,
    JacobianMatching,
    Method,
    NeuronSelectivity,
    VariationalInformation,
    WeightTransfer,
)
from kdcourse.models import convnet, separable
from kdcourse.studies.engine import define
from kdcourse.training.cache import TeacherCache

STUDENT = (8, 16, 32, 32)
PICTURES = 1000  # labelled ones
KD = Distillation(temperature=4, alpha=0.9)


def at(*stages: int, student: str = "", ours: str = "", theirs: str = "") -> dict[str, str]:
    """Pairs of stages: at(2) is {"stage2": "stage2"}; `ours` and `theirs` name a layer within the stage."""
    return {f"{student}stage{stage}{ours}": f"stage{stage}{theirs}" for stage in stages}


def few_labels(data: ImageData, student: Callable[..., nn.Module]) -> Recipe:
    """What the arms share: a student that is short of labels, and a strong teacher whose answers are cached."""
    return Recipe(
        partial(student, classes=len(data.classes), channels=data.train.images.shape[1]),
        lambda seed: data.train.sample(PICTURES, seed),
        teacher=TeacherCache(zoo.teacher("convnet", data, announce=False)),
        steps=600,
        batch_size=32,
    )


def arms(base: Recipe, methods: Mapping[str, Method]) -> dict[str, Recipe]:
    return {arm: replace(base, method=method) for arm, method in methods.items()}


# Each method, the weights that the study 04-weights tries, and the one of them that is best on validation data.
FEATURES: dict[str, tuple[Method, tuple[float, ...], float]] = {
    "hint": (Hint(at(4)), (0.3, 1, 3, 10, 30), 3),
    "attention transfer": (AttentionTransfer(at(2)), (3, 10, 30, 100, 300, 1000), 10),
    "activation boundaries": (ActivationBoundary(at(4, ours=".1", theirs=".1")), (0.3, 1, 3, 10, 30), 10),
    "neuron selectivity": (NeuronSelectivity(at(2)), (1, 3, 10, 30, 100), 3),
    "variational information": (VariationalInformation(at(4)), (0.3, 1, 3, 10, 30, 100), 100),
    "weights": (WeightTransfer({"stage4.0.weight": "stage4.0.weight"}), (0.1, 0.3, 1, 3, 10), 0.1),
    "Jacobian": (JacobianMatching(), (100, 300, 1000, 3000, 10_000, 30_000), 3000),
    "gradient attention": (GradientAttention(), (10, 30, 100, 300, 1000), 100),
}
PUBLISHED = 3000  # 1000 at each of three stages, as Tian et al. (2020); the method takes the mean over stages
ATTENTION = (30, 100, 300, 1000, PUBLISHED)
# Its builder, what its stages are called, and the best of these weights on validation data.
STUDENTS = {"same": (partial(convnet, STUDENT), "", 100), "other": (separable, "features.", 30)}
FOR_WEIGHTS = {"seeds": range(100, 103), "sets": ("fashion-mnist",)}


@define("04-weights", **FOR_WEIGHTS)
def weights(data: ImageData) -> dict[str, Recipe]:
    """Each feature method at several weights, with seeds that no other study uses: validation scores choose the weight."""
    tried = {
        f"{name} × {weight:g}": HardTarget() + method * weight
        for name, (method, candidates, _) in FEATURES.items()
        for weight in candidates
    }
    return arms(few_labels(data, partial(convnet, STUDENT)), {"labels only": HardTarget(), **tried})


@define("04-methods")
def methods(data: ImageData) -> dict[str, Recipe]:
    """Each feature method with labels alone, and on top of plain KD."""
    weighted = {name: method * weight for name, (method, _, weight) in FEATURES.items()}
    alone = {name: HardTarget() + method for name, method in weighted.items()}
    with_kd = {f"KD + {name}": KD + method for name, method in weighted.items()}
    return arms(
        few_labels(data, partial(convnet, STUDENT)), {"labels only": HardTarget(), **alone, "KD": KD, **with_kd}
    )


@define("04-layers")
def layers(data: ImageData) -> dict[str, Recipe]:
    """The same hint at each stage."""
    hints = {f"stage{stage}": HardTarget() + Hint(at(stage)) * 3 for stage in (1, 2, 3, 4)}
    return arms(few_labels(data, partial(convnet, STUDENT)), {"labels only": HardTarget(), **hints})


def _attention(prefix: str, weight: float) -> Method:
    return HardTarget() + AttentionTransfer(at(1, 2, 3, student=prefix)) * weight


@define("04-pairing-weights", **FOR_WEIGHTS)
def pairing_weights(data: ImageData) -> dict[str, Recipe]:
    """Attention at three stages at five weights, for both students of the pairing, with seeds that no other study uses."""
    return {
        f"{name} × {weight:g}": replace(few_labels(data, student), method=_attention(prefix, weight))
        for name, (student, prefix, _) in STUDENTS.items()
        for weight in ATTENTION
    }


def _pairing(data: ImageData, name: str) -> dict[str, Recipe]:
    """Attention at three stages with the published weight and with the best on validation data, and a hint at the last stage.

    Seeds 0 to 4 were seen while this study took shape (the first run had a third of the published weight), so it has fresh ones.
    """
    student, prefix, weight = STUDENTS[name]
    _, _, hint_weight = FEATURES["hint"]
    methods = {
        "labels only": HardTarget(),
        "KD": KD,
        "attention, published weight": _attention(prefix, PUBLISHED),
        "attention, weight by validation": _attention(prefix, weight),
        "hint, stage 4": HardTarget() + Hint(at(4, student=prefix)) * hint_weight,
    }
    return arms(few_labels(data, student), methods)


@define("04-same-architecture", seeds=range(5, 10))
def same_architecture(data: ImageData) -> dict[str, Recipe]:
    """A student built as its teacher is, only smaller."""
    return _pairing(data, "same")


@define("04-other-architecture", seeds=range(5, 10))
def other_architecture(data: ImageData) -> dict[str, Recipe]:
    """A small MobileNet under the same teacher."""
    return _pairing(data, "other")
