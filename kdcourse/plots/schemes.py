"""Figures of schemes: a teacher with its student; several teachers, how sure, how different, what they make together."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.patches import FancyBboxPatch

from kdcourse.plots.palette import (
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    ON_PAPER,
    PAPER,
    Figure,
    array,
    bar_style,
    check_picture,
    check_table,
    check_vector,
    class_ticks,
    clipped,
    heatmap,
    log_ticks,
    plain,
    show_picture,
    wrapped,
)

PAPER_INCHES = (8.2, 4.0)  # of the scheme of a teacher and its student; its boxes and arrows lie at places in inches


def teacher_and_student(
    picture, label: int, teacher, student, classes: Sequence[str], *, parameters: tuple[int, int]
) -> Figure:
    """How distillation works, by one example: a picture goes to both networks, and the loss compares what they answer.

    picture: (H, W) or (H, W, 3) within [0, 1]. label: its class, from 0 to C − 1. teacher, student: the probabilities (C,) that
    each gives it. classes: C names. parameters: how many the teacher and the student have.
    """
    answers = [check_vector(name, p, len(classes)) for name, p in (("teacher", teacher), ("student", student))]
    figure = Figure(*PAPER_INCHES)
    figure.set_layout_engine("none")
    width, height = PAPER_INCHES
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    page.set_axis_off()
    show_picture(figure.add_axes((0.02, 0.4, 0.12, 0.24)), check_picture(picture), "a picture")
    _box(page, (1.65, 2.4, 1.35, 1.3), f"teacher\n\n{parameters[0]:,}\nparameters\n(fixed)", 0)
    _box(page, (1.8, 0.55, 1.05, 0.95), f"student\n{parameters[1]:,}\nparameters\n(trained)", 1)
    titles = ("soft target:\nthe teacher's probabilities", "the student's\nprobabilities")
    for number, (values, title) in enumerate(zip(answers, titles, strict=True)):
        axes = figure.add_axes((4.3 / width, (2.4 - 1.83 * number) / height, 1.3 / width, 1.15 / height))
        axes.barh(range(len(classes)), values, **bar_style(number))
        class_ticks(axes.yaxis, [clipped(name, 12) for name in classes], turned=False)
        axes.tick_params(axis="y", labelsize=6.5)
        axes.set(xlim=(0, 1), xticks=(0, 0.5, 1), ylim=(len(classes) - 0.4, -0.6))
        axes.set_title(title, fontsize=8)
        axes.set_gid("picture")  # within a scheme the title says what the bars are
        plain(axes)
        axes.tick_params(labelsize=6.5)
    _box(page, (6.35, 1.75, 1.65, 0.8), "loss: how far is\nthe student's answer\nfrom its targets?", 6)
    _box(page, (6.5, 3.15, 1.35, 0.5), f"hard target:\nlabel {clipped(classes[label], 12)}", 6)
    both = (
        ((1.25, 2.2), (1.62, 2.9)),
        ((1.25, 1.9), (1.77, 1.1)),
        ((3.03, 3.0), (3.5, 3.0)),
        ((2.88, 1.0), (3.5, 1.0)),
    )
    for start, end in (*both, ((5.65, 2.9), (6.4, 2.55)), ((5.65, 1.3), (6.4, 1.75)), ((7.18, 3.12), (7.18, 2.58))):
        _arrow(page, start, end)
    page.plot((7.18, 7.18, 2.32), (1.72, 0.1, 0.1), color=COLOURS[1], linewidth=1.3)
    _arrow(page, (2.32, 0.1), (2.32, 0.52), color=COLOURS[1])
    page.text(4.75, 0.16, "each step changes the student alone", ha="center", color=COLOURS[1], fontsize=8)
    said = [_likeliest(values, classes) for values in answers]
    figure.description = (
        f"A picture labelled {classes[label]} goes to both networks. The teacher, {parameters[0]:,} fixed parameters, "
        f"answers {said[0]}. The student, {parameters[1]:,} parameters to train, answers {said[1]}. The loss says how far the "
        "student's answer is from its targets, the label and the teacher's answer, and each step changes the student alone."
    )
    return figure


def _box(axes, place: tuple[float, float, float, float], text: str, number: int) -> None:
    """A rounded box at (left, bottom, width, height) with words in its middle."""
    left, bottom, width, height = place
    colour = COLOURS[number]
    look = {"boxstyle": "round,pad=0.02,rounding_size=0.08", "facecolor": PAPER, "edgecolor": colour, "linewidth": 1.8}
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, **look))
    axes.text(left + width / 2, bottom + height / 2, text, ha="center", va="center", fontsize=8)


def _arrow(axes, start: tuple[float, float], end: tuple[float, float], color: str = INK) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.3})


def _likeliest(values: np.ndarray, classes: Sequence[str]) -> str:
    """The two classes that a distribution (C,) finds likeliest, with their shares."""
    return ", ".join(f"{classes[place]} with {values[place]:.0%}" for place in values.argsort()[::-1][:2])


def reliability(diagrams: Mapping[str, object], errors: Mapping[str, float]) -> Figure:
    """Accuracy against confidence, one panel a model; bars below the diagonal are overconfident.

    diagrams: name -> `measure.Reliability`. errors: name -> expected calibration error in points.
    """
    figure = Figure(2.3 * len(diagrams) + 0.6, 3.0)
    panels = figure.subplots(1, len(diagrams), squeeze=False, sharey=True)[0]
    parts = []
    for axes, (name, diagram) in zip(panels, diagrams.items(), strict=True):
        # A bin without pictures has neither an accuracy nor a confidence.
        accuracy, confidence = (np.nan_to_num(array(part)) for part in (diagram.accuracy, diagram.confidence))
        count = array(diagram.count)
        middles = (np.arange(len(count)) + 0.5) / len(count)
        axes.bar(middles, accuracy, 0.9 / len(count), color=COLOURS[0], label="accuracy")
        axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="as sure as right")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence")
        axes.set_title(f"{wrapped(name, 20)}\ncalibration error {errors[name]:.1f}", fontsize=9)
        plain(axes)
        sure, right = (np.average(values, weights=count) for values in (confidence, accuracy))
        lean = "overconfident" if sure > right else "underconfident"
        parts.append(f"{name}: confidence {sure:.0%}, accuracy {right:.0%}, {lean}, error {errors[name]:.1f} points")
    panels[0].set_ylabel("accuracy")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False, fontsize=9
    )
    figure.description = "Reliability diagrams. " + "; ".join(parts) + "."
    return figure


def disagreement(tables: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]) -> Figure:
    """The share of pictures on which each two members decide differently, one panel a group of members.

    tables: group -> (M, M) shares. names: group -> M members.
    """
    figure = Figure(3.2 * len(tables) + 0.4, 3.4)
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    sizes = {group: len(members) for group, members in names.items()}
    tables = {group: check_table(group, values, sizes[group], sizes[group]) for group, values in tables.items()}
    most = max(values.max() for values in tables.values())
    parts = []
    for axes, (group, values) in zip(panels, tables.items(), strict=True):
        _disagreements(axes, values, names[group], most)
        axes.set_title(f"{wrapped(group, 26)}, %", fontsize=9)
        between = values[~np.eye(len(values), dtype=bool)].mean()
        parts.append(f"{group}: members differ on {between:.1%} of the pictures on average")
    figure.description = "Disagreement of each two members. " + "; ".join(parts) + "."
    return figure


def _disagreements(axes, values: np.ndarray, names: Sequence[str], most: float) -> None:
    heatmap(axes, values, lambda row, column: f"{100 * values[row, column]:.0f}", vmin=0, vmax=most)
    ticks = [wrapped(name, 10) for name in names]
    axes.set_xticks(range(len(names)), ticks, fontsize=7)
    axes.set_yticks(range(len(names)), ticks, fontsize=7)
    axes.set(xlabel="member", ylabel="member")


def mixture(
    scores: Mapping[str, float],
    weights: Mapping[str, float],
    mixed: float | None,
    answers: Sequence[np.ndarray],
    classes: Sequence[str],
    *,
    ylabel: str,
    picture,
) -> Figure:
    """What each teacher scores alone, with its weight in the mixture, what the mixture scores, and what all say to a picture.

    scores, weights: teacher -> number. mixed: None where all weights are 0 and there is no mixture. answers: probabilities (C,)
    of each teacher and of the mixture, if any. picture: (H, W) or (H, W, 3) within [0, 1].
    """
    every = dict(scores)
    if mixed is not None:
        every["mixture"] = mixed
    answers = check_table("answers", np.stack([array(one) for one in answers]), len(classes), len(every))
    figure = Figure(1.1 * len(every) + 2.6, 2.6 + 0.22 * len(classes))
    heights = (2.0, 0.22 * len(classes))
    (empty, bars), (photograph, cells) = figure.subplots(2, 2, width_ratios=(1, len(every)), height_ratios=heights)
    empty.set_axis_off()
    show_picture(photograph, check_picture(picture), "")
    total = sum(weights.values()) or 1
    shares = {name: f"{weight / total:.0%}" for name, weight in weights.items()}
    _score_bars(bars, every, shares, ylabel)
    _answers(cells, answers, classes, [wrapped(name, 11) for name in every])
    best = max(scores, key=scores.get)
    if mixed is None:
        what = "No mixture, every weight is 0"
    else:
        said = ", ".join(f"{name} {share}" for name, share in shares.items())
        what = f"Mixture of {said}: {ylabel} {mixed:.1f}"
    figure.description = f"{what}; the best single teacher, {best}, has {scores[best]:.1f}."
    return figure


def _score_bars(axes, scores: Mapping[str, float], shares: Mapping[str, str], ylabel: str) -> None:
    """A bar for each teacher, with its share in the mixture, and one for the mixture, which has none."""
    for place, (name, score) in enumerate(scores.items()):
        axes.bar(place, score, **bar_style(0 if name in shares else 1))
        said = f"{score:.1f}\n{shares[name]}" if name in shares else f"{score:.1f}"
        axes.annotate(said, (place, score), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axes.set(xlabel="teacher", ylabel=ylabel, xlim=(-0.5, len(scores) - 0.5), ylim=(0, 1.3 * max(scores.values())))
    axes.set_title("score alone, and share in the mixture", fontsize=9)
    axes.set_xticks([])  # the names stand under the columns below
    plain(axes)


def _answers(axes, answers: np.ndarray, classes: Sequence[str], names: Sequence[str]) -> None:
    """Probabilities (models, C) in percent, a column for each model."""
    heatmap(axes, answers.T, lambda row, column: f"{100 * answers[column, row]:.0f}", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="teacher", ylabel="class")
    axes.set_title("probability, %", fontsize=9)
    class_ticks(axes.yaxis, classes, turned=False)


def per_class(scores: Mapping[str, np.ndarray], counts: Sequence[int], classes: Sequence[str]) -> Figure:
    """Accuracy of each class under each arm, classes from frequent to rare, their training pictures below the names.

    scores: arm -> (C,) percent. counts: C training pictures. classes: C names.
    """
    order = np.argsort(-array(counts), kind="stable")
    figure = Figure(8.2, 3.4)
    axes = figure.subplots()
    width = 0.8 / len(scores)
    parts = []
    third = max(1, len(classes) // 3)
    for number, (arm, values) in enumerate(scores.items()):
        values = check_vector(arm, values, len(classes))[order]
        places = np.arange(len(classes)) + (number - (len(scores) - 1) / 2) * width
        axes.bar(places, values, width, label=arm, **bar_style(number))
        frequent, rare = values[:third].mean(), values[-third:].mean()
        parts.append(
            f"{arm}: {frequent:.0f} % on the {third} most frequent classes, {rare:.0f} % on the {third} rarest"
        )
    names = [f"{wrapped(classes[label], 9)}\n{counts[label]}" for label in order]
    axes.set_xticks(range(len(classes)), names, fontsize=8)
    axes.set(xlabel="class, and its training pictures", ylabel="test accuracy, %", ylim=(0, 100))
    plain(axes)
    figure.legend(loc="outside upper center", ncols=len(scores), frameon=False)
    figure.description = "Accuracy by class, from frequent to rare. " + "; ".join(parts) + "."
    return figure


def front(
    costs, scores, names: Sequence[str], kept, *, xlabel: str, ylabel: str, budget: float | None = None, baselines=()
) -> Figure:
    """Scores against cost, the front joined and named, a budget as a line. costs, scores: (K,). kept: positions.

    baselines: positions of what others are to be held against; they are ringed, and named whether kept or not.
    """
    costs, scores, kept, baselines = array(costs), array(scores), array(kept), list(baselines)
    figure = Figure(7.2, 3.6)
    axes = figure.subplots()
    axes.scatter(costs, scores, color=FAINT, marker="o", s=22, label="candidates")
    axes.plot(costs[kept], scores[kept], color=COLOURS[0], marker=MARKERS[1], label="worth their cost")
    if budget is not None:
        axes.axvline(budget, color=COLOURS[1], linestyle="--", label="budget")
    if baselines:
        ring = {"facecolors": "none", "edgecolors": COLOURS[1], "linewidths": 2, "s": 110, "zorder": 3}
        axes.scatter(costs[baselines], scores[baselines], label="baselines", **ring)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log")
    log_ticks(axes.xaxis)
    axes.margins(x=0.22, y=0.1)
    plain(axes)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    _name_points(axes, np.column_stack([costs, scores]), names, list(dict.fromkeys([*kept, *baselines])))
    steps, held = (
        ", ".join(f"{names[place]} ({scores[place]:.1f})" for place in places) for places in (kept, baselines)
    )
    figure.description = f"{ylabel} against {xlabel} of {len(costs)} candidates; worth their cost: {steps}."
    figure.description += f" Baselines: {held}." if baselines else ""
    return figure


# Above and to the left of a rising front nothing else lies, so that is tried first.
SIDES = ("right bottom", "left top", "center bottom", "center top", "left bottom", "right top")
AWAY = {"right": -4, "left": 4, "center": 0, "bottom": 5, "top": -5}  # points
DISTANCES = (1, 4, 8, 12)  # times as far away, where a name would lie on another


def _name_points(axes, points: np.ndarray, names: Sequence[str], kept: Sequence[int]) -> None:
    """Each kept point's name on the side where it covers least: of the points (K, 2), of lines and of the names before it."""
    axes.figure.draw_without_rendering()  # only now it is known where on the page everything lies
    frame, taken = axes.get_window_extent(), []
    corners = [line.get_transform().transform(line.get_xydata()) for line in axes.lines]
    dots = [np.linspace(start, end, 100) for line in corners for start, end in pairwise(line)]
    # A covered point is as bad as a fifth of a line.
    crowd = np.concatenate([np.repeat(axes.transData.transform(points), 20, axis=0), *dots])

    def harm(note) -> float:
        box = note.get_window_extent()
        outside = frame.count_contains(box.corners()) < 4
        return box.padded(4).count_contains(crowd) + 100 * box.count_overlaps(taken) + 1000 * outside

    for place in kept:
        notes = []
        for distance in DISTANCES:
            notes += [_note(axes, wrapped(names[place], 12), points[place], side.split(), distance) for side in SIDES]
            best = min(notes, key=harm)
            if not best.get_window_extent().count_overlaps(taken):
                break
        taken.append(best.get_window_extent())
        for note in notes:
            note.remove()
        distance = abs(best.xyann[1]) / AWAY["bottom"]
        # Only the one that stays has a line, which would count as a part of the name.
        line = {"arrowstyle": "-", "color": FAINT, "shrinkA": 0, "shrinkB": 2} if distance > 1 else None
        _note(axes, best.get_text(), points[place], (best.get_ha(), best.get_va()), distance, line)


