"""What can be wrong with the data: labels, cached answers, preprocessing, splits that overlap."""

from collections.abc import Iterator

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from kdcourse.evaluation import measure
from kdcourse.review.look import Look, answers, share
from kdcourse.review.report import Finding

GAIN = 15.0  # percentage points by which another reading of the labels must be better
PREPARED = 6.0  # the same for pictures, beyond what chance does with 300 of them
SHIFTS = (-3, -2, -1, 1, 2, 3)


def labels(look: Look) -> Iterator[Finding]:
    """Labels that belong to other pictures or other classes, told by a teacher that knows better."""
    explained = False
    for part in ("train", "validation"):
        split, logits = getattr(look, part), look.logits["teacher", part]
        if split.labels is None:
            continue
        plain = look.accuracy("teacher", part)
        moved = {shift: share(logits.argmax(1) == split.labels.roll(shift)) for shift in SHIFTS}
        best = max(moved, key=moved.get)
        if moved[best] - plain > GAIN:
            explained = True
            yield Finding(
                "labels shifted",
                float(-best),
                f"The teacher is right on {plain:.1f} % of the {part} labels, and on {moved[best]:.1f} % of those "
                f"{abs(best)} further {'on' if best < 0 else 'back'}.",
                "Read pictures and labels in one order; look at the first row (a header?) of the labels' file.",
            )
        elif permuted := _permuted(logits, split):
            explained = True
            mapping = ", ".join(f"{label}→{theirs}" for label, theirs in list(permuted.items())[:5])
            yield Finding(
                "classes permuted",
                float(len(permuted)),
                f"{len(permuted)} {part} labels have another number at the teacher: label→teacher's {mapping}.",
                "Bring the teacher's columns into your labels' order: logits[:, order].",
            )
    yield from () if explained else _noisy(look)
    yield from _classes(look)


def _permuted(logits: Tensor, split) -> dict[int, int]:
    """Label -> the teacher's number for it, where most of a class is called by another's name, both ways round."""
    if int(split.labels.max()) >= logits.shape[1]:
        return {}
    table = measure.confusion(logits, split).float()
    table = table / table.sum(1, keepdim=True).clamp_min(1)
    rows, columns = linear_sum_assignment(-table.cpu().numpy())
    moved = {
        int(i): int(j)
        for i, j in zip(rows, columns, strict=True)
        if i != j and table[i, j] > 0.5 and table[i, i] < 0.25
    }
    return moved if len(moved) > 1 else {}


def _noisy(look: Look) -> Iterator[Finding]:
    train, validation = look.accuracy("teacher", "train"), look.accuracy("teacher", "validation")
    if train is not None and validation is not None and validation - train > 10:
        yield Finding(
            "training labels are noisy",
            validation - train,
            f"The teacher agrees with {train:.1f} % of the training labels, and with {validation:.1f} % of validation's.",
            "Look at those it disputes; weigh the teacher more (alpha), the labels less.",
        )


def _classes(look: Look) -> Iterator[Finding]:
    known, asked = look.whole.labels, look.validation.labels
    if known is None or asked is None:
        return
    high = int(max(known.max(), asked.max()))
    if high >= look.classes or int(min(known.min(), asked.min())) < 0:
        yield Finding(
            "labels beyond the classes",
            float(high),
            f"A label is {high}, and the teacher has {look.classes} classes.",
            "Classes are counted from 0.",
        )
    missing = sorted(set(asked.unique().tolist()) - set(known.unique().tolist()))
    if missing:
        yield Finding(
            "a class is missing from training",
            float(len(missing)),
            f"Validation asks for {missing}, training has none.",
            "Draw the training pictures from all classes: split.sample(count) does.",
        )


def cache(look: Look) -> Iterator[Finding]:
    """Answers that were kept, against what the teacher says now of the same pictures."""
    kept = look.told.teacher_logits
    if kept is None:
        return
    if look.told.augment is not None:
        yield Finding(
            "cached answers of pictures that change",
            float(len(kept)),
            "augment changes the pictures at each step.",
            "Ask the teacher about the augmented picture, or keep fixed views: kd.data.augmented.",
        )
    fresh = look.logits["teacher", "train"]
    if len(kept) != len(look.whole) or kept.shape[1:] != fresh.shape[1:]:
        yield Finding(
            "the cache has another size",
            float(len(kept)),
            f"It is {tuple(kept.shape)}, for {len(look.whole)} pictures of {fresh.shape[1]} classes.",
            "One row for each picture, in the split's order: kd.TeacherCache(teacher).logits(split).",
        )
        return
    yield from _rows(kept.float().to(fresh.device), fresh)


