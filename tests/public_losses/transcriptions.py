"""The formulas of the public losses, told again in a few lines each: what the always-run test looks at.

Each stands under the name that packages.py gives the loss itself, and test_installed.py holds the two together where the
package is there.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def _kl(student, teacher, temperature=1.0):
    """KL(teacher ‖ student) at each place, softened, and no T²."""
    p, log_q = F.softmax(teacher / temperature, -1), F.log_softmax(student / temperature, -1)
    return (torch.xlogy(p, p) - p * log_q).sum(-1)


class RawLogits:
    """Keras: its default, a name, becomes no KLDivergence object, so that the logits / T are taken for probabilities."""

    temperature = 3.0

    def compute_loss(self, teacher_outputs, student_outputs):
        p, q = ((side / self.temperature).clamp(1e-7, 1) for side in (teacher_outputs, student_outputs))
        return (p * (p / q).log()).sum(-1).mean()


def no_square(student, teacher, temperature):
    """torchdistill without alpha: T² is multiplied in its other branch only."""
    return _kl(student, teacher, temperature).mean()


def alpha_on_labels(student, teacher, labels, temperature, alpha):
    """torchdistill with alpha: as its docstring says, alpha is the labels'."""
    return (
        alpha * F.cross_entropy(student, labels)
        + (1 - alpha) * temperature**2 * _kl(student, teacher, temperature).mean()
    )


def cross_entropy(logits_S, logits_T, temperature=1.0):
    """TextBrewer: soft cross-entropy, T² left to the caller."""
    return -(F.softmax(logits_T / temperature, -1) * F.log_softmax(logits_S / temperature, -1)).sum(-1).mean()


def logits_squared(logits_S, logits_T, temperature=1.0):
    """TextBrewer: squared error of logits / T."""
    return F.mse_loss(logits_S / temperature, logits_T / temperature)


class SquaredProbabilities:
    """KD_Lib: squared error of softened probabilities times T², half and half with the labels."""

    temp, distil_weight = 20.0, 0.5

    def forward(self, student, teacher, y_true):
        q, p = F.softmax(student / self.temp, 1), F.softmax(teacher / self.temp, 1)
        hard = F.cross_entropy(student, y_true)
        return (1 - self.distil_weight) * hard + self.distil_weight * self.temp**2 * (q - p).square().mean()


class ForwardTokens(nn.Module):
    """torchtune: soft cross-entropy at the tokens whose label is not −100, no temperature."""

    ignore_index = -100

    def forward(self, student_logits, teacher_logits, labels):
        real = (labels != self.ignore_index).flatten()
        each = -(F.softmax(teacher_logits, -1) * F.log_softmax(student_logits, -1)).sum(-1).flatten()
        return each[real].mean()


class ReverseTokens(ForwardTokens):
    """torchtune: KL(student ‖ teacher) at the same tokens."""

    def forward(self, student_logits, teacher_logits, labels):
        real = (labels != self.ignore_index).flatten()
        log_q, log_p = F.log_softmax(student_logits, -1), F.log_softmax(teacher_logits, -1)
        return (log_q.exp() * (log_q - log_p)).sum(-1).flatten()[real].mean()


def jensen_shannon(student_logits, teacher_logits, labels=None, beta=0.5, temperature=1.0):
    """TRL and llm-distil at their default: Jensen-Shannon at the real tokens, no T²."""
    q, p = (F.log_softmax(side / temperature, -1) for side in (student_logits, teacher_logits))
    middle = torch.logaddexp(p + math.log(beta), q + math.log(1 - beta))
    each = (beta * p.exp() * (p - middle) + (1 - beta) * q.exp() * (q - middle)).sum(-1)
    return each.mean() if labels is None else each[labels != -100].mean()


def right(student_logits, teacher_logits, temperature=4.0):
    """peftml, rictr and distil-trainer: the classic loss, the teacher not detached."""
    return temperature**2 * _kl(student_logits, teacher_logits, temperature).mean()


def right_at_two(student, teacher):
    """silverspoon-kd: the same, its temperature fixed when the loss is made."""
    return right(student, teacher, 2.0)


def by_text(student_logits, teacher_logits, temperature=1.0, pad_mask=None):
    """llm-distil: the mean within each text, then over the texts."""
    each = _kl(student_logits, teacher_logits, temperature)
    means = each.mean(-1) if pad_mask is None else (each * pad_mask).sum(-1) / pad_mask.sum(-1)
    return temperature**2 * means.mean()


class SmoothedLabels(nn.Module):
    """darklight: log(softmax) on the student, labels smoothed by 0.1."""

    def __init__(self):
        super().__init__()
        self.register_buffer("temperature", torch.tensor(10.0))
        self.register_buffer("lamda", torch.tensor(0.5))

    def forward(self, model_output, dense_targets, class_targets):
        q, p = F.softmax(model_output / self.temperature, 1), F.softmax(dense_targets / self.temperature, 1)
        soft = (torch.xlogy(p, p) - p * q.log()).sum(1).mean() * self.temperature**2
        return (1 - self.lamda) * F.cross_entropy(model_output, class_targets, label_smoothing=0.1) + self.lamda * soft


class MeanOverClasses(nn.Module):
    """modelopt: T² and the mean over all elements, its default; the teacher detached."""

    _temperature = 1.0

    def forward(self, logits_s, logits_t):
        each = _kl(logits_s, logits_t.detach(), self._temperature) / logits_s.shape[-1]
        return self._temperature**2 * each.mean()


TRANSCRIPTIONS = {
    "torch.nn.KLDivLoss()": nn.KLDivLoss(),  # the course's own environment holds it
    "keras.distillation.LogitsDistillation(3.0)": RawLogits(),
    "torchdistill KDLoss(alpha=None)": no_square,
    "torchdistill KDLoss(alpha)": alpha_on_labels,
    "textbrewer kd_ce_loss": cross_entropy,
    "textbrewer kd_mse_loss": logits_squared,
    "KD_Lib VanillaKD.calculate_kd_loss": SquaredProbabilities(),
    "torchtune ForwardKLLoss": ForwardTokens(),
    "torchtune ReverseKLLoss": ReverseTokens(),
    "trl GKDTrainer.generalized_jsd_loss": jensen_shannon,
    "peftml hinton_kd_loss": right,
    "rictr kl_divergence": right,
    "silverspoon_kd kl_divergence_loss(2.0)": right_at_two,
    "llm_distil sequence_kl_divergence": by_text,
    "llm_distil generalized_jsd_loss": jensen_shannon,
    "distil_trainer kl_divergence_loss": right,
    "darklight SoftLabelsDistillationLoss": SmoothedLabels(),
    "modelopt LogitsDistillationLoss()": MeanOverClasses(),
}
