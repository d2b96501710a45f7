"""The temperature explorer: a picture, its logits, and the softmax at any temperature, redrawn within a frame.

The slider is linked in the browser to a view that does the arithmetic there (`temperature.js`); Python knows the same
formulas, for the description and for the tests that hold the two against each other.
"""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets

HERE = Path(__file__).parent
COLDEST, HOTTEST = 0.1, 100.0


def softened(logits: Sequence[float], temperature: float) -> np.ndarray:
    """softmax(logits / temperature): (C,) -> (C,)."""
    scaled = np.asarray(logits, dtype=float) / temperature
    powers = np.exp(scaled - scaled.max())
    return powers / powers.sum()


def entropy(probabilities: np.ndarray) -> float:
    """In nats; a probability of zero adds nothing."""
    held = probabilities[probabilities > 0]
    return float(-(held * np.log(held)).sum())


def describe(logits: Sequence[float], temperature: float, classes: Sequence[str], label: int) -> str:
    """One sentence on one picture at one temperature: the three likeliest classes and the entropy."""
    p = softened(logits, temperature)
    order = np.argsort(-np.asarray(logits), kind="stable")
    named = ", ".join(f"{classes[index]} {100 * p[index]:.1f} %" for index in order[:3])
    return (
        f"{classes[label]} at T = {float(f'{temperature:.3g}'):g}: {named}; "
        f"entropy {entropy(p):.2f} of at most {math.log(len(classes)):.2f} nats."
    )


class TemperatureView(anywidget.AnyWidget):
    """The part that draws; its state is what the browser needs and nothing else."""

    _esm = HERE / "temperature.js"
    _css = HERE / "temperature.css"
    temperature = traitlets.Float(1.0).tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    examples = traitlets.List(traitlets.Dict()).tag(sync=True)


class TemperatureExplorer:
    """Two core controls, linked in the browser to the view. `move(temperature=, picture=)` sets them from code."""

    def __init__(self, classes: Sequence[str], examples: list[dict]):
        self.view = TemperatureView(classes=list(classes), examples=examples)
        self.temperature = ipywidgets.FloatLogSlider(
            value=1.0, base=10, min=math.log10(COLDEST), max=math.log10(HOTTEST), step=0.02,
            description="temperature", readout_format=".2f", layout={"width": "480px"},
        )  # fmt: skip
        names = [(f"{number}: {classes[one['label']]}", number - 1) for number, one in enumerate(examples, start=1)]
        self.picture = ipywidgets.Dropdown(options=names, value=0, description="picture")
        for control, trait in ((self.temperature, "temperature"), (self.picture, "picture")):
            ipywidgets.jslink((control, "index" if trait == "picture" else "value"), (self.view, trait))

    @property
    def description(self) -> str:
        """What the view shows now, in words."""
        example = self.view.examples[self.picture.value]
        return describe(example["logits"], self.temperature.value, self.view.classes, example["label"])

    def move(self, *, temperature: float | None = None, picture: int | None = None) -> None:
        """Set the controls, as a hand would. Raises `ValueError` outside their range."""
        if temperature is not None:
            if not COLDEST <= temperature <= HOTTEST:
                raise ValueError(f"temperature must be from {COLDEST} to {HOTTEST}, got {temperature}")
            self.temperature.value = temperature
        if picture is not None:
            if not 0 <= picture < len(self.view.examples):
                raise ValueError(f"picture must be from 0 to {len(self.view.examples) - 1}, got {picture}")
            self.picture.value = picture

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(ipywidgets.VBox([self.picture, self.temperature, self.view]))


def temperature_explorer(pictures, logits, classes: Sequence[str], labels=None) -> TemperatureExplorer:
    """A live softmax over real pictures.

    pictures: (N, H, W) or (N, H, W, 3) within [0, 1]. logits: (N, C). classes: C names. labels: (N,), default the largest
    logits. Raises `ValueError` for shapes that do not fit together.
    """
    logits = np.asarray(logits.detach().cpu() if hasattr(logits, "detach") else logits, dtype=float)
    if logits.ndim != 2 or logits.shape[1] != len(classes) or len(pictures) != len(logits) or not len(logits):
        raise ValueError(
            f"logits must be (N, C) for {len(pictures)} pictures and {len(classes)} classes, got shape {logits.shape}"
        )
    labels = logits.argmax(axis=1) if labels is None else labels
    examples = [
        {"picture": _data_uri(picture), "logits": [round(float(value), 4) for value in row], "label": int(label)}
        for picture, row, label in zip(pictures, logits, labels, strict=True)
    ]
    return TemperatureExplorer(classes, examples)


def _data_uri(picture: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((255 * np.asarray(picture)).round().astype(np.uint8)).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
