"""Figures of labels, softmax and results: what the first labs draw and all labs share."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kdcourse.evaluation.intervals import difference
from kdcourse.plots.palette import (
    BAND,
    COLOURS,
    FAINT,
    INK,
    MEAN,
    ON_PAPER,
    Figure,
    array,
    check_pictures,
    check_table,
    check_vector,
    class_ticks,
    heatmap,
    legend_of_marks,
    log_ticks,
    plain,
    plural,
    show_picture,
    style,
    wrapped,
)

WIDEST = 9.0  # inches: a wider figure is scaled down to the page, and its words become too small to read


def pictures(images, titles: Sequence[str] | None = None, *, columns: int = 8) -> Figure:
    """A grid of pictures. images: (N, H, W) or (N, H, W, 3) within [0, 1]. titles: N names, shown above them."""
    images = check_pictures(images)
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"titles must be {len(images)}, one for each picture, got {len(titles)}")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure(0.95 * columns + 0.1, (0.95 if titles is None else 1.15) * rows + 0.1)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if number < len(images):
            show_picture(axes, images[number], "" if titles is None else wrapped(str(titles[number])))
        else:
            axes.set_axis_off()
    named = "" if titles is None else ": " + ", ".join(map(str, titles))
    figure.description = f"{plural(len(images), 'picture')} of {images.shape[1]} × {images.shape[2]} pixels{named}."
    return figure


def similarity(matrix, classes: Sequence[str], *, title: str, diagonal: bool = True) -> Figure:
    """One (C, C) table as a heat map, each row scaled to percent; `diagonal=False` leaves each class itself out.

    matrix: counts or probabilities of 0 or more; row: class of the picture, column: class that it resembles. classes: C names.
    """
    share = _shares("matrix", matrix, len(classes), diagonal)
    figure = Figure(5.8, 5.2)
    _heatmap(figure.subplots(), share, classes, f"{title}, % of a row", share.max(), diagonal)
    kept = "" if diagonal else ", each class itself left out"
    figure.description = f"{title}, shares of each row{kept}. {_strongest(share, classes, 'its row')}."
    return figure


def two_similarities(one, other, classes: Sequence[str], *, titles: tuple[str, str]) -> Figure:
    """Two (C, C) tables side by side without their diagonals, each entry as a share of its table's sum, in percent.

    one, other: counts or probabilities of 0 or more; row: class of the picture, column: class that it resembles. classes: C
    names. titles: of the two tables.
    """
    from scipy.stats import spearmanr

    shares = [
        _shares(name, matrix, len(classes), False, of_row=False) for name, matrix in (("one", one), ("other", other))
    ]
    figure = Figure(9.5, 5.1)
    most = max(share.max() for share in shares)
    for axes, share, title in zip(figure.subplots(1, 2), shares, titles, strict=True):
        _heatmap(axes, share, classes, f"{title}, % of all", most, False)
    off = ~np.eye(len(classes), dtype=bool)
    same = spearmanr(shares[0][off], shares[1][off]).statistic
    strongest = ". ".join(
        f"{title}: {_strongest(share, classes, 'all')}" for title, share in zip(titles, shares, strict=True)
    )
    figure.description = (
        f"Two tables of classes, {titles[0]} and {titles[1]}: their rank correlation off the diagonal is {same:.2f}. "
        f"{strongest}."
    )
    return figure


def comparison(scores, *, baseline: str, ylabel: str = "test accuracy, %") -> Figure:
    """Every seed a dot, its runs joined across the arms, each arm's mean with its 95 % interval.

    scores: a DataFrame with a row for each seed and a column for each arm, as `ledger.Comparison.scores`.
    """
    if baseline not in scores:
        raise ValueError(f"baseline must be one of {', '.join(scores)}, got {baseline!r}")
    wanted = max(4.5, 1.3 * len(scores.columns) + 1.5)
    figure = Figure(min(wanted, WIDEST), 3.6)
    axes = figure.subplots()
    places = np.arange(len(scores.columns))
    for _, row in scores.iterrows():
        axes.plot(places, row.to_numpy(), color=FAINT, linewidth=0.8, marker=".", zorder=1)
    for place, arm in zip(places, scores, strict=True):
        own = difference(scores[arm])
        axes.errorbar(place, own.mean, own.high - own.mean, capsize=6, markersize=8, zorder=3, **style(place))
        axes.annotate(
            f"{own.mean:.1f}", (place, own.mean), (13, 0), textcoords="offset points", va="center", fontsize=9,
            bbox=ON_PAPER,
        )  # fmt: skip
    axes.set(xticks=places, xlabel="arm", ylabel=ylabel, xlim=(-0.5, len(places) - 0.4))
    axes.set_xticklabels([wrapped(arm) for arm in scores], fontsize=10 if wanted <= WIDEST else 7.5)
    plain(axes)
    legend_of_marks(figure, {"one seed": {"color": FAINT, "marker": "."}, "mean and 95 % interval": MEAN})
    figure.description = said_of(scores, baseline, ylabel)
    return figure


def said_of(scores, baseline: str, ylabel: str) -> str:
    """A comparison in a sentence: each arm's mean and interval, and its paired difference from the baseline."""
    unit = " %" if "%" in ylabel else ""
    parts = []
    for arm in scores:
        own, gaps = difference(scores[arm]), scores[arm] - scores[baseline]
        said = f"{arm} {own.mean:.1f}{unit} ± {own.high - own.mean:.1f}"
        if arm != baseline:
            higher = f"higher for {(gaps > 0).sum()} of {plural(len(gaps), 'seed')}"
            said += f", {difference(gaps)} against {baseline}, {higher}"
        parts.append(said)
    return f"Mean over {len(scores)} seeds with 95 % intervals: " + "; ".join(parts) + "."


