"""The halves of the live views that draw in the browser. Alone in their file: anywidget may be missing.

A view's script is a readable ES module beside this file. What several of them need stands once, in `shared.js`, and is
put before each: a module that is sent to a page cannot import its neighbours. One style, `shared.css`, serves all.

| script | content |
|---|---|
| temperature | classes; examples, each a picture (data URI), logits (C) and label |
| divergence | line (V); teacher, log probabilities (V); gap; betas; best, center and width for each beta |
| simplex | classes, three; teacher, their logits; label; reach, the largest logit of the student |
| playground | kinds of targets; the teacher's sizes and parameters; pool and test, points and labels; what training needs |
| sweep | sizes, temperatures, alphas, splits, seeds, what `sweep_intervals` gives; controls are places in them |
| mixer | names, classes, labels, logits, pictures, temperature, means |
| geometry | pictures (data URIs), their names and marks; kinds; networks, each a name, plane, share and apart |
| matcher | pictures (data URIs); students and teachers, each a layer with its sheet of maps; alike and fills |
| dashboard | nothing; `runs`, what `dashboard.progress` gives, is set from the training's thread a few times a second |
| sentence | classes; names of the models; values: `asked`, what `sentence.ask` gives, `rested`, where typing stopped |
"""

from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent
STYLE = (HERE / "shared.css").read_text(encoding="utf-8")


class View(anywidget.AnyWidget):
    """A script and what it draws. content: what does not change. values: a synchronised trait for each control, by its name."""

    _css = STYLE
    content = traitlets.Dict().tag(sync=True)

    def __init__(self, script: str, content: dict, **values):
        self.script, self._esm = script, source(script)
        self.add_traits(**{name: traitlets.Any(value).tag(sync=True) for name, value in values.items()})
        super().__init__(content=content)


def source(script: str) -> str:
    """What is sent to the browser: the shared part and the view's own."""
    return "\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in ("shared", script))
