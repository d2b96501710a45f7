"""Live views: they follow their controls, describe themselves, fail aloud, and leave a still figure where nothing is alive."""

import json
import re
import sys
import threading
from pathlib import Path

import ipywidgets
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from scipy import special, stats

from kdcourse import plots, widgets
from kdcourse.widgets.page import EXPORT
from kdcourse.widgets.temperature import COLDEST, HOTTEST, describe, temperature_explorer
from tests import in_browser

CLASSES = ["T-shirt", "trouser", "bag"]
LOGITS = np.array([[4.0, 1.0, -2.0], [0.5, 3.0, 2.5]])
FOLDER = Path(widgets.__file__).parent


def draw(loss: float, steps: int = 2) -> plots.Figure:
    if loss < 0:
        raise ArithmeticError("a loss below zero")
    return plots.history([loss] * steps)


def sliders() -> dict:
    return {"loss": ipywidgets.FloatSlider(1.0, min=-1.0, max=10.0), "steps": ipywidgets.IntSlider(2, min=1, max=9)}


@pytest.fixture
def view():
    return widgets.live(draw, **sliders())


@pytest.fixture
def explorer():
    return temperature_explorer(np.random.default_rng(0).random((2, 28, 28)), LOGITS, CLASSES, labels=[0, 2])


@pytest.fixture
def shown(monkeypatch):
    """What is sent to the page, and what is later put in its place."""
    sent = []

    class Handle:
        def update(self, bundle, raw):
            sent.append(("update", bundle))

    def display(bundle, raw, display_id=None):
        sent.append(("display", bundle))
        return Handle() if display_id else None

    monkeypatch.setattr("IPython.display.display", display)
    return sent


def test_what_a_test_moves_is_put_back(view, explorer, shown):
    view._ipython_display_()
    for one, moves in ((view, {"loss": 9.0, "steps": 5}), (explorer, {"temperature": 100, "picture": 1})):
        before = one.description
        with one.restored():
            one.move(**moves)
            assert one.description != before
        assert one.description == before
    with pytest.raises(ArithmeticError), view.restored():
        view.move(loss=-1.0)
    assert view.controls["loss"].value == 1.0
    assert explorer.view.temperature == explorer.controls["temperature"].value
    assert shown[-1][1]["text/plain"] == view.description, "the still figure follows"


def test_figure_is_there_before_any_control_moves(view):
    assert "from 1 to 1" in view.description and view.description in view._sentence.value
    assert "<img" in view._picture.value and "data:image/png" in view._picture.value


def test_moving_changes_picture_and_description(view):
    before = view._picture.value
    view.move(loss=5.0, steps=7)
    assert view.controls["loss"].value == 5.0
    assert "over 7 steps" in view.description and "from 5 to 5" in view.description
    assert view._picture.value != before and 'aria-live="polite"' in view._sentence.value
    assert view.description in view._sentence.value


def test_a_hand_on_the_slider_does_the_same(view):
    view.controls["loss"].value = 3.0
    assert "from 3 to 3" in view.description


def test_a_drawing_that_fails_is_heard(view):
    with pytest.raises(ArithmeticError, match="below zero"):
        view.move(loss=-0.5)


@pytest.mark.parametrize(
    ("values", "name"), [({"size": 1}, "size"), ({"steps": 10}, "steps"), ({"loss": 11.0}, "loss")]
)
def test_move_refuses_what_no_hand_could_do(view, values, name):
    with pytest.raises(ValueError, match=name):
        view.move(**values)


def test_a_label_is_as_wide_as_its_words():
    own = ipywidgets.IntSlider(description="a width of its own", style={"description_width": "40px"})
    controls = {"loss": ipywidgets.FloatSlider(), "own": own, "file": ipywidgets.FileUpload()}
    widgets.live(lambda loss, own, file: draw(loss), **controls)
    assert controls["loss"].style.description_width == "initial" and own.style.description_width == "40px"


def test_live_needs_controls():
    with pytest.raises(ValueError, match="control"):
        widgets.live(draw)
    with pytest.raises(ValueError, match="loss"):
        widgets.live(draw, loss=3.0)


