"""Labs as pages of HTML: to read, or section by section as slides. Linked views move on them, with no kernel and no network."""

import copy
import json
from pathlib import Path

from nbformat import NotebookNode

from kdcourse.widgets.page import EXPORT

WIDGETS = Path(__file__).parents[1] / "widgets"


def page(notebook: NotebookNode) -> str:
    """A notebook as one page of HTML."""
    from nbconvert import HTMLExporter

    notebook, scripts = _with_views(notebook)
    text = HTMLExporter().from_notebook_node(notebook)[0]
    return text.replace("</body>", f"{_runtime(scripts)}</body>") if scripts else text


def slides(notebook: NotebookNode) -> str:
    """A notebook as slides: a new one at each heading; arrow keys, Page Up and Page Down turn them."""
    extra = f"<style>{_read('slides.css')}</style><script>{_read('slides.js')}</script>"
    return page(notebook).replace("</body>", f"{extra}</body>")


def _with_views(notebook: NotebookNode) -> tuple[NotebookNode, set[str]]:
    """A copy whose still figures carry the data of their view, and the names of the views' scripts."""
    notebook, scripts = copy.deepcopy(notebook), set()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if EXPORT in data:
                view = data.pop(EXPORT)
                scripts.add(view["script"])
                held = f'<script class="kd-export" type="application/json">{_script_json(view)}</script>'
                data["text/html"] = "".join(data["text/html"]) + held
    return notebook, scripts


def _runtime(scripts: set[str]) -> str:
    from kdcourse.widgets.views import STYLE, source

    modules = {name: source(name) for name in sorted(scripts)}
    script = f"const SCRIPTS = {_script_json(modules)};\n{_read('export.js')}"
    return f'<style>{STYLE}\n{_read("export.css")}</style><script type="module">{script}</script>'


def _script_json(value) -> str:
    """JSON that may stand within a <script>: a name there may hold the end of one, or open a comment."""
    return json.dumps(value).replace("<", "\\u003c")


def _read(name: str) -> str:
    return (WIDGETS / name).read_text(encoding="utf-8")
