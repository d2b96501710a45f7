"""A method ties a loss to what it needs: a teacher's logits, the labels, parameters of its own.

Methods add and scale like the losses they stand for:

    SoftTarget(temperature=4) * 0.9 + HardTarget() * 0.1      # what Distillation(temperature=4, alpha=0.9) computes

The training loop calls a method with a `Batch` and never asks which one it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.losses import response


@dataclass
class Batch:
    """What one training step knows. Logits are (N, C), labels (N,) int64; None where a method did not ask for it."""

    student_logits: Tensor
    teacher_logits: Tensor | None = None
    labels: Tensor | None = None


class Method(nn.Module):
    """A training objective. Parameters that a subclass registers are trained together with the student's."""

    needs_teacher = True
    needs_labels = False

    def forward(self, batch: Batch) -> Tensor:
        """The loss of one batch, a scalar."""
        raise TypeError(f"{type(self).__name__} computes no loss: a method defines forward(batch)")

    def __add__(self, other: "Method") -> "Method":
        return WeightedSum([(1.0, self), (1.0, other)])

    def __mul__(self, weight: float) -> "Method":
        return WeightedSum([(float(weight), self)])

    __rmul__ = __mul__


class WeightedSum(Method):
    """Several methods at once, each with its weight; what `+` and `*` make."""

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

    def terms(self) -> list[tuple[float, Method]]:
        return list(zip(self.weights, self.methods, strict=True))

    def forward(self, batch: Batch) -> Tensor:
        return sum(weight * method(batch) for weight, method in self.terms())

    def extra_repr(self) -> str:
        return f"weights={self.weights}"


class HardTarget(Method):
    """Labels only: the cross-entropy of the student, the baseline of every comparison."""

    needs_teacher, needs_labels = False, True

    def forward(self, batch: Batch) -> Tensor:
        return F.cross_entropy(batch.student_logits, batch.labels)


class FromLoss(Method):
    """A method that is one function of `kdcourse.losses`, with its hyper-parameters as `settings`."""

    loss: Callable[..., Tensor]

    def __init__(self, **settings: float):
        super().__init__()
        self.settings = settings

    def forward(self, batch: Batch) -> Tensor:
        given = (batch.student_logits, batch.teacher_logits) + ((batch.labels,) if self.needs_labels else ())
        return self.loss(*given, **self.settings)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())


class SoftTarget(FromLoss):
    """The teacher's softened probabilities as targets, no labels. Loss: `losses.soft_target`."""

    loss = staticmethod(response.soft_target)

    def __init__(self, temperature: float = 4.0):
        super().__init__(temperature=temperature)


class Distillation(FromLoss):
    """The classic recipe: alpha · soft targets + (1 − alpha) · labels. Loss: `losses.distillation`."""

    loss = staticmethod(response.distillation)
    needs_labels = True

    def __init__(self, temperature: float = 4.0, alpha: float = 0.9):
        super().__init__(temperature=temperature, alpha=alpha)


class LogitMSE(FromLoss):
    """Logits matched directly. Loss: `losses.logit_mse`."""

    loss = staticmethod(response.logit_mse)


class Decoupled(FromLoss):
    """DKD: target and non-target knowledge weighted apart; its paper adds `HardTarget()`. Loss: `losses.decoupled`."""

    loss = staticmethod(response.decoupled)
    needs_labels = True

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0):
        super().__init__(alpha=alpha, beta=beta, temperature=temperature)


class Correlation(FromLoss):
    """DIST: correlations within the rows and columns of the predictions. Loss: `losses.correlation`."""

    loss = staticmethod(response.correlation)

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0):
        super().__init__(beta=beta, gamma=gamma, temperature=temperature)


class StandardizedSoftTarget(FromLoss):
    """Soft targets from z-scored logits. Loss: `losses.standardized_soft_target`."""

    loss = staticmethod(response.standardized_soft_target)

    def __init__(self, temperature: float = 2.0):
        super().__init__(temperature=temperature)
