"""Figures of sweeps: over two settings, over one axis with a mark that a slider moves, and over what a run costs."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdcourse.evaluation.intervals import difference
from kdcourse.plots.palette import (
    BAND,
    INK,
    Figure,
    array,
    check_table,
    check_vector,
    frame_cell,
    heatmap,
    log_ticks,
    plain,
    style,
)


def sweep(
    scores: Mapping[str, np.ndarray],
    gain,
    levels: Mapping[str, float],
    rows: Sequence[float],
    columns: Sequence[float],
    *,
    names: tuple[str, str],
    shown: str,
    chosen: tuple[int, int],
    best: tuple[int, int],
    ylabel: str,
) -> Figure:
    """Scores over two settings: a table for one student, and beside it every student's lines through a chosen cell.

    scores: student -> (rows, columns, 3), mean and bounds of its interval. levels: student -> labels only, dashed. shown: the
    student of the table. gain: (rows, columns), its second numbers. names: of rows and columns. chosen, best: (row, column),
    framed and starred.
    """
    scores = {name: array(each) for name, each in scores.items()}
    values = check_table(shown, scores[shown][..., 0], len(columns), len(rows))
    gain = check_table("gain", gain, len(columns), len(rows))
    figure = Figure(9.4, max(4.4, 2.0 + 0.5 * len(rows)))
    panels = figure.add_gridspec(2, 2, width_ratios=(1, 1.1))
    cells, upper = figure.add_subplot(panels[:, 0]), figure.add_subplot(panels[0, 1])
    lower = figure.add_subplot(panels[1, 1], sharey=upper)
    title = f"{shown}, {ylabel}, and gain over labels only"
    _heatmap(cells, values, gain, (rows, columns), chosen, best)
    cells.set(ylabel=names[0], xlabel=names[1])
    upper.set(xlabel=names[0], ylabel=ylabel)
    lower.set(xlabel=names[1], ylabel=ylabel)
    cells.set_title(title, fontsize=9)
    row, column = chosen
    _line_panel(upper, rows, {name: each[:, column] for name, each in scores.items()}, levels, shown, row)
    _line_panel(lower, columns, {name: each[row] for name, each in scores.items()}, levels, shown, column)
    upper.set_title(f"{names[1]} = {columns[column]:g}; dashed: labels only", fontsize=9)
    lower.set_title(f"{names[0]} = {rows[row]:g}", fontsize=9)
    handles = upper.get_legend_handles_labels()
    look = {"frameon": False, "title": BAND, "title_fontsize": 9}
    figure.legend(*handles, loc="outside lower right", ncols=len(scores), **look)
    where = f"{names[0]} {rows[best[0]]:g} and {names[1]} {columns[best[1]]:g}"
    figure.description = f"{title}: from {values.min():.1f} to {values.max():.1f}, starred at {where}."
    return figure


def _heatmap(axes, values, gain, ticks, chosen, best) -> None:
    """Both tables' numbers, ticks for rows and columns, and the two marks."""

    def text(row: int, column: int) -> str:
        star = " ★" if (row, column) == best else ""
        return f"{values[row, column]:.1f}{star}\n{gain[row, column]:+.1f}"

    heatmap(axes, values, text, fontsize=9, aspect="auto")
    frame_cell(axes, *chosen)
    for axis, marks in zip((axes.yaxis, axes.xaxis), ticks, strict=True):
        axis.set_ticks(range(len(marks)), [f"{value:g}" for value in marks])


def _line_panel(axes, ticks, lines, levels, shown, place) -> None:
    """Every student's means with their band, labels only dashed, and a stroke at the chosen tick."""
    for number, (name, each) in enumerate(lines.items()):
        look = style(number)
        axes.plot(range(len(ticks)), each[:, 0], label=name, linewidth=2.5 if name == shown else 1, **look)
        axes.fill_between(range(len(ticks)), each[:, 1], each[:, 2], color=look["color"], alpha=0.18, linewidth=0)
        axes.axhline(levels[name], color=look["color"], linestyle="--", linewidth=1)
    axes.axvline(place, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(ticks)), [f"{value:g}" for value in ticks])
    plain(axes)


def traced(
    x: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]], *, xlabel: str, chosen: int
) -> Figure:
    """A panel for each quantity, a line in it for each series, and a mark at one place of the axis.

    x: (K,). panels: quantity -> series -> (K,), the same series in each. chosen: the place that is marked and put in words.
    """
    if not 0 <= chosen < len(x):
        raise ValueError(f"chosen must be from 0 to {len(x) - 1}, got {chosen}")
    figure = Figure(4.2 * len(panels) + 0.4, 3.2)
    parts = []
    for axes, (quantity, series) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        told = []
        for number, (name, values) in enumerate(series.items()):
            values = check_vector(name, values, len(x))
            axes.plot(x, values, label=name, **style(number))
            axes.plot(x[chosen], values[chosen], **style(number), markersize=11, markerfacecolor="none")
            told.append(f"{name} {values[chosen]:.3g} ({values[0]:.3g} at {x[0]:g})")
        axes.axvline(x[chosen], color=INK, linestyle=":", linewidth=1)
        axes.set(xlabel=xlabel, ylabel=quantity)
        axes.set_ylim(bottom=0)
        plain(axes)
        parts.append(f"{quantity}: {'; '.join(told)}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(series), frameon=False)
    figure.description = f"{xlabel} {x[chosen]:g}. " + "; ".join(parts) + "."
    return figure


def priced(
    lines: Mapping[str, tuple[Sequence[float], np.ndarray]],
    *,
    xlabel: str,
    ylabel: str,
    marked: Mapping[str, int] | None = None,
) -> Figure:
    """Mean and 95 % interval of each line over seeds, each line against prices of its own, which grow along it.

    lines: name -> its prices (K,), positive, and its scores (seeds, K). marked: name -> the place on this line that is ringed
    and put in words; default none. Raises `ValueError` for a marked name that is no line's.
    """
    if unknown := set(marked or ()) - set(lines):
        raise ValueError(f"marked must name lines, of {', '.join(lines)}, got {', '.join(sorted(unknown))}")
    figure = Figure(7.4, 3.8)
    axes = figure.subplots()
    told, rings = [], []
    for number, (name, (prices, values)) in enumerate(lines.items()):
        spread = [difference(column) for column in check_table(name, values, len(prices)).T]
        look, mean = style(number), [point.mean for point in spread]
        axes.plot(prices, mean, label=name, **look)
        low, high = [point.low for point in spread], [point.high for point in spread]
        axes.fill_between(prices, low, high, color=look["color"], alpha=0.18, linewidth=0)
        ends = [f"{mean[place]:.1f} at {prices[place]:.3g}" for place in (0, -1)]
        told.append(f"{name}: from {ends[0]} to {ends[1]}, highest {max(mean):.1f}")
        if marked and name in marked:
            place = marked[name]
            axes.plot(prices[place], mean[place], **look, markersize=13, markerfacecolor="none", linestyle="none")
            rings.append(f"{name} {mean[place]:.1f} at {prices[place]:.3g}")
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log")
    log_ticks(axes.xaxis)
    plain(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, title=BAND, title_fontsize=9)
    figure.description = f"{ylabel} against {xlabel}, mean over seeds. " + "; ".join(told) + "."
    figure.description += f" Ringed: {'; '.join(rings)}." if rings else ""
    return figure
