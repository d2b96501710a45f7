"""Few pictures in place of many: averages of pictures, the pictures nearest to them, and pictures that are learnt.

All look at the whole split and its labels, and give as many pictures of each class, in the order of the classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Split, check_split
from kdcourse.experiments.facts import Work, multiply_adds, seen
from kdcourse.system.arguments import whole_number
from kdcourse.training.loop import batches, refuse_divergence

ROUNDS = 10  # of k-means


def centres(split: Split, count: int, seed: int = 0) -> Split:
    """Averages of pictures: the centres that k-means finds among the pixels of each class, after `ROUNDS` rounds.

    split: labelled. count: centres of each class, at most as many as it has pictures. seed: fixes the pictures from which k-means
    begins, default 0. Returns count · C pictures (count · C, channels, H, W) for C classes. Source: Lloyd (1982).
    """
    found = []
    for own in _classes(split, count):
        pixels = own.images.flatten(1)
        middle = own.sample(count, seed).images.flatten(1)
        for _ in range(ROUNDS):
            member = torch.cdist(pixels, middle).argmin(dim=1)[:, None] == torch.arange(count, device=split.device)
            total = member.to(pixels.dtype).T @ pixels
            # A centre that has lost all its pictures stays where it is.
            middle = torch.where(member.any(dim=0)[:, None], total / member.sum(dim=0).clamp(min=1)[:, None], middle)
        found.append(middle.view(count, *split.images.shape[1:]))
    return _of_classes(found, split)


def nearest(split: Split, middles: Split) -> Split:
    """Chosen pictures: of the split's pictures the nearest to each of `middles`, within its class. middles: as from `centres`."""
    found = []
    for own in _classes(split, 1):
        wanted = middles.only(int(own.labels[0])).images.flatten(1)
        found.append(own.images[torch.cdist(own.images.flatten(1), wanted).argmin(dim=0)])
    return _of_classes(found, split)


def matched(
    split: Split,
    count: int,
    network: Callable[..., nn.Module],
    *,
    steps: int = 500,
    batch_size: int = 64,
    learning_rate: float = 5.0,
    seed: int = 0,
) -> Split:
    """Learnt pictures: distribution matching. In random networks their mean features are those of the real pictures.

    L = Σ_c ‖ mean φ(x) − mean φ(s) ‖² over the real pictures x and the learnt pictures s of a class c, minimised over the pixels
    of s. Each step has another φ, with random weights that never learn. The s begin as real pictures.
    split: labelled. count: learnt pictures of each class, at most as many as it has pictures. network: called as
    network(seed=...), gives φ: pictures (N, channels, H, W) -> features (N, D). steps: default 500. batch_size: real pictures of
    each class a step, default 64. learning_rate: of gradient descent with momentum 0.5, default 5. seed: fixes first pictures,
    batches and networks, default 0. Returns count · C pictures for C classes. Raises `FloatingPointError` on divergence.
    Source: Zhao, Bilen (2023), *Dataset Condensation with Distribution Matching*, §3.2, without its augmentation.
    """
    classes = _classes(split, count)
    order = [batches(own, steps, batch_size, seed) for own in classes]
    learnt = torch.stack(
        [own.sample(count, seed).images for own in classes]
    ).requires_grad_()  # (C, count, channels, H, W)
    optimizer = torch.optim.SGD([learnt], learning_rate, momentum=0.5)
    for step in range(steps):
        features = network(seed=seed * steps + step).to(split.device).requires_grad_(False)
        real = torch.stack([own.images[index[step]] for own, index in zip(classes, order, strict=True)])
        means = [features(one.flatten(0, 1)).unflatten(0, one.shape[:2]).mean(dim=1) for one in (real, learnt)]
        loss = (means[0] - means[1]).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    refuse_divergence([(steps, loss.item())])
    return _of_classes(list(learnt.detach()), split)


def work_of_centres(split: Split, count: int) -> Work:
    """What `centres` and `nearest` look at and compute: each picture's distance to its class's centres, and means."""
    inputs = frozenset(split.rows.tolist())
    return Work(inputs, inputs, 0, 2 * ROUNDS * len(split) * count * split.images[0].numel())


def work_of_matching(
    split: Split,
    count: int,
    network: Callable[..., nn.Module],
    *,
    steps: int = 500,
    batch_size: int = 64,
    seed: int = 0,
) -> Work:
    """What `matched` looks at and computes: one pass for a real picture, two for a learnt one. Arguments are its own."""
    classes = _classes(split, count)
    inputs = frozenset().union(*(seen(own, steps, batch_size, seed=seed) for own in classes))
    passes = steps * len(classes) * (batch_size + 2 * count)
    return Work(inputs, inputs, steps, passes * multiply_adds(network(seed=0), split))


def _classes(split: Split, count: int) -> list[Split]:
    """The split's classes, each with at least `count` pictures."""
    check_split(split, Split)
    labels, sizes = split.labelled("condensation").unique(return_counts=True)
    whole_number("count", count, most=int(sizes.min()))
    return [split.only(label) for label in labels.tolist()]


def _of_classes(pictures: list[Tensor], split: Split) -> Split:
    """Pictures of each class, one (count, channels, H, W) for each, as a split with its labels."""
    labels = split.labels.unique().repeat_interleave(len(pictures[0]))
    return Split(torch.cat(pictures).contiguous(memory_format=torch.channels_last), labels)
