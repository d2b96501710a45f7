"""Methods of response knowledge: what the last layer says. Each stands for the loss of its name."""

from collections.abc import Callable

from torch import Tensor

from kdcourse.losses import response
from kdcourse.methods.base import Batch, Method


class FromLoss(Method):
    """A method that is one function of `kdcourse.losses`, with its hyper-parameters as `settings`."""

    loss: Callable[..., Tensor]

    def __init__(self, **settings: float):
        super().__init__()
        self.settings = settings

    def forward(self, batch: Batch) -> Tensor:
        given = [batch.student_logits]
        given += [batch.teacher_logits] if self.needs_teacher else []
        given += [batch.labels] if self.needs_labels else []
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


class MultiLabel(FromLoss):
    """Soft targets where several classes may hold at once: a sigmoid each. Loss: `losses.multi_label`."""

    loss = staticmethod(response.multi_label)

    def __init__(self, temperature: float = 4.0):
        super().__init__(temperature=temperature)


class LabelSmoothing(FromLoss):
    """Labels softened alike for every picture, without a teacher: a cheap rival. Loss: `losses.label_smoothing`."""

    loss = staticmethod(response.label_smoothing)
    needs_teacher, needs_labels = False, True

    def __init__(self, smoothing: float = 0.1):
        super().__init__(smoothing=smoothing)


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
    relates_examples = True

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0):
        super().__init__(beta=beta, gamma=gamma, temperature=temperature)


class StandardizedSoftTarget(FromLoss):
    """Soft targets from z-scored logits. Loss: `losses.standardized_soft_target`."""

    loss = staticmethod(response.standardized_soft_target)

    def __init__(self, temperature: float = 2.0):
        super().__init__(temperature=temperature)
