"""Labs as pages of HTML and as slides: linked views carry what they need, and move in a browser without a kernel."""

import copy
import json
import re

import nbformat
import pandas
import pytest

from kdcourse.authoring import notebooks, pages
from kdcourse.bench import browser
from kdcourse.widgets.page import EXPORT
from tests.in_browser import moved

LABS = notebooks.labs()
in_chromium = pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: exported pages are not opened")


def built(lab):
    return nbformat.read(lab.notebook, as_version=4)


def views(notebook) -> list[dict]:
    bundles = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    return [json.loads(bundle[EXPORT]) for bundle in bundles if EXPORT in bundle]


def test_a_view_stands_on_the_page_beside_its_still_figure():
    lab = notebooks.lab("02")
    notebook = built(lab)
    text = pages.page(notebook)
    (held,) = re.findall(r'<script class="kd-export" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert [json.loads(held)] == views(notebook)
    assert text.count("const SCRIPTS = ") == 1 and EXPORT in str(notebook), "the notebook itself is left as it was"


def test_a_page_carries_no_state_that_only_a_kernel_could_use():
    model = {"model_name": "AnyModel", "model_module": "anywidget", "state": {"content": {"logits": [0.25, 0.75]}}}
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a", "version_major": 2, "version_minor": 0}}
    cell = nbformat.v4.new_code_cell(
        "mixer", outputs=[nbformat.v4.new_output("display_data", data={**view, "text/plain": "Run this cell."})]
    )
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {"a": model}}})
    before = copy.deepcopy(notebook)
    text = pages.page(notebook)
    assert "logits" not in text and "Run this cell." not in text
    assert notebook == before, "the notebook is left as it was"


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_a_built_lab_as_a_page_is_small_and_fetches_no_script(lab):
    text = pages.page(built(lab))
    assert len(text.encode()) < 1_500_000
    scripts = "".join(re.findall(r"<script\b.*?</script>", text, flags=re.DOTALL))
    assert not re.findall(r"https?://(?!www\.w3\.org)[^\s\"']+", scripts)


def test_text_cannot_end_its_own_script():
    assert "</script" not in pages._script_json({"content": "</script><b>"})
    assert json.loads(pages._script_json({"content": "</script>"})) == {"content": "</script>"}


def test_a_page_without_views_carries_no_script():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Nothing moves")])
    assert "SCRIPTS" not in pages.page(notebook)


def changes(tab, control, view) -> None:
    """Moved, the control changes its view."""
    before = view.inner_html()
    moved(tab, control)
    tab.wait_for_function("([node, was]) => node.innerHTML !== was", arg=[view.element_handle(), before])


@pytest.mark.browser
@in_chromium
@pytest.mark.parametrize("lab", [lab for lab in LABS if views(built(lab))], ids=lambda lab: lab.number)
def test_sliders_move_without_a_kernel(lab, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(pages.page(built(lab)), encoding="utf-8")
    with browser.page() as tab:
        tab.goto(path.as_uri())
        controls = tab.locator(".kd-controls")
        controls.first.wait_for(timeout=20_000)
        assert controls.count() == len(views(built(lab)))
        for number in range(controls.count()):
            one = controls.nth(number)
            view = one.locator("xpath=following-sibling::*[1]")
            resting = one.locator("input[type=range]:disabled").element_handles()
            # Sliders first: some lists choose what a slider acts on.
            for control in [*one.locator("input[type=range]:enabled").all(), *one.locator("select").all()]:
                changes(tab, control, view)
            for switch in one.locator("input[type=checkbox]:checked").all() if resting else []:
                switch.uncheck()
            for control in resting:
                changes(tab, control, view)
        assert browser.problems(tab) == []


@pytest.mark.browser
@in_chromium
def test_slides_turn_by_keyboard(tmp_path):
    path = tmp_path / "slides.html"
    path.write_text(pages.slides(built(notebooks.lab("02"))), encoding="utf-8")
    with browser.page() as tab:
        tab.goto(path.as_uri())
        heading = lambda: tab.locator("h1:visible, h2:visible, h3:visible").all_inner_texts()  # noqa: E731
        first = heading()
        tab.keyboard.press("ArrowRight")
        second = heading()
        assert len(first) == len(second) == 1 and first != second
        tab.keyboard.press("ArrowLeft")
        assert heading() == first and browser.problems(tab) == []


def read(text: str) -> str:
    """What a page shows beside its scripts, styles and code."""
    return re.sub(r"<(script|style|pre|code)\b.*?</\1>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_a_page_asks_no_host_and_draws_its_own_formulas(lab):
    notebook = notebooks.compose(lab)
    text = pages.page(notebook, lab.title)
    assert not re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//", text)
    assert not re.search(r"@import|url\([\"']?(?:https?:)?//", text)
    written = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    blocks = len(re.findall(r"\$\$", written)) // 2
    assert len(re.findall(r'<math\b[^>]*display="block"', text)) == blocks
    assert not re.findall(r"<math\b[^>]*>(?:(?!</math>).)*\\[a-z|]", text, flags=re.DOTALL), (
        "a macro that MathML does not know"
    )
    assert "$" not in re.sub(r"<math\b.*?</math>", "", read(text), flags=re.DOTALL)


def test_the_name_of_a_function_does_not_run_into_what_follows():
    text = pages.page(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(r"Not $\log q$, but $\log(q)$ and $pq$.")])
    )
    spaced, closed, product = re.findall(r"<math\b.*?</math>", text)
    assert re.search(r"<mi>log</mi><mspace[^>]*></mspace><mi>q</mi>", spaced)
    assert "mspace" not in closed + product


