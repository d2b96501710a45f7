"""Figures: arrays in, `Figure` out, each with one sentence that says what it shows.

The sentence is computed from the same arrays and becomes the picture's alternative text. Figures are opaque and light, so
that they stay readable on a dark page; colours are Okabe and Ito's, safe for colour-blind readers, and never the only signal.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure as mpl

from kdcourse.intervals import difference

# Okabe and Ito (2008): told apart with every common kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "--")
INK, PAPER, FAINT = "#222222", "#ffffff", "#bbbbbb"
DPI = 100


class Figure(mpl.Figure):
    """A matplotlib figure with a `description`, shown in a notebook as one picture with that alternative text."""

    def __init__(self, width: float, height: float):
        super().__init__(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=PAPER)
        self.description = ""

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", facecolor=PAPER)
        return buffer.getvalue()

    def as_html(self) -> str:
        """The picture with its description as alternative text. Raises `ValueError` for a figure that has none."""
        if not self.description:
            raise ValueError("a figure needs a description before it is shown: set figure.description to a sentence")
        picture = base64.b64encode(self.png()).decode()
        alt = html.escape(self.description, quote=True)
        return f'<img alt="{alt}" style="max-width:100%;height:auto" src="data:image/png;base64,{picture}">'

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display({"text/html": self.as_html(), "text/plain": self.description}, raw=True)


def soft_labels(images, probabilities, classes: Sequence[str], *, labels=None) -> Figure:
    """Each picture, its one-hot label and its soft label side by side, one row a picture.

    images: (N, H, W) or (N, H, W, 3) within [0, 1]. probabilities: (N, C). classes: C names. labels: (N,) or None.
    """
    images, probabilities = _array(images), _matrix("probabilities", probabilities, len(classes))
    if len(images) != len(probabilities):
        raise ValueError(f"images and probabilities must be equally many, got {len(images)} and {len(probabilities)}")
    labels = probabilities.argmax(axis=1) if labels is None else _array(labels)
    figure = Figure(8, 0.6 + 2.0 * len(images))
    grid = figure.subplots(len(images), 3, width_ratios=(1, 2, 2), squeeze=False)
    sentences = []
    for row, picture, soft, label in zip(grid, images, probabilities, labels, strict=True):
        _show(row[0], picture, classes[label])
        for axes, values, colour, hatch in (
            (row[1], np.eye(len(classes))[label], COLOURS[1], HATCHES[1]),
            (row[2], soft, COLOURS[0], HATCHES[0]),
        ):
            axes.bar(range(len(classes)), values, color=colour, hatch=hatch, edgecolor=PAPER)
            axes.set(ylim=(0, 1.05), xticks=range(len(classes)), yticks=(0, 0.5, 1))
            axes.set_xticklabels([])
            _plain(axes)
        runners = [other for other in soft.argsort()[::-1] if other != label][:2]
        likely = " and ".join(f"{classes[other]} {soft[other]:.0%}" for other in runners)
        sentences.append(f"{classes[label]}: soft label {soft[label]:.0%}, then {likely}")
    for axes, title in zip(grid[0, 1:], ("one-hot label", "teacher's soft label"), strict=True):
        axes.set_title(title, fontsize=10)
    for axes in grid[-1, 1:]:
        _class_ticks(axes.xaxis, classes)
    figure.description = f"One-hot and soft labels of {_count(len(images), 'picture')}. " + "; ".join(sentences) + "."
    return figure


def two_similarities(one, other, classes: Sequence[str], *, titles: tuple[str, str]) -> Figure:
    """Two (C, C) tables side by side without their diagonals, each row scaled to shares."""
    from scipy.stats import spearmanr

    size = len(classes)
    tables = [_matrix(name, table, size) for name, table in (("one", one), ("other", other))]
    off = ~np.eye(size, dtype=bool)
    shares = []
    for table in tables:
        bare = np.where(off, table, 0.0)
        shares.append(bare / np.maximum(bare.sum(axis=1, keepdims=True), 1e-12))
    figure = Figure(9.5, 4.9)
    for axes, share, title in zip(figure.subplots(1, 2), shares, titles, strict=True):
        axes.imshow(np.where(off, share, np.nan), cmap="cividis", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(off & (share >= 0.1)), strict=True):
            ink = "black" if share[row, column] > 0.5 else "white"
            axes.text(column, row, f"{100 * share[row, column]:.0f}", ha="center", va="center", color=ink, fontsize=8)
        axes.set_title(f"{title}, % of a row", fontsize=10)
        _class_ticks(axes.xaxis, classes)
        _class_ticks(axes.yaxis, classes, turned=False)
    same = spearmanr(shares[0][off], shares[1][off]).statistic
    strongest = np.unravel_index(shares[0].argmax(), shares[0].shape)
    figure.description = (
        f"Two tables of classes, {titles[0]} and {titles[1]}: their rank correlation off the diagonal is {same:.2f}. "
        f"Strongest in the first: {classes[strongest[0]]} resembles {classes[strongest[1]]} "
        f"({shares[0][strongest]:.0%} of its row)."
    )
    return figure


def comparison(scores, *, baseline: str, ylabel: str = "test accuracy, %") -> Figure:
    """Every seed a dot, its runs joined across the arms, each arm's mean with its 95 % interval.

    scores: a DataFrame with a row for each seed and a column for each arm, as `experiment.Comparison.scores`.
    """
    if baseline not in scores:
        raise ValueError(f"baseline must be one of {', '.join(scores)}, got {baseline!r}")
    figure = Figure(max(4.5, 1.3 * len(scores.columns) + 2), 3.6)
    axes = figure.subplots()
    places = np.arange(len(scores.columns))
    for _, row in scores.iterrows():
        axes.plot(places, row.to_numpy(), color=FAINT, linewidth=0.8, zorder=1)
    parts = []
    for place, arm in zip(places, scores, strict=True):
        style = _style(place)
        own, paired = difference(scores[arm]), difference(scores[arm] - scores[baseline])
        axes.scatter([place] * len(scores), scores[arm], s=16, color=FAINT, zorder=2)
        axes.errorbar(place, own.mean, own.high - own.mean, capsize=6, markersize=8, zorder=3, **style)
        axes.annotate(
            f"{own.mean:.1f}", (place, own.mean), (13, 0), textcoords="offset points", va="center", fontsize=9
        )
        against = "" if arm == baseline else f", {paired} against {baseline}"
        parts.append(f"{arm} {own.mean:.1f} % ± {own.high - own.mean:.1f}{against}")
    axes.set(xticks=places, ylabel=ylabel, xlim=(-0.5, len(places) - 0.4))
    axes.set_xticklabels([_wrapped(arm) for arm in scores])
    _plain(axes)
    figure.description = f"Mean over {len(scores)} seeds with 95 % intervals: " + "; ".join(parts) + "."
    return figure


def curves(
    x: Sequence[float],
    lines: Mapping[str, np.ndarray],
    *,
    xlabel: str,
    ylabel: str,
    levels: Mapping | None = None,
    logarithmic: bool = False,
) -> Figure:
    """Mean and 95 % interval of each line over seeds, against `x`; `levels` are horizontal references.

    x: (K,). lines: name -> (seeds, K). levels: name -> (seeds,) or a number, drawn dashed in the colour of its line.
    """
    figure = Figure(7.5, 3.8)
    axes = figure.subplots()
    parts = []
    for number, (name, values) in enumerate(lines.items()):
        values = _matrix(name, values, len(x))
        spread = [difference(column) for column in values.T]
        style, mean = _style(number), np.array([point.mean for point in spread])
        axes.plot(x, mean, label=name, **{**style, "linestyle": "-"})
        axes.fill_between(
            x, [point.low for point in spread], [point.high for point in spread], color=style["color"], alpha=0.18
        )
        best = int(mean.argmax())
        parts.append(f"{name}: highest at {x[best]:g} with {mean[best]:.1f}, lowest {mean.min():.1f}")
        if levels and name in levels:
            level = float(np.mean(_array(levels[name])))
            axes.axhline(level, color=style["color"], linestyle="--", linewidth=1)
            axes.annotate(
                f"{name}, labels only",
                (0.99, level),
                (0, 3),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color=style["color"],
            )
            parts[-1] += f", labels only {level:.1f}"
    if logarithmic:
        axes.set_xscale("log")
    axes.set(xlabel=xlabel, ylabel=ylabel, xticks=list(x))
    axes.set_xticklabels([f"{value:g}" for value in x])
    axes.minorticks_off()
    _plain(axes)
    figure.legend(loc="outside right upper", frameon=False)
    figure.description = f"{ylabel} against {xlabel}, mean over seeds. " + "; ".join(parts) + "."
    return figure


def distributions(rows: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Bars of several distributions over the same classes, one panel each, with their entropies in nats."""
    figure = Figure(max(4.0, 2.3 * len(rows)), 2.9)
    parts = []
    for axes, (name, values) in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows.items(), strict=True):
        values = _matrix(name, np.atleast_2d(_array(values)), len(classes))[0]
        entropy = float(-(values[values > 0] * np.log(values[values > 0])).sum())
        axes.bar(range(len(classes)), values, color=COLOURS[0])
        axes.set(ylim=(0, 1.05), yticks=(0, 0.5, 1))
        axes.set_title(f"{name}\nentropy {entropy:.2f}", fontsize=9)
        _class_ticks(axes.xaxis, classes)
        _plain(axes)
        parts.append(
            f"{name}: most likely {classes[values.argmax()]} with {values.max():.0%}, entropy {entropy:.2f} nats"
        )
    figure.description = "; ".join(parts) + "."
    return figure


