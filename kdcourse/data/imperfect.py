"""Data as they often come: classes of very unequal size, labels that are wrong."""

from collections.abc import Sequence
from numbers import Real

import torch

from kdcourse.data.splits import Split


def tail_counts(classes: int, most: int, imbalance: float) -> list[int]:
    """How many pictures each class has in a long tail: `most · imbalance^(−k / (classes − 1))` for the k-th, k from 0.

    So they fall from `most` to `most / imbalance` in equal ratios, and are never below 1. Raises `ValueError` for fewer than two
    classes, and for `most` or `imbalance` below 1.
    Source: Cui, Jia, Lin, Song, Belongie (2019), *Class-Balanced Loss Based on Effective Number of Samples*, §5.1.
    """
    if classes < 2 or most < 1 or not imbalance >= 1:
        raise ValueError(
            f"classes must be at least 2, most and imbalance at least 1, got {classes}, {most}, {imbalance}"
        )
    return [max(1, round(most * imbalance ** (-rank / (classes - 1)))) for rank in range(classes)]


def long_tail(split: Split, most: int, imbalance: float, seed: int = 0, order: Sequence[int] | None = None) -> Split:
    """A random part of a split in which some classes are frequent and others rare, as `tail_counts` says.

    most: pictures of the most frequent class. imbalance: how many times as many it has as the rarest. seed: default 0. order:
    every class once, from the most frequent to the rarest, default as they are numbered.
    Raises `ValueError` for another order, and where a class has fewer pictures than it should give.
    """
    labels = split.labelled("long_tail").cpu()
    classes = int(labels.max()) + 1
    order = list(range(classes)) if order is None else [int(label) for label in order]
    if sorted(order) != list(range(classes)):
        raise ValueError(f"order must hold each class from 0 to {classes - 1} once, got {order}")
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label, count in zip(order, tail_counts(classes, most, imbalance), strict=True):
        places = (labels == label).nonzero()[:, 0]
        if len(places) < count:
            raise ValueError(
                f"most must leave every class enough pictures; class {label} has {len(places)}, not {count}"
            )
        chosen.append(places[torch.randperm(len(places), generator=generator)[:count]])
    found = torch.cat(chosen)
    return split.take(found[torch.randperm(len(found), generator=generator)])


def noisy_labels(split: Split, share: float, seed: int = 0) -> Split:
    """The same pictures with some of their labels replaced by another class, each other class being equally likely.

    share: of the labels that are replaced, from 0 to 1. seed: fixes which and by what, default 0.
    Raises `ValueError` for a share outside [0, 1] or a split without labels.
    """
    if not isinstance(share, Real) or not 0 <= share <= 1:
        raise ValueError(f"share must be within [0, 1], got {share!r}")
    labels = split.labelled("noisy_labels")
    classes = int(labels.max()) + 1
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.randperm(len(split), generator=generator)[: round(share * len(split))].to(labels.device)
    # A step of 1 to C − 1 around the circle of classes never leads back.
    step = torch.randint(1, classes, (len(wrong),), generator=generator).to(labels.device)
    changed = labels.clone()
    changed[wrong] = (labels[wrong] + step) % classes
    return Split(split.images, changed)
