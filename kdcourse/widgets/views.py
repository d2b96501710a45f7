"""The halves of the live views that draw in the browser. Alone in their file: anywidget may be missing.

A view's script is a readable ES module beside this file. What several of them need stands once, in `shared.js` and
`shared.css`, and is put before each: a module that is sent to a page cannot import its neighbours.
"""

from pathlib import Path
from typing import ClassVar

import anywidget
import traitlets

HERE = Path(__file__).parent


class View(anywidget.AnyWidget):
    """A script and what it draws. content: what does not change. values: a synchronised trait for each control, by its name."""

    script = ""  # its name: a file beside this one
    known: ClassVar[dict[str, type["View"]]] = {}  # by that name
    content = traitlets.Dict().tag(sync=True)

    def __init_subclass__(cls, **kwargs):
        if script := cls.__dict__.get("script"):  # traitlets derives classes of its own, which keep their parent's
            View.known[script] = cls
            cls._esm, cls._css = source(script, "js"), source(script, "css")
        super().__init_subclass__(**kwargs)

    def __init__(self, content: dict, **values):
        self.add_traits(**{name: traitlets.Any(value).tag(sync=True) for name, value in values.items()})
        super().__init__(content=content)


def source(script: str, kind: str) -> str:
    """What is sent to the browser: the shared part and the view's own."""
    paths = (HERE / f"{name}.{kind}" for name in ("shared", script))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.exists())


class TemperatureView(View):
    """content: classes; examples, each a picture (data URI), logits (C) and label."""

    script = "temperature"


class DivergenceView(View):
    """content: line (V); teacher, log probabilities (V); gap; betas; best, center and width for each beta."""

    script = "divergence"


class SimplexView(View):
    """content: classes, three; teacher, their logits; label; reach, the largest logit of the student."""

    script = "simplex"


class SweepView(View):
    """content: sizes, temperatures, alphas, splits, seeds, and what `sweep_intervals` gives; controls are places in them."""

    script = "sweep"


class MixerView(View):
    """content: names, classes, labels, logits, pictures, temperature, means."""

    script = "mixer"


class GeometryView(View):
    """content: pictures (data URIs), their names and marks; kinds; networks, each a name, plane, share and apart."""

    script = "geometry"


class MatcherView(View):
    """content: pictures (data URIs); students and teachers, each a layer with its sheet of maps; alike, fills and inks."""

    script = "matcher"


class DashboardView(View):
    """runs: what `dashboard.progress` gives of each run; set from the training's thread, a few times a second."""

    script = "dashboard"
    runs = traitlets.List().tag(sync=True)


class SentenceView(View):
    """content: classes; names of the models. asked: what `sentence.ask` gives; rested: the sentence at which typing stopped."""

    script = "sentence"
