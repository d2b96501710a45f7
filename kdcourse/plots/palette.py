"""What all figures share: colours and their second signals, the `Figure` that shows itself, and a few strokes of the pen."""

import base64
import html
import io
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from matplotlib import figure as mpl
from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullLocator

from kdcourse.system.markup import in_html

# Okabe and Ito (2008): told apart with every common kind of colour vision. A marker or a hatch goes with each.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "--")
INK, PAPER, FAINT = "#222222", "#ffffff", "#aaaaaa"
ON_PAPER = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}  # the box of words that lie over lines
BAND = "line: mean over seeds; band: its 95 % interval"
MEAN = {"color": INK, "marker": "o"}  # a mean with its interval, whatever its colour, as a legend shows it
DPI = 110
LONGEST = 18  # characters of a class's name on an axis


class Figure(mpl.Figure):
    """A matplotlib figure with a `description`: one sentence, the alternative text under which a notebook shows it.

    width, height: inches. It draws itself without pyplot, so that it may be drawn on any thread and leaves nothing behind.
    """

    def __init__(self, width: float, height: float):
        super().__init__(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=PAPER)
        FigureCanvasAgg(self)  # sets self.canvas
        self.description = ""

    def draw(self, renderer) -> None:
        """As matplotlib's, with words as they are: a class may be called Ba$$in."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        with rc_context({"text.parse_math": False}):  # what is made while drawing
            super().draw(renderer)

    def png(self) -> bytes:
        from PIL import Image

        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r"Glyph \d+ .* missing"
            )  # the description below has every name whole
            # savefig would lay the figure out twice, and a live view waits for it.
            self.canvas.draw()
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB").save(buffer, format="PNG")
        return buffer.getvalue()

    def picture_html(self) -> str:
        """An `<img>` with the description as alternative text. Raises `ValueError` for a figure that has none."""
        if not self.description.strip():
            raise ValueError("a figure needs a description before it is shown: set figure.description to a sentence")
        width, height = (round(inches * DPI) for inches in self.get_size_inches())
        picture = base64.b64encode(self.png()).decode()
        # Width and height are said beforehand, so that a page does not jump when one picture takes another's place.
        return (
            f'<img alt="{html.escape(self.description)}" width="{width}" height="{height}" '
            f'style="max-width:100%;height:auto" src="data:image/png;base64,{picture}">'
        )

    def as_html(self, picture: str = "") -> str:
        """The picture (an `<img>` drawn before saves drawing it again) and, below it for everybody, its description."""
        caption = f'<figcaption style="font-size:0.85em">{in_html(self.description)}</figcaption>'
        return f'<figure style="margin:0">{picture or self.picture_html()}{caption}</figure>'

    def _ipython_display_(self) -> None:
        # Displaying by hand keeps the notebook to this one form; IPython would add a picture without a text.
        from IPython.display import display

        display({"text/html": self.as_html(), "text/plain": self.description}, raw=True)


def style(number: int) -> dict:
    """Colour and marker of the line with this number."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def bar_style(number: int) -> dict:
    """Colour and hatch of the bars with this number."""
    return {"color": COLOURS[number % len(COLOURS)], "hatch": HATCHES[number % len(HATCHES)], "edgecolor": PAPER}


