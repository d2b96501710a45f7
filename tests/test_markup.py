"""Names are shown as they are written: no class, file or sentence is read as HTML, Markdown or a formula, wherever it stands."""

import copy
import io
import json
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import ipywidgets
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from nbconvert.filters import markdown2html

import kdcourse as kd
from kdcourse import plots, widgets
from kdcourse.authoring import pages
from kdcourse.bench import browser
from kdcourse.data.splits import Split
from kdcourse.exercises import cards
from kdcourse.exercises.cards import Message
from kdcourse.exercises.predictions import predict
from kdcourse.exercises.quiz import Option, Question, Quiz
from kdcourse.review.report import Report
from kdcourse.system import markup
from kdcourse.widgets.dashboard import draw as draw_runs
from kdcourse.widgets.page import EXPORT

NAMES = [
    "<script>hacked=1</script>",
    "<img src=x onerror=hacked=1>",
    "</p></figure><!--<script>",
    "**bold** _it_ ~~gone~~",
    "$x^2$",
    "Ba$$in",
    "\\(y\\) \\[z\\] \\alpha",
    "[a](javascript:hacked=1)",
    "![i](https://x.y/z)",
    "https://x.y www.x.y a@b.c",
    "`code` ``",
    "cat|dog",
    "&amp; &#60;b&#62;",
    "\" onload='hacked=1",
    "# title",
    "- item",
    "1. item",
    "{curly} %s %(x)s",
    "🐕 emoji",
    "犬と猫",
]
N = len(NAMES)
SOME = ["<img src=x onerror=hacked=1>", "$x^2$ **b**", "</script>`|&amp;犬"]  # where three are wanted
RNG = np.random.default_rng(0)
PICTURES = RNG.random((N, 6, 6))
TWO = Split(torch.rand(2, 1, 6, 6), torch.tensor([0, 1]))
VOID = {"img", "br", "input", "meta", "link", "hr"}