def test_threads_never_mix_picture_and_sentence(view):
    def drag(number):
        for loss in np.linspace(0.5 + number, 1 + number, 5):
            view.controls["loss"].value = float(loss)

    threads = [threading.Thread(target=drag, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alt = re.search(r'alt="([^"]*)"', view._picture.value)[1]
    last = plots.history([view.controls["loss"].value] * 2).description
    assert alt == view.description == last


def test_a_page_without_widgets_keeps_the_last_state(view, shown):
    view._ipython_display_()
    (_, widget), (_, still) = shown
    assert "application/vnd.jupyter.widget-view+json" in widget and "text/html" not in widget
    assert "<figure" in still["text/html"] and still["text/plain"] == view.description
    name = re.search(r'class="(kd-still-\w+)"', still["text/html"])[1]
    rules = [part.value for part in view._page.box.children if isinstance(part, ipywidgets.HTML)]
    assert f"<style>.{name} {{ display: none }}</style>" in rules
    view.move(loss=8.0)
    kind, still = shown[-1]
    assert kind == "update" and "from 8 to 8" in still["text/html"] and name in still["text/html"]


def test_executed_notebook_holds_the_last_state_and_the_failure(tmp_path):
    cell = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook()
    start = (
        "import ipywidgets, kdcourse as kd\n"
        "def draw(loss):\n    assert loss < 9, 'too much'\n    return kd.plots.history([loss, loss])\n"
        "view = kd.widgets.live(draw, loss=ipywidgets.FloatSlider(1.0, max=10.0))\nview"
    )
    failing = cell("view.move(loss=9.5)", metadata={"tags": ["raises-exception"]})
    notebook.cells = [cell(start), cell("view.move(loss=7.0)"), failing]
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    still = notebook.cells[0].outputs[-1]
    assert "from 7 to 7" in still["data"]["text/html"] and "image/png" not in still["data"]
    assert notebook.cells[2].outputs[-1].ename == "AssertionError"


def test_a_figure_without_description_fails_in_a_notebook():
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("import kdcourse as kd\nkd.plots.Figure(2, 2)")]
    NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    failure, *rest = notebook.cells[0].outputs
    assert failure.output_type == "error" and failure.ename == "ValueError"
    assert not any({"image/png", "text/html"} & set(output.data) for output in rest)


# The temperature explorer


def test_explorer_follows_its_controls(explorer):
    assert explorer.description == (  # e⁴, e and e⁻² over their sum; then the fourth roots of these
        "T-shirt at T = 1: T-shirt 95.0 %, trouser 4.7 %, bag 0.2 %; entropy 0.21 of at most 1.10 nats. "
        "Beside it at T = 4: T-shirt 59.0 %, trouser 27.9 %, bag 13.2 %; entropy 0.93."
    )
    explorer.move(temperature=4, picture=1, beside=1.0)
    assert explorer.description == (
        "bag at T = 4: trouser 41.4 %, bag 36.5 %, T-shirt 22.1 %; entropy 1.07 of at most 1.10 nats. "
        "Beside it at T = 1: trouser 59.2 %, bag 35.9 %, T-shirt 4.9 %; entropy 0.83."
    )
    assert (explorer.view.temperature, explorer.view.picture, explorer.view.beside) == (4.0, 1, 1.0)
    explorer.controls["temperature"].value = 20.0  # as a hand does
    assert "bag at T = 20:" in explorer.description


def test_the_still_figure_has_a_bar_for_each_class(explorer):
    explorer.move(picture=1, temperature=4)
    bars = explorer.figure.axes[1]
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], special.softmax(LOGITS[1] / 4))
    assert bars.get_title() == "bag, T = 4" and [tick.get_text() for tick in bars.get_yticklabels()] == CLASSES


def test_a_bias_by_hand_changes_the_ranking(explorer):
    explorer.move(biased=2, bias=10.0)  # the logits are now 4, 1 and 8
    start = "T-shirt with +10 on the logit of bag at T = 1: bag 98.1 %, T-shirt 1.8 %, trouser 0.1 %;"
    assert explorer.description.startswith(start)
    explorer.move(bias=-0.5)
    assert "with −0.5 on the logit of bag at T = 1: T-shirt 95.1 %, trouser 4.7 %, bag 0.1 %;" in explorer.description


@pytest.mark.parametrize("temperature", [COLDEST, 1, HOTTEST])
def test_explorer_reaches_both_ends(explorer, temperature):
    explorer.move(temperature=temperature)
    assert explorer.controls["temperature"].value == temperature
    nats = stats.entropy(special.softmax(LOGITS[0] / temperature))
    assert f"entropy {nats:.2f} of" in explorer.description


def test_a_linked_view_keeps_a_still_figure(explorer, shown):
    explorer._ipython_display_()
    explorer.move(temperature=10)
    (first, said), (last, said_then) = [(kind, bundle["text/plain"]) for kind, bundle in (shown[1], shown[-1])]
    assert (first, last) == ("display", "update")
    assert said.startswith("T-shirt at T = 1: T-shirt 95.0 %") and said_then.startswith("T-shirt at T = 10: T-shirt 4")


def test_the_data_for_a_page_are_one_line_of_a_notebook(explorer, shown):
    explorer._ipython_display_()
    (data,) = (bundle for _, bundle in shown if EXPORT in bundle)
    assert json.loads(data[EXPORT]) == json.loads(json.dumps(explorer.export()))
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", data=data)])
    written = nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).splitlines()
    assert sum("logits" in line for line in written) == 1, "numbers that stand on lines of their own double a notebook"


