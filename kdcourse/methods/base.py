"""A method ties a loss to what it needs: a teacher's logits, the labels, layers to look at, parameters of its own.

Methods add and scale like the losses they stand for:

    SoftTarget(temperature=4) * 0.9 + HardTarget() * 0.1      # what Distillation(temperature=4, alpha=0.9) computes
    Distillation() + AttentionTransfer({"stage2": "stage2"}) * 100

The training loop calls a method with a `Batch` and never asks which one it is.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real

from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.losses.checks import check_labels


@dataclass
class Batch:
    """What one training step knows of its N examples; None or empty where the method did not ask for it.

    student_logits, teacher_logits: (N, C) for C classes, or (N, L, V) for L tokens of V words. labels: (N,) or (N, L) int64.
    inputs: (N, …), pictures or tokens. student_features, teacher_features: name of a layer -> its output (N, …).
    student, teacher: the models themselves.
    """

    student_logits: Tensor
    teacher_logits: Tensor | None = None
    labels: Tensor | None = None
    inputs: Tensor | None = None
    student_features: dict[str, Tensor] = field(default_factory=dict)
    teacher_features: dict[str, Tensor] = field(default_factory=dict)
    student: nn.Module | None = None
    teacher: nn.Module | None = None


class Method(nn.Module):
    """A training objective: called with a `Batch`, it gives the loss, a scalar. Subclasses define `forward`.

    Parameters that a subclass registers are trained together with the student's.
    needs_teacher, needs_labels: whether a batch must hold the teacher's logits, default True, and labels, default False.
    needs_gradients: whether the loss holds a gradient with respect to the inputs; the teacher is then asked at every step,
    not once. Default False. relates_examples: whether the loss compares the examples of a batch with each other, so that it is
    no mean over parts of the batch. Default False. extra_passes: forward passes of the student and of the teacher for each
    example, beyond those that every step takes; a pass that is learnt from counts as three. Default (0, 0).
    """

    needs_teacher = True
    needs_labels = False
    needs_gradients = False
    relates_examples = False
    extra_passes = (0, 0)

    @property
    def features(self) -> list[tuple[str, str]]:
        """Pairs of layers to look at, (student's, teacher's)."""
        return []

    def prepare(self, batch: Batch) -> None:
        """Called once before training with a few examples: here a method makes what depends on shapes, such as a regressor."""

    def forward(self, batch: Batch) -> Tensor:
        """The loss of one batch, a scalar. Raises `TypeError` where a subclass defines none."""
        raise TypeError(f"{type(self).__name__} computes no loss: a method defines forward(batch)")

    @property
    def hyperparameters(self) -> dict[str, float]:
        """Its numbers that `with_hyperparameters` can change, by name."""
        return dict(getattr(self, "settings", {}))

    def with_hyperparameters(self, **numbers: float) -> "Method":
        """The same method, sharing what it has learnt, with other numbers, as in with_hyperparameters(temperature=2).

        Raises `ValueError` for a number that is none of its `hyperparameters`.
        """
        self._check_known(numbers)
        other = copy.copy(self)
        other.settings = {**self.settings, **numbers}
        return other

    def _check_known(self, numbers: Iterable[str]) -> None:
        for name in numbers:
            if name not in self.hyperparameters:
                known = ", ".join(self.hyperparameters) or "none"
                raise ValueError(f"{name} is no number of {self!r} that can be changed; it has {known}")

    def __add__(self, other: "Method") -> "Method":
        if not isinstance(other, Method):
            raise ValueError(f"to a method a method can be added, such as HardTarget(), got {other!r}")
        return WeightedSum([(1.0, self), (1.0, other)])

    def __mul__(self, weight: float) -> "Method":
        if not isinstance(weight, Real) or not math.isfinite(weight):
            raise ValueError(f"weight of a method must be a finite number, got {weight!r}")
        return WeightedSum([(float(weight), self)])

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class WeightedSum(Method):
    """Several methods at once: the sum of weight · loss over all of them. It is what `+` and `*` make of methods.

    terms: pairs (weight, method). It needs whatever one of its methods needs.
    """

    def __init__(self, terms: list[tuple[float, Method]]):
        super().__init__()
        # Sums of sums are one flat sum, so that an objective prints as it was written.
        flat = [
            (weight * inner, method)
            for weight, term in terms
            for inner, method in (term.terms() if isinstance(term, WeightedSum) else [(1.0, term)])
        ]
        self.weights = [weight for weight, _ in flat]
        self.methods = nn.ModuleList(method for _, method in flat)
        self.needs_teacher = any(method.needs_teacher for method in self.methods)
        self.needs_labels = any(method.needs_labels for method in self.methods)
        self.needs_gradients = any(method.needs_gradients for method in self.methods)
        self.relates_examples = any(method.relates_examples for method in self.methods)
        self.extra_passes = tuple(sum(method.extra_passes[side] for method in self.methods) for side in (0, 1))

    @property
    def features(self) -> list[tuple[str, str]]:
        return [pair for method in self.methods for pair in method.features]

    def terms(self) -> list[tuple[float, Method]]:
        return list(zip(self.weights, self.methods, strict=True))

    @property
    def hyperparameters(self) -> dict[str, float]:
        """Those of all its terms; where several have one of a name, the first term's."""
        return {name: number for method in reversed(self.methods) for name, number in method.hyperparameters.items()}

    def with_hyperparameters(self, **numbers: float) -> "Method":
        """Every term that has a number of the name gets it."""
        self._check_known(numbers)
        given = [
            {name: number for name, number in numbers.items() if name in one.hyperparameters} for one in self.methods
        ]
        pairs = zip(self.terms(), given, strict=True)
        return WeightedSum(
            [(weight, method.with_hyperparameters(**own) if own else method) for (weight, method), own in pairs]
        )

    def prepare(self, batch: Batch) -> None:
        for method in self.methods:
            method.prepare(batch)

    def forward(self, batch: Batch) -> Tensor:
        return sum(weight * method(batch) for weight, method in self.terms())

    def __repr__(self) -> str:
        return " + ".join(
            f"{method!r}" if weight == 1 else f"{method!r} * {weight:g}" for weight, method in self.terms()
        )


class HardTarget(Method):
    """Labels only: the student's cross-entropy with the labels at T = 1, mean over the batch, in nats. No teacher is asked.

    The baseline of most comparisons. Raises `ValueError` for labels that name no class.
    """

    needs_teacher, needs_labels = False, True

    def forward(self, batch: Batch) -> Tensor:
        check_labels(batch.labels, batch.student_logits)
        return F.cross_entropy(batch.student_logits, batch.labels)