@pytest.mark.browser
@in_chromium
def test_code_in_a_text_or_an_output_is_set_as_code_and_no_word_is_broken(tmp_path):
    fenced = "```python\nif True:\n    pass\n```"
    line = "a distillation " * 30
    data = {"text/markdown": fenced, "text/html": f"<pre>{line}</pre>"}
    outputs = [nbformat.v4.new_output("display_data", {kind: text}) for kind, text in data.items()]
    outputs.append(nbformat.v4.new_output("stream", text=line))
    cells = [nbformat.v4.new_markdown_cell(fenced), nbformat.v4.new_code_cell("1", outputs=outputs)]
    path = tmp_path / "page.html"
    path.write_text(pages.page(nbformat.v4.new_notebook(cells=cells)), encoding="utf-8")
    with browser.page(width=400) as tab:
        tab.goto(path.as_uri())
        styles = tab.locator("pre").evaluate_all("""all => all.map(one => {
            const { fontFamily, wordBreak } = getComputedStyle(one);
            return [fontFamily, wordBreak];
        })""")
        assert len(styles) == 5 and len(set(map(tuple, styles))) == 1, "the cell's own code among them"
        assert "mono" in styles[0][0] and styles[0][1] == "normal"
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_page_lists_its_sections():
    text = pages.page(notebooks.compose(LABS[1]), LABS[1].title)
    assert f"<title>{LABS[1].title}</title>" in text
    places = re.findall(r'<li class="kd-level-[23]"><a href="#([^"]+)">', text)
    assert len(places) > 5 and all(text.count(f'id="{place}"') == 1 for place in places)


def test_folded_code_opens_at_a_click_and_the_badge_is_in_the_page():
    lab = notebooks.lab("02")
    text = pages.page(notebooks.compose(lab), lab.title)
    assert '<details class="kd-folded"><summary>Set up this lab: kd.setup()</summary>' in text
    assert text.count("<summary>In words</summary>") >= 5
    (badge,) = re.findall(r'<img[^>]*alt="Open in Colab"[^>]*>', text)
    assert 'src="data:image/svg+xml;base64,' in badge


def test_markup_in_a_title_is_text_and_the_dark_theme_is_for_dark_screens():
    cells = [nbformat.v4.new_markdown_cell("## Is $a < b$ or <b>bold</b>?"), nbformat.v4.new_markdown_cell("## B & C")]
    text = pages.page(nbformat.v4.new_notebook(cells=cells))
    (contents,) = re.findall(r'<nav class="kd-contents".*?</nav>', text, re.DOTALL)
    assert "<b>" not in contents and "B &amp; C" in contents
    assert '<style media="screen and (prefers-color-scheme: dark)"' in text


def showing(**data) -> str:
    """A page whose only cell, below a heading, has this output. data: `text_html` -> text/html."""
    bundle = {name.replace("_", "/"): value for name, value in data.items()}
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", bundle)])
    return pages.page(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A lab"), cell]))


def test_headers_of_a_table_say_what_they_head_and_an_empty_corner_heads_nothing():
    index = pandas.Index(["soft"], name="arm")
    table = showing(text_html=pandas.DataFrame({"accuracy": [0.5]}, index=index)._repr_html_())
    assert '<th scope="col">accuracy</th>' in table and '<th scope="row">soft</th>' in table
    assert '<th scope="col">arm</th>' in table and not re.search(r"<th[^>]*>\s*</th>", table)
    written = showing(text_markdown="| | score |\n|---|---|\n| a | b |")
    assert '<th scope="col">score</th>' in written and "<td></td>" in written
    assert len(re.findall("<thead>", table + written)) == 2


def test_a_heading_in_an_output_stands_below_the_labs():
    text = showing(text_markdown="# A card\n\n## Made for\n\nNobody.")
    assert re.findall(r"<h(\d)[^>]*>(\w+)", text) == [("1", "A"), ("4", "A"), ("5", "Made")]
