"""The temperature explorer: a picture, its logits, and the softmax at any two temperatures, redrawn within a frame.

The sliders are linked in the browser to a view that does the arithmetic there (`temperature.js`); Python knows the same
formulas, for the description and for the tests that hold the two against each other.
"""

import math
from collections.abc import Sequence

import ipywidgets
import numpy as np

from kdcourse import plots
from kdcourse.plots import entropy, softened
from kdcourse.plots.palette import array, check_pictures, check_table, data_uri
from kdcourse.widgets.linked import WIDE, LinkedView, linked, numbered
from kdcourse.widgets.live import LiveFigure
from kdcourse.widgets.wording import fixed, short

COLDEST, HOTTEST = 0.1, 100.0
# A logarithmic slider moves over exponents of the base.
DEGREES = {"base": 10, "min": math.log10(COLDEST), "max": math.log10(HOTTEST), "step": 0.02, "readout_format": ".2f"}
MAX_BIAS = 10.0  # the most that a hand can add to a logit


def describe(
    logits: Sequence[float],
    classes: Sequence[str],
    label: int,
    temperature: float,
    beside: float,
    biased: int,
    bias: float,
) -> str:
    """Two sentences on one picture at two temperatures: the three likeliest classes and the entropy of each.

    logits: before `bias` is added to that of class number `biased`.
    """
    logits = _with_bias(logits, biased, bias)
    sign = "+" if bias > 0 else "−"
    by_hand = f" with {sign}{short(abs(bias))} on the logit of {classes[biased]}" if bias else ""
    most = fixed(math.log(len(classes)), 2)
    first, second = (_softmax_in_words(logits, classes, degrees) for degrees in (temperature, beside))
    return f"{classes[label]}{by_hand} at {first} of at most {most} nats. Beside it at {second}."


def temperature_explorer(pictures, logits, classes: Sequence[str], labels=None) -> LinkedView | LiveFigure:
    """Show the softmax of real logits at two temperatures, with sliders; a bias can be added to one class's logit by hand.

    pictures: (N, H, W) or (N, H, W, 3) within [0, 1]. logits: (N, C). classes: C names. labels: (N,), default the largest
    logits. Controls: picture, temperature, beside (the other temperature), biased (a class), bias.
    Raises `ValueError` for shapes that do not fit together.
    """
    pictures = check_pictures(pictures)
    logits = check_table("logits", logits, len(classes), len(pictures))
    labels = logits.argmax(axis=1) if labels is None else array(labels)
    if labels.shape != (len(pictures),):
        raise ValueError(f"labels must be ({len(pictures)},), one for each picture, got shape {labels.shape}")

    def draw(picture: int, temperature: float, beside: float, biased: int, bias: float) -> plots.Figure:
        row, label = _with_bias(logits[picture], biased, bias), int(labels[picture])
        title = f"{classes[label]}, T = {short(temperature)}"
        figure = plots.distribution(softened(row, temperature), classes, title=title, picture=pictures[picture])
        figure.description = describe(logits[picture], classes, label, temperature, beside, biased, bias)
        return figure

    examples = [
        {"picture": data_uri(picture), "logits": [float(value) for value in row], "label": int(label)}
        for picture, row, label in zip(pictures, logits, labels, strict=True)
    ]
    content = {"classes": list(classes), "examples": examples}
    return linked("temperature", content, draw, **_controls(classes, labels))


def _softmax_in_words(logits: np.ndarray, classes: Sequence[str], temperature: float) -> str:
    p, order = softened(logits, temperature), np.argsort(-logits, kind="stable")
    named = ", ".join(f"{classes[index]} {fixed(100 * p[index], 1)} %" for index in order[:3])
    return f"T = {short(temperature)}: {named}; entropy {fixed(entropy(p), 2)}"


def _with_bias(logits: Sequence[float], biased: int, bias: float) -> np.ndarray:
    changed = array(logits).astype(float)
    changed[biased] += bias
    return changed


def _controls(classes: Sequence[str], labels) -> dict[str, ipywidgets.Widget]:
    names = numbered([classes[label] for label in labels])
    biased = [(name, number) for number, name in enumerate(classes)]
    return {
        "picture": ipywidgets.Dropdown(options=names, value=0, description="picture", **WIDE),
        "temperature": ipywidgets.FloatLogSlider(value=1.0, description="temperature", **DEGREES, **WIDE),
        "beside": ipywidgets.FloatLogSlider(value=4.0, description="beside it", **DEGREES, **WIDE),
        "biased": ipywidgets.Dropdown(options=biased, value=0, description="change class", **WIDE),
        "bias": ipywidgets.FloatSlider(
            value=0.0, min=-MAX_BIAS, max=MAX_BIAS, step=0.5, description="its logit by", **WIDE
        ),
    }