def curves(
    x: Sequence[float],
    lines: Mapping[str, np.ndarray],
    *,
    xlabel: str,
    ylabel: str,
    levels: Mapping | None = None,
    level_name: str = "labels only",
    logarithmic: bool = False,
) -> Figure:
    """Mean and 95 % interval of each line over seeds, against `x`; `levels` are horizontal references.

    x: (K,). lines: name -> (seeds, K). levels: name -> (seeds,) or a number, drawn dashed in the colour of the line of that name;
    a name that is no line's stands beside the level alone.
    """
    figure = Figure(7.4, 3.4)
    axes = figure.subplots()
    parts, levels = [], {name: float(np.mean(array(level))) for name, level in (levels or {}).items()}

    def draw_level(name: str, level: float, color: str) -> None:
        axes.axhline(level, color=color, linestyle="--", linewidth=1)
        place = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8, "color": color}
        axes.annotate(name, (1.01, level), **place)

    for number, (name, values) in enumerate(lines.items()):
        spread = [difference(column) for column in check_table(name, values, len(x)).T]
        look, mean = style(number), np.array([point.mean for point in spread])
        axes.plot(x, mean, label=name, **look)
        low, high = [point.low for point in spread], [point.high for point in spread]
        axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
        best = int(mean.argmax())
        said = f"{name}: highest at {x[best]:g} with {mean[best]:.1f}, lowest {mean.min():.1f}"
        if name in levels:
            draw_level(f"{name}, {level_name}", levels[name], look["color"])
            said += f", {level_name} {levels[name]:.1f}"
        parts.append(said)
    for name in levels.keys() - lines.keys():
        draw_level(name, levels[name], INK)
        parts.append(f"{name}: {levels[name]:.1f}")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _ticks_at(axes, x, logarithmic)
    figure.legend(loc="outside upper center", ncols=len(lines), frameon=False, title=BAND, title_fontsize=9)
    figure.description = f"{ylabel} against {xlabel}, mean over seeds. " + "; ".join(parts) + "."
    return figure


def lines(x: Sequence[float], series: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str) -> Figure:
    """Plain lines on two logarithmic axes, named beside their last point. x: (K,) positive. series: name -> (K,) positive."""
    figure = Figure(7.0, 3.0)
    axes = figure.subplots()
    parts = []
    for number, (name, values) in enumerate(series.items()):
        values = check_vector(name, values, len(x))
        look = style(number)
        axes.plot(x, values, **look)
        axes.annotate(name, (x[-1], values[-1]), (8, 0), textcoords="offset points", va="center", color=look["color"])
        parts.append(f"{name} goes from {values[0]:.2g} to {values[-1]:.2g}")
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log")
    axes.margins(x=0.05)
    log_ticks(axes.yaxis)
    _ticks_at(axes, x, True)
    figure.description = f"{ylabel} against {xlabel} from {x[0]:g} to {x[-1]:g}: " + "; ".join(parts) + "."
    return figure


def gradient_scale(temperatures: Sequence[float], with_t2: Sequence[float], without_t2: Sequence[float]) -> Figure:
    """Norm of the soft loss's gradient at each temperature (K,), with the factor T² and without it."""
    series = {"with T²": with_t2, "without T²": without_t2}
    figure = lines(temperatures, series, xlabel="temperature", ylabel="norm of the gradient")
    kept, lost = (array(norms)[-1] / array(norms)[0] for norms in (with_t2, without_t2))
    figure.description += f" With T² it keeps {kept:.2g} of its size, without T² {lost:.2g}."
    return figure


