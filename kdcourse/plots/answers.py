"""Figures of answers: what a model says of a picture, class by class."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kdcourse.plots.palette import (
    Figure,
    array,
    bar_style,
    check_picture,
    check_pictures,
    check_table,
    check_vector,
    class_ticks,
    plain,
    plural,
    show_picture,
    wrapped,
)


def softened(logits, temperature: float) -> np.ndarray:
    """softmax(logits / temperature), (..., C) -> (..., C), with its limits: the largest logit alone at 0, all equal at ∞."""
    logits = array(logits).astype(float)
    if not temperature >= 0:
        raise ValueError(f"temperature must be 0 or more, got {temperature}")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted / temperature) if temperature > 0 else (shifted == 0).astype(float)
    return powers / powers.sum(axis=-1, keepdims=True)


def entropy(probabilities) -> float:
    """Of one distribution (C,), in nats; a probability of zero adds nothing."""
    p = array(probabilities).astype(float)
    p = p[p > 0]
    return abs(float((p * np.log(p)).sum()))  # the sum is never positive; abs also turns -0.0 into 0.0


def soft_labels(images, probabilities, classes: Sequence[str], *, labels=None) -> Figure:
    """Each picture, its one-hot label and its soft label side by side, one row a picture.

    images: (N, H, W) or (N, H, W, 3) within [0, 1]. probabilities: (N, C). classes: C names. labels: (N,), default the
    likeliest classes.
    """
    images = check_pictures(images)
    probabilities = check_table("probabilities", probabilities, len(classes), len(images))
    labels = probabilities.argmax(axis=1) if labels is None else array(labels)
    if labels.shape != (len(images),):
        raise ValueError(f"labels must be ({len(images)},), one for each picture, got shape {labels.shape}")
    figure = Figure(7.4, 1.0 + 1.25 * len(images))
    grid = figure.subplots(len(images), 3, width_ratios=(1, 2, 2), squeeze=False, sharex="col")
    sentences = []
    for row, picture, soft, label in zip(grid, images, probabilities, labels, strict=True):
        show_picture(row[0], picture, classes[label])
        for axes, values, number in ((row[1], np.eye(len(classes))[label], 1), (row[2], soft, 0)):
            _bars(axes, values, number)
            axes.set_ylabel("probability", fontsize=8)
        runners = [other for other in soft.argsort()[::-1] if other != label][:2]
        likely = " and ".join(f"{classes[other]} {soft[other]:.0%}" for other in runners)
        sentences.append(f"{classes[label]}: soft label {soft[label]:.0%}, then {likely}")
    for axes, title in zip(grid[0, 1:], ("one-hot label", "teacher's soft label"), strict=True):
        axes.set_title(title, fontsize=9)
    for axes in grid[-1, 1:]:
        class_ticks(axes.xaxis, classes)
        axes.set_xlabel("class")
    figure.description = f"One-hot and soft labels of {plural(len(images), 'picture')}. " + "; ".join(sentences) + "."
    return figure


def distribution(
    probabilities,
    classes: Sequence[str],
    *,
    title: str,
    picture=None,
    names: tuple[str, str] = ("probability", "class"),
) -> Figure:
    """One distribution (C,) as bars with their numbers, likeliest marked; `picture` (H, W) or (H, W, 3) beside it.

    classes: C names. names: what a bar's length is, and what its row is.
    """
    values = check_vector("probabilities", probabilities, len(classes))
    figure = Figure(7.0, 1.1 + 0.22 * len(classes))
    if picture is None:
        bars = figure.subplots()
    else:
        photograph, bars = figure.subplots(1, 2, width_ratios=(1, 3))
        show_picture(photograph, check_picture(picture), "")
    most = values.argmax()
    for place, value in enumerate(values):
        bars.barh(place, value, **bar_style(1 if place == most else 0))
        bars.annotate(f"{value:.1%}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    class_ticks(bars.yaxis, classes, turned=False)
    bars.invert_yaxis()
    bars.set(xlim=(0, 1.14), xticks=(0, 0.5, 1), xlabel=names[0], ylabel=names[1])
    bars.set_title(title, fontsize=9)
    plain(bars)
    figure.description = f"{_in_words(title, values, classes)}, of at most {np.log(len(classes)):.2f}."
    return figure


def distributions(rows: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Bars of several distributions over the same classes, one panel each, with their entropies in nats. rows: name -> (C,)."""
    figure = Figure(max(4.0, 1.9 * len(rows)), 2.9)
    panels = figure.subplots(1, len(rows), squeeze=False)[0]
    figure.description = _bar_panels(panels, rows, classes, 22, lambda values: f"entropy {entropy(values):.2f}")
    return figure


def opinions(picture, title: str, rows: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """A picture (H, W) or (H, W, 3) within [0, 1] and beside it the probabilities of each model. rows: model -> (C,)."""
    figure = Figure(2.2 + 2.3 * len(rows), 2.9)
    photograph, *panels = figure.subplots(1, 1 + len(rows), squeeze=False)[0]
    show_picture(photograph, check_picture(picture), wrapped(title, 24))
    spoken = _bar_panels(panels, rows, classes, 30, lambda values: f"{classes[values.argmax()]} {values.max():.0%}")
    figure.description = f"{title}. {spoken}"
    return figure


def temperature_limits(logits, classes: Sequence[str], *, temperatures=(0, 1, 4, 20, np.inf)) -> Figure:
    """One row of logits (C,) softened at each temperature, 0 and ∞ being the limits."""
    names = {0: "T → 0", np.inf: "T → ∞"}
    return distributions({names.get(t, f"T = {t:g}"): softened(logits, t) for t in temperatures}, classes)


def _bar_panels(panels, rows: Mapping[str, np.ndarray], classes: Sequence[str], width: int, summary: Callable) -> str:
    """A panel of bars for each distribution, under its name and its `summary`; all of them in words."""
    parts = []
    panels[0].set_ylabel("probability")
    for axes in panels[1:]:
        axes.sharey(panels[0])
        axes.tick_params(labelleft=False)
    for axes, (name, values) in zip(panels, rows.items(), strict=True):
        values = check_vector(name, values, len(classes))
        _bars(axes, values, 0)
        axes.set_title(f"{wrapped(name, width)}\n{summary(values)}", fontsize=9)
        class_ticks(axes.xaxis, classes)
        axes.set_xlabel("class")
        parts.append(_in_words(name, values, classes))
    return "; ".join(parts) + "."


def _bars(axes, values: np.ndarray, number: int) -> None:
    axes.bar(range(len(values)), values, **bar_style(number))
    axes.set(ylim=(0, 1.05), yticks=(0, 0.5, 1))
    plain(axes)


def _in_words(name: str, values: np.ndarray, classes: Sequence[str]) -> str:
    likely = f"most likely {classes[values.argmax()]} with {values.max():.0%}"
    if np.ptp(values) < 0.001:
        likely = f"all classes alike with {values.mean():.0%}"
    return f"{name}: {likely}, entropy {entropy(values):.2f} nats"
