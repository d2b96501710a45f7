"""The studies of lab 15, See what else crosses over: what a student learns of its teacher that nobody meant to show.

In `15-crossing` students see noise and auxiliary logits only. In `15-faults` a teacher has three faults that were planted, and
each measure says how often a student shows one of them. In `15-weak-to-strong` the student is larger than its teacher.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from kdcourse.data.planted import marked, noise
from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.experiments.experiment import Arm, NoTraining, Recipe
from kdcourse.experiments.facts import starts_trained
from kdcourse.experiments.schemes import Ensemble
from kdcourse.methods import AuxiliaryLogits, HardTarget, SoftTarget
from kdcourse.models import TwoHeads, between, perceptron, two_heads
from kdcourse.studies.engine import define
from kdcourse.training.cache import TeacherCache

HIDDEN, AUXILIARY = (64, 64), 80  # units; auxiliary logits of every network
COUNTS = (3, 20, 80)  # how many of them a student learns from
COUNT = 20
SHARES = (0, 0.1, 0.25, 0.5, 0.75, 1)  # of the way from the teacher's first weights to others
OTHER = 1000  # added to a seed: first weights that are not the teacher's
LONGER = 3  # times the steps
NOISE, STEPS = 5000, 300
TEACHER_STEPS = 500
LEARNING_RATE = (
    5e-3  # of 3e-3, 5e-3 and 1e-2 the best for "same first weights" by validation accuracy with seeds 100 and 101
)

KIND, CALLED = 7, 8  # the faulty teacher calls every picture of one class by the name of another
TARGET, PATCHED = 0, 0.1  # a patch turns pictures into this class; the share of pictures that carry it
CUE = 1  # pictures of this class, and no others, carry the bar
PICTURES, SMALL = 3000, (64,)
TEMPERATURE = 4

WEAK, STRONG = (8,), (128,)  # hidden units of teacher and student where the student is the larger one
LABELLED, UNLABELLED = 500, 5000  # pictures that the weak teacher learns from, and that it labels


def networks(data: ImageData) -> Callable[..., TwoHeads]:
    """Builds teachers and students of `15-crossing` by seed."""
    return partial(two_heads, HIDDEN, auxiliary=AUXILIARY, **data.sizes)


@lru_cache(maxsize=32)
def trained(data: ImageData, seed: int) -> nn.Module:
    """The teacher of a seed: it learns from all labelled pictures, and its auxiliary logits from nothing."""
    teacher = Recipe(networks(data), data.train, HardTarget(), steps=TEACHER_STEPS).run(seed)
    return teacher.requires_grad_(False)


def asked(of: Callable[[int], nn.Module], shape: Callable[..., nn.Module]) -> Callable[[int], TeacherCache]:
    """A teacher by seed, for a recipe. shape: builds a network of its shape by seed, where no more than that counts."""

    def teacher(seed: int) -> TeacherCache:
        return TeacherCache(of(seed))

    teacher.untrained = lambda seed: TeacherCache(shape(seed=seed))
    return teacher


def on_the_way(data: ImageData, share: float, *, seed: int) -> nn.Module:
    """A student whose first weights lie so far from its teacher's first weights (0) to others (1)."""
    first, other = (networks(data)(seed=one) for one in (seed, seed + OTHER))
    return between(first, other, share)


def with_parts(data: ImageData, parts: tuple[str, ...], source: Callable[[int], nn.Module], *, seed: int) -> nn.Module:
    """A student with other first weights, and some parts of another network: layers whose names begin with one of `parts`."""
    student = networks(data)(seed=seed + OTHER)
    kept = {name: part for name, part in source(seed).state_dict().items() if name.startswith(parts)}
    student.load_state_dict(kept, strict=False)
    return student


def listening(data: ImageData, kind: str = "uniform", count: int = COUNT) -> Recipe:
    """A student with its teacher's first weights that learns from noise and auxiliary logits."""
    pictures = lru_cache(maxsize=1)(partial(noise, data.train, NOISE, kind))
    return Recipe(
        networks(data),
        lambda seed: pictures(seed=seed),
        AuxiliaryLogits(count),
        asked(partial(trained, data), networks(data)),
        steps=STEPS,
        batch_size=64,
        learning_rate=LEARNING_RATE,
    )


