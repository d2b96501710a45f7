"""The exercises of lab 11, Rescue rare classes."""

import torch

from kdcourse.exercises.engine import define


def _labels(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate((12, 6, 3, 1))])
    return labels[torch.randperm(len(labels), generator=generator)]


@define(
    "11.sampling_chances",
    goal="For each picture the chance to be drawn, so that every class is drawn equally often: (N,), adding to 1.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("labels.bincount() counts the classes; counts[labels] gives each picture its own class's count.",
           "A picture of a class with n pictures should have a chance proportional to 1 / n.",
           "Divide by the sum, so that the chances add to 1."),
    cases=lambda: [(_labels(0),), (_labels(1)[:15],)],
)  # fmt: skip
def sampling_chances(labels):
    weights = 1 / labels.bincount()[labels].double()
    return weights / weights.sum()


@sampling_chances.mistake("frequent classes more often", "That doubles the imbalance: take 1 / n, not n.")
def _proportional(labels):
    weights = labels.bincount()[labels].double()
    return weights / weights.sum()


@sampling_chances.mistake("every picture alike", "Classes then come as often as they do in the data.")
def _uniform(labels):
    return torch.full((len(labels),), 1 / len(labels), dtype=torch.float64)


@sampling_chances.mistake(
    "one chance for each class", "The sampler draws pictures: every picture needs its own chance, (N,)."
)
def _per_class(labels):
    weights = 1 / labels.bincount().double()
    return weights / weights.sum()


@sampling_chances.mistake("weights that do not add to 1", "Chances do: divide by their sum.")
def _not_scaled(labels):
    return 1 / labels.bincount()[labels].double()


@sampling_chances.mistake(
    "the root of the count", "1/√n is a known compromise; equally many draws of each class need 1 / n."
)
def _root(labels):
    weights = labels.bincount()[labels].double() ** -0.5
    return weights / weights.sum()


def _predictions(seed: int) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0] * 30 + [1] * 20 + [2] * 8 + [3] * 4)
    logits = torch.randn(len(labels), 4, generator=generator)
    logits[torch.arange(len(labels)), labels] += 1.0
    return logits, labels, [2, 3]


@define(
    "11.rare_accuracy",
    goal="The mean, over the rare classes, of each class's own accuracy in percent.",
    difficulty="easy",
    minutes="five minutes",
    hints=("For one class: (logits[labels == c].argmax(1) == c), its mean.",
           "Then the mean over the classes, each with the same weight, times 100."),
    cases=lambda: [_predictions(2), _predictions(3)],
)  # fmt: skip
def rare_accuracy(logits, labels, rare):
    decisions = logits.argmax(dim=1)
    own = [(decisions[labels == label] == label).float().mean() for label in rare]
    return 100 * torch.stack(own).mean()


@rare_accuracy.mistake("all classes", "Overall accuracy hides the rare classes: that is the problem of this lab.")
def _overall(logits, labels, rare):
    return 100 * (logits.argmax(dim=1) == labels).float().mean()


@rare_accuracy.mistake("pictures, not classes, have equal weight", "The larger of the rare classes then counts more.")
def _pooled(logits, labels, rare):
    inside = torch.isin(labels, torch.tensor(rare))
    return 100 * (logits[inside].argmax(dim=1) == labels[inside]).float().mean()


@rare_accuracy.mistake(
    "precision, not accuracy",
    "That is how many that were called rare are rare; wanted is how many rare ones are found.",
)
def _precision(logits, labels, rare):
    decisions = logits.argmax(dim=1)
    return 100 * torch.stack([(labels[decisions == label] == label).float().mean() for label in rare]).mean()


@rare_accuracy.mistake("the mean over all classes", "Only the rare classes count here: go through `rare`.")
def _balanced(logits, labels, rare):
    return rare_accuracy(logits, labels, labels.unique().tolist())


@rare_accuracy.mistake("the sum over classes", "The mean: divide by the number of rare classes.")
def _summed(logits, labels, rare):
    return rare_accuracy(logits, labels, rare) * len(rare)


@rare_accuracy.mistake("a share, not percent", "Multiply by 100.")
def _share(logits, labels, rare):
    return rare_accuracy(logits, labels, rare) / 100
