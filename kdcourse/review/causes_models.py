"""What can be wrong with the two models: their mode, their answers, what of them learns."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from kdcourse.review.look import DROPOUT, NORM, Look, answers, restless, share
from kdcourse.review.report import Finding

FEW = 0.005  # share of a softened answer outside its largest class below which it says no more than a label
EVEN = 0.98  # of log C: an entropy above this tells nearly nothing


def broken(look: Look) -> Iterator[Finding]:
    """What makes all else meaningless: shapes that do not meet, and answers that are no numbers."""
    ours, theirs = look.logits["student", "train"], look.logits["teacher", "train"]
    for who, logits in (("student", ours), ("teacher", theirs)):
        bad = (~logits.isfinite()).any(1)
        if bad.any():
            yield Finding(
                f"the {who}'s answers are no numbers",
                share(bad),
                f"{share(bad):.0f} % of its answers hold NaN or infinity.",
                "Lower the learning rate, look for a division by zero, and train or load it anew.",
            )
    if ours.shape[1:] != theirs.shape[1:]:
        yield Finding(
            "different numbers of classes",
            float(ours.shape[-1]),
            f"The student answers {tuple(ours.shape[1:])}, the teacher {tuple(theirs.shape[1:])}.",
            "Give the student the teacher's classes, in the teacher's order.",
        )


def modes(look: Look) -> Iterator[Finding]:
    """Dropout and batch norm that are in training mode where they should not be."""
    for who in ("teacher", "student"):
        model, images = look.as_given[who], look.prepared(who, look.validation.inputs)
        quiet = look.logits[who, "validation"].argmax(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(look.seed)
            first, second = (answers(model, images).argmax(1) for _ in range(2))
        layers = restless(model, DROPOUT + NORM)
        moved = share(first != quiet)
        if model.training and layers:
            yield Finding(
                f"the {who} is in training mode",
                moved,
                f"{len(layers)} of its layers are in training mode, and {moved:.1f} % of its decisions change.",
                f"{who}.eval() before it {'answers' if who == 'teacher' else 'is measured'}.",
            )
        elif layers or share(first != second) > 0:
            yield Finding(
                f"the {who}'s dropout is on",
                share(first != second),
                f"Asked twice, it changes {share(first != second):.1f} % of its decisions.",
                f"{who}.eval(), and F.dropout(..., training=self.training) in its forward.",
            )


def teacher(look: Look) -> Iterator[Finding]:
    """Whether there is anything to learn from it."""
    for who in ("teacher", "student"):
        logits = look.logits[who, "train"]
        if (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones(()), atol=1e-3):
            yield Finding(
                f"the {who} gives probabilities, not logits",
                logits.sum(1).mean().item(),
                "Its answers are not negative and add to 1.",
                "Take the softmax off its end: the loss takes it.",
            )
    theirs, ours = look.accuracy("teacher", "validation"), look.accuracy("student", "validation")
    if theirs is not None and theirs < 100 / look.classes + _noise(look):
        yield Finding(
            "the teacher is at chance",
            theirs,
            f"It is right on {theirs:.1f} % of the validation pictures.",
            "Load its weights (and check load_state_dict's missing keys), its preprocessing and its classes.",
        )
    elif theirs is not None and theirs <= ours:
        yield Finding(
            "the teacher is no better than the student",
            theirs - ours,
            f"Validation accuracy: teacher {theirs:.1f} %, student {ours:.1f} %.",
            "Take a better teacher: larger, longer trained, or an ensemble.",
        )
    yield from _softness(look)


def _softness(look: Look) -> Iterator[Finding]:
    temperature = look.temperature or 4.0
    p = (look.logits["teacher", "train"] / temperature).softmax(1)
    beside = 1 - p.max(1).values.mean().item()
    if beside < FEW:
        yield Finding(
            "the teacher says no more than the labels",
            beside,
            f"At T = {temperature:g} only {100 * beside:.2f} % of its probability lies outside the largest class.",
            "Raise the temperature, or take a teacher that was trained less long.",
        )
    entropy = -(p * p.clamp_min(1e-12).log()).sum(1).mean().item() / math.log(look.classes)
    if look.temperature and entropy > EVEN and not _undecided(look):
        yield Finding(
            "the temperature is too high",
            entropy,
            f"At T = {temperature:g} the targets have {100 * entropy:.1f} % of the largest possible entropy.",
            "Lower the temperature: 2 to 8 is usual for logits of usual size.",
        )


def _undecided(look: Look) -> bool:
    """A teacher whose own answers are even: then it is not the temperature."""
    return look.logits["teacher", "train"].softmax(1).max(1).values.mean().item() < 2 / look.classes


def student(look: Look) -> Iterator[Finding]:
    """Whether it can learn, has learnt, and has learnt what generalises."""
    model = look.given["student"]
    weights = list(model.parameters())
    frozen = sum(one.numel() for one in weights if not one.requires_grad) / max(sum(one.numel() for one in weights), 1)
    if frozen > 0:
        yield Finding(
            "frozen student",
            100 * frozen,
            f"{100 * frozen:.1f} % of its weights have requires_grad=False.",
            "student.requires_grad_(True), unless you meant to train the rest alone.",
        )
    shared = {one.data_ptr() for one in weights} & {one.data_ptr() for one in look.given["teacher"].parameters()}
    if shared:
        yield Finding(
            "student and teacher share weights",
            float(len(shared)),
            f"{len(shared)} tensors belong to both.",
            "copy.deepcopy(teacher) where the student is to begin as a copy.",
        )
    train, validation = look.accuracy("student", "train"), look.accuracy("student", "validation")
    best = look.accuracy("teacher", "validation")
    if validation is not None and validation < 100 / look.classes + _noise(look) < best:
        yield Finding(
            "the student has learnt nothing",
            validation,
            f"It is right on {validation:.1f} % of the validation pictures.",
            "See that the optimiser holds its weights and steps, then the learning rate.",
        )
    elif train is not None and validation is not None and train - validation > 15:
        yield Finding(
            "the student overfits",
            train - validation,
            f"Accuracy: training {train:.1f} %, validation {validation:.1f} %.",
            "More pictures (the teacher can label any), augmentation, or fewer steps.",
        )


def baseline(look: Look) -> Iterator[Finding]:
    """The student beside one that learnt from labels alone: a difference, and its interval over examples."""
    other, labels = look.told.baseline, look.validation.labels
    if other is None or labels is None:
        return
    right = look.logits["student", "validation"].argmax(1) == labels
    other = answers(other, look.prepared("student", look.validation.inputs)).argmax(1) == labels
    gaps: Tensor = 100 * (right.float() - other.float())
    mean, half = gaps.mean().item(), 1.96 * gaps.std().item() / math.sqrt(len(gaps))
    if mean - half <= 0 <= mean + half:
        yield Finding(
            "no clear difference to the baseline",
            mean,
            f"{mean:+.1f} points on {len(gaps)} pictures, 95 % interval {mean - half:+.1f} to {mean + half:+.1f}.",
            "One run of each shows nothing: kd.compare with five seeds or more.",
            "caution",
        )


def _noise(look: Look) -> float:
    """Three standard errors of guessing, in percent."""
    chance = 1 / look.classes
    return 300 * math.sqrt(chance * (1 - chance) / len(look.validation))
