"""The labs in a folder of the student's: what is written there and what is not, and what the command says of it."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

import kdcourse
from kdcourse.authoring import handout, notebooks
from kdcourse.cli import app
from kdcourse.system import runtime


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An installed course of two labs, whose files a test may change as a new version would."""
    labs = tmp_path / "site-packages" / "kdcourse" / "notebooks"
    labs.mkdir(parents=True)
    (labs / "00_first.ipynb").write_text("See the [glossary](../docs/glossary.md).")
    (labs / "01_second.ipynb").write_text("second, version 1")
    (labs / notebooks.BADGE).write_text("<svg/>")
    for module in (handout, notebooks):
        monkeypatch.setattr(module, "NOTEBOOKS", labs)
    monkeypatch.chdir(tmp_path)
    return labs


@pytest.fixture
def served(monkeypatch):
    """The commands that would have opened JupyterLab, and the folders that they start in."""
    started = []
    monkeypatch.setattr(subprocess, "call", lambda command, cwd: started.append((command, cwd)) or 0)
    return started


def tree(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_the_labs_stand_in_one_folder_with_all_that_they_show_and_link_to(tmp_path):
    done = handout.hand_out(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {lab.notebook.name for lab in notebooks.labs()} < names and set(done.written) == names - {handout.RECORD}
    for path in tmp_path.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        json.loads(text)
        assert "](../" not in text and f"({notebooks.BADGE})" in text
    assert "](glossary.md)" in (tmp_path / notebooks.lab("00").notebook.name).read_text(encoding="utf-8")


def test_twice_started_changes_nothing_and_what_a_student_writes_stays(course, tmp_path):
    folder = tmp_path / "Übungen, März"
    handout.hand_out(folder)
    before = tree(folder)
    assert handout.hand_out(folder) == handout.hand_out(folder, update=True) == handout.Handout()
    assert tree(folder) == before
    (folder / "00_first.ipynb").write_text("my answer")
    (folder / "01_second.ipynb").unlink()
    before = tree(folder)
    assert handout.hand_out(folder, update=True) == handout.Handout(written=["01_second.ipynb"])
    assert tree(folder).items() >= before.items() and (folder / "01_second.ipynb").read_text() == "second, version 1"


def test_a_new_version_waits_until_it_is_asked_for_and_never_replaces_what_was_changed(course, tmp_path, monkeypatch):
    folder = tmp_path / "labs"
    handout.hand_out(folder)
    (folder / "00_first.ipynb").write_text("my answer")
    (course / "00_first.ipynb").write_text("first, version 2")
    (course / "01_second.ipynb").write_text("second, version 2")
    monkeypatch.setattr(kdcourse, "__version__", "2.0")
    before = tree(folder)
    assert handout.hand_out(folder) == handout.Handout(newer=["00_first.ipynb", "01_second.ipynb"])
    assert tree(folder) == before
    done = handout.hand_out(folder, update=True)
    assert done == handout.Handout(renewed=["01_second.ipynb"], beside=["00_first-2.0.ipynb"])
    texts = {path.name: path.read_text() for path in folder.glob("*.ipynb")}
    assert texts == {
        "00_first.ipynb": "my answer",
        "00_first-2.0.ipynb": "first, version 2",
        "01_second.ipynb": "second, version 2",
    }
    (folder / "00_first-2.0.ipynb").write_text("my second answer")
    before = tree(folder)
    assert handout.hand_out(folder) == handout.hand_out(folder, update=True) == handout.Handout()
    assert tree(folder) == before


@pytest.mark.parametrize("record", [None, "torn {", "[]"])
def test_without_a_record_every_file_that_differs_counts_as_changed(course, tmp_path, record):
    folder = tmp_path / "labs"
    folder.mkdir()
    (folder / "00_first.ipynb").write_text("a file of the student's own")
    if record:
        (folder / handout.RECORD).write_text(record)
    assert handout.hand_out(folder).newer == ["00_first.ipynb"]
    assert handout.hand_out(folder, update=True).beside == [f"00_first-{kdcourse.__version__}.ipynb"]
    assert (folder / "00_first.ipynb").read_text() == "a file of the student's own"


def test_the_folder_is_the_named_one_the_checkouts_or_a_new_one_here(tmp_path, monkeypatch, course):
    assert handout.choose_folder("mine") == tmp_path / "mine"
    assert handout.choose_folder() == tmp_path / "kdcourse-labs"
    handout.hand_out(tmp_path / "kdcourse-labs")
    monkeypatch.chdir(tmp_path / "kdcourse-labs")
    assert handout.choose_folder() == tmp_path / "kdcourse-labs", "no folder within the folder"
    for module in (handout, notebooks):
        monkeypatch.setattr(module, "NOTEBOOKS", notebooks.ROOT / "notebooks")
    monkeypatch.chdir(tmp_path)
    assert handout.choose_folder() == notebooks.ROOT / "notebooks"
    monkeypatch.setattr(handout.os, "access", lambda *_: False)  # a checkout that belongs to somebody else
    assert handout.choose_folder() == tmp_path / "kdcourse-labs"


def test_the_command_writes_the_labs_says_so_and_opens_them(course, tmp_path, served, monkeypatch):
    monkeypatch.setattr(runtime, "what_labs_lack", lambda: "To run lab 10 too …")
    done = CliRunner().invoke(app, ["lab", "--no-browser", "my labs"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "my labs." in said and said.endswith("To run lab 10 too …")
    ((command, folder),) = served
    assert folder == tmp_path / "my labs" and f"--ServerApp.root_dir={folder}" in command and "--no-browser" in command
    (course / "01_second.ipynb").write_text("second, version 2")
    assert "kdcourse lab --update" in CliRunner().invoke(app, ["lab", "my labs"]).output
    assert "Renewed: 01_second.ipynb" in CliRunner().invoke(app, ["lab", "my labs", "--update"]).output


def test_the_environments_own_jupyterlab_is_started_whatever_stands_on_the_path(tmp_path, monkeypatch):
    other = tmp_path / "jupyter-lab"  # of a conda environment, say
    other.write_text("#!/bin/sh\necho the wrong one\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    script = (
        "from kdcourse.cli.student import subprocess; call = subprocess.call; "
        "subprocess.call = lambda command, cwd: call([*command, '--version']); "
        "from kdcourse.cli import app; app(['lab'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == version("jupyterlab")


def test_in_a_checkout_the_command_opens_its_own_labs_and_writes_nothing(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["lab", "03"]).exit_code == 0
    ((command, folder),) = served
    assert folder == notebooks.ROOT / "notebooks" and command[-1] == notebooks.lab("03").notebook.name
    assert not list(tmp_path.iterdir())
    assert CliRunner().invoke(app, ["lab", "77"]).exit_code == 2 and len(served) == 1


def test_a_folder_that_cannot_be_written_is_named(course, tmp_path, served):
    (tmp_path / "a file").write_text("mine")
    done = CliRunner().invoke(app, ["lab", "a file"])
    assert done.exit_code == 1 and "cannot be written to" in done.output and "kdcourse lab FOLDER" in done.output
    assert not served and (tmp_path / "a file").read_text() == "mine"


@pytest.mark.parametrize("command", [["build"], ["site"], ["results"], ["teachers"]])
def test_outside_a_checkout_what_changes_the_course_ends_with_a_line(course, command):
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1 and "needs a checkout" in done.output and not done.stdout


def test_the_version_is_said():
    assert CliRunner().invoke(app, ["version"]).output == f"kdcourse {kdcourse.__version__}\n"
