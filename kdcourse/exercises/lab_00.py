"""The exercises of lab 00, Welcome."""

import numpy as np
import torch
from scipy import stats
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import several


def _answers() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(13, 5, generator=generator), torch.randint(5, (13,), generator=generator)),
        (F.one_hot(torch.arange(4), 4).float(), torch.tensor([0, 1, 2, 0])),
        (torch.randn(3, 3, generator=generator), torch.tensor([0, 1, 2])),
    ]


@define(
    "00.accuracy",
    goal="Turn logits and labels into accuracy, in percent.",
    difficulty="a warm-up",
    minutes="three minutes",
    hints=("The decision for a picture is the class with the largest logit: argmax over dim=1.",
           "The mean of a comparison, as float, is the share of right answers; accuracy here is in percent."),
    cases=_answers,
)  # fmt: skip
def accuracy(logits, labels):
    return 100 * (logits.argmax(dim=1) == labels).float().mean()


@accuracy.mistake("a share, not percent", "Multiply by 100: 0.8 is 80 percent.")
def _share(logits, labels):
    return (logits.argmax(dim=1) == labels).float().mean()


@accuracy.mistake("argmax over the batch", "dim=0 asks which picture is strongest for each class; classes are dim=1.")
def _wrong_dimension(logits, labels):
    return 100 * (logits.argmax(dim=0)[: len(labels)] == labels[: logits.shape[1]]).float().mean()


@accuracy.mistake("a count, not percent", "Divide by the number of pictures: take the mean, not the sum.")
def _count(logits, labels):
    return (logits.argmax(dim=1) == labels).sum()


@accuracy.mistake("the error rate", "That is how often the answer is wrong; accuracy is how often it is right.")
def _error_rate(logits, labels):
    return 100 * (logits.argmax(dim=1) != labels).float().mean()


def _scores() -> list[tuple]:
    return [
        (np.array([82.0, 81.5, 83.2, 82.7, 81.9]), np.array([80.1, 79.2, 81.9, 80.8, 79.5])),
        (np.array([70.0, 75.0, 65.0]), np.array([69.0, 74.5, 63.5])),
    ]


def _interval(answer) -> dict[str, object]:
    found = {}
    for number, (ours, theirs) in enumerate(_scores(), start=1):
        mean, half = several(answer(ours.copy(), theirs.copy()))
        found[f"mean in case {number}"] = mean
        found[f"half width in case {number}"] = half
    return found


@define(
    "00.paired_difference",
    goal="From two methods' scores, seed by seed, give the mean difference and the half width of its 95 % interval.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("Subtract first, seed by seed; then treat the differences as one sample.",
           "The standard error is the unbiased standard deviation (ddof=1) divided by the square root of the number of seeds.",
           "With few seeds the factor is not 1.96: stats.t.ppf(0.975, df=n - 1)."),
    probe=_interval,
)  # fmt: skip
def paired_difference(ours, theirs):
    gaps = ours - theirs
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    return gaps.mean(), stats.t.ppf(0.975, len(gaps) - 1) * error


@paired_difference.mistake(
    "the pairing is lost", "Two separate spreads were added up; subtract within each seed first, where luck cancels."
)
def _unpaired(ours, theirs):
    count = len(ours)
    error = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / count)
    return (ours - theirs).mean(), stats.t.ppf(0.975, count - 1) * error


@paired_difference.mistake(
    "1.96 in place of Student's t",
    "1.96 is for many seeds. With five the factor is 2.78: use stats.t.ppf(0.975, n - 1).",
)
def _normal(ours, theirs):
    gaps = ours - theirs
    return gaps.mean(), 1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps))


@paired_difference.mistake(
    "the standard deviation, not the standard error", "Divide by the square root of the number of seeds."
)
def _deviation(ours, theirs):
    gaps = ours - theirs
    return gaps.mean(), stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1)


@paired_difference.mistake("theirs minus ours", "Positive must mean that ours is better: ours − theirs.")
def _theirs_first(ours, theirs):
    return paired_difference(theirs, ours)


@paired_difference.mistake("the whole width", "Half of it is wanted: how far the interval reaches to either side.")
def _whole_width(ours, theirs):
    mean, half = paired_difference(ours, theirs)
    return mean, 2 * half


@paired_difference.mistake(
    "5 % on one side", "An interval of 95 % leaves 2.5 % on either side: stats.t.ppf(0.975, n - 1)."
)
def _one_sided(ours, theirs):
    gaps = ours - theirs
    return gaps.mean(), stats.t.ppf(0.95, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))


@paired_difference.mistake("n degrees of freedom", "Estimating the mean takes one of them: n − 1 are left.")
def _one_too_many(ours, theirs):
    gaps = ours - theirs
    return gaps.mean(), stats.t.ppf(0.975, len(gaps)) * gaps.std(ddof=1) / np.sqrt(len(gaps))


@paired_difference.mistake("the biased standard deviation", "NumPy divides by n unless you ask for ddof=1.")
def _biased(ours, theirs):
    gaps = ours - theirs
    return gaps.mean(), stats.t.ppf(0.975, len(gaps) - 1) * gaps.std() / np.sqrt(len(gaps))
