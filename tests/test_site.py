"""The course as a site: every page is there, every link leads somewhere, the search finds, and no host is asked."""

import html
import json
import re

import pytest
from typer.testing import CliRunner

from kdcourse import losses, methods
from kdcourse.authoring import notebooks, site
from kdcourse.bench import browser
from kdcourse.cli import app

in_chromium = pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: the site is not opened")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    site.build(folder)
    return folder


def read(path):
    return path.read_text(encoding="utf-8")


def test_every_lab_guide_and_word_list_is_a_page_that_the_front_page_or_a_guide_leads_to(built):
    named = {path.name for path in built.iterdir()}
    labs = {f"{lab.source.stem}.html" for lab in notebooks.labs()}
    guides = {f"teach_{lab.source.stem}.html" for lab in notebooks.labs()}
    others = {"index.html", "glossary.html", "accessibility.html", "reference.html", "teach_README.html", "pages.js"}
    assert named == labs | guides | others
    linked = set(re.findall(r'href="([^"#]+)', read(built / "index.html") + read(built / "teach_README.html")))
    assert named - {"index.html", "pages.js"} <= linked


def test_a_lab_leads_to_the_labs_before_and_after_it(built):
    first, second, third = notebooks.labs()[:3]
    links = re.search(r'<nav class="kd-neighbours".*?</nav>', read(built / f"{second.source.stem}.html"), re.DOTALL)[0]
    assert f'href="{first.source.stem}.html">← {first.number} {first.title}</a>' in links
    assert f'href="{third.source.stem}.html">{third.number} {third.title} →</a>' in links
    ends = [
        re.search(r"<nav.*?</nav>", read(built / f"{lab.source.stem}.html"), re.DOTALL)[0]
        for lab in (first, notebooks.labs()[-1])
    ]
    assert "←" not in ends[0] and "→" in ends[0] and "→" not in ends[1] and "←" in ends[1]


def test_the_reference_has_every_loss_and_method_with_its_signature(built):
    text = read(built / "reference.html")
    for module in (losses, methods):
        for name, thing in vars(module).items():
            if callable(thing) and not name.startswith("_"):
                assert f'id="{name}"' in text
                assert thing.__doc__, f"{name} has no docstring"
    assert "\\_" not in text
    plain = re.sub(r"<[^>]+>", "", text)
    assert "soft_target(student: Tensor, teacher: Tensor, *, temperature: float = 4.0" in plain


