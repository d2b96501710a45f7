"""Labs and live views in a real browser: opened in JupyterLab, run from top to bottom, every control moved."""

import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kdcourse.authoring import notebooks
from kdcourse.bench import browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: install it to run the browser tests"),
]
SCREENSHOTS = notebooks.ROOT / "screenshots"
SCRIPTS = {path.stem for path in (notebooks.ROOT / "kdcourse" / "widgets").glob("*.js")}
FIXTURES = Path(__file__).parent / "fixtures"
NO_VIEWS = {"shared", "export", "slides", "page"}
WITHOUT_CONTROLS = {"dashboard"}  # its curves move while a run trains: see test_widget_dashboard.py


def test_lab_00_opens_and_runs(tmp_path):
    lab = notebooks.lab("00")
    for path in (lab.notebook, notebooks.NOTEBOOKS / notebooks.BADGE):
        shutil.copy(path, tmp_path)
    with browser.jupyter(tmp_path) as address, browser.page() as tab:
        browser.open_notebook(tab, address, lab.notebook.name)
        browser.run_all(tab)
        browser.screenshots(tab, SCREENSHOTS / "00")
        pictures = tab.locator(".jp-OutputArea img").evaluate_all("all => all.map(one => [one.naturalWidth, one.alt])")
        assert len(pictures) >= 4 and all(width > 100 and alt for width, alt in pictures)
        assert not tab.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count()

        described = tab.locator("[aria-live=polite]").filter(has_text="Mean over").first
        cells = tab.locator(".jp-Cell").filter(has_text="Mean over").filter(has=tab.get_by_role("slider"))
        slider = cells.first.get_by_role("slider").first
        slider.scroll_into_view_if_needed()
        before = described.inner_text()
        slider.focus()
        tab.keyboard.press("ArrowRight")
        changed = "[...document.querySelectorAll('[aria-live=polite]')].map(node => node.innerText)"
        tab.wait_for_function(f"before => {changed}.some(t => t.includes('Mean over') && t !== before)", arg=before)

        options = tab.locator(".kd-options .widget-radio-box label")
        options.last.scroll_into_view_if_needed()
        for place in range(options.count()):  # the words wrap, and the button stays beside them
            words, button = options.nth(place), options.nth(place).locator("input")
            assert words.evaluate("node => node.scrollWidth <= node.clientWidth"), words.inner_text()
            assert 0 <= button.bounding_box()["x"] - words.bounding_box()["x"] < 5, words.inner_text()
        assert browser.problems(tab) == []


@contextmanager
def redrawn(tab, view):
    """Wait until what is done to a control has changed the drawing."""
    before = view.inner_html()
    yield
    tab.wait_for_function("([node, was]) => node.innerHTML !== was", arg=[view.element_handle(), before])


def press(tab, slider) -> None:
    at_its_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    slider.focus()
    tab.keyboard.press("ArrowLeft" if at_its_end else "ArrowRight")


def click(tab, slider) -> None:
    """On the slider's track, in its other half."""
    track = slider.locator("xpath=ancestor::*[contains(@class, 'noUi-base')]").bounding_box()
    handle = slider.bounding_box()
    in_the_left = handle["x"] + handle["width"] / 2 < track["x"] + track["width"] / 2
    place = 0.87 if in_the_left else 0.13
    tab.mouse.click(track["x"] + place * track["width"], track["y"] + track["height"] / 2)


def turn_dark(tab) -> None:
    """JupyterLab's dark theme, chosen from its menu."""
    tab.get_by_role("menuitem", name="Settings", exact=True).click()
    tab.get_by_text("Theme", exact=True).first.hover()
    tab.get_by_text("JupyterLab Dark", exact=True).click()
    tab.wait_for_function("() => document.body.dataset.jpThemeName === 'JupyterLab Dark'")


