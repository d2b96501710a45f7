"""What the doctor sees, and what it says to do about it."""

import json
import types

import psutil
import pytest
import torch
from typer.testing import CliRunner

from kdcourse import doctor
from kdcourse.cli import app
from kdcourse.system import runtime
from tests.serving import remote, serving


@pytest.fixture
def quick(monkeypatch):
    """No host is asked, and nothing is measured for longer than a moment."""
    monkeypatch.setattr(doctor, "answering", lambda addresses: {doctor.host_of(next(iter(addresses)))})
    monkeypatch.setattr(doctor, "SECONDS", 0.05)


def test_the_doctor_looks_at_everything_and_advises(quick):
    checks = {check.name: check for check in doctor.examine()}
    wanted = {"Python", "torch", "widgets", "live views", "GPU", "memory", "disk", "cache", "local data", "fonts"}
    assert wanted | {"download of Fashion-MNIST", "training"} <= set(checks)
    assert {check.status for check in checks.values()} <= {"green", "amber", "red"}
    assert all(check.advice for check in checks.values() if check.status != "green")
    assert checks["Python"].status == "green"


def test_json_is_all_that_is_printed(quick, monkeypatch):
    def talkative():
        print("The cache folder cannot be written")
        return [doctor.Check("Python", "green", "3.13.0")]

    monkeypatch.setattr(doctor, "examine", talkative)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert json.loads(result.stdout) == [{"name": "Python", "status": "green", "detail": "3.13.0", "advice": ""}]


@pytest.mark.parametrize(("worst", "code"), [("green", 0), ("amber", 0), ("red", 1)])
def test_only_red_is_a_failure(monkeypatch, worst, code):
    checks = [doctor.Check("one", "green", "fine"), doctor.Check("other", worst, "a detail", "an advice")]
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    for arguments in (["doctor"], ["doctor", "--json"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code
        assert worst in result.output and "an advice" in result.output


@pytest.mark.parametrize(
    ("kernel", "page", "colab", "status"),
    [("8.1.5", "5.0.13", False, "green"), ("7.7.1", "5.0.15", False, "red"), ("8.1.5", "3.1.9", False, "red"),
     ("8.1.5", None, False, "amber"), ("7.7.1", None, True, "green"), ("8.1.5", None, True, "red"), (None, None, False, "red")],
)  # fmt: skip
def test_both_halves_of_the_widgets_must_agree(monkeypatch, kernel, page, colab, status):
    monkeypatch.setattr(doctor, "version_of", lambda _: kernel)
    monkeypatch.setattr(doctor, "_extension", lambda _: page)
    monkeypatch.setattr(doctor, "in_colab", lambda: colab)
    check = doctor._widgets()
    assert check.status == status and (check.advice or status == "green")


def test_the_pages_half_is_the_first_on_jupyters_path(monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert doctor._extension("no-such-extension") is None
    folder = tmp_path / "labextensions" / "anywidget"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "0.1.2"}')
    assert doctor._extension("anywidget") == "0.1.2"
    check = doctor._live_views()
    assert check.status == "amber" and "0.1.2 in JupyterLab" in check.detail
    (folder / "package.json").write_text(json.dumps({"version": runtime.version_of("anywidget")}))
    assert doctor._live_views().status == "green"


def test_packages_that_are_old_or_missing(monkeypatch):
    needed = ["torch>=99", "no-such-package>=1", 'ruff>=99; extra == "lab"', 'pytest>=99; extra == "test"']
    monkeypatch.setattr(runtime, "requires", lambda _: needed)
    found = {check.name: check for check in doctor._packages()}
    assert {name: check.status for name, check in found.items()} == {
        "torch": "red",
        "no-such-package": "red",
        "ruff": "amber",
    }
    assert found["torch"].advice == "Run: pip install --upgrade 'torch>=99'"
    assert found["no-such-package"].advice == "Run: pip install 'no-such-package>=1'"
    monkeypatch.setattr(doctor, "in_colab", lambda: True)
    assert [check.name for check in doctor._packages()] == ["torch", "no-such-package"]


def test_places_that_lack_something(monkeypatch, tmp_path):
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path / "none"))
    assert doctor._local_data().status == "amber"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "file" / "cache"))
    assert doctor._cache().status == "amber"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=2**20))
    assert doctor._disk().status == "amber"
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.1")
    assert doctor._python().status == "red"


@pytest.mark.parametrize(("free", "status"), [(3, "green"), (1, "amber")])
def test_memory(monkeypatch, free, status):
    found = types.SimpleNamespace(available=free * 2**30, total=8 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: found)
    assert doctor._memory().status == status and f"{free}.0 of 8 GiB free" in doctor._memory().detail


def test_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (14 * 2**30, 15 * 2**30))
    assert doctor._gpu() == doctor.Check("GPU", "green", "Tesla T4, 14 of 15 GiB free")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**28, 15 * 2**30))
    assert doctor._gpu().status == "amber" and "Close what fills it" in doctor._gpu().advice
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "nvidia-smi")
    assert "cannot use" in doctor._gpu().detail
    monkeypatch.setattr(doctor, "in_colab", lambda: True)
    assert "Change runtime type" in doctor._gpu().advice


def test_hosts_that_answer_and_hosts_that_do_not():
    with serving() as server:
        file = remote("data.gz", b"content", server.address)
        heard = doctor.answering(file.addresses)
        assert doctor._download("Data", (file,), heard).detail == "1 of 1 hosts answer"
        elsewhere = remote("data.gz", b"content", "http://127.0.0.1:9", server.address)
        assert doctor._download("Data", (elsewhere,), heard).status == "green"
        check = doctor._download("Data", (elsewhere,), set())
        assert check.status == "amber" and "silent: 127.0.0.1:9" in check.detail
        assert "the built-in data will be used" in check.advice


def test_every_data_set_with_a_download_is_asked_for(monkeypatch):
    monkeypatch.setattr(doctor, "answering", lambda addresses: set())
    names = [check.name for check in doctor._downloads()]
    assert names == [f"download of {title}" for title in ("Fashion-MNIST", "MNIST", "CIFAR-10", "CIFAR-100", "SST-2",
                                                          "Tiny Shakespeare")]  # fmt: skip


def test_training_that_is_slow_and_training_that_fails(quick, monkeypatch):
    assert "pictures/s on" in doctor._training().detail
    monkeypatch.setattr(doctor, "FEWEST_STEPS", 10**9)
    assert doctor._training().status == "amber"

    def broken(*_, **__):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(doctor, "train", broken)
    assert doctor._training().status == "red" and "KDCOURSE_DEVICE=cpu" in doctor._training().advice


def test_fonts_that_cannot_be_read(monkeypatch):
    def broken():
        raise OSError("cannot open resource")

    assert doctor._fonts().status == "green"
    monkeypatch.setattr(doctor, "printed_letters", broken)
    assert doctor._fonts().status == "red" and "Reinstall" in doctor._fonts().advice
