"""The exercises of lab 06, Learn from an ensemble."""

import torch
from torch.nn import functional as F

from kdcourse.exercises.engine import define


def _members(seed: int, teachers: int, count: int, classes: int) -> torch.Tensor:
    return 3 * torch.randn(teachers, count, classes, generator=torch.Generator().manual_seed(seed))


@define(
    "06.ensemble_target",
    goal="The mean of probabilities of M teachers' logits (M, N, C): soften each at the temperature, then average, (N, C).",
    difficulty="easy",
    minutes="four minutes",
    hints=(
        "Softmax over classes, the last dimension, of logits / temperature.",
        "Then the mean over teachers, dimension 0.",
    ),
    cases=lambda: [(_members(0, 3, 5, 4), 4.0), (_members(1, 2, 3, 6), 1.0)],
)
def ensemble_target(logits, temperature):
    return (logits / temperature).softmax(dim=2).mean(dim=0)


@ensemble_target.mistake(
    "the logits are averaged",
    "That is the other mean, the geometric one: a single teacher that is very sure of a wrong class weighs more there.",
)
def _mean_of_logits(logits, temperature):
    return (logits.mean(dim=0) / temperature).softmax(dim=1)


@ensemble_target.mistake("the temperature is ignored", "Soften each teacher before averaging.")
def _no_temperature(logits, temperature):
    return logits.softmax(dim=2).mean(dim=0)


@ensemble_target.mistake("the sum over teachers", "Probabilities then add to M instead of 1: take the mean.")
def _sum(logits, temperature):
    return (logits / temperature).softmax(dim=2).sum(dim=0)


@ensemble_target.mistake("softmax over teachers", "Dimension 0 is the teachers; classes are the last dimension.")
def _over_teachers(logits, temperature):
    return (logits / temperature).softmax(dim=0).mean(dim=0)


@ensemble_target.mistake(
    "the mean over pictures", "Dimension 1 is the pictures; the mean is over teachers, dimension 0."
)
def _over_pictures(logits, temperature):
    return (logits / temperature).softmax(dim=2).mean(dim=1)


