"""The sdist and the wheel, built and used as a student would: `python start.py test -n0 tests/wheel.py`.

Only whoever names this file runs it: it installs the course once more, though most of that the installer has in its cache.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

import kdcourse
from kdcourse.authoring import handout, notebooks
from kdcourse.bench import browser

ROOT = notebooks.ROOT
OWN = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(*command, **settings) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=OWN, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the sdist, which is built from this checkout: by the locked hatchling, and nothing is fetched."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        folder,
        cwd=folder / f"kdcourse-{kdcourse.__version__}",
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel, tmp_path_factory):
    """The commands of an environment that has `kdcourse[lab]` and nothing else, in the versions of the lock."""
    place = tmp_path_factory.mktemp("environment") / "small one"
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(sys.executable, "-m", "uv", "venv", "--python", sys.executable, place)
    command = (sys.executable, "-m", "uv", "pip", "install", "--python", python, "-c", ROOT / "requirements.lock")
    run(*command, f"kdcourse[lab] @ {wheel.as_uri()}")
    return python.parent


@contextmanager
def kdcourse_lab(scripts: Path, folder: Path):
    """`kdcourse lab --no-browser` in this folder; the address."""
    port = browser.free_port()
    command = [str(scripts / "kdcourse"), "lab", "--no-browser", f"--port={port}"]
    settings = {"cwd": folder, "env": {**OWN, "JUPYTER_TOKEN": "course"}, "start_new_session": True}
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings)
    try:
        yield browser.answering(server, port)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_carries_all_that_a_checkout_has_beside_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in (
        "kdcourse/zoo/checkpoints",
        "kdcourse/authoring/lab_settings",
        "notebooks",
        "notebooks/source",
        "results",
    ):
        there = {
            path.name for path in (ROOT / folder).iterdir() if path.suffix in (".ipynb", ".py", ".json", ".safetensors")
        }
        assert there and {f"kdcourse/{folder.removeprefix('kdcourse/')}/{name}" for name in there} <= names
    assert not [
        name for name in names if not name.startswith(("kdcourse/", f"kdcourse-{kdcourse.__version__}.dist-info/"))
    ]


def test_outside_a_checkout_the_package_finds_what_came_with_it(scripts, tmp_path):
    assert run(scripts / "kdcourse", "version", cwd=tmp_path) == f"kdcourse {kdcourse.__version__}\n"
    code = "import kdcourse as kd; print(len(kd.stored('04-methods', 'glyphs').scores)); kd.tuning.search(None, 1, name='a')"
    done = subprocess.run([scripts / "python", "-c", code], capture_output=True, text=True, env=OWN, cwd=tmp_path)
    assert int(done.stdout.split()[-1]) > 1
    assert done.stderr.endswith("this needs optuna; run: pip install 'kdcourse[tuning]'\n")
    checks = json.loads(run(scripts / "kdcourse", "doctor", "--json", cwd=tmp_path))
    assert not [check for check in checks if check["status"] == "red"]


@pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: install it to run the browser tests")
def test_in_an_empty_folder_the_labs_are_served_and_lab_00_runs(scripts, tmp_path):
    empty = tmp_path / "Élèves, März"
    empty.mkdir()
    with kdcourse_lab(scripts, empty):
        before = tree(empty)
    labs = empty / handout.FOLDER
    lab = labs / notebooks.lab("00").notebook.name
    assert len(list(labs.glob("*.ipynb"))) == len(notebooks.labs())
    with kdcourse_lab(scripts, empty) as address, browser.page() as tab:
        assert tree(empty) == before
        browser.open_notebook(tab, address, lab.name)
        browser.run_all(tab)
        assert browser.problems(tab) == []
        tab.keyboard.press("Control+s")
        tab.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    code = [cell for cell in nbformat.read(lab, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code) and lab.read_bytes() != before[str(lab)][0]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]
    done = lab.read_bytes()
    with kdcourse_lab(scripts, empty):
        assert lab.read_bytes() == done, "what a student has done stays"
