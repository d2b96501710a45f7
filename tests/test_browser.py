"""Lab 00 in a real browser: opened in JupyterLab, run from top to bottom, its slider moved by keyboard."""

import shutil

import pytest

from kdcourse import notebooks
from kdcourse.bench import browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: install it to run the browser tests"),
]
SCREENSHOTS = notebooks.ROOT / "screenshots"


def test_lab_00_opens_and_runs(tmp_path):
    lab = notebooks.lab("00")
    shutil.copy(lab.notebook, tmp_path)
    with browser.jupyter(tmp_path) as address, browser.page() as tab:
        browser.open_notebook(tab, address, lab.notebook.name)
        browser.run_all(tab)
        browser.screenshots(tab, SCREENSHOTS / "00")
        pictures = tab.locator(".jp-OutputArea img").evaluate_all("all => all.map(one => [one.naturalWidth, one.alt])")
        assert len(pictures) >= 4 and all(width > 100 and alt for width, alt in pictures)
        assert not tab.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count()

        slider = tab.get_by_role("slider").first
        slider.scroll_into_view_if_needed()
        described = tab.locator("[aria-live=polite]").filter(has_text="Mean over").first
        before = described.inner_text()
        slider.focus()
        tab.keyboard.press("ArrowRight")
        changed = "[...document.querySelectorAll('[aria-live=polite]')].map(node => node.innerText)"
        tab.wait_for_function(f"before => {changed}.some(t => t.includes('Mean over') && t !== before)", arg=before)
        assert browser.problems(tab) == []
