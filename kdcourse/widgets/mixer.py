"""The ensemble mixer: a weight for each teacher, and what their mixture makes of a few hundred pictures.

The mixture of all pictures is computed in the browser (`mixer.js`) from the teachers' logits; Python knows the same formulas,
for the description and for the tests that hold the two against each other.
"""

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np

from kdcourse import plots
from kdcourse.plots import softened
from kdcourse.plots.palette import array, check_pictures, data_uri
from kdcourse.widgets.linked import WIDE, LinkedView, linked, numbered
from kdcourse.widgets.live import LiveFigure
from kdcourse.widgets.wording import as_label, fixed

MEANS = ("probabilities", "logits")
MAX_WEIGHT = 4.0  # the largest weight; all start at 1


def mixture(logits, weights: Sequence[float], *, temperature: float, mean: str = "probabilities") -> np.ndarray:
    """The softened target of weighted teachers: logits (M, N, C), M weights -> probabilities (N, C), rows sum to 1.

    As `schemes.Ensemble`: mean "probabilities" averages the softened probabilities, "logits" the logits before softening.
    Raises `ValueError` for weights that are not M numbers of 0 or more, or all 0.
    """
    logits, weights = array(logits).astype(float), np.asarray(weights, dtype=float)
    if weights.shape != logits.shape[:1] or not (weights >= 0).all() or not weights.any():
        raise ValueError(f"weights must be {len(logits)} numbers of 0 or more, not all 0, got {weights.tolist()}")
    if mean not in MEANS:
        raise ValueError(f"mean must be one of {', '.join(MEANS)}, got {mean!r}")
    shares = weights / weights.sum()
    if mean == "logits":
        return softened(np.tensordot(shares, logits, 1), temperature)
    return np.tensordot(shares, softened(logits, temperature), 1)


def disagreement(logits, weights: Sequence[float]) -> float:
    """The percentage of pictures on which the teachers with a weight above 0 do not all decide alike. logits: (M, N, C)."""
    decisions = array(logits).argmax(axis=2)[np.asarray(weights) > 0]
    return 100 * float((decisions != decisions[0]).any(axis=0).mean())


def describe(content: Mapping, weights: Sequence[float], mean: int, picture: int) -> str:
    """Two sentences on a mixture, over all pictures and on one. content: names, classes, labels, logits, temperature."""
    names, classes, labels, logits = (content[name] for name in ("names", "classes", "labels", "logits"))
    alone = [_accuracy(each, labels) for each in array(logits)]
    best = int(np.argmax(alone))
    single = f"the best alone, {names[best]}, {fixed(alone[best], 1)} %"
    if not any(weights):
        return f"Every weight is 0, so there is no mixture. Of {len(labels)} pictures {single}."
    p = mixture(logits, weights, temperature=content["temperature"], mean=MEANS[mean])
    asked = [
        f"{name} {fixed(100 * weight / sum(weights), 0)} %"
        for name, weight in zip(names, weights, strict=True)
        if weight > 0
    ]
    top = int(p[picture].argmax())
    return (
        f"Mean of {MEANS[mean]}, {', '.join(asked)}: {fixed(_accuracy(p, labels), 1)} % right, {single}; "
        f"opinions differ on {fixed(disagreement(logits, weights), 1)} %. "
        f"Picture {picture + 1}, {classes[labels[picture]]}: {classes[top]} {fixed(100 * p[picture, top], 1)} %."
    )


def ensemble_mixer(
    logits, labels, classes: Sequence[str], pictures, *, names: Sequence[str], temperature: float = 4.0
) -> LinkedView | LiveFigure:
    """Mix several teachers with sliders: the accuracy of the mixture and of each teacher, and all their answers to one picture.

    logits: of M teachers, (M, N, C); a few hundred pictures will do, and two decimals are kept. labels: (N,). classes: C
    names. pictures: of the first P of the N, (P, H, W) or (P, H, W, 3) within [0, 1]. names: of the M teachers.
    temperature: T > 0 at which their answers are softened before they are averaged, default 4. Controls: weight_1,
    weight_2, … one for each teacher, mean ("probabilities" or "logits"), picture.
    Raises `ValueError` for shapes that do not fit together and a temperature that is not above 0.
    """
    logits, labels, pictures = _checked(logits, labels, classes, pictures, names, temperature)
    content = {
        "names": list(names),
        "classes": list(classes),
        "means": list(MEANS),
        "temperature": float(temperature),
        "labels": labels.tolist(),
        "logits": logits.tolist(),
        "pictures": [data_uri(picture) for picture in pictures],
    }
    alone = {name: _accuracy(each, labels) for name, each in zip(names, logits, strict=True)}

    def draw(mean: str, picture: int, **weights: float) -> plots.Figure:
        given = [weights[f"weight_{number}"] for number in range(1, len(names) + 1)]
        score, answers = None, list(softened(logits[:, picture], temperature))
        if any(given):
            mixed = mixture(logits, given, temperature=temperature, mean=mean)
            score = _accuracy(mixed, labels)
            answers.append(mixed[picture])
        look = {"ylabel": f"right of {len(labels)}, %", "picture": pictures[picture]}
        figure = plots.mixture(alone, dict(zip(names, given, strict=True)), score, answers, classes, **look)
        figure.description = describe(content, given, MEANS.index(mean), picture)
        return figure

    return linked("mixer", content, draw, **_controls(names, [classes[label] for label in labels[: len(pictures)]]))


def _accuracy(answers: np.ndarray, labels) -> float:
    """Right answers (N, C) in percent."""
    return 100 * float((answers.argmax(axis=1) == array(labels)).mean())


def _checked(logits, labels, classes, pictures, names, temperature) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    logits, labels, pictures = array(logits).astype(float), array(labels), check_pictures(pictures)
    if logits.ndim != 3 or 0 in logits.shape or not np.isfinite(logits).all():
        raise ValueError(f"logits must be (M, N, C) and finite, got shape {logits.shape}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    teachers, count, width = logits.shape
    for name, given, wanted in (("names", names, teachers), ("labels", labels, count), ("classes", classes, width)):
        if len(given) != wanted:
            raise ValueError(f"{name} must be {wanted} to fit logits of shape {logits.shape}, got {len(given)}")
    if labels.min() < 0 or labels.max() >= width:
        raise ValueError(f"labels must be from 0 to {width - 1}, got {labels.min()} to {labels.max()}")
    if len(pictures) > count:
        raise ValueError(f"pictures must be at most {count}, those of the first logits, got {len(pictures)}")
    return logits.round(2), labels, pictures


def _controls(names: Sequence[str], shown: Sequence[str]) -> dict[str, ipywidgets.Widget]:
    weight = {"value": 1.0, "min": 0.0, "max": MAX_WEIGHT, "step": 0.1, "readout_format": ".1f"}
    return {
        **{
            f"weight_{number}": ipywidgets.FloatSlider(description=as_label(name), **weight, **WIDE)
            for number, name in enumerate(names, start=1)
        },
        "mean": ipywidgets.ToggleButtons(options=MEANS, description="mean of", style=WIDE["style"]),
        "picture": ipywidgets.Dropdown(options=numbered(shown), value=0, description="picture", **WIDE),
    }