def lines(x: Sequence[float], series: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str) -> Figure:
    """Plain lines on two logarithmic axes, named beside their last point."""
    figure = Figure(6.5, 3.4)
    axes = figure.subplots()
    parts = []
    for number, (name, values) in enumerate(series.items()):
        values = _array(values)
        style = _style(number)
        axes.plot(x, values, **{**style, "linestyle": "-"})
        axes.annotate(name, (x[-1], values[-1]), (8, 0), textcoords="offset points", va="center", color=style["color"])
        parts.append(f"{name} goes from {values[0]:.2g} to {values[-1]:.2g}")
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, xticks=list(x))
    axes.set_xticklabels([f"{value:g}" for value in x])
    axes.minorticks_off()
    axes.margins(x=0.05)
    _plain(axes)
    figure.description = f"{ylabel} against {xlabel} from {x[0]:g} to {x[-1]:g}: " + "; ".join(parts) + "."
    return figure


def rankings(scores, *, better: str, than: str) -> Figure:
    """Two methods drawn from single seeds: every pair of one run each, those in the wrong order marked.

    scores: a DataFrame with a row for each seed; the columns `better` and `than` are compared.
    """
    high, low = _array(scores[better]), _array(scores[than])
    gaps = np.sort((high[:, None] - low[None, :]).ravel())
    wrong = gaps <= 0
    figure = Figure(7.5, 2.4)
    axes = figure.subplots()
    rank = np.arange(len(gaps)) / len(gaps)
    for mask, number, name in ((~wrong, 0, "right order"), (wrong, 1, "wrong order or a tie")):
        axes.scatter(gaps[mask], rank[mask], s=18, color=COLOURS[number], marker=MARKERS[number],
                     label=f"{name}: {mask.mean():.0%}")  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(xlabel=f"{better} − {than}, points, one run of each", yticks=[])
    _plain(axes)
    figure.legend(loc="outside right upper", frameon=False)
    figure.description = (
        f"All {len(gaps)} pairs of one run of {better} and one of {than}: the gap goes from {gaps[0]:+.1f} to "
        f"{gaps[-1]:+.1f} points, and {wrong.mean():.0%} of the pairs rank the two wrongly."
    )
    return figure