def _rows(kept: Tensor, fresh: Tensor) -> Iterator[Finding]:
    first = kept[: len(fresh)]
    if (first >= 0).all() and torch.allclose(first.sum(1), torch.ones(()), atol=1e-3) and not (fresh >= 0).all():
        yield Finding(
            "the cache holds probabilities, not logits",
            first.sum(1).mean().item(),
            "Its rows add to 1.",
            "Keep logits: softened probabilities cannot be had from rounded ones, and the loss takes the softmax.",
        )
        return
    scale = fresh.norm(dim=1).mean()
    place = (first - fresh).norm(dim=1) < 0.05 * scale
    if place.float().mean() > 0.98:
        return
    anywhere = torch.cdist(fresh, kept).min(1).values < 0.05 * scale
    alike, found = share(place), share(anywhere)
    if found > 90:
        yield Finding(
            "the cache is out of step with the pictures",
            alike,
            f"{alike:.1f} % of its rows belong to their picture; {found:.1f} % lie elsewhere in it.",
            "Look rows up by the example's own number, not by its place in a shuffled batch: logits[index].",
        )
    else:
        yield Finding(
            "the cache is another teacher's",
            alike,
            f"{alike:.1f} % of its rows are what this teacher says now.",
            "Ask the teacher anew, in evaluation mode, with the pictures as they are prepared now.",
        )


def preprocessing(look: Look) -> Iterator[Finding]:
    """Pictures that were prepared otherwise than the model learnt them, or otherwise from split to split."""
    for who in ("teacher", "student"):
        if look.validation.labels is None:
            break
        images, asked = look.validation.inputs[:300], look.validation.labels[:300]
        plain = share(answers(getattr(look, who), look.prepared(who, images)).argmax(1) == asked)
        other = {
            name: share(answers(getattr(look, who), changed).argmax(1) == asked)
            for name, changed in _readings(look, images)
        }
        best = max(other, key=other.get)
        if other[best] > max(plain + PREPARED, 3 * 100 / look.classes):  # and not merely nearer to chance
            yield Finding(
                f"the {who}'s preprocessing differs",
                other[best] - plain,
                f"The {who} is right on {plain:.1f} % of the pictures as prepared, on {other[best]:.1f} % {best}.",
                f"Prepare pictures for the {who} as when it was trained.",
            )
    ours, theirs = look.train.inputs.float(), look.validation.inputs.float()
    gap = ((ours.mean() - theirs.mean()) / theirs.std()).abs().item()
    ratio = (ours.std() / theirs.std()).item()
    if gap > 0.25 or not 0.8 < ratio < 1.25:
        yield Finding(
            "training and validation pictures are prepared differently",
            gap,
            f"Mean and deviation: training {ours.mean():.3g} and {ours.std():.3g}, "
            f"validation {theirs.mean():.3g} and {theirs.std():.3g}.",
            "One function prepares both, with the training split's mean and deviation.",
        )


def _readings(look: Look, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The same pictures, prepared in other ways that are known to be mixed up."""
    yield "as they lie in the data", images
    yield "times 255", images * 255
    yield "divided by 255", images / 255
    yield "with 0 and 1 for mean and deviation", (images - images.mean()) / images.std()
    yield "in the negative", -images
    if look.data is not None:
        mean, std = (
            torch.tensor(numbers, device=images.device).view(1, -1, 1, 1) for numbers in (look.data.mean, look.data.std)
        )
        yield "between 0 and 1", images * std + mean
        yield "standardised", (images - mean) / std
        yield "divided by 255 and standardised", (images / 255 - mean) / std
    if images.ndim == 4 and images.shape[1] == 3:
        yield "with red and blue exchanged", images.flip(1)
    if images.ndim == 4 and images.shape[2] == images.shape[3]:
        yield "with rows and columns exchanged", images.transpose(2, 3)


def overlap(look: Look) -> Iterator[Finding]:
    """Validation pictures that were learnt from."""
    if look.data is None:
        return
    twice = torch.isin(look.validation.rows, look.whole.rows)
    if share(twice) > 2:
        yield Finding(
            "validation pictures are in the training split",
            share(twice),
            f"{share(twice):.1f} % of the validation pictures looked at.",
            "Split before anything else; scores are of memory otherwise.",
        )
