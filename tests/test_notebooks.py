"""The labs: fresh, complete, fit to be shown; every slider is moved, and README's table is what was measured."""

import ast
import os
import re
from itertools import pairwise

import nbformat
import pytest

from kdcourse.authoring import folding, notebooks

LABS = notebooks.labs()
SLIDERS = re.compile(r"kd\.widgets\.\w+\(|kd\.quiz\(")


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_the_notebook_is_what_its_source_builds(lab):
    notebooks.check_fresh(lab)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_the_outputs_are_fit_to_be_shown(lab):
    notebook = nbformat.read(lab.notebook, as_version=4)
    notebooks.check_outputs(notebook)
    nbformat.validate(notebook)
    shown = "\n".join(str(output) for cell in notebook.cells for output in cell.get("outputs", []))
    assert "...</td>" not in shown and "...</th>" not in shown, "a table cuts its texts"
    assert any(cell.get("outputs") for cell in notebook.cells), "built without outputs"
    assert lab.notebook.stat().st_size < 1_500_000


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_the_lab_has_all_its_parts(lab):
    cells = notebooks.compose(lab).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for part in ("# ", "Open in Colab", "**You will**", "**You will learn**", "**You need**", "**Time:**", "**Predict**",
                 "When it does not help", "## Recap", "### Check yourself", "### On your own", "### Read further"):  # fmt: skip
        assert part in prose, f"{part!r} is missing"
    assert f"blob/main/notebooks/{lab.notebook.name}" in prose
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert "setup" in code[0].metadata.get("tags", ())
    assert all(len(cell.source.splitlines()) <= 30 for cell in code), "a cell is longer than 30 lines"
    assert any("kd.claim(" in cell.source or "assert " in cell.source for cell in code)
    assert sum("kd.at_full_size(" in cell.source for cell in code) == (lab.number != "00")


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_every_widget_is_followed_by_a_cell_that_moves_it(lab):
    code = [cell for cell in notebooks.compose(lab).cells if cell.cell_type == "code"]
    for cell, following in pairwise(code):
        if SLIDERS.search(cell.source):
            assert "widget-test" in following.metadata.get("tags", ()), f"nothing moves the widget of: {cell.source}"
    assert not SLIDERS.search(code[-1].source)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_a_cell_that_moves_controls_puts_them_back(lab):
    for cell in notebooks.compose(lab).cells:
        hand_on_a_run = ".press(" in cell.source  # of a dashboard that nobody is shown: what was trained stays trained
        if "widget-test" in cell.metadata.get("tags", ()) and ".move(" in cell.source and not hand_on_a_run:
            (block,) = (one for one in ast.parse(cell.source).body if ".move(" in ast.unparse(one))
            (kept,) = block.items
            view = ast.unparse(kept.context_expr).removesuffix(".restored()")
            moved = {name.partition(".move(")[0] for name in re.findall(r"\w+\.move\(", cell.source)}
            assert moved == {view}


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_plumbing_is_folded_and_what_is_taught_is_not(lab):
    for cell in notebooks.compose(lab).cells:
        tags = cell.metadata.get("tags", ())
        if "setup" in tags or "widget-test" in tags:
            assert folding.is_folded(cell) and cell.metadata["cellView"] == "form"
        if cell.cell_type == "markdown" or "exercise" in cell.metadata or ".check(" in cell.source:
            assert not folding.is_folded(cell)
        if any(work in cell.source for work in ("kd.compare(", "kd.train(", "def ", "import ")) and "setup" not in tags:
            assert not folding.is_folded(cell) or "widget-test" in tags
        assert "fmt:" not in cell.source, "what is meant for tools is no part of a lesson"


@pytest.mark.parametrize(
    ("source", "prose"),
    [
        ('gain = outcome.difference("KD")\nkd.say(f"KD brings {gain}.")', True),
        ('kd.claim("KD helps", gain)\nguess.answer(gain.verdict)', True),
        ('for arm in arms:\n    kd.say(f"{arm}")', True),
        ('if kept:\n    assert True\nelse:\n    kd.say("Nothing is kept.")', True),
        ('gain = outcome.difference("KD")', False),
        ('net = recipe.run(0)\nkd.say("It ran.")', False),
        ('history = kd.train(net, split)\nkd.say(f"{history.losses[-1]}")', False),
        ('for _ in range(9):\n    loss = step()\nkd.say(f"{loss}")', False),
        ('def f(x):\n    return x\nkd.say(f"{f(1)}")', False),
        ('kd.say("Where it is.")\noutcome.table()', False),
        ('%pip list\nkd.say("A magic.")', False),
    ],
)
def test_prose_is_code_that_only_puts_results_into_words(source, prose):
    assert folding.is_prose(source) == prose


def test_a_notebook_has_its_badge_beside_it(tmp_path):
    notebooks.write(notebooks.compose(LABS[0]), tmp_path / "lab.ipynb")
    assert (tmp_path / notebooks.BADGE).read_bytes() == (notebooks.NOTEBOOKS / notebooks.BADGE).read_bytes()


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_the_instructors_edition_has_the_solutions_in_place(lab):
    student, instructor = notebooks.compose(lab), notebooks.compose(lab, solutions=True)
    for stub, solved in zip(student.cells, instructor.cells, strict=True):
        if "exercise" in stub.metadata:
            assert "..." in stub.source and "..." not in solved.source and "return" in solved.source
        else:
            assert stub.source == solved.source


def test_readmes_table_is_what_was_measured():
    readme = (notebooks.ROOT / "README.md").read_text(encoding="utf-8")
    assert notebooks.runtime_table() in readme
    assert set(notebooks.runtimes()) == {lab.number for lab in LABS}


def test_a_kernel_gets_variables_that_this_process_does_not_have(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_TEXTS", "sst2")
    monkeypatch.delenv("KDCOURSE_PICTURES", raising=False)
    code = "import os\nprint(*(os.environ.get(f'KDCOURSE_{name}') for name in ('TEXTS', 'PICTURES')), os.getcwd())"
    printed = []
    for environment in (None, {"KDCOURSE_TEXTS": "reviews", "KDCOURSE_PICTURES": "here"}):
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(code)], metadata={"kernelspec": notebooks.KERNEL}
        )
        assert notebooks.execute(notebook, tmp_path, environment=environment) > 0
        printed.append(notebook.cells[0].outputs[0].text.split())
    assert printed == [["sst2", "None", str(tmp_path)], ["reviews", "here", str(tmp_path)]]
    assert os.environ["KDCOURSE_TEXTS"] == "sst2" and "KDCOURSE_PICTURES" not in os.environ


def test_an_unknown_lab_is_named():
    with pytest.raises(ValueError, match=r"lab must be one of 00, .*, got '77'"):
        notebooks.lab("77")
    assert notebooks.lab(3) == notebooks.lab("03")
