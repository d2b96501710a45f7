"""The first cell, the doctor and the command line."""

import json
import sys
import types

import pytest
import torch
from typer.testing import CliRunner

from kdcourse import doctor, runtime
from kdcourse.cli import app


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    assert runtime.device() == torch.device("cpu")
    monkeypatch.setenv("KDCOURSE_DEVICE", "abacus")
    with pytest.raises(ValueError, match="KDCOURSE_DEVICE must name a device of this machine, got 'abacus'"):
        runtime.device()
    monkeypatch.delenv("KDCOURSE_DEVICE")
    assert runtime.device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_first_cell_says_one_line(monkeypatch, capsys):
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    runtime.setup()
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and "CPU threads" in out and not err


def test_on_colab_without_a_gpu_it_says_how_to_switch_one_on(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    assert runtime.in_colab()
    runtime.setup()
    assert "Change runtime type" in capsys.readouterr().out


def test_say_prints_outside_a_notebook(capsys):
    runtime.say("**12** of 12")
    assert capsys.readouterr().out == "**12** of 12\n"


def test_the_doctor_looks_at_everything_and_advises():
    checks = {check.name: check for check in doctor.examine()}
    assert {"Python", "torch", "widgets", "GPU", "disk", "cache", "local data", "fonts", "training"} <= set(checks)
    assert {check.status for check in checks.values()} <= {"green", "amber", "red"}
    assert all(check.advice for check in checks.values() if check.status != "green")
    assert checks["Python"].status == "green"


@pytest.mark.parametrize(
    ("kernel", "page", "colab", "status"),
    [("8.1.5", "3.0.1", False, "green"), ("7.7.1", "3.0.1", False, "red"), ("8.1.5", None, False, "amber"),
     ("7.7.1", None, True, "green"), ("8.1.5", None, True, "red")],
)  # fmt: skip
def test_both_halves_of_the_widgets_must_agree(monkeypatch, kernel, page, colab, status):
    def version(name):
        if name == "jupyterlab_widgets" and page is None:
            raise doctor.PackageNotFoundError
        return kernel if name == "ipywidgets" else page

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor, "in_colab", lambda: colab)
    assert doctor._widgets().status == status


def test_the_doctor_sees_what_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path / "none"))
    assert doctor._local_data().status == "amber"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "file" / "cache"))
    assert doctor._cache().status == "amber"
    monkeypatch.setattr(doctor, "requires", lambda _: ["torch>=99", "no-such-package>=1", 'pytest>=8; extra == "test"'])
    assert [(check.name, check.status) for check in doctor._packages()] == [
        ("torch", "red"),
        ("no-such-package", "red"),
    ]
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=2**20))
    assert doctor._disk().status == "amber"
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.1")
    assert doctor._python().status == "red"


def run(*arguments):
    return CliRunner().invoke(app, arguments)


def test_the_command_line_knows_its_labs():
    assert "lab must be one of 00" in run("run", "77").output.replace("│", "")
    assert run("run", "77").exit_code == 2


def test_the_doctor_speaks_json():
    result = run("doctor", "--json")
    assert {"name", "status", "detail", "advice"} == set(json.loads(result.output)[0])
    assert result.exit_code == 0


def test_progress_is_shown():
    output = run("progress").output
    assert "one_hot" in output and "Not attempted" in output


def test_a_lab_becomes_a_page(tmp_path, monkeypatch):
    from pathlib import Path

    from kdcourse import notebooks

    fixture = notebooks.Lab("90", Path(__file__).parent / "fixtures" / "good.py")
    monkeypatch.setattr(notebooks, "lab", lambda _: fixture)
    result = run("run", "90", "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Show that a sound notebook passes" in page and "a clear gain" in page