def history(values: Sequence[float], *, ylabel: str = "training loss", smooth: int = 20) -> Figure:
    """A loss for each step, faint, and its running mean over `smooth` steps."""
    values = _array(values)
    smooth = max(1, min(smooth, len(values)))
    figure = Figure(6.5, 2.8)
    axes = figure.subplots()
    axes.plot(range(1, len(values) + 1), values, color=FAINT, linewidth=0.7)
    mean = np.convolve(values, np.ones(smooth) / smooth, mode="valid")
    axes.plot(range(smooth, len(values) + 1), mean, color=COLOURS[0], linewidth=2)
    axes.set(xlabel="step", ylabel=ylabel)
    _plain(axes)
    figure.description = (
        f"{ylabel} over {len(values)} steps: the running mean goes from {mean[0]:.3g} to {mean[-1]:.3g}."
    )
    return figure


def _style(number: int) -> dict:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "linestyle": "none"}


def _plain(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _show(axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)


def _class_ticks(axis, classes: Sequence[str], turned: bool = True) -> None:
    axis.set_ticks(range(len(classes)), classes, fontsize=8)
    if turned and max(map(len, classes)) > 2:
        axis.set_tick_params(rotation=60)
        for label in axis.get_ticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _wrapped(name: str, width: int = 14) -> str:
    import textwrap

    return textwrap.fill(name, width)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _matrix(name: str, values, columns: int) -> np.ndarray:
    values = _array(values)
    if values.ndim != 2 or values.shape[1] != columns:
        raise ValueError(f"{name} must be a table with {columns} columns, got shape {values.shape}")
    return values
