"""The guards can fail: notebooks made to be rejected are rejected, each for its own reason."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import conftest
from kdcourse.authoring import notebooks

FIXTURES = Path(__file__).parent / "fixtures"


def write(name: str, folder: Path) -> Path:
    """A fixture's source as a notebook of its own, not executed."""
    path = folder / f"{name}.ipynb"
    nbformat.write(notebooks.compose(notebooks.Lab("90", FIXTURES / f"{name}.py")), path)
    return path


def nbval(*paths: Path, arguments: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
    ]
    return subprocess.run([*command, *arguments, *map(str, paths)], capture_output=True, text=True, cwd=paths[0].parent)


def test_a_sound_notebook_passes(tmp_path):
    run = nbval(write("good", tmp_path))
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raising_callback", "ZeroDivisionError"),
        ("claim_across_zero", "not clear of zero"),
        ("no_description", "needs a description"),
    ],
)
def test_nbval_rejects(name, reason, tmp_path):
    run = nbval(write(name, tmp_path))
    assert run.returncode == 1 and reason in run.stdout, run.stdout


def test_a_picture_without_alternative_text_is_rejected(tmp_path):
    lab = notebooks.Lab("90", FIXTURES / "no_alt_text.py")
    with pytest.raises(notebooks.StaleNotebook, match="without alternative text"):
        notebooks.build(lab, tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ({"output_type": "stream", "name": "stderr", "text": "a warning"}, "writes to stderr"),
        ({"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}, "ends in an error"),
        (
            {"output_type": "display_data", "data": {"text/html": '<img src="a.png">'}, "metadata": {}},
            "alternative text",
        ),
        (
            {"output_type": "display_data", "data": {"text/html": '<img alt="" src="a">'}, "metadata": {}},
            "alternative text",
        ),
        ({"output_type": "stream", "name": "stdout", "text": f"{notebooks.ROOT}/results"}, "path of this machine"),
    ],
)
def test_unfit_outputs_are_rejected(output, reason):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[nbformat.from_dict(output)])])
    with pytest.raises(notebooks.StaleNotebook, match=reason):
        notebooks.check_outputs(notebook)


def test_a_drifted_notebook_is_rejected_with_the_cell_that_drifted(tmp_path):
    lab = notebooks.Lab("90", FIXTURES / "good.py")
    path = write("good", tmp_path)
    notebooks.check_fresh(lab, path)
    for change, reason in (
        (lambda nb: nb.cells[1].update(source="1 + 1"), "cell 1: source differs"),
        (lambda nb: nb.cells[3].metadata.update(tags=[]), "cell 3: metadata differs"),
        (lambda nb: nb.cells.pop(), "has 3 cells, its source 4"),
    ):
        notebook = notebooks.compose(lab)
        change(notebook)
        nbformat.write(notebook, path)
        with pytest.raises(notebooks.StaleNotebook, match=reason):
            notebooks.check_fresh(lab, path)
    with pytest.raises(notebooks.StaleNotebook, match="has not been built"):
        notebooks.check_fresh(lab, tmp_path / "none.ipynb")


def test_offline_cuts_off_tests_and_their_kernels(tmp_path):
    """An address set aside for documentation (RFC 5737): nothing is there, and nothing is asked."""
    inside = "import pytest, socket\n\ndef test():\n    with pytest.raises(OSError, match='cut off'):\n"
    inside += "        socket.create_connection(('192.0.2.1', 80), timeout=1)\n"
    (tmp_path / "test_inside.py").write_text(inside)
    cell = nbformat.v4.new_code_cell("import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "reaching.ipynb")
    (tmp_path / "conftest.py").write_text((notebooks.ROOT / "conftest.py").read_text(encoding="utf-8").replace(
        "Path(__file__).parent", f"Path({str(notebooks.ROOT)!r})"))  # fmt: skip
    run = nbval(tmp_path / "test_inside.py", tmp_path / "reaching.ipynb", arguments=("--offline",))
    assert "1 failed, 1 passed" in run.stdout and "the network is cut off for this test: 192.0.2.1" in run.stdout, (
        run.stdout
    )


def test_a_kernel_that_dies_at_its_beginning_begins_once_more_and_no_more():
    from nbval import plugin

    assert plugin.RunningKernel.__qualname__.startswith(conftest.begun_again.__name__)
    ends = [RuntimeError("Kernel died"), "a kernel"]

    def begin():
        end = ends.pop(0)
        if isinstance(end, RuntimeError):
            raise end
        return end

    assert conftest.begun_again(begin)() == "a kernel"
    ends += [RuntimeError("Kernel died"), RuntimeError("again")]
    with pytest.raises(RuntimeError, match="again"):
        conftest.begun_again(begin)()