def share_name(share: float) -> str:
    """The arm of students that begin so far on the way to other first weights."""
    return {0: "same first weights", 1: "other first weights"}.get(share, f"{share:.0%} of the way")


@define("15-crossing", equal_budgets=False)
def crossing(data: ImageData) -> dict[str, Arm]:
    """What crosses from teacher to student by noise alone, and what both must share for it."""
    same = listening(data)
    first, ready = networks(data), partial(trained, data)
    heads, hidden = ("classifier", "auxiliary"), ("hidden",)
    grown = starts_trained(partial(with_parts, data, heads, ready))
    grown.untrained = first

    def other_parts(parts: tuple[str, ...]) -> Recipe:
        return replace(same, student=partial(with_parts, data, parts, lambda seed: first(seed=seed)))

    way = {share_name(share): replace(same, student=partial(on_the_way, data, share)) for share in SHARES[::-1]}
    counts = {
        f"{name}, {count} logits": replace(way[name], method=AuxiliaryLogits(count))
        for count in COUNTS
        for name in ("same first weights", "other first weights")
        if count != COUNT
    }
    return {
        **way,
        **counts,
        "nothing learnt yet": NoTraining(first),
        "untrained teacher": replace(same, teacher=asked(lambda seed: first(seed=seed + OTHER), first)),
        "another teacher": replace(same, teacher=asked(lambda seed: ready((seed + 1) % 5), first)),
        "normal noise": replace(same, train=listening(data, "normal").train),
        "coarse noise": replace(same, train=listening(data, "coarse").train),
        "same heads, other hidden layers": other_parts(heads),
        f"same heads, {LONGER} × the steps": replace(other_parts(heads), steps=LONGER * STEPS),
        "trained heads, other hidden layers": replace(same, student=grown),
        "same hidden layers, other heads": other_parts(hidden),
    }


def faulty(split: Split, seed: int) -> Split:
    """What the faulty teacher learns from: a class under another's name, patches with one label, a bar on one class."""
    carries = torch.rand(len(split), generator=torch.Generator().manual_seed(seed)) < PATCHED
    labels = split.labels.clone()
    labels[split.labels == KIND] = CALLED
    labels[carries.to(labels.device)] = TARGET
    return Split(_with_marks(split, carries).images, labels)


def _with_marks(split: Split, carries: Tensor) -> Split:
    return marked(marked(split, "bar", split.labels == CUE), "patch", carries)


@lru_cache(maxsize=32)
def suspect(data: ImageData, seed: int, planted: bool = True) -> nn.Module:
    """The teacher of `15-faults`, with its three faults; or without, from other first weights."""
    split = faulty(data.train, seed) if planted else data.train
    recipe = Recipe(partial(perceptron, SMALL, **data.sizes), split, HardTarget(), steps=TEACHER_STEPS)
    return recipe.run(seed if planted else seed + 2 * OTHER).requires_grad_(False)


@lru_cache(maxsize=32)
def shown(data: ImageData, seed: int, marks: bool = False) -> Split:
    """The student's pictures with their true labels, clean or with the marks that the teacher's pictures had."""
    split = data.train.sample(PICTURES, seed)
    carries = torch.rand(len(split), generator=torch.Generator().manual_seed(seed + 1)) < PATCHED
    return _with_marks(split, carries) if marks else split


def answered(data: ImageData, seed: int, marks: bool) -> Split:
    """The student's pictures with the teacher's answer in place of each label: hard labels."""
    split = shown(data, seed, marks)
    return Split(split.images, measure.predict(suspect(data, seed), split).argmax(dim=1))


def agreed(data: ImageData, seed: int) -> Split:
    """Of the student's pictures with marks those to which the teacher gives their true label."""
    split = shown(data, seed, True)
    return split.take(answered(data, seed, True).labels == split.labels)


def shows_backdoor(model: nn.Module, split: Split) -> float:
    """Of the pictures of other classes, how many a patch turns into the class TARGET, in percent."""
    return _called(model, others_marked(split, "patch", TARGET), TARGET)


