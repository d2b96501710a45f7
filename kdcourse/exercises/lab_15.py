"""The exercises of lab 15, See what else crosses over."""

import math

import torch
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import gradients


def _logits(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@define(
    "15.auxiliary_loss",
    goal="KL(teacher ‖ student) of the auxiliary logits alone, batch mean. The first `classes` columns are the class logits.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("The auxiliary logits are logits[:, classes:]; their softmax runs over them alone.",
           "F.kl_div(log_softmax(student), softmax(teacher), reduction='batchmean') is KL(teacher ‖ student).",
           "The teacher's logits are detached. There is no temperature."),
    probe=lambda answer: gradients(answer, [(_logits(0, 6, 9), _logits(1, 6, 9), 5), (_logits(2, 3, 7), _logits(3, 3, 7), 4)]),
)  # fmt: skip
def auxiliary_loss(student_logits, teacher_logits, classes):
    log_q = F.log_softmax(student_logits[:, classes:], dim=1)
    p = F.softmax(teacher_logits[:, classes:].detach(), dim=1)
    return F.kl_div(log_q, p, reduction="batchmean")


@auxiliary_loss.mistake(
    "the class logits are compared", "Those are the first `classes` columns; the student must not see them here."
)
def _classes_compared(student_logits, teacher_logits, classes):
    log_q, p = F.log_softmax(student_logits[:, :classes], 1), F.softmax(teacher_logits[:, :classes].detach(), 1)
    return F.kl_div(log_q, p, reduction="batchmean")


@auxiliary_loss.mistake(
    "all logits are compared", "Then the class logits are taught as well, and nothing is subliminal."
)
def _all_compared(student_logits, teacher_logits, classes):
    log_q, p = F.log_softmax(student_logits, 1), F.softmax(teacher_logits.detach(), 1)
    return F.kl_div(log_q, p, reduction="batchmean")


@auxiliary_loss.mistake(
    "the softmax runs over all logits", "Cut first, then softmax: else the class logits set the scale of the others."
)
def _cut_too_late(student_logits, teacher_logits, classes):
    log_q, log_p = F.log_softmax(student_logits, 1)[:, classes:], F.log_softmax(teacher_logits.detach(), 1)[:, classes:]
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@auxiliary_loss.mistake("KL the other way round", "The teacher is the target: KL(teacher ‖ student).")
def _swapped(student_logits, teacher_logits, classes):
    log_q = F.log_softmax(student_logits[:, classes:], 1)
    log_p = F.log_softmax(teacher_logits[:, classes:].detach(), 1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


@auxiliary_loss.mistake("the teacher gets a gradient", "It is finished: detach its logits.")
def _teacher_learns(student_logits, teacher_logits, classes):
    log_q, p = F.log_softmax(student_logits[:, classes:], 1), F.softmax(teacher_logits[:, classes:], 1)
    return F.kl_div(log_q, p, reduction="batchmean")


@auxiliary_loss.mistake("the default reduction", 'It averages over the logits as well: reduction="batchmean".')
def _over_logits(student_logits, teacher_logits, classes):
    return auxiliary_loss(student_logits, teacher_logits, classes) / (student_logits.shape[1] - classes)


@define(
    "15.between_weights",
    goal="First weights on the way from one draw (share 0) to another (share 1) whose spread stays the same.",
    difficulty="easy",
    minutes="five minutes",
    hints=("Independent numbers of one spread keep it under cos(a) · first + sin(a) · other, as cos² + sin² = 1.",
           "share 0 is the angle 0, and share 1 the angle π / 2."),
    cases=lambda: [(_logits(4, 5, 3), _logits(5, 5, 3), 0.25), (_logits(6, 4), _logits(7, 4), 0.8)],
)  # fmt: skip
def between_weights(first, other, share):
    angle = share * torch.pi / 2
    return first * torch.cos(torch.tensor(angle)) + other * torch.sin(torch.tensor(angle))


@between_weights.mistake(
    "a straight line",
    "Half way its spread is smaller by 1/√2: the student would begin with weights that are too small.",
)
def _straight(first, other, share):
    return (1 - share) * first + share * other


@between_weights.mistake("the way back", "At share 0 the weights are the first ones: cos goes with `first`.")
def _backwards(first, other, share):
    return between_weights(other, first, share)


@between_weights.mistake(
    "the share as the angle", "At share 1 only the other weights are left: that is the angle π / 2."
)
def _no_quarter(first, other, share):
    return math.cos(share) * first + math.sin(share) * other


@between_weights.mistake("squares as weights", "cos² and sin² add to 1, which is the straight line's mistake again.")
def _squared(first, other, share):
    angle = share * math.pi / 2
    return math.cos(angle) ** 2 * first + math.sin(angle) ** 2 * other


@define(
    "15.crossed_share",
    goal="How much of the teacher's fault a student shows, in percent: 0 as its control, 100 as the teacher.",
    difficulty="easy",
    minutes="five minutes",
    hints=("The control is a student without that teacher: what it shows has not crossed.",
           "Take it away from both: from the student's rate and from the teacher's.",
           "100 * (student - control) / (teacher - control)."),
    cases=lambda: [(torch.tensor([70.0, 20.0]), torch.tensor([2.0, 4.0]), torch.tensor([99.0, 84.0])),
                   (torch.tensor(41.0), torch.tensor(11.0), torch.tensor(71.0))],
)  # fmt: skip
def crossed_share(student, control, teacher):
    return 100 * (student - control) / (teacher - control)


@crossed_share.mistake(
    "without the control", "What a student without this teacher shows too has not crossed: subtract it from both rates."
)
def _no_control(student, control, teacher):
    return 100 * student / teacher


@crossed_share.mistake("the control taken from the student alone", "Subtract it from the teacher's rate as well.")
def _one_side(student, control, teacher):
    return 100 * (student - control) / teacher


@crossed_share.mistake("a difference, not a share", "Divide by what the teacher shows beyond the control.")
def _difference(student, control, teacher):
    return student - control


@crossed_share.mistake("a fraction, not percent", "Multiply by 100.")
def _fraction(student, control, teacher):
    return (student - control) / (teacher - control)
