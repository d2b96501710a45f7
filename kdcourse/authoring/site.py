"""The course as a site: the playground, labs as pages, teaching guides, glossary, reference of losses and methods, a search.

It is a folder of files that asks no host for anything and may lie anywhere: every link in it is relative. Beside it, a guide
as slides.
"""

import html
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from kdcourse import losses, methods
from kdcourse.authoring import notebooks, pages
from kdcourse.authoring.notebooks import ROOT, Lab
from kdcourse.system.storage import write_safely
from kdcourse.widgets import playground

DOCS = ROOT / "docs"
FRONT = Path(__file__).with_name("front")
TITLE = "Knowledge distillation, measured"
LINK = re.compile(r'<(?:a|img|script|link)\b[^>]*?\s(?:href|src)="([^"]*)"')


def build(target: Path) -> list[Path]:
    """Write the site into a folder; its files, the front page first. Raises `ValueError` for a link that leads nowhere."""
    every, made = notebooks.labs(), {}
    for place, lab in enumerate(every):
        notebook = nbformat.read(lab.notebook, as_version=4)
        text = pages.page(notebook, lab.title, _navigation(every, place))
        made[f"{lab.source.stem}.html"] = _linked(text, notebooks.NOTEBOOKS)
    for name, title, text, folder in _texts():
        made[name] = _linked(pages.page(_as_notebook(text), title, _navigation(every)), folder)
    made = {"index.html": _front_page(every), **made}
    broken = broken_links(made)
    if broken:
        raise ValueError(f"links must lead to a page of the site, got {'; '.join(broken[:5])}")
    made["pages.js"] = f"const PAGES = {json.dumps(_index(made), ensure_ascii=False)};\n"
    for name, text in made.items():
        write_safely(target / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))
    return [target / name for name in made]


def guide_as_slides(lab: Lab) -> str:
    """A lab's guide for instructors, a slide at each heading; its links lead to the repository."""
    path = DOCS / "teaching" / f"{lab.source.stem}.md"
    _, *parts = re.split(r"^(?=#+ )", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(part) for part in parts])
    return _linked(pages.slides(notebook, f"Teach lab {lab.number}: {lab.title}"), path.parent, {})


def broken_links(made: dict[str, str]) -> list[str]:
    """What leads to no file of the site, or to no place in it. made: name -> text. Links to other hosts are not followed."""
    broken = []
    places = {
        name: {html.unescape(place) for place in re.findall(r'\bid="([^"]*)"', text)} for name, text in made.items()
    }
    for name, text in made.items():
        for link in map(html.unescape, LINK.findall(text)):
            file, _, place = link.partition("#")
            file = file or name
            if not re.match(r"(https?|mailto|data):", link) and (
                file not in places or place not in places[file] | {""}
            ):
                broken.append(f"{name} -> {link}")
    return broken


def _texts() -> list[tuple[str, str, str, Path]]:
    """Name, title, Markdown and folder of the pages that are no lab."""
    files = [(name, path) for path, name in _page_names().items() if path.suffix == ".md"]
    texts = [("reference.html", _reference(), DOCS)]
    texts += [(name, path.read_text(encoding="utf-8"), path.parent) for name, path in files]
    return [(name, _plain(text.partition("\n")[0].removeprefix("# ")), text, folder) for name, text, folder in texts]