def _note(axes, text: str, point: np.ndarray, side: Sequence[str], distance: float, line: dict | None = None):
    """A name beside its point, with a line to it where one is given."""
    across, up = side
    look = {"ha": across, "va": up, "fontsize": 8, "textcoords": "offset points", "bbox": ON_PAPER, "arrowprops": line}
    look["parse_math"] = False  # it is measured before `Figure.draw` sees to that
    look["in_layout"] = False  # or the layout would move all points once a name is there
    return axes.annotate(text, point, (distance * AWAY[across], distance * AWAY[up]), **look)


def adopted(axes, description: str) -> Figure:
    """Another library's matplotlib axes as one of ours: the same picture, under a sentence of its own."""
    import io
    import sys

    from PIL import Image

    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", facecolor=PAPER)
    if "matplotlib.pyplot" in sys.modules:
        # A notebook shows what pyplot still holds, a second time and without a text.
        sys.modules["matplotlib.pyplot"].close(axes.figure)
    picture = np.asarray(Image.open(buffer).convert("RGB")) / 255
    figure = Figure(picture.shape[1] / 110, picture.shape[0] / 110)
    figure.set_layout_engine("none")
    shown = figure.add_axes((0, 0, 1, 1))
    shown.imshow(picture)
    shown.set_axis_off()
    figure.description = description
    return figure
