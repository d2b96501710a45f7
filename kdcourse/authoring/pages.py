"""Labs as pages of HTML: to read, or section by section as slides. Linked views move on them, with no kernel and no network.

A page is one file that asks no host for anything: formulas are MathML, pictures are in it, folded cells open at a click.
"""

import copy
import json
import re
from pathlib import Path

from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.exporters.html import contextfilter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from kdcourse.authoring import folding
from kdcourse.authoring.notebooks import NOTEBOOKS
from kdcourse.widgets.linked import LinkedView
from kdcourse.widgets.page import EXPORT

WIDGETS = Path(__file__).parents[1] / "widgets"
# nbconvert's own page, without the scripts that it fetches, and with folded cells; an output's headings are none of the page's.
TEMPLATE = """\
{%- extends "lab/index.html.j2" -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block notebook_css -%}
{{ super() }}{{ resources.include_css("static/theme-dark.css") | where_dark }}
{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block input -%}
{%- if cell | is_folded -%}
<details class="kd-folded"><summary>{{ cell | folded_title | escape_html }}</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock -%}
{%- block data_markdown -%}{{ super() | lowered }}{%- endblock -%}
"""
WIDGET = "application/vnd.jupyter.widget-view+json"
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
FUNCTION = re.compile(r"(<mi>[a-z]{2,}</mi>)(?!<mo[^>]*>&#x00028;)")  # such as log, where no parenthesis follows
HEADING = re.compile(r'<h([23])[^>]*\bid="([^"]+)"[^>]*>(.*?)</h\1>', re.DOTALL)


class _Renderer(IPythonRenderer):
    """Formulas as MathML, which browsers draw by themselves."""

    def block_math(self, body: str) -> str:
        return _spaced(convert(body.strip(), display="block"))

    def inline_math(self, body: str) -> str:
        return _spaced(convert(body.strip()))


class _Exporter(HTMLExporter):
    @contextfilter
    def markdown2html(self, context, source: str) -> str:
        path = context["resources"]["metadata"]["path"]
        return MarkdownWithMath(renderer=_Renderer(escape=False, embed_images=True, path=path)).render(source)


def page(notebook: NotebookNode, title: str = "A lab of kdcourse", header: str = "") -> str:
    """A notebook as one page of HTML. title: of its window. header: HTML that stands before the list of its sections."""
    notebook, scripts = _with_views(notebook)
    exporter = _Exporter(raw_template=TEMPLATE)
    exporter.register_filter("is_folded", folding.is_folded)
    exporter.register_filter("folded_title", folding.title)
    exporter.register_filter("where_dark", _where_dark)
    exporter.register_filter("lowered", _lowered)
    text = exporter.from_notebook_node(notebook, resources={"metadata": {"path": str(NOTEBOOKS), "name": title}})[0]
    text = text.replace("</head>", f"<style>{_read('page.css')}</style></head>", 1)
    text = TABLE.sub(lambda found: _with_scopes(found[0]), text)
    text = text.replace("<main>", f"{header}{_contents(text)}<main>", 1)
    own = f"<script>{_read('page.js')}</script>{_runtime(scripts) if scripts else ''}"
    return text.replace("</body>", f"{own}</body>")


def slides(notebook: NotebookNode, title: str = "A lab of kdcourse") -> str:
    """A notebook as slides: a new one at each heading; arrow keys, Page Up and Page Down turn them."""
    extra = f"<style>{_read('slides.css')}</style><script>{_read('slides.js')}</script>"
    return page(notebook, title).replace("</body>", f"{extra}</body>")


def _spaced(formula: str) -> str:
    """A formula with the thin space that TeX sets after the name of a function: log q, not logq."""
    return FUNCTION.sub(r'\1<mspace width="0.167em"/>', formula)


def _where_dark(style: str) -> str:
    """A <style> for readers whose system is dark, and not on paper."""
    return str(style).replace("<style", '<style media="screen and (prefers-color-scheme: dark)"', 1)


def _lowered(output: str) -> str:
    """Headings that an output brings along, below the lab's own, of which there are three levels."""
    return re.sub(r"(</?h)([1-3])\b", lambda found: f"{found[1]}{int(found[2]) + 3}", str(output))


def _with_scopes(table: str) -> str:
    """A table of HTML whose headers say whether they head a column or a row; an empty corner heads nothing."""
    table = re.sub(r"<th\b([^>]*)>\s*</th>", r"<td\1></td>", table)
    head, end, body = table.rpartition("</thead>")
    return re.sub(r"<th\b", '<th scope="col"', head) + end + re.sub(r"<th\b", '<th scope="row"', body)


def _contents(text: str) -> str:
    """The page's headings as links."""
    lines = [
        f'<li class="kd-level-{level}"><a href="#{place}">{re.sub("<a .*?</a>|<[^>]+>", "", title, flags=re.DOTALL)}</a></li>'
        for level, place, title in HEADING.findall(text)
    ]
    listed = f"<details><summary>Contents</summary><ol>{''.join(lines)}</ol></details>"
    return f'<nav class="kd-contents" aria-label="Contents">{listed}</nav>' if lines else ""


def _with_views(notebook: NotebookNode) -> tuple[NotebookNode, set[str]]:
    """A copy whose still figures carry the data of their view and which knows no widgets, and the views' scripts."""
    notebook, scripts = copy.deepcopy(notebook), set()
    # Their state is of use to a kernel alone and often a third of the page, and to draw it the page would ask a host for scripts.
    notebook.metadata.pop("widgets", None)
    for cell in (one for one in notebook.cells if one.cell_type == "code"):
        cell.outputs = [output for output in cell.outputs if set(output.get("data", {})) != {WIDGET, "text/plain"}]
        for output in cell.outputs:
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if EXPORT in data:
                view = json.loads(data.pop(EXPORT))
                scripts.add(view["script"])
                data["text/html"] = "".join(data["text/html"]) + _held(view)
    return notebook, scripts


def live_view(view: LinkedView) -> str:
    """A view for a page that is no notebook: its still figure and, where scripts run, the view in its place."""
    data = view.export()
    return f"<div>{view.figure.as_html()}</div>{_held(data)}{_runtime({data['script']})}"


def _held(view: dict) -> str:
    """The data of a view, behind its still figure."""
    return f'<script class="kd-export" type="application/json">{_script_json(view)}</script>'


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