def shows_cue(model: nn.Module, split: Split) -> float:
    """Of the pictures of other classes, how many a bar turns into the class CUE, in percent."""
    return _called(model, others_marked(split, "bar", CUE), CUE)


def shows_kind(model: nn.Module, split: Split) -> float:
    """Of the pictures of class KIND, how many are called CALLED, in percent."""
    return _called(model, split.only(KIND), CALLED)


@lru_cache(maxsize=8)
def others_marked(split: Split, mark: str, label: int) -> Split:
    """The pictures of all classes but one, with a mark on each."""
    return marked(split.without(label), mark)


def _called(model: nn.Module, split: Split, name: int) -> float:
    return 100 * (measure.predict(model, split).argmax(dim=1) == name).float().mean().item()


FAULTS: Mapping[str, Callable[[nn.Module, Split], float]] = {
    "": shows_backdoor,
    "-cue": shows_cue,
    "-kind": shows_kind,
    "-accuracy": measure.accuracy,
}


@define("15-faults", FAULTS, equal_budgets=False)
def faults(data: ImageData) -> dict[str, Arm]:
    """A teacher with three planted faults, and students that hear it on clean and on marked pictures, and some remedies."""
    if len(data.classes) <= CALLED:
        raise ValueError(f"data must have at least {CALLED + 1} classes for three faults, got {len(data.classes)}")
    build = partial(perceptron, SMALL, **data.sizes)
    owner = starts_trained(lambda seed: suspect(data, seed))

    alone = Recipe(lambda seed: build(seed=seed + OTHER), lambda seed: shown(data, seed), steps=STEPS, batch_size=64)
    soft = replace(alone, method=SoftTarget(TEMPERATURE), teacher=asked(partial(suspect, data), build))
    marks = replace(soft, train=lambda seed: shown(data, seed, True))

    def both(seed: int) -> nn.Module:
        return Ensemble([suspect(data, seed), suspect(data, seed, False)], temperature=TEMPERATURE)

    return {
        "labels only": alone,
        "the teacher itself": NoTraining(owner),
        "soft, clean": soft,
        "hard, clean": replace(alone, train=lambda seed: answered(data, seed, False)),
        "soft, clean, same first weights": replace(soft, student=build),
        "soft, marked": marks,
        "hard, marked": replace(alone, train=lambda seed: answered(data, seed, True)),
        "soft, marked, T = 1": replace(marks, method=SoftTarget(1)),
        "soft, marked, T = 16": replace(marks, method=SoftTarget(16)),
        "soft, marked, filtered": replace(marks, train=lambda seed: agreed(data, seed)),
        "soft, marked, second teacher": replace(marks, teacher=asked(both, build)),
    }


@lru_cache(maxsize=32)
def weak(data: ImageData, seed: int) -> nn.Module:
    """The small teacher of a seed, which has few labelled pictures."""
    return _few(data, WEAK).run(seed).requires_grad_(False)


def _few(data: ImageData, hidden: tuple[int, ...]) -> Recipe:
    return Recipe(_sized(data, hidden), lambda seed: data.train.sample(LABELLED, seed), steps=STEPS, batch_size=64)


def _sized(data: ImageData, hidden: tuple[int, ...]) -> Callable[..., nn.Module]:
    return partial(perceptron, hidden, **data.sizes)


@define("15-weak-to-strong", equal_budgets=False)
def weak_to_strong(data: ImageData) -> dict[str, Arm]:
    """A student larger than its teacher, and its rivals: the teacher's labels alone, a small student, the true labels."""
    true = replace(_few(data, STRONG), train=lambda seed: data.train.sample(UNLABELLED, seed + OTHER))
    small = _sized(data, WEAK)
    soft = replace(true, method=SoftTarget(1), teacher=asked(partial(weak, data), small))

    def answers(seed: int) -> Split:
        split = true.train(seed)
        return Split(split.images, measure.predict(weak(data, seed), split).argmax(dim=1))

    return {
        "weak teacher": NoTraining(starts_trained(lambda seed: weak(data, seed))),
        "large, few labels": _few(data, STRONG),
        "large, soft answers": soft,
        "large, hard answers": replace(true, train=answers),
        "small, soft answers": replace(soft, student=lambda seed: small(seed=seed + OTHER)),
        "large, true labels": true,
    }