class Parsed(HTMLParser):
    """A piece of a page as a browser takes it: its elements with their attributes, and the text outside of scripts."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.texts)


def parsed(page: str, allowed: set[str]) -> Parsed:
    """The page, which has no other elements than these, no attribute that runs anything, and no text that MathJax would take."""
    found = Parsed(page)
    assert found.tags <= allowed | {"span"}, found.tags
    for _, attributes in found.elements:
        assert not any(name.startswith("on") for name in attributes) and attributes.keys() <= ATTRIBUTES, attributes
        assert not str(attributes.get("href", "")).startswith("javascript")
    for tag, text in found.texts:
        if tag not in ("script", "style", "pre", "code"):  # which it leaves alone
            assert text in ("$", "\\") or not set(text) & set("$\\"), text
    return found


ATTRIBUTES = {"alt", "width", "height", "style", "src", "class", "aria-live"}


def scores(names=NAMES) -> pd.DataFrame:
    return pd.DataFrame(80 + RNG.normal(0, 1, (4, len(names))), columns=names)


def distribution(count: int = N) -> np.ndarray:
    return plots.softened(RNG.normal(size=count), 1)


def reliability(name):
    part = torch.tensor([0.2, 0.8])
    return SimpleNamespace(accuracy=part, confidence=part, count=torch.tensor([3, 4]))


FIGURES = {
    "pictures": lambda: plots.pictures(PICTURES, NAMES),
    "soft labels": lambda: plots.soft_labels(PICTURES[:3], [distribution() for _ in range(3)], NAMES),
    "distribution": lambda: plots.distribution(distribution(), NAMES, title=" ".join(NAMES[:5]), picture=PICTURES[0]),
    "distributions": lambda: plots.distributions({name: distribution() for name in NAMES[:8]}, NAMES),
    "opinions": lambda: plots.opinions(PICTURES[0], " ".join(NAMES), {name: distribution() for name in SOME}, NAMES),
    "limits": lambda: plots.temperature_limits(RNG.normal(size=N), NAMES),
    "similarity": lambda: plots.similarity(RNG.random((N, N)), NAMES, title=NAMES[5]),
    "two similarities": lambda: plots.two_similarities(*RNG.random((2, N, N)), NAMES, titles=(NAMES[0], NAMES[5])),
    "comparison": lambda: plots.comparison(scores(), baseline=NAMES[0], ylabel=NAMES[4]),
    "estimation": lambda: plots.estimation(scores(NAMES[:6]), baseline=NAMES[5], ylabel=NAMES[4]),
    "curves": lambda: plots.curves(
        [1, 2], {name: RNG.random((3, 2)) for name in NAMES}, xlabel=NAMES[4], ylabel=NAMES[1], levels={NAMES[5]: 1.0}
    ),
    "lines": lambda: plots.lines([1, 2], {name: [1, 2] for name in NAMES}, xlabel=NAMES[4], ylabel=NAMES[5]),
    "rankings": lambda: plots.rankings(scores(), better=NAMES[4], than=NAMES[5]),
    "history": lambda: plots.history([1, 2, 3], ylabel=NAMES[5]),
    "traced": lambda: plots.traced([1, 2], {NAMES[4]: {name: [1, 2] for name in NAMES}}, xlabel=NAMES[5], chosen=1),
    "priced": lambda: plots.priced(
        {name: ([1, 2], RNG.random((3, 2))) for name in NAMES}, xlabel=NAMES[4], ylabel=NAMES[5], marked={NAMES[0]: 1}
    ),
    "sweep": lambda: plots.sweep(
        {name: RNG.random((2, 2, 3)) for name in SOME}, RNG.random((2, 2)), dict.fromkeys(SOME, 0.5), [1, 2], [1, 2],
        names=(NAMES[4], NAMES[5]), shown=SOME[0], chosen=(0, 1), best=(1, 1), ylabel=NAMES[1],
    ),
    "alignment": lambda: plots.alignment(RNG.random((N, N)), NAMES, NAMES),
    "relations": lambda: plots.relations(
        {name: RNG.random((2 * N, 2 * N)) for name in SOME}, np.arange(2 * N) % N, NAMES, what=NAMES[5]
    ),
    "neighbours": lambda: plots.neighbours(PICTURES, {NAMES[4]: PICTURES}, NAMES, {NAMES[4]: NAMES[::-1]}),
    "triangles": lambda: plots.triangles({name: (3, 4, 5) for name in SOME}),
    "profiles": lambda: plots.profiles(
        [1, 2], {name: [1, 2] for name in NAMES}, xlabel=NAMES[4], ylabel=NAMES[5], band=(1, 2, NAMES[1])
    ),
    "landscape": lambda: plots.landscape(
        [distribution(3) for _ in range(9)], RNG.random(9), SOME, marks={SOME[0]: [distribution(3)]},
        arrows={name: [0.1, -0.1, 0.0] for name in SOME}, path=[distribution(3) for _ in range(3)],
    ),
    "reliability": lambda: plots.reliability({name: reliability(name) for name in SOME}, dict.fromkeys(SOME, 1.0)),
    "disagreement": lambda: plots.disagreement({NAMES[4]: RNG.random((N, N))}, {NAMES[4]: NAMES}),
    "mixture": lambda: plots.mixture(
        dict.fromkeys(SOME, 0.5), dict.fromkeys(SOME, 1.0), 0.5, [distribution() for _ in range(4)], NAMES,
        ylabel=NAMES[5], picture=PICTURES[0],
    ),
    "per class": lambda: plots.per_class({name: 100 * RNG.random(N) for name in SOME}, range(N), NAMES),
    "front": lambda: plots.front(range(1, N + 1), RNG.random(N), NAMES, range(N), xlabel=NAMES[4], ylabel=NAMES[5]),
    "runs": lambda: draw_runs(
        [{"name": name, "state": "done", "step": 2, "steps": 2, "points": [[1, 2.0], [2, 1.0]], "changes": [[1, name]],
          "touched": True} for name in NAMES]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_reads_a_name_as_markup(name):
    figure = FIGURES[name]()
    page = parsed(figure.as_html(), {"figure", "img", "figcaption"})
    assert [tag for tag, _ in page.elements if tag != "span"] == ["figure", "img", "figcaption"]
    assert page.text == figure.description
    assert next(attributes["alt"] for tag, attributes in page.elements if tag == "img") == figure.description
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if text.get_text())


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_a_figure_that_is_saved_as_a_file_has_its_names_as_they_are(kind, monkeypatch):
    monkeypatch.setitem(__import__("matplotlib").rcParams, "svg.fonttype", "none")
    figure = plots.lines([1, 2], {name: [1, 2] for name in NAMES[:-2]}, xlabel="Ba$$in", ylabel="$x^2$ \\alpha")
    file = io.BytesIO()
    figure.savefig(file, format=kind)
    if kind == "svg":
        texts = {
            "".join(one.itertext())
            for one in ElementTree.fromstring(file.getvalue()).iter()
            if one.tag.endswith("}text")
        }
        assert {"Ba$$in", "$x^2$ \\alpha", *NAMES[:-2]} <= texts


def answers(texts):
    return torch.tensor([[1.0, 2.0, 0.5]] * len(texts))


def loss(**values) -> plots.Figure:
    figure = plots.history([1, 2])
    figure.description = " ".join(NAMES)
    return figure


VIEWS = {
    "temperature": lambda: widgets.temperature_explorer(PICTURES[:3], RNG.normal(size=(3, 3)), SOME),
    "landscape": lambda: widgets.loss_landscape([1.0, 0.5, 0.0], SOME, 1),
    "matcher": lambda: widgets.layer_matcher(
        PICTURES[:2], {name: RNG.random((2, 3, 4, 4)) for name in NAMES}, {name: RNG.random((2, 3, 4, 4)) for name in SOME},
        RNG.random((N, 3)),
    ),
    "geometry": lambda: widgets.batch_geometry(
        PICTURES[:6], {name: RNG.normal(size=(6, 4)) for name in ("teacher", *SOME)}, np.arange(6) % 3, SOME
    ),
    "mixer": lambda: widgets.ensemble_mixer(
        RNG.normal(size=(3, 4, 3)), [0, 1, 2, 2], SOME, pictures=PICTURES[:2], names=SOME, temperature=2.0
    ),
    "sentence": lambda: widgets.sentence_box(dict.fromkeys(SOME, answers), SOME, sentence=" ".join(NAMES)),
    "live": lambda: widgets.live(loss, steps=ipywidgets.IntSlider(2)),
    "classifier": lambda: widgets.picture_classifier(
        {name: lambda shown: torch.tensor([[1.0, 2.0, 0.5]]) for name in SOME}, TWO, SOME
    ),
}  # fmt: skip


@pytest.fixture
def sent(monkeypatch) -> list[dict]:
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: bundles.append(bundle))
    return bundles


def widgets_in(part) -> list[ipywidgets.Widget]:
    return [part, *(one for child in getattr(part, "children", ()) for one in widgets_in(child))]


@pytest.mark.parametrize("anywidget", [True, False])
@pytest.mark.parametrize("name", VIEWS)
def test_no_view_reads_a_name_as_markup(name, anywidget, sent, monkeypatch):
    if not anywidget:  # then Python draws them all
        for module in ("linked", "sentence"):
            monkeypatch.setattr(f"kdcourse.widgets.{module}.browser_view", lambda *_, **__: None)
    view = VIEWS[name]()
    view._ipython_display_()
    pages_sent = [bundle["text/html"] for bundle in sent if "text/html" in bundle]
    assert len(pages_sent) == 1 and "hacked" in view.description + name + "hacked"
    still = parsed(pages_sent[0], {"div", "figure", "img", "figcaption"})
    assert view.description in still.text
    for widget in widgets_in(view._page.box):
        # Some versions read HTML here, and others formulas.
        assert not set(getattr(widget, "description", "")) & set("<$\\&"), widget.description
        if isinstance(widget, ipywidgets.HTML) and "<style>" not in widget.value:
            parsed(widget.value, {"img", "p"})


def exported(sent) -> str:
    """All views that live on a page without a kernel, as such a page."""
    for name in VIEWS:
        VIEWS[name]()._ipython_display_()
    views = [bundle for bundle in sent if EXPORT in bundle]
    outputs = [nbformat.v4.new_output("display_data", data=copy.deepcopy(bundle)) for bundle in views]
    assert len(outputs) == 5
    return pages.page(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=outputs)]))


def test_an_exported_page_carries_names_in_its_data_alone(sent):
    page = exported(sent)
    body = Parsed(page[page.index("<body") : page.index("</body>")])
    held = [text for tag, text in body.texts if tag == "script"]
    assert sum("Ba$$in" in text or "犬" in text or "\\u72ac" in text for text in held) == 5
    assert next(json.loads(text)["script"] for text in held if text.startswith("{")) == "temperature"
    for wrong in ("<script>hacked", "<img src=x", "<!--<script>", "</script>`|"):
        assert wrong not in page


@pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: exported pages are not opened")
def test_in_a_browser_no_name_becomes_an_element_or_runs(sent, tmp_path):
    (tmp_path / "page.html").write_text(exported(sent), encoding="utf-8")
    with browser.page() as tab:
        tab.goto((tmp_path / "page.html").as_uri())
        tab.locator(".kd-view").nth(4).wait_for(timeout=20_000)
        assert tab.evaluate("typeof hacked") == "undefined" and browser.problems(tab) == []
        boxes = ".kd-view, .kd-controls"
        inside = tab.eval_on_selector_all(
            f":is({boxes}) *", "all => [...new Set(all.map(one => one.tagName.toLowerCase()))]"
        )
        assert not set(inside) & {"script", "b", "strong", "em", "code", "a", "mjx-container"}
        pictures = tab.eval_on_selector_all(f":is({boxes}) img", "all => all.map(one => one.getAttribute('src'))")
        assert all(source.startswith("data:") for source in pictures)
        said = " ".join(tab.locator(boxes).all_inner_texts())
        assert all(name in said for name in SOME)
        assert tab.locator(":is(.kd-view, .kd-controls):not(.tex2jax_ignore.mathjax_ignore)").count() == 0


def test_no_card_reads_a_name_as_markup(sent, monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    for name in NAMES:
        guess = predict("99.hardest", "Which class is hardest?", options=(name, "another"))
        guess.set(name, sure=50)
        guess._ipython_display_()
        guess.answer(name)
        cards.show(Message(name.replace("`", ""), f"It is {cards.verbatim(name)}.", code=name))
    shown = [parsed(bundle["text/html"], {"div", "b", "pre"}) for bundle in sent if "text/html" in bundle]
    assert len(shown) >= 3 * N
    for name, page in zip(NAMES, shown[2::3], strict=True):
        assert f"It is {name}." in page.text and page.text.endswith(name)
    assert cards.verbatim("`a`") in cards.as_html("x") + cards.verbatim("`a`")
    assert str(Message("t", cards.verbatim("`a`"))) == "t\n`a`"


def test_no_quiz_reads_its_words_as_markup(sent):
    question = Question(" ".join(NAMES), tuple(Option(name, index == 0, name) for index, name in enumerate(NAMES)))
    quiz = Quiz("99", [question])
    quiz._ipython_display_()
    folded = parsed(sent[-1]["text/html"], {"details", "summary", "p", "ul", "li", "b"})
    assert all(name in folded.text for name in NAMES)
    assert NAMES[5] in parsed(quiz.answer(0, 5), {"div", "b"}).text


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_sentence_of_markdown_is_only_a_name(name, sent, monkeypatch, capsys):
    kd.say(f"{kd.verbatim(name)} is *{kd.verbatim(name)}*.")
    assert capsys.readouterr().out == f"{name} is *{name}*.\n"
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    kd.say(f"{kd.verbatim(name)} is *{kd.verbatim(name)}*.")
    page = parsed(markdown2html(sent[-1]["text/markdown"]), {"p", "em"})
    assert [tag for tag, _ in page.elements if tag != "span"] == ["p", "em"]
    assert page.text.strip() == f"{name} is {name}."


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_table_or_a_heading_of_markdown_is_only_a_name(name):
    page = parsed(markdown2html(f"| class | n |\n|---|---|\n| {markup.verbatim(name)} | 1 |\n"), TABLE)
    assert [text for tag, text in page.texts if tag == "td" and text == "1"] and name in page.text
    report = parsed(markdown2html(Report(name, "a loss")._repr_markdown_()), {"p", "strong"})
    assert report.text.startswith(f"{name}: a loss.")


TABLE = {"table", "thead", "tbody", "tr", "th", "td"}


def test_a_colon_before_a_space_begins_no_address():
    assert markup.verbatim("Anything else: it names a class.") == "Anything else: it names a class."
    assert markup.verbatim("a:b") == "a<span>&#58;</span>b"


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_the_labs_reads_no_name_as_markup(name):
    kd.setup()
    page = pd.DataFrame({name: [name]}, index=[name])._repr_html_()
    table = Parsed(page[page.index("<table") : page.index("</div>")])
    assert [text for tag, text in table.texts if tag in ("td", "th") and text.strip()] == [name] * 3
    assert table.tags <= TABLE and "mathjax_ignore" in table.elements[0][1]["class"], "its dollars are left alone"


def test_a_name_of_several_lines_stays_in_one():
    assert markup.verbatim("two\n\n# lines") == "two &#35; lines"
    assert markup.plain(markup.verbatim("T-shirt/top, 5 % (new)")) == "T-shirt/top, 5 % (new)"
    assert markup.verbatim("T-shirt/top") == "T-shirt/top", "what needs nothing is left as it is"