def plain(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def show_picture(axes, picture: np.ndarray, title: str) -> None:
    """A picture (H, W) or (H, W, 3) within [0, 1] under its title. Its axes have no scale, which their gid "picture" says."""
    axes.set_gid("picture")
    axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(clipped(title, 4 * LONGEST), fontsize=9)


def clipped(text: str, most: int) -> str:
    """At most so many characters, the last of them … where some are left out; as `clipped` in the widgets' shared.js."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@cache
def _glyphs() -> frozenset[int]:
    """The characters that the figures' font can draw, as numbers."""
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def named(classes: Sequence[str]) -> list[str]:
    """Short names of classes for an axis: clipped, and numbered where the font has no sign for a character."""
    drawable = [all(ord(sign) in _glyphs() for sign in name) for name in classes]
    return [
        clipped(name, LONGEST) if fine else f"class {n}"
        for n, (name, fine) in enumerate(zip(classes, drawable, strict=True))
    ]


def class_ticks(axis, classes: Sequence[str], turned: bool = True) -> None:
    classes = named(classes)
    axis.set_ticks(range(len(classes)), classes, fontsize=8)
    if turned and max(map(len, classes)) > 2:
        axis.set_tick_params(rotation=60)
        for label in axis.get_ticklabels():
            label.set(ha="right", rotation_mode="anchor")


def heatmap(axes, values, text: Callable[[int, int], str], fontsize: float = 8, **look) -> None:
    """A table (rows, columns) as colours, and `text(row, column)` on each cell: black on the bright half, white on the dark.

    look: passed on to `imshow`, such as `vmin` and `vmax`.
    """
    image = axes.imshow(values, cmap="cividis", **look)
    for (row, column), value in np.ndenumerate(values):
        ink = "black" if image.norm(value) > 0.5 else "white"
        axes.text(column, row, text(row, column), ha="center", va="center", color=ink, fontsize=fontsize)


def colour_bar(axes, shown, label: str) -> None:
    """The scale beside a map whose cells have no numbers. shown: what `imshow` or `tricontourf` gave. label: what is shown."""
    axes.figure.colorbar(shown, ax=axes, label=label)


def log_ticks(axis) -> None:
    """Ticks at 1, 2 and 5 of every power of ten, as plain numbers: matplotlib's own are formulas, and `Figure.draw` has none."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_locator(NullLocator())


def legend_of_marks(figure: Figure, marks: Mapping[str, dict], columns: int = 3) -> None:
    """A legend above the figure for marks of several colours: what they mean -> how one looks, as a line of matplotlib."""
    handles = [Line2D([], [], linewidth=0.8, label=name, **look) for name, look in marks.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=9)


def frame_cell(axes, row: int, column: int) -> None:
    """A frame around one cell of a heat map."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=COLOURS[1], linewidth=3))


def wrapped(name: str, width: int = 14) -> str:
    return textwrap.fill(name, width)


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def array(values) -> np.ndarray:
    """A tensor on any device, an array or a list -> numpy."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def check_table(name: str, values, columns: int, rows: int | None = None) -> np.ndarray:
    """`values` as a (rows, columns) array of finite numbers, or a `ValueError` that calls it `name`."""
    values = array(values)
    if values.ndim != 2 or values.shape[1] != columns or rows not in (None, len(values)):
        raise ValueError(f"{name} must be a table of shape ({rows or 'N'}, {columns}), got shape {values.shape}")
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{name} must hold finite numbers, got {'none' if not len(values) else 'NaN or infinity'}")
    return values


def check_vector(name: str, values, length: int) -> np.ndarray:
    """`values` as an array (length,) of finite numbers, or a `ValueError` that calls it `name`."""
    return check_table(name, np.atleast_2d(array(values)), length, 1)[0]


def check_pictures(images) -> np.ndarray:
    """(N, H, W) or (N, H, W, 3) within [0, 1], or a `ValueError`."""
    images = array(images)
    if not len(images) or not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)):
        raise ValueError(f"images must be (N, H, W) or (N, H, W, 3) with N ≥ 1, got shape {images.shape}")
    if not 0 <= images.min() <= images.max() <= 1:
        raise ValueError(f"images must lie within [0, 1], got {images.min():g} to {images.max():g}")
    return images


def check_picture(picture) -> np.ndarray:
    """(H, W) or (H, W, 3) within [0, 1], or a `ValueError`."""
    return check_pictures(array(picture)[None])[0]


def data_uri(picture: np.ndarray) -> str:
    """A picture (H, W) or (H, W, 3) within [0, 1] as the address of a PNG that holds itself."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((255 * picture).round().astype(np.uint8)).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
