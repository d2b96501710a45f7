"""Lines over one axis in several panels, with a mark that a slider moves."""

from collections.abc import Mapping, Sequence

from kdcourse.plots.palette import INK, Figure, check_vector, plain, style


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
