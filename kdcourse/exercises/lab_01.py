"""The exercises of lab 01, Compare hard and soft targets."""

import torch
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import as_tensor, values


def _labels() -> list[tuple]:
    return [(torch.tensor([2, 0, 1, 1]), 3), (torch.tensor([4, 4]), 6)]


def _with_dtype(answer) -> dict[str, object]:
    found = values(answer, _labels())
    numbers = [as_tensor(found[f"case {number}"]) for number in range(1, len(_labels()) + 1)]
    return {**found, "floating point": all(one is not None and one.is_floating_point() for one in numbers)}


@define(
    "01.one_hot",
    goal="Write labels as distributions: a single 1 in each row, as floats.",
    difficulty="a warm-up",
    minutes="three minutes",
    hints=(
        "F.one_hot(labels, classes) makes the rows, of whole numbers.",
        "A distribution is floating point: .float().",
    ),
    probe=_with_dtype,
)
def one_hot(labels, classes):
    return F.one_hot(labels, classes).float()


@one_hot.mistake(
    "whole numbers",
    "A distribution is floating point. F.one_hot, a comparison and a list of 0 and 1 are not: add .float(), or write 1.0.",
)
def _integers(labels, classes):
    return F.one_hot(labels, classes)


@one_hot.mistake("columns for rows", "Each picture is a row, each class a column: (N, classes).")
def _transposed(labels, classes):
    return F.one_hot(labels, classes).float().T


def _targets() -> list[tuple]:
    generator = torch.Generator().manual_seed(1)
    return [
        (3 * torch.randn(7, 4, generator=generator), torch.randn(7, 4, generator=generator).softmax(1)),
        (torch.tensor([[60.0, -60.0, 0.0]]), torch.tensor([[0.2, 0.5, 0.3]])),
        (torch.randn(2, 5, generator=generator), torch.eye(5)[:2]),
    ]


@define(
    "01.soft_cross_entropy",
    goal="Cross-entropy against a whole distribution: minus the sum over classes of p log q, mean over the batch.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("log q comes from the logits in one stable step: log_softmax over dim=1.",
           "Multiply by the targets, sum over classes, then take the mean over the batch and the minus sign."),
    probe=lambda answer: values(answer, _targets(), learns=True),
)  # fmt: skip
def soft_cross_entropy(logits, targets):
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


@soft_cross_entropy.mistake(
    "the mean over classes too", "Sum over classes; only the batch is averaged. Yours is C times too small."
)
def _mean_over_all(logits, targets):
    return -(targets * logits.log_softmax(dim=1)).mean()


@soft_cross_entropy.mistake("the sum over the batch", "Average over the batch, or the loss grows with its size.")
def _sum_over_all(logits, targets):
    return -(targets * logits.log_softmax(dim=1)).sum()


@soft_cross_entropy.mistake(
    "softmax where log_softmax belongs", "The formula has log q: without the logarithm nothing is penalised."
)
def _no_logarithm(logits, targets):
    return -(targets * logits.softmax(dim=1)).sum(dim=1).mean()


@soft_cross_entropy.mistake(
    "log after softmax", "softmax underflows to 0 and log(0) is minus infinity: use log_softmax."
)
def _two_steps(logits, targets):
    return -(targets * logits.softmax(dim=1).log()).sum(dim=1).mean()


@soft_cross_entropy.mistake(
    "the minus sign is missing", "Logarithms of probabilities are negative: a loss is minus their mean."
)
def _no_minus(logits, targets):
    return (targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


@soft_cross_entropy.mistake("softmax over the batch", "dim=0 compares pictures; classes are dim=1.")
def _over_batch(logits, targets):
    return -(targets * logits.log_softmax(dim=0)).sum(dim=1).mean()


@soft_cross_entropy.mistake(
    "the hard labels", "The whole distribution is the target: argmax throws all but one class away."
)
def _hard(logits, targets):
    return F.cross_entropy(logits, targets.argmax(dim=1))


@soft_cross_entropy.mistake(
    "KL in place of cross-entropy", "Same gradient, another number: the targets' entropy has been subtracted."
)
def _divergence(logits, targets):
    return F.kl_div(logits.log_softmax(dim=1), targets, reduction="batchmean")


@soft_cross_entropy.mistake(
    "softmax twice", "F.cross_entropy and log_softmax take logits: leave the first softmax out."
)
def _twice(logits, targets):
    return F.cross_entropy(logits.softmax(dim=1), targets)


@soft_cross_entropy.mistake("raw logits", "Logits are not log-probabilities before log_softmax.")
def _raw(logits, targets):
    return -(targets * logits).sum(dim=1).mean()


@soft_cross_entropy.mistake("not averaged", "One number is wanted: the mean over the batch at the end.")
def _each(logits, targets):
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1)
