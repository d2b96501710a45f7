"""The temperature explorer: a picture, its logits, and the softmax at any temperature, redrawn within a frame.

The slider is linked in the browser to a view that does the arithmetic there (`temperature.js`); Python knows the same
formulas, for the description and for the tests that hold the two against each other.
"""

import base64
import io
import math
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np

from kdcourse import plots
from kdcourse.palette import array, photographs, table
from kdcourse.plots import entropy, softened
from kdcourse.widgets.live import Live, live
from kdcourse.widgets.page import Page

if TYPE_CHECKING:
    from kdcourse.widgets.temperature_view import TemperatureView

COLDEST, HOTTEST = 0.1, 100.0


def describe(logits: Sequence[float], temperature: float, classes: Sequence[str], label: int) -> str:
    """One sentence on one picture at one temperature: the three likeliest classes and the entropy."""
    p = softened(logits, temperature)
    order = np.argsort(-array(logits), kind="stable")
    named = ", ".join(f"{classes[index]} {_fixed(100 * p[index], 1)} %" for index in order[:3])
    nats, most = _fixed(entropy(p), 2), _fixed(math.log(len(classes)), 2)
    return f"{classes[label]} at T = {_short(temperature)}: {named}; entropy {nats} of at most {most} nats."


class TemperatureExplorer:
    """Two core controls, linked in the browser to the view, so that it answers without the kernel.

    controls: "picture" and "temperature". draw(temperature, picture) gives the same as a still figure.
    """

    def __init__(self, view: "TemperatureView", draw: Callable[..., plots.Figure]):
        self.view, self.draw, self.controls = view, draw, _controls(view.classes, view.examples)
        sources = {"picture": "index", "temperature": "value"}  # a dropdown's value is known to Python only
        self.links = [
            ipywidgets.jslink((self.controls[name], source), (view, name)) for name, source in sources.items()
        ]
        self._page = Page([*self.controls.values(), view])

    @property
    def figure(self) -> plots.Figure:
        return self.draw(**{name: control.value for name, control in self.controls.items()})

    @property
    def description(self) -> str:
        """What the view shows now, in words."""
        example = self.view.examples[self.controls["picture"].value]
        temperature = self.controls["temperature"].value
        return describe(example["logits"], temperature, self.view.classes, example["label"])

    def move(self, *, temperature: float | None = None, picture: int | None = None) -> None:
        """Set the controls, as a hand would. Raises `ValueError` outside their range."""
        if temperature is not None and not COLDEST <= temperature <= HOTTEST:
            raise ValueError(f"temperature must be from {COLDEST} to {HOTTEST}, got {temperature}")
        if picture is not None and picture not in range(len(self.view.examples)):
            raise ValueError(f"picture must be from 0 to {len(self.view.examples) - 1}, got {picture}")
        for name, value in (("temperature", temperature), ("picture", picture)):
            if value is not None:
                self.controls[name].value = value
                # Without a browser nothing else moves the view. A hand's moves are left to the browser: Python, a step
                # behind, would pull the slider back.
                setattr(self.view, name, value)
        self._page.update(self.figure)

    def _ipython_display_(self) -> None:
        self._page.show(self.figure)


def temperature_explorer(pictures, logits, classes: Sequence[str], labels=None) -> TemperatureExplorer | Live:
    """A live softmax over real pictures; drawn by Python, as `live` does, where anywidget is missing.

    pictures: (N, H, W) or (N, H, W, 3) within [0, 1]. logits: (N, C). classes: C names. labels: (N,), default the largest
    logits. Raises `ValueError` for shapes that do not fit together.
    """
    pictures = photographs(pictures)
    logits = table("logits", logits, len(classes), len(pictures))
    labels = logits.argmax(axis=1) if labels is None else array(labels)
    if labels.shape != (len(pictures),):
        raise ValueError(f"labels must be ({len(pictures)},), one for each picture, got shape {labels.shape}")

    def draw(temperature: float, picture: int) -> plots.Figure:
        p, label = softened(logits[picture], temperature), int(labels[picture])
        title = f"{classes[label]}, T = {_short(temperature)}, entropy {_fixed(entropy(p), 2)} nats"
        figure = plots.distribution(p, classes, title=title, picture=pictures[picture])
        figure.description = describe(logits[picture], temperature, classes, label)
        return figure

    examples = [
        {"picture": _data_uri(picture), "logits": [float(value) for value in row], "label": int(label)}
        for picture, row, label in zip(pictures, logits, labels, strict=True)
    ]
    try:
        from kdcourse.widgets.temperature_view import TemperatureView
    except ImportError:
        return live(draw, **_controls(classes, examples))
    return TemperatureExplorer(TemperatureView(classes=list(classes), examples=examples), draw)


def _controls(classes: Sequence[str], examples: list[dict]) -> dict[str, ipywidgets.Widget]:
    names = [(f"{number}: {classes[one['label']]}", number - 1) for number, one in enumerate(examples, start=1)]
    wide = {"style": {"description_width": "100px"}, "layout": {"width": "480px"}}
    slider = ipywidgets.FloatLogSlider(
        value=1.0, base=10, min=math.log10(COLDEST), max=math.log10(HOTTEST), step=0.02,
        description="temperature", readout_format=".2f", **wide,
    )  # fmt: skip
    return {
        "picture": ipywidgets.Dropdown(options=names, value=0, description="picture", **wide),
        "temperature": slider,
    }


def _fixed(value: float, places: int) -> str:
    """As JavaScript's `toFixed`, which rounds a half up where Python's format rounds it to even."""
    return str(Decimal(float(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def _short(value: float) -> str:
    """Three digits at most, as `Number(value.toPrecision(3))` in JavaScript."""
    return f"{float(Context(prec=3, rounding=ROUND_HALF_UP).create_decimal_from_float(float(value))):g}"


def _data_uri(picture: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((255 * picture).round().astype(np.uint8)).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