@pytest.mark.parametrize("lab", notebooks.labs(), ids=lambda lab: lab.number)
def test_a_guide_as_slides_has_one_for_each_heading_and_asks_no_host(lab):
    text = site.guide_as_slides(lab)
    guide = read(site.DOCS / "teaching" / f"{lab.source.stem}.md")
    headings = re.findall(r"^#+ ", guide, re.MULTILINE)
    slides = text.partition("</main>")[0].split('<div class="jp-Cell jp-MarkdownCell')[1:]
    assert len(slides) == len(headings) > 4
    assert all(len(re.findall(r"<h[1-3]\b", slide)) == 1 for slide in slides)
    assert "</table>" in slides[1], "the minutes"
    for address in re.findall(r'\b(?:src|href)="([^"#][^"]*)"', text):
        assert address.startswith(("data:", notebooks.project()[1], "https://")), address
    assert not re.search(r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="(?!data:)', text)


def test_the_command_writes_a_guide_as_slides(tmp_path, monkeypatch):
    path = tmp_path / "a" / "guide.html"
    done = CliRunner().invoke(app, ["guide", "3", "--html", str(path)])
    assert done.exit_code == 0 and done.output.strip() == str(path)
    assert "<title>Teach lab 03: Distil responses</title>" in read(path) and "kd-counter" in read(path)
    monkeypatch.setattr(notebooks, "in_checkout", lambda: False)
    done = CliRunner().invoke(app, ["guide", "3"])
    assert done.exit_code == 1 and "needs a checkout" in done.output


@pytest.mark.browser
@in_chromium
def test_a_guides_slides_turn_by_keyboard(tmp_path):
    path = tmp_path / "guide.html"
    path.write_text(site.guide_as_slides(notebooks.lab("03")), encoding="utf-8")
    with browser.page() as tab:
        tab.goto(path.as_uri())
        shown = lambda: tab.locator("h1:visible, h2:visible, h3:visible").all_inner_texts()  # noqa: E731
        assert [one.rstrip("¶") for one in shown()] == ["Lab 03: Distil responses"]
        tab.keyboard.press("ArrowRight")
        assert [one.rstrip("¶") for one in shown()] == ["Minutes"]
        assert browser.problems(tab) == []


def test_links_that_lead_nowhere_are_named():
    made = {
        "a.html": '<a href="b.html#there">x</a><h2 id="here">y</h2>',
        "b.html": '<p id="there"></p><a href="a.html#here">z</a>',
    }
    assert site.broken_links(made) == []
    made["b.html"] = '<a href="a.html#gone">z</a><img alt="" src="c.png"><a href="https://example.org">w</a>'
    assert site.broken_links(made) == ["a.html -> b.html#there", "b.html -> a.html#gone", "b.html -> c.png"]


def test_links_between_files_become_links_between_pages():
    links = [
        "../../notebooks/03_distil_responses.ipynb#Recap",
        "05_distil_relations.md",
        "../architecture.md#x",
        "#y",
        "gone.md",
    ]
    text = " ".join(f'<a href="{link}">' for link in links)
    assert re.findall(r'href="([^"]+)"', site._linked(text, site.DOCS / "teaching")) == [
        *("03_distil_responses.html#Recap", "teach_05_distil_relations.html"),
        *(f"{notebooks.project()[1]}/blob/main/docs/architecture.md#x", "#y", "gone.md"),
    ]


def test_the_search_knows_every_pages_words_and_no_code(built):
    pages = json.loads(read(built / "pages.js").removeprefix("const PAGES = ").removesuffix(";\n"))
    assert {one["page"] for one in pages} == {path.name for path in built.glob("*.html")}
    by_name = {one["page"]: one for one in pages}
    assert "paired" in by_name["glossary.html"]["text"] and by_name["glossary.html"]["title"] == "Glossary"
    assert not any(word in one["text"] for one in pages for word in ("</", "import kdcourse", "function ("))


def within_the_page(asked):
    """Whether no address leads out of the site: its files, and what a page holds itself (blob, data)."""
    return asked and {url.partition(":")[0] for url in asked} <= {"file", "blob", "data"}


@pytest.mark.browser
@in_chromium
def test_the_search_finds_pages_that_hold_every_word(built):
    with browser.page() as tab:
        asked = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((built / "index.html").as_uri())
        tab.fill("#search", "temperature softmax")
        tab.locator("#hits li").first.wait_for()
        assert tab.locator("#hits a").first.inner_text() == notebooks.lab("02").title
        tab.fill("#search", "no such word at all qqq")
        tab.wait_for_function("() => document.getElementById('found').textContent === '0 pages'")
        tab.fill("#search", "<b>")
        tab.locator("#search").press("Enter")
        assert tab.locator("#hits b").count() == 0
        assert browser.problems(tab) == [] and within_the_page(asked)


@pytest.mark.browser
@in_chromium
def test_the_playground_runs_on_the_front_page_and_asks_no_host(built):
    page = read(built / "index.html")
    assert page.index('<section aria-labelledby="playground">') < page.index('<ol class="labs">')
    with browser.page() as tab:
        asked = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((built / "index.html").as_uri())
        said = tab.locator(".kd-view p[aria-live=polite]")
        said.get_by_text("Step 400 of 400").wait_for()
        still = re.search(r"<figcaption[^>]*>(.*?)</figcaption>", page)[1]
        assert said.inner_text() == html.unescape(still)
        box = tab.get_by_label("train")
        box.focus()
        tab.keyboard.press("Space")
        tab.get_by_label("labels a class").focus()
        tab.keyboard.press("ArrowRight")
        assert said.inner_text().startswith("Step 0 of 400, 5 students of 16 units, 33 labels")
        assert browser.problems(tab) == [] and within_the_page(asked)
