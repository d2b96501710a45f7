"""The exercises of lab 16, Steal and defend."""

import torch
from torch.nn import functional as F

from kdcourse.exercises.engine import define


def _answers(seed: int) -> tuple[torch.Tensor, int]:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(4, 6, generator=generator, dtype=torch.float64)).softmax(dim=1), 2 + seed % 2


@define(
    "16.top_answers",
    goal="What a reader makes of the k largest of each row (N, C): these as they are, the rest of 1 shared evenly by the others.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("values, places = probabilities.topk(k, dim=1) gives what the interface shows.",
           "What is left of 1 is 1 − values.sum(dim=1); there are C − k classes to share it.",
           "others.expand_as(probabilities).scatter(1, places, values) puts the shown ones in their places."),
    cases=lambda: [_answers(0), _answers(1)],
)  # fmt: skip
def top_answers(probabilities, k):
    values, places = probabilities.topk(k, dim=1)
    others = (1 - values.sum(dim=1, keepdim=True)) / (probabilities.shape[1] - k)
    return others.expand_as(probabilities).scatter(1, places, values)


@top_answers.mistake(
    "the others are 0", "The rows then do not add to 1: the rest was not said to be 0, it was not said."
)
def _nothing_else(probabilities, k):
    values, places = probabilities.topk(k, dim=1)
    return torch.zeros_like(probabilities).scatter(1, places, values)


@top_answers.mistake("divided by their sum", "That turns what was shown into other numbers, all of them larger.")
def _renormalised(probabilities, k):
    kept = _nothing_else(probabilities, k)
    return kept / kept.sum(dim=1, keepdim=True)


@top_answers.mistake(
    "each other class has all of the rest", "Share it: divide by the C − k classes that were not shown."
)
def _whole_rest(probabilities, k):
    values, places = probabilities.topk(k, dim=1)
    return (1 - values.sum(dim=1, keepdim=True)).expand_as(probabilities).scatter(1, places, values)


@top_answers.mistake("shared by all classes", "The k that were shown have theirs already: divide by C − k, not by C.")
def _shared_by_all(probabilities, k):
    values, places = probabilities.topk(k, dim=1)
    others = (1 - values.sum(dim=1, keepdim=True)) / probabilities.shape[1]
    return others.expand_as(probabilities).scatter(1, places, values)


@top_answers.mistake("the smallest k", "topk gives the largest unless it is told otherwise.")
def _smallest(probabilities, k):
    values, places = probabilities.topk(k, dim=1, largest=False)
    others = (1 - values.sum(dim=1, keepdim=True)) / (probabilities.shape[1] - k)
    return others.expand_as(probabilities).scatter(1, places, values)


def _networks(seed: int) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    nasty, normal = (2 * torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    return nasty, normal, torch.randint(4, (5,), generator=generator), 0.1 + 0.2 * seed, 3.0 + seed


@define(
    "16.nasty_loss",
    goal="Right about the labels, far from the normal network: CE(nasty, labels) − weight · T² · KL(normal ‖ nasty), a scalar.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("Both logits are divided by T before the softmax; the cross-entropy has no temperature.",
           "F.kl_div(log_q, p, reduction='batchmean') is KL(p ‖ q): the nasty network's is log_q, the normal one's is p.",
           "The loss is made smaller, and the divergence should grow: subtract it."),
    cases=lambda: [_networks(0), _networks(1)],
)  # fmt: skip
def nasty_loss(nasty, normal, labels, weight, temperature):
    log_q, p = (nasty / temperature).log_softmax(dim=1), (normal / temperature).softmax(dim=1)
    divergence = temperature**2 * F.kl_div(log_q, p, reduction="batchmean")
    return F.cross_entropy(nasty, labels) - weight * divergence


def _divergence(nasty, normal, temperature):
    log_q, p = (nasty / temperature).log_softmax(dim=1), (normal / temperature).softmax(dim=1)
    return temperature**2 * F.kl_div(log_q, p, reduction="batchmean")


@nasty_loss.mistake(
    "it imitates", "With a plus the loss is distillation: the network learns to be like the normal one."
)
def _imitates(nasty, normal, labels, weight, temperature):
    return F.cross_entropy(nasty, labels) + weight * _divergence(nasty, normal, temperature)


@nasty_loss.mistake("no factor T²", "Without it the divergence shrinks like 1/T², and the weight means something else.")
def _no_square(nasty, normal, labels, weight, temperature):
    return F.cross_entropy(nasty, labels) - weight * _divergence(nasty, normal, temperature) / temperature**2


@nasty_loss.mistake(
    "the divergence the other way round", "KL(normal ‖ nasty): the normal network's probabilities are p."
)
def _reversed(nasty, normal, labels, weight, temperature):
    return F.cross_entropy(nasty, labels) - weight * _divergence(normal, nasty, temperature)


@nasty_loss.mistake(
    "the labels are unlearnt too", "Honest users need the right class: the cross-entropy is made smaller."
)
def _unlearns(nasty, normal, labels, weight, temperature):
    return -F.cross_entropy(nasty, labels) - weight * _divergence(nasty, normal, temperature)


@nasty_loss.mistake(
    "the labels are softened", "Only the divergence has a temperature; the cross-entropy is that of T = 1."
)
def _softened(nasty, normal, labels, weight, temperature):
    return F.cross_entropy(nasty / temperature, labels) - weight * _divergence(nasty, normal, temperature)


def _ballots(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    votes = torch.randint(5, (9, 12), generator=generator)
    votes[:5] = torch.randint(5, (12,), generator=generator)
    return votes, 3 * torch.randn(12, 5, generator=generator, dtype=torch.float64)


@define(
    "16.noisy_winner",
    goal="Votes of K teachers (K, N), and noise for each picture and class (N, C): the winner of counts plus noise, (N,).",
    difficulty="moderate",
    minutes="six minutes",
    hints=("F.one_hot(votes, C) is (K, N, C); its sum over the teachers counts the votes, (N, C).",
           "The noise is added to the counts, and then the winner is taken: argmax(dim=1)."),
    cases=lambda: [_ballots(0), _ballots(1)],
)  # fmt: skip
def noisy_winner(votes, noise):
    counts = F.one_hot(votes, noise.shape[1]).sum(dim=0)
    return (counts + noise).argmax(dim=1)


@noisy_winner.mistake("no noise", "Without noise, or with one number for all classes, a single vote may decide.")
def _no_noise(votes, noise):
    return noisy_winner(votes, torch.zeros_like(noise))


@noisy_winner.mistake("shares of votes, not votes", "The noise is in votes and added once: do not divide counts by K.")
def _shares(votes, noise):
    counts = F.one_hot(votes, noise.shape[1]).sum(dim=0)
    return (counts / len(votes) + noise).argmax(dim=1)


@noisy_winner.mistake("the fewest votes", "The winner has the most: argmax.")
def _fewest(votes, noise):
    return (F.one_hot(votes, noise.shape[1]).sum(dim=0) + noise).argmin(dim=1)
