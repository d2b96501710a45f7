"""For everybody: no page breaks a rule of WCAG 2.1 A and AA that a program can see, and the keyboard reaches and does all."""

import nbformat
import pytest

from kdcourse.authoring import folding, notebooks, pages, site
from kdcourse.bench import browser
from kdcourse.widgets.page import EXPORT
from tests.in_browser import moved

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: pages are not looked at"),
]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
NAMES = sorted({"index.html", "reference.html", *site._page_names().values()})
MOVING = [f"{lab.source.stem}.html" for lab in notebooks.labs() if EXPORT in lab.notebook.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    site.build(folder)
    return folder


@pytest.fixture(scope="module")
def tab():
    with browser.page() as opened:
        yield opened


def faults(tab, within: list[str] | None = None) -> list[str]:
    """What axe finds on the page, or on those parts of it: the rule, and where. Folded text is opened first."""
    from axe_playwright_python.sync_playwright import Axe

    tab.evaluate("() => document.querySelectorAll('details').forEach(folded => folded.open = true)")
    context = {"include": [[part] for part in within]} if within else None
    found = Axe().run(tab, context, RULES).response["violations"]
    return [f"{one['id']}: {node['target']} {node['html'][:80]}" for one in found for node in one["nodes"]]


def opened(tab, path) -> None:
    """A page, in light colours, whose live views have come to life."""
    tab.emulate_media(color_scheme="light")
    tab.goto(path.as_uri())
    count = "kind => document.querySelectorAll(kind).length"
    tab.wait_for_function(f"() => ({count})('.kd-controls') === ({count})('script.kd-export')")


def test_every_page_is_looked_at(built):
    assert sorted(path.name for path in built.glob("*.html")) == NAMES and len(MOVING) >= 7


@pytest.mark.parametrize("name", NAMES)
def test_a_page_breaks_no_rule_in_light_and_in_dark(built, tab, name):
    opened(tab, built / name)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        assert faults(tab) == [], scheme


@pytest.mark.parametrize("name", MOVING)
def test_a_view_breaks_no_rule_after_each_of_its_controls_was_moved(built, tab, name):
    opened(tab, built / name)
    views = [".kd-controls", ".kd-view"]
    for switch in tab.locator(".kd-controls input[type=checkbox]").all():
        switch.press("Space")
        assert faults(tab, views) == []
    for control in tab.locator(".kd-controls input[type=range], .kd-controls select").all():
        moved(tab, control)
        assert faults(tab, views) == []
        shown = control.evaluate("node => node.nextElementSibling.textContent")
        assert (control.get_attribute("aria-valuetext") or "") == shown, (
            "a screen reader hears the number that is shown"
        )
    tab.emulate_media(color_scheme="dark")
    assert faults(tab, views) == []


def test_the_statement_leads_to_the_projects_issues(built):
    issues = f"{notebooks.project()[1]}/issues"
    assert f'href="{issues}"' in (built / "accessibility.html").read_text(encoding="utf-8")


def test_what_the_search_finds_breaks_no_rule(built, tab):
    opened(tab, built / "index.html")
    tab.fill("#search", "temperature")
    tab.locator("#hits li").first.wait_for()
    assert faults(tab) == []


CELLS = [
    "import sys, pandas, kdcourse as kd\nfrom kdcourse import plots, widgets\nfrom kdcourse.exercises import cards",
    'pandas.DataFrame({"accuracy": [0.5]}, index=pandas.Index(["soft"], name="arm"))',
    'pandas.DataFrame([[1, 2]], columns=pandas.MultiIndex.from_product([["loss"], ["KL", "CE"]]))',
    "pandas.DataFrame([range(100, 160)])",
    'kd.say("**Softer** answers, $z / T$:\\n\\n| arm | score |\\n|---|---|\\n| soft | 0.5 |")',
    'cards.show(cards.Message("Hint 1.", "Divide by `T`.", "z / T", "<details><summary>More</summary>Both.</details>"))',
    'kd.exercise("02.entropy").check(lambda probabilities: None)',
    'kd.quiz("02")',
    "widgets.divergence_playground()",
    'plots.lines([1, 2], {"soft": [0.5, 0.6]}, xlabel="temperature", ylabel="accuracy")',
    'print("".join(f"\\x1b[{ink}mink {ink} \\x1b[1;{ink}mbold\\x1b[0m " for ink in range(30, 38)), "wide " * 90)',
    'print("a warning", file=sys.stderr)',
    "1 / 0  # what raises is an output, too",
]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A page of what the code writes into outputs now, whatever the built notebooks hold."""
    text = [nbformat.v4.new_markdown_cell("# Outputs\n\n$$z / T" + " + z / T" * 60 + "$$")]
    notebook = nbformat.v4.new_notebook(cells=[*text, *map(nbformat.v4.new_code_cell, CELLS)])
    notebook.cells[-1].metadata["tags"] = ["raises-exception"]
    folding.fold(notebook.cells[-2], "Folded")
    folder = tmp_path_factory.mktemp("fresh")
    notebooks.execute(notebook, folder)
    shown = sum(bool(cell.outputs) for cell in notebook.cells[1:])
    assert shown == len(CELLS) - 1, "each cell after the first shows something"
    path = folder / "page.html"
    path.write_text(pages.page(notebook), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1100, 400])
def test_what_the_code_writes_into_outputs_breaks_no_rule(fresh, tab, width):
    before = tab.viewport_size
    tab.set_viewport_size({"width": width, "height": before["height"]})
    opened(tab, fresh)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        assert faults(tab) == [], scheme
    tab.set_viewport_size(before)


# Keys that change what has the focus; at an end of its range only the second of two does.
KEYS = {
    "summary": ["Enter"],
    "select": ["ArrowDown", "ArrowUp"],
    "range": ["ArrowRight", "ArrowLeft"],
    "checkbox": ["Space"],
}
# What has the focus: what it is, its state, and whether its outline can be seen; null at the page's end. It is marked.
STOP = """() => {
    const node = document.activeElement;
    if (node === document.body) return null;
    const [box, look] = [node.getBoundingClientRect(), getComputedStyle(node)];
    node.dataset.reached = "yes";
    return {
        kind: ["INPUT", "SELECT"].includes(node.tagName) ? node.type.replace("select-one", "select") : node.tagName.toLowerCase(),
        state: `${node.value} ${node.checked} ${node.parentElement.open}`,
        seen: look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2 && box.width > 0
            && box.bottom > 0 && box.top < innerHeight,
        html: node.outerHTML.slice(0, 80),
    };
}"""
UNREACHED = """() => [...document.querySelectorAll("a[href], summary, .kd-controls input, .kd-controls select")]
    .filter(node => node.checkVisibility() && !node.dataset.reached).map(node => node.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("name", MOVING)
def test_the_keyboard_reaches_shows_and_operates_everything(built, tab, name):
    opened(tab, built / name)
    met = set()
    tab.keyboard.press("Tab")
    while stop := tab.evaluate(STOP):
        assert stop["seen"], stop
        met.add(stop["kind"])
        for key in KEYS.get(stop["kind"], []):
            tab.keyboard.press(key)
            if tab.evaluate(STOP)["state"] != stop["state"]:
                break
        else:
            assert stop["kind"] not in KEYS, f"{stop} answers to no key"
        tab.keyboard.press("Tab")
    assert tab.evaluate(UNREACHED) == []
    assert met >= {"a", "summary"} and met & {"range", "select"}
    assert browser.problems(tab) == []