def test_links_run_in_the_browser(explorer):
    ends = {(link.source[0].model_id, link.source[1], link.target[1]) for link in explorer.links}
    assert all(link.target[0] is explorer.view for link in explorer.links)
    traits = {"picture": "index", "temperature": "value", "beside": "value", "biased": "index", "bias": "value"}
    assert ends == {(explorer.controls[name].model_id, trait, name) for name, trait in traits.items()}


def test_explorer_takes_tensors_and_colour():
    explorer = temperature_explorer(np.zeros((2, 32, 32, 3)), torch.tensor(LOGITS), CLASSES, torch.tensor([0, 1]))
    assert explorer.view.content["examples"][0]["picture"].startswith("data:image/png;base64,")
    assert explorer.description.startswith("T-shirt")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("logits", lambda: temperature_explorer(np.zeros((3, 2, 2)), LOGITS, CLASSES)),
        ("logits", lambda: temperature_explorer(np.zeros((2, 2, 2)), LOGITS, CLASSES[:2])),
        ("images", lambda: temperature_explorer(np.full((2, 2, 2), 9), LOGITS, CLASSES)),
        ("labels", lambda: temperature_explorer(np.zeros((2, 2, 2)), LOGITS, CLASSES, [0])),
        ("temperature", lambda: temperature_explorer(np.zeros((2, 2, 2)), LOGITS, CLASSES).move(temperature=0.01)),
        ("picture", lambda: temperature_explorer(np.zeros((2, 2, 2)), LOGITS, CLASSES).move(picture=2)),
        ("hotness", lambda: temperature_explorer(np.zeros((2, 2, 2)), LOGITS, CLASSES).move(hotness=2)),
    ],
)
def test_explorer_errors_name_the_argument(name, call):
    with pytest.raises(ValueError, match=name):
        call()


def test_without_anywidget_python_draws(monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    explorer = temperature_explorer(np.zeros((2, 28, 28)), LOGITS, CLASSES, [0, 2])
    assert isinstance(explorer, widgets.LiveFigure)
    explorer.move(temperature=4, picture=1)
    at_4 = "T = 4: trouser 41.4 %, bag 36.5 %, T-shirt 22.1 %; entropy 1.07"
    assert explorer.description == f"bag at {at_4} of at most 1.10 nats. Beside it at {at_4}."


def cases() -> list:
    random = np.random.default_rng(3)
    drawn = [(random.normal(0, 8, 10).tolist(), t) for t in (0.1, 0.3, 1, 2.125, 4, 20, 100)]
    ties = [([0.0] * 16, 1.0), ([1.0, 1.0, 0.0], 0.1), ([60.0, -60.0, 0.0], 0.1)]
    return drawn + ties


@in_browser.needed
def test_browser_and_python_agree():
    arguments = [{"z": logits, "t": temperature} for logits, temperature in cases()]
    theirs = in_browser.call(
        "temperature", "({z, t}) => { const p = kd.softened(z, t); return [p, kd.entropy(p)]; }", arguments
    )
    for (logits, temperature), (p, nats) in zip(cases(), theirs, strict=True):
        expected = special.softmax(np.divide(logits, temperature))
        np.testing.assert_allclose(p, expected, atol=1e-9)
        np.testing.assert_allclose(plots.softened(logits, temperature), expected, atol=1e-9)
        assert [nats, plots.entropy(p)] == pytest.approx([stats.entropy(expected)] * 2, abs=1e-9)


@in_browser.needed
def test_browser_and_python_say_the_same_sentence():
    names = [f"class {number}" for number in range(16)]
    arguments = [
        [z, names[: len(z)], 1, t, other, 2, bias] for z, t in cases() for other, bias in ((4, 0), (0.7, -2.5))
    ]
    theirs = in_browser.call("temperature", "all => kd.describe(...all)", arguments)
    assert theirs == [describe(*one) for one in arguments]


def test_only_what_both_generations_of_ipywidgets_have():
    sources = [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py")]
    for word in (
        "Accordion",
        "ipywidgets.Tab",
        "ipywidgets.Output",
        "interact(",
        "plt.",
        "pyplot",
        "Stack(",
        "TagsInput",
    ):
        assert not any(word in source for source in sources), word


def test_scripts_fetch_nothing():
    scripts = list(FOLDER.glob("*.js"))
    assert len(scripts) >= 2
    for path in scripts:
        script = path.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://\S+?\"", script)) <= {'http://www.w3.org/2000/svg"'}, path.name
        # An exported page brings the views' scripts along and imports those.
        assert "import(" not in script.replace("import(URL.createObjectURL", ""), path.name
        assert not re.search(r"^import ", script, re.MULTILINE), path.name


def test_colours_are_one_palette():
    from kdcourse.plots.palette import COLOURS

    (theirs,) = re.findall(r"COLOURS = \[(.*?)\]", (FOLDER / "shared.js").read_text(encoding="utf-8"))
    assert re.findall(r'"(.*?)"', theirs) == list(COLOURS[:6])
