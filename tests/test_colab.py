"""The way onto Colab: the set-up cell, the badge, the versions there, and the stand-in for Colab's own package."""

import re
import subprocess
import sys
import tomllib
import types
from importlib import metadata

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement

from kdcourse.authoring import notebooks
from kdcourse.system.runtime import LABS_OF_EXTRA

ROOT = notebooks.ROOT
LABS = notebooks.labs()
VERSION, REPOSITORY = notebooks.project()
STAND_IN = ROOT / "tests" / "colab"


def setup_cell(lab):
    (cell,) = (cell for cell in notebooks.compose(lab).cells if "setup" in cell.metadata.get("tags", ()))
    return cell


def test_all_labs_have_the_same_set_up_cell_and_it_reads_as_one_line():
    cells = [setup_cell(lab) for lab in LABS]
    assert len({cell.source for cell in cells}) == 1
    title, *code = cells[0].source.splitlines()
    assert title == "# @title Set up this lab: kd.setup()"
    assert code[-1] == "kd.setup()"
    for cell in cells:  # folded, by Colab and by JupyterLab
        assert cell.metadata["cellView"] == "form" and cell.metadata["jupyter"] == {"source_hidden": True}


@pytest.mark.parametrize(
    ("installed", "asked"), [([], True), (["0.0.1"], True), ([VERSION], False), (["0.0.1", VERSION], False)]
)
@pytest.mark.parametrize("place", ["Colab", "Kaggle", "elsewhere"])
def test_the_cell_installs_the_tag_on_colab_and_kaggle_once(monkeypatch, place, installed, asked):
    lines = []
    shell = types.SimpleNamespace(run_line_magic=lambda *words: lines.append(" ".join(words)))
    course = types.ModuleType("kdcourse")
    course.setup = lambda: lines.append("kd.setup()")
    monkeypatch.setitem(sys.modules, "kdcourse", course)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    if place == "Colab":
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    if place == "Kaggle":
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    found = [types.SimpleNamespace(version=one) for one in installed]
    monkeypatch.setattr(metadata, "distributions", lambda name: found)
    exec(TransformerManager().transform_cell(setup_cell(LABS[0]).source), {"get_ipython": lambda: shell})
    pip = f'pip install --quiet --no-deps "git+{REPOSITORY}@v{VERSION}"'
    assert lines == [pip] * (asked and place != "elsewhere") + ["kd.setup()"]


def test_the_repository_is_spelled_in_one_place():
    """Of pyproject.toml and the package; badges and the set-up cell are built from there, and the citation must agree."""
    path = REPOSITORY.removeprefix("https://github.com/")
    for lab in LABS:
        assert path not in lab.source.read_text(encoding="utf-8"), f"{lab.source.name} spells the repository itself"
        first = notebooks.compose(lab).cells[0].source.splitlines()
        address = f"https://colab.research.google.com/github/{path}/blob/main/notebooks/{lab.notebook.name}"
        assert first[0].startswith("# ") and first[2].endswith(f"]({address})") and first[3] == ""
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^repository-code: (.*)$", citation, re.MULTILINE)[1] == REPOSITORY
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1].strip("\"'") == VERSION


def test_another_repository_or_version_changes_badge_and_cell(monkeypatch):
    monkeypatch.setattr(notebooks, "project", lambda: ("9.8.7", "https://github.com/somebody/fork"))
    badge = notebooks.compose(LABS[0]).cells[0].source
    assert "colab.research.google.com/github/somebody/fork/blob/main/notebooks/" in badge
    cell = setup_cell(LABS[0]).source
    assert 'hosted and "9.8.7" not in installed' in cell and "git+https://github.com/somebody/fork@v9.8.7" in cell


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements-colab.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all([one.operator for one in pin.specifier] == ["=="] for pin in found)
    return {pin.name: next(iter(pin.specifier)).version for pin in found}


def test_the_course_asks_for_nothing_that_colab_would_have_to_change():
    found = pins()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for extra in LABS_OF_EXTRA for line in project["optional-dependencies"][extra]]
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        if requirement.name in found:
            assert requirement.specifier.contains(found[requirement.name]), f"{requirement} upgrades Colab's"
    assert {"torch", "numpy", "ipywidgets", "ipython", "ipykernel", "traitlets", "anywidget"} <= set(found)
    assert "optuna" not in found and "jupyterlab" not in found, "Colab has neither"
    assert "://" not in (ROOT / "requirements-colab.txt").read_text(encoding="utf-8")


def test_in_the_stand_in_widgets_of_others_need_their_manager():
    """In a process of its own, as in a kernel: the package is imported first, then a view is shown."""
    script = f"""
import sys
sys.path.insert(0, {str(STAND_IN)!r})
import google.colab
from IPython.core.interactiveshell import InteractiveShell
hooks = []
InteractiveShell.instance().display_pub.register_hook = hooks.append
import anywidget
assert "google.colab" in sys.modules and not hooks
view = {{"content": {{"data": {{"{notebooks.WIDGET_VIEW}": {{}}}}}}}}
for _ in range(2):
    type("View", (anywidget.AnyWidget,), {{"_esm": "export default {{}}"}})()
(hook,) = hooks
shown = hook(view)["content"]["metadata"]["{notebooks.WIDGET_VIEW}"]
assert shown["colab"]["custom_widget_manager"]["url"], shown
assert hook({{"content": {{"data": {{"text/plain": "1"}}}}}}) == {{"content": {{"data": {{"text/plain": "1"}}}}}}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