def test_every_view_answers_to_keyboard_and_mouse_and_is_drawn_in_the_dark(tmp_path):
    notebooks.write(notebooks.compose(notebooks.Lab("90", FIXTURES / "gallery.py")), tmp_path / "gallery.ipynb")
    with browser.jupyter(tmp_path) as address, browser.page(height=1400) as tab:
        browser.open_notebook(tab, address, "gallery.ipynb")
        browser.run_all(tab)
        cells = tab.locator(".jp-Cell").filter(has=tab.locator(".kd-view"))
        assert cells.count() == len(SCRIPTS - NO_VIEWS - WITHOUT_CONTROLS)
        for number, cell in enumerate(cells.all()):
            cell.scroll_into_view_if_needed()
            move_all(tab, cell, cell.locator(".kd-view"))
            cell.screenshot(path=SCREENSHOTS / f"view-{number}-light.png")
        ink = "node => getComputedStyle(node).color"
        in_the_light = [cell.locator(".kd-view").evaluate(ink) for cell in cells.all()]
        turn_dark(tab)
        for number, (cell, before) in enumerate(zip(cells.all(), in_the_light, strict=True)):
            cell.scroll_into_view_if_needed()
            assert cell.locator(".kd-view").evaluate(ink) != before, number
            cell.screenshot(path=SCREENSHOTS / f"view-{number}-dark.png")
        assert browser.problems(tab) == []


def move_all(tab, cell, view) -> None:
    """Every control of a view, and each must change its drawing."""
    for tick in cell.locator("input[type=checkbox]").all():  # first, because it may free sliders
        with redrawn(tab, view):
            tick.click()
    for slider in cell.locator("[role=slider]").all():
        with redrawn(tab, view):
            press(tab, slider)
        with redrawn(tab, view):
            click(tab, slider)
    for choice in cell.locator("select").all():
        last = choice.locator("option").count() - 1
        with redrawn(tab, view):
            choice.select_option(index=0 if choice.evaluate("node => node.selectedIndex") == last else last)
    for box in cell.locator("input[type=text]").all():
        box.focus()
        for key in ("s", "Backspace"):
            with redrawn(tab, view):
                tab.keyboard.press(key)


def run_cell(tab, cell) -> None:
    """As a student does: into the cell, and Shift+Enter; then wait for its number."""
    before = cell.locator(".jp-InputPrompt").inner_text()
    cell.locator(".cm-content").click()
    tab.keyboard.press("Shift+Enter")
    prompt = cell.locator(".jp-InputPrompt").element_handle()
    ran = "([node, was]) => node.innerText !== was && /\\d/.test(node.innerText)"
    tab.wait_for_function(ran, arg=[prompt, before])


def keep(cell, words) -> None:
    """Press the button until these words show. A press may overtake a control's last message to a busy kernel."""
    from playwright.sync_api import TimeoutError

    for _ in range(browser.SECONDS // 5):
        cell.get_by_role("button", name="Keep my guess").press("Enter")
        with suppress(TimeoutError):
            return cell.get_by_text(words).wait_for(timeout=5000)
    raise AssertionError(f"{words!r} is not in {cell.inner_text()!r}")


def test_guess_run_check_and_ask_for_a_hint_by_keyboard(tmp_path):
    notebooks.write(notebooks.compose(notebooks.Lab("90", FIXTURES / "cards.py")), tmp_path / "cards.ipynb")
    with browser.jupyter(tmp_path) as address, browser.page(height=1800) as tab:
        browser.open_notebook(tab, address, "cards.ipynb")
        _, choice, number, answer, card, _, check = cells = tab.locator(".jp-CodeCell").all()
        for cell in cells[:3]:
            run_cell(tab, cell)

        choice.locator(".widget-radio-box input").last.focus()
        tab.keyboard.press("Space")
        lower, readout = number.get_by_role("slider").first, number.locator(".widget-readout").first
        for _ in range(100):  # a busy browser may drop a press
            if readout.inner_text().startswith("0.50"):
                break
            lower.press("ArrowRight")
        keep(choice, "Kept: bag, 70 % sure")
        keep(number, "Kept: 0.5 to 1, 70 % sure")

        run_cell(tab, answer)
        alt = answer.locator("img").get_attribute("alt")
        assert "Your guess: 0.5 to 1. Measured: 0.8." in alt
        assert answer.get_by_text("✓ As you guessed.").count() == 2

        for cell in (card, *cells[5:]):
            run_cell(tab, cell)
        check.get_by_text("This looks like: bits, not nats.").wait_for()
        run_cell(tab, check)
        check.get_by_text("○ The reference: 02.entropy.").wait_for()
        card.get_by_role("button", name="Hint").focus()
        tab.keyboard.press("Enter")
        card.get_by_text("Hint 1 of 2.").wait_for()
        SCREENSHOTS.mkdir(exist_ok=True)
        tab.screenshot(path=SCREENSHOTS / "cards.png")
        assert browser.problems(tab) == []