def _answers(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits, labels = 2 * torch.randn(400, 5, generator=generator), torch.randint(5, (400,), generator=generator)
    logits[torch.arange(400), labels] += 1.5
    logits[:150] = logits[:150] * 0.3 + F.one_hot(
        labels[:150], 5
    )  # right more often than they say: gaps of either sign
    return logits, labels


@define(
    "06.calibration_error",
    goal="Expected calibration error: the mean of |accuracy − confidence| over 10 equal bins of confidence, each weighted by its "
         "share of the pictures; the result is a share, not percent.",
    difficulty="moderate",
    minutes="ten minutes",
    hints=("Confidence is the largest probability; right is argmax == label.",
           "bins = (confidence * 10).ceil().clamp(1, 10): bin k holds confidences above (k − 1)/10 and up to k/10.",
           "For each bin that is not empty: its share of all pictures times the gap between its accuracy and its confidence."),
    cases=lambda: [_answers(2), _answers(3)],
)  # fmt: skip
def calibration_error(logits, labels):
    confidence, decision = logits.softmax(dim=1).max(dim=1)
    right = (decision == labels).float()
    bins = (confidence * 10).ceil().clamp(1, 10)
    error = torch.tensor(0.0)
    for number in range(1, 11):
        inside = bins == number
        if inside.any():
            error += inside.float().mean() * (right[inside].mean() - confidence[inside].mean()).abs()
    return error


def _by_bins(logits, labels, *, signed=False, weighted=True, of_label=False, count=10):
    p = logits.softmax(dim=1)
    confidence, decision = p.max(dim=1)
    if of_label:
        confidence = p.gather(1, labels[:, None])[:, 0]
    right = (decision == labels).float()
    bins = (confidence * count).ceil().clamp(1, count)
    gaps, shares = [], []
    for number in range(1, count + 1):
        inside = bins == number
        if inside.any():
            gap = right[inside].mean() - confidence[inside].mean()
            gaps.append(gap if signed else gap.abs())
            shares.append(inside.float().mean())
    gaps, shares = torch.stack(gaps), torch.stack(shares)
    return (gaps * shares).sum() if weighted else gaps.mean()


@calibration_error.mistake(
    "bins are not weighted", "A bin with three pictures then counts like one with three hundred."
)
def _unweighted(logits, labels):
    return _by_bins(logits, labels, weighted=False)


@calibration_error.mistake("gaps cancel", "Over- and underconfidence must not cancel: take each gap's absolute value.")
def _signed(logits, labels):
    return _by_bins(logits, labels, signed=True)


@calibration_error.mistake(
    "the label's probability",
    "Confidence is the probability of the model's own decision, right or wrong: the largest one.",
)
def _of_the_label(logits, labels):
    return _by_bins(logits, labels, of_label=True)


@calibration_error.mistake("one bin", "The overall gap hides that a model can be too sure here and too modest there.")
def _one_bin(logits, labels):
    confidence, decision = logits.softmax(dim=1).max(dim=1)
    return ((decision == labels).float().mean() - confidence.mean()).abs()


@calibration_error.mistake(
    "bins with equally many pictures",
    "The exercise asks for bins of equal width: from 0 to 0.1, from 0.1 to 0.2, and so on.",
)
def _equal_mass(logits, labels):
    confidence, decision = logits.softmax(dim=1).max(dim=1)
    gaps = (decision == labels).float() - confidence
    parts = gaps[confidence.argsort()].chunk(10)
    return sum(len(part) / len(labels) * part.mean().abs() for part in parts)


@calibration_error.mistake("fifteen bins", "Many libraries have 15; here it is 10, as in the rest of the course.")
def _fifteen(logits, labels):
    return _by_bins(logits, labels, count=15)


@calibration_error.mistake("percent, not a share", "The lab multiplies by 100 itself: give a share.")
def _percent(logits, labels):
    return 100 * calibration_error(logits, labels)


@calibration_error.mistake(
    "the largest gap", "That is the maximum calibration error; the expected one is a weighted mean."
)
def _maximum(logits, labels):
    confidence, decision = logits.softmax(dim=1).max(dim=1)
    gaps, bins = (decision == labels).float() - confidence, (confidence * 10).ceil().clamp(1, 10)
    return torch.stack([gaps[bins == number].mean().abs() for number in bins.unique()]).max()


@define(
    "06.disagreement",
    goal="For each two of M teachers, the share of pictures on which they decide differently: logits (M, N, C) -> (M, M).",
    difficulty="easy",
    minutes="five minutes",
    hints=("logits.argmax(dim=2) are the decisions, (M, N).",
           "decisions[:, None] != decisions[None] compares every two teachers, (M, M, N). Then take the mean over pictures."),
    cases=lambda: [(_members(4, 3, 40, 4),), (_members(5, 2, 30, 3),)],
)  # fmt: skip
def disagreement(logits):
    decisions = logits.argmax(dim=2)
    return (decisions[:, None] != decisions[None]).float().mean(dim=2)


@disagreement.mistake("agreement", "That is how often they agree: the diagonal of disagreement is 0.")
def _agreement(logits):
    return 1 - disagreement(logits)


@disagreement.mistake(
    "distances of probabilities",
    "Two teachers can differ in every number and still decide alike: compare the decisions.",
)
def _of_probabilities(logits):
    p = logits.softmax(dim=2)
    return (p[:, None] - p[None]).abs().sum(dim=3).mean(dim=2) / 2


@disagreement.mistake("a number of pictures, not a share", "Divide by N: the mean over pictures.")
def _counted(logits):
    return disagreement(logits) * logits.shape[1]


@disagreement.mistake("percent, not a share", "A share is wanted: no factor of 100.")
def _in_percent(logits):
    return 100 * disagreement(logits)