def rankings(scores, *, better: str, than: str) -> Figure:
    """Two methods drawn from single seeds: every pair of one run each, those in the wrong order marked.

    scores: a DataFrame with a row for each seed; the columns `better` and `than` are compared.
    """
    for name, arm in (("better", better), ("than", than)):
        if arm not in scores:
            raise ValueError(f"{name} must be one of {', '.join(scores)}, got {arm!r}")
    high, low = array(scores[better]), array(scores[than])
    gaps = np.sort((high[:, None] - low[None, :]).ravel())
    wrong = gaps <= 0
    figure = Figure(7.4, 2.4)
    axes = figure.subplots()
    rank = np.arange(len(gaps)) / len(gaps)
    for number, (name, chosen) in enumerate({"right order": ~wrong, "wrong order or a tie": wrong}.items()):
        axes.scatter(gaps[chosen], rank[chosen], s=18, label=f"{name}: {chosen.mean():.0%}", **style(number))
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(xlabel=f"{better} − {than}, points, one run of each", ylabel="pairs, by their gap", yticks=[])
    plain(axes)
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.description = (
        f"All {len(gaps)} pairs of one run of {better} and one of {than}: the gap goes from {gaps[0]:+.1f} to "
        f"{gaps[-1]:+.1f} points, and {wrong.mean():.0%} of the pairs rank the two wrongly."
    )
    return figure


def history(values: Sequence[float], *, ylabel: str = "training loss", smooth: int = 20) -> Figure:
    """A loss for each step, faint, and the mean of the last `smooth` steps, default 20. values: (S,), one for each step."""
    values = check_vector("values", values, len(values))
    smooth = max(1, min(smooth, len(values)))
    figure = Figure(7.0, 2.6)
    axes = figure.subplots()
    axes.plot(range(1, len(values) + 1), values, color=FAINT, linewidth=0.7, label="each step")
    mean = np.convolve(values, np.ones(smooth) / smooth, mode="valid")
    axes.plot(
        range(smooth, len(values) + 1),
        mean,
        color=COLOURS[0],
        linewidth=2,
        label=f"mean of the last {plural(smooth, 'step')}",
    )
    axes.set(xlabel="step", ylabel=ylabel)
    axes.legend(loc="upper right", frameon=False, fontsize=9)
    plain(axes)
    figure.description = (
        f"{ylabel} over {plural(len(values), 'step')}: the running mean goes from {mean[0]:.3g} to {mean[-1]:.3g}."
    )
    return figure


def _ticks_at(axes, x: Sequence[float], logarithmic: bool) -> None:
    """Ticks at the points measured, written as people write them."""
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xticks(list(x), [f"{value:g}" for value in x])
    axes.minorticks_off()
    plain(axes)


def _shares(name: str, matrix, size: int, diagonal: bool, *, of_row: bool = True) -> np.ndarray:
    """Rows that add to 1, a row of zeros stays one; or, not `of_row`, a table that adds to 1."""
    matrix = check_table(name, matrix, size, size).astype(float)
    if matrix.min() < 0:
        raise ValueError(f"{name} must hold counts or probabilities, got {matrix.min():g}")
    bare = matrix if diagonal else np.where(np.eye(size, dtype=bool), 0.0, matrix)
    return bare / np.maximum(bare.sum(axis=1 if of_row else None, keepdims=True), 1e-12)


def _heatmap(axes, share: np.ndarray, classes: Sequence[str], title: str, most: float, diagonal: bool) -> None:
    shown = share.copy()
    if not diagonal:
        np.fill_diagonal(shown, np.nan)

    def text(row: int, column: int) -> str:
        value = share[row, column]
        return f"{100 * value:.0f}" if value >= 0.01 else ""

    heatmap(axes, shown, text, fontsize=7, vmin=0, vmax=most)
    axes.set_title(f"{title} (blank: under 1)", fontsize=9)
    axes.set(xlabel="class that it resembles", ylabel="class of the picture")
    class_ticks(axes.xaxis, classes)
    class_ticks(axes.yaxis, classes, turned=False)


def _strongest(share: np.ndarray, classes: Sequence[str], of: str) -> str:
    """The largest entry beside the diagonal, in words."""
    bare = np.where(np.eye(len(classes), dtype=bool), 0, share)
    row, column = np.unravel_index(bare.argmax(), bare.shape)
    return f"{classes[row]} is most like {classes[column]} ({bare[row, column]:.0%} of {of})"
