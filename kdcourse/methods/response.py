"""Methods of response knowledge: the student imitates the teacher's logits. Each stands for the loss of its name.

Logits are (N, C) for N examples and C classes, labels (N,). Formulas, sources and errors stand with the losses.
"""

from collections.abc import Callable

from torch import Tensor

from kdcourse.losses import response
from kdcourse.methods.base import Batch, Method


class FromLoss(Method):
    """A method that is one function of `kdcourse.losses`, called with the batch's logits and labels.

    settings: the function's hyper-parameters, by name; `with_hyperparameters` changes them.
    """

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
    """The teacher alone, no labels: T² · KL(teacher ‖ student) of the softened probabilities. Loss: `losses.soft_target`.

    temperature: T > 0, default 4. Source: Hinton, Vinyals, Dean (2015), §2.
    """

    loss = staticmethod(response.soft_target)

    def __init__(self, temperature: float = 4.0):
        super().__init__(temperature=temperature)


class Distillation(FromLoss):
    """The classic mixture: alpha · `SoftTarget` + (1 − alpha) · `HardTarget`. Loss: `losses.distillation`.

    temperature: T > 0, of the soft part alone, default 4. alpha: the teacher's share, from 0 to 1, default 0.9; some sources give
    alpha to the labels. Source: Hinton, Vinyals, Dean (2015), §2.
    """

    loss = staticmethod(response.distillation)
    needs_labels = True

    def __init__(self, temperature: float = 4.0, alpha: float = 0.9):
        super().__init__(temperature=temperature, alpha=alpha)


class MultiLabel(FromLoss):
    """Soft targets where several classes may hold at once, each with a sigmoid of its own. Loss: `losses.multi_label`.

    temperature: T > 0, default 4. Source: Yang et al. (2023), *Multi-Label Knowledge Distillation*.
    """

    loss = staticmethod(response.multi_label)

    def __init__(self, temperature: float = 4.0):
        super().__init__(temperature=temperature)


class LabelSmoothing(FromLoss):
    """Labels softened alike for every picture, without a teacher: a cheap rival. Loss: `losses.label_smoothing`.

    smoothing: the share of the probability that all classes have in equal parts, from 0 to 1, default 0.1.
    Source: Szegedy et al. (2016), *Rethinking the Inception Architecture*, §7.
    """

    loss = staticmethod(response.label_smoothing)
    needs_teacher, needs_labels = False, True

    def __init__(self, smoothing: float = 0.1):
        super().__init__(smoothing=smoothing)


class LogitMSE(FromLoss):
    """The teacher's logits themselves: mean squared difference over all N · C elements, no labels. Loss: `losses.logit_mse`.

    Source: Ba, Caruana (2014), *Do Deep Nets Really Need to be Deep?*, eq. 1.
    """

    loss = staticmethod(response.logit_mse)


class Decoupled(FromLoss):
    """DKD: what the teacher says of the true class, and of the others among themselves, weighted apart. Loss: `losses.decoupled`.

    Its paper adds the labels: `Decoupled() + HardTarget()`. alpha, beta: the weights of the two parts, at least 0, defaults 1
    and 8. temperature: T > 0, default 4. Source: Zhao et al. (2022), *Decoupled Knowledge Distillation*, eq. 7.
    """

    loss = staticmethod(response.decoupled)
    needs_labels = True

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0):
        super().__init__(alpha=alpha, beta=beta, temperature=temperature)


class Correlation(FromLoss):
    """DIST: the student's probabilities need only correlate with the teacher's. Loss: `losses.correlation`.

    beta: weight of the correlations of rows (between classes), gamma: of columns (between pictures), at least 0, default 1.
    temperature: T > 0, default 1. Source: Huang et al. (2022), *Knowledge Distillation from A Stronger Teacher*, eq. 8–10.
    """

    loss = staticmethod(response.correlation)
    relates_examples = True

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0):
        super().__init__(beta=beta, gamma=gamma, temperature=temperature)


class StandardizedSoftTarget(FromLoss):
    """`SoftTarget` on logits standardised picture by picture: their scale is free. Loss: `losses.standardized_soft_target`.

    temperature: T > 0, default 2. Source: Sun et al. (2024), *Logit Standardization in Knowledge Distillation*, eq. 11.
    """

    loss = staticmethod(response.standardized_soft_target)

    def __init__(self, temperature: float = 2.0):
        super().__init__(temperature=temperature)