def _plain(heading: str) -> str:
    """A heading without its links: [words](address) -> words."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)


def _reference() -> str:
    """Every public loss and method, with its signature and its docstring."""
    parts = ["# Reference: losses and methods"]
    for title, module in (("Losses", losses), ("Methods", methods)):
        parts += [f"## {title}", _paragraphs(module.__doc__)]
        for name, thing in sorted(vars(module).items()):
            if callable(thing) and not name.startswith("_"):
                parts += [
                    f"### {name}",
                    f"```python\n{name}{_signature(thing)}\n```",
                    _paragraphs(inspect.getdoc(thing)),
                ]
    return "\n\n".join(parts)


def _signature(thing: Callable) -> str:
    return re.sub(r"torch\.|<class '|'>", "", str(inspect.signature(thing)))


def _paragraphs(docstring: str | None) -> str:
    """A docstring as Markdown: its source on a line of its own; what Markdown would read as emphasis is text."""
    text = inspect.cleandoc(docstring or "")
    text = re.sub(r"\n(Source|Raises)", r"\n\n\1", text)
    return re.sub(r"`[^`]*`|_", lambda found: r"\_" if found[0] == "_" else found[0], text)


def _as_notebook(markdown: str) -> NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(markdown)])


def _linked(text: str, folder: Path, known: dict[Path, str] | None = None) -> str:
    """Links to the project's files as links between the site's pages, and to the repository for what is no page of it.

    folder: where the file lies whose links these are. known: the files that are pages; default the site's.
    """
    known = _page_names() if known is None else known

    def page_of(found: re.Match) -> str:
        link, place = html.unescape(found[1]), found[2] or ""
        path = (folder / link).resolve()
        if not link or re.match(r"(https?|mailto|data):", link) or not path.exists():
            return found[0]
        name = known.get(path) or f"{notebooks.project()[1]}/blob/main/{path.relative_to(ROOT).as_posix()}"
        return f'href="{name}{place}"'

    return re.sub(r'href="([^"#]*)(#[^"]*)?"', page_of, text)


def _page_names() -> dict[Path, str]:
    """The project's files that are pages of the site."""
    guides = {path: f"teach_{path.stem}.html" for path in sorted((DOCS / "teaching").glob("*.md"))}
    labs = {lab.notebook: f"{lab.source.stem}.html" for lab in notebooks.labs()}
    words = {DOCS / f"{name}.md": f"{name}.html" for name in ("glossary", "accessibility")}
    return {**labs, **words, **guides}


def _navigation(every: list[Lab], place: int | None = None) -> str:
    """What stands above a page: the front page, and for a lab the ones before and after it."""
    links = ['<a href="index.html">All labs</a>']
    if place is not None:
        if place:
            links.insert(0, _to(every[place - 1], "← {}"))
        if place + 1 < len(every):
            links.append(_to(every[place + 1], "{} →"))
    return f'<nav class="kd-neighbours" aria-label="Labs">{"".join(links)}</nav>'


def _to(lab: Lab, arrow: str = "{}") -> str:
    return f'<a href="{lab.source.stem}.html">{arrow.format(html.escape(f"{lab.number} {lab.title}"))}</a>'


def _front_page(every: list[Lab]) -> str:
    """What the course is, the playground, the labs with their first sentences, the other pages, and the search."""
    rows = [f"<li>{_to(lab)}<br>{html.escape(_first_sentence(lab))}</li>" for lab in every]
    others = [(name, title) for name, title, *_ in _texts() if not re.match(r"teach_\d", name)]
    parts = {
        "title": TITLE,
        "playground": pages.live_view(playground()),
        "labs": "".join(rows),
        "others": "".join(f'<li><a href="{name}">{html.escape(title)}</a></li>' for name, title in others),
        "style": (FRONT / "style.css").read_text(encoding="utf-8"),
        "script": (FRONT / "search.js").read_text(encoding="utf-8"),
    }
    return (FRONT / "index.html").read_text(encoding="utf-8").format(**parts)


def _first_sentence(lab: Lab) -> str:
    """What a lab asks: the first sentence below its title."""
    text = notebooks.compose(lab).cells[0].source.split("\n\n")[2]
    return re.split(r"(?<=[.?!])\s", text.replace("\n", " "))[0]


def _index(made: dict[str, str]) -> list[dict[str, str]]:
    """For the search: each page's address, title and text, without code and scripts."""
    found = []
    for name, text in made.items():
        title = html.unescape(re.search(r"<title>(.*?)</title>", text, re.DOTALL)[1])
        body = re.sub(r"<(script|style|pre|svg|math)\b.*?</\1>|<head>.*?</head>", " ", text, flags=re.DOTALL)
        words = html.unescape(re.sub(r"<[^>]+>", " ", body))
        found.append({"page": name, "title": title, "text": " ".join(words.split())})
    return found
