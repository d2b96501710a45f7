"""The half of the temperature explorer that draws in the browser. Alone in its file: anywidget may be missing."""

from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent


class TemperatureView(anywidget.AnyWidget):
    """Its state is what `temperature.js` needs and nothing else. examples: picture (data URI), logits (C), label."""

    _esm = HERE / "temperature.js"
    _css = HERE / "temperature.css"
    temperature = traitlets.Float(1.0).tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    examples = traitlets.List(traitlets.Dict()).tag(sync=True)
