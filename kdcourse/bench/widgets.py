"""How long from a key on a slider to a changed picture: the temperature explorer beside `interact`, in a real browser.

Measured within the page, from the key's event to the first change of the drawing, for a few dozen keys. Needs Chromium.
"""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

from kdcourse.authoring.notebooks import KERNEL
from kdcourse.bench import browser

KEYS = 60
WARM_UP = 5  # keys before the measurement: the first draws load fonts and compile scripts

SETUP = """
import numpy as np, ipywidgets, matplotlib.pyplot as plt, torch
import kdcourse as kd
random = np.random.default_rng(0)
logits, classes = random.normal(0, 3, (1, 10)), [f"class {number}" for number in range(10)]
"""
EXPLORER = "kd.widgets.temperature_explorer(random.random((1, 28, 28)), logits, classes)"
INTERACT = """
def draw(temperature):
    plt.bar(range(10), np.exp(logits[0] / temperature) / np.exp(logits[0] / temperature).sum())
    plt.show()
ipywidgets.interact(draw, temperature=ipywidgets.FloatLogSlider(1.0, base=10, min=-1, max=2, step=0.02))
"""
TRAINING = """
model = kd.models.convnet()
optimizer, images = torch.optim.SGD(model.parameters(), 0.01), torch.randn(256, 1, 28, 28)
while True:
    loss = model(images).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
"""

# From the key to the first change below the cell's output: a new attribute in a drawing or a new picture.
WATCH = """(cell) => {
  window.kdTimes = [];
  let pressed;
  document.addEventListener("keydown", (event) => { pressed ??= event.timeStamp; }, true);
  const changed = (changes) => changes.some(({ target, addedNodes }) =>
    target.closest?.("svg") || [...addedNodes].some((node) => node.querySelector?.("img") || node.tagName === "IMG"));
  new MutationObserver((changes) => {
    if (pressed === undefined || !changed(changes)) return;
    window.kdTimes.push(performance.now() - pressed);
    pressed = undefined;
  }).observe(document.querySelectorAll(".jp-Cell")[cell], { subtree: true, childList: true, attributes: true });
}"""


@dataclass(frozen=True)
class Latency:
    """Milliseconds from key to picture. median, p95: over `keys` keys."""

    name: str
    median: float
    p95: float
    keys: int


def measure_latency(keys: int = KEYS) -> list[Latency]:
    """`interact`, the explorer, and the explorer while a training runs in the kernel, one after the other."""
    plans = [
        ("interact + plt.show()", [SETUP, INTERACT], False),
        ("temperature explorer", [SETUP, EXPLORER], False),
        ("temperature explorer while the kernel trains", [SETUP, EXPLORER, TRAINING], True),
    ]
    return [_measured(name, cells, busy, keys) for name, cells, busy in plans]


def _measured(name: str, cells: list[str], busy: bool, keys: int) -> Latency:
    with tempfile.TemporaryDirectory() as folder:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata.kernelspec = KERNEL  # without one JupyterLab would ask
        nbformat.write(notebook, Path(folder) / "bench.ipynb")
        with browser.jupyter(Path(folder)) as address, browser.page() as tab:
            browser.open_notebook(tab, address, "bench.ipynb")
            browser.run_all(tab, wait=not busy)
            times = list(_pressed(tab, keys + WARM_UP))[WARM_UP:]
    return Latency(name, statistics.median(times), statistics.quantiles(times, n=20)[-1], len(times))


def _pressed(tab, keys: int) -> Iterator[float]:
    slider = tab.locator(".jp-Cell").nth(1).get_by_role("slider").first
    slider.wait_for(timeout=60_000)
    tab.wait_for_timeout(3000)  # the first drawing, and in the busy case the first training steps
    tab.evaluate(WATCH, 1)
    slider.focus()
    for number in range(keys):
        tab.keyboard.press("ArrowRight" if number % 40 < 20 else "ArrowLeft")
        tab.wait_for_function("count => window.kdTimes.length > count", arg=number, timeout=20_000)
        yield tab.evaluate("() => window.kdTimes.at(-1)")
        tab.wait_for_timeout(60)  # let the page settle: one key, one picture
