"""start.py: what it decides and says, without installing anything here."""

import importlib.util
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VENV_CREATE = venv.create


@pytest.fixture
def start(monkeypatch):
    spec = importlib.util.spec_from_file_location("start", ROOT / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ready(start, tmp_path, monkeypatch):
    """An environment that looks installed: this Python and the stamps of its beginning and its end."""
    environment = tmp_path / "venv"
    python = start._python(environment)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (environment / "kdcourse-environment").touch()
    (environment / "kdcourse-installed").write_text(start.fingerprint())
    monkeypatch.setenv("KDCOURSE_VENV", str(environment))
    return environment


def test_it_needs_the_standard_library_only():
    source = (ROOT / "start.py").read_text(encoding="utf-8")
    imported = [line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imported and set(imported) <= sys.stdlib_module_names


def test_an_installed_environment_is_used_as_it_is(start, ready, monkeypatch):
    called = []
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing needs to be installed"))
    monkeypatch.setattr(subprocess, "call", lambda command, **_: called.append(command) or 0)
    assert start.main(["test", "-x"]) == 0
    assert start.main(["run", "03"]) == 0
    assert called[0][1:] == ["-m", "pytest", "-x"]
    assert called[1][1:] == ["-m", "kdcourse.cli", "run", "03"]


def test_a_changed_lock_installs_again_and_the_stamp_comes_last(start, ready, monkeypatch):
    (ready / "kdcourse-installed").write_text("another lock")
    commands = []

    def run(command, **_):
        commands.append(command)
        assert (ready / "kdcourse-installed").read_text() == "another lock", "the stamp must come last"

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(start.shutil, "which", lambda _: "uv")
    start.prepare(ready)
    assert [command[-2:] for command in commands] == [["-r", str(start.LOCK)], ["-e", str(ROOT)]]
    assert all("--no-deps" in command and "--no-build-isolation" in command for command in commands[1:])
    assert (ready / "kdcourse-installed").read_text() == start.fingerprint()


def test_an_interrupted_installation_leaves_no_stamp(start, ready, monkeypatch, capsys):
    (ready / "kdcourse-installed").unlink()

    def run(command, **_):
        raise subprocess.CalledProcessError(2, command)

    monkeypatch.setattr(subprocess, "run", run)
    assert start.main(["test"]) == 1
    assert "Run the same command again" in capsys.readouterr().err
    assert not (ready / "kdcourse-installed").exists()


def test_without_uv_pip_takes_the_same_lock(start, ready, monkeypatch, capsys):
    (ready / "kdcourse-installed").unlink()
    commands = []

    def run(command, **_):
        commands.append([str(part) for part in command])
        if commands[-1][-1].startswith("uv=="):
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(start.shutil, "which", lambda _: None)
    start.prepare(ready)
    assert "uv cannot be had" in capsys.readouterr().out
    assert commands[1][1:3] == ["-m", "pip"] and commands[1][-2:] == ["-r", str(start.LOCK)]


def test_an_old_python_is_named(start, monkeypatch, capsys):
    monkeypatch.setattr(start.sys, "version_info", (3, 9, 0))
    assert start.main(["lab"]) == 1
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


def test_a_full_disk_and_a_missing_venv_module_are_named(start, ready, monkeypatch, capsys):
    (ready / "kdcourse-installed").unlink()
    start._python(ready).unlink()
    monkeypatch.setattr(start.shutil, "which", lambda _: None)

    def broken(*_, **__):
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(start.venv, "create", broken)
    assert start.main(["test"]) == 1
    assert "apt install python3-venv" in capsys.readouterr().err

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(start.venv, "create", full)
    assert start.main(["test"]) == 1
    assert "No space left" in capsys.readouterr().err


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOREIGN = {
    "papers": {"thesis.tex": "years of work", "figures/one.svg": "<svg/>"},
    "another project's environment": {
        "pyvenv.cfg": "home = /usr",
        "bin/python": "",
        "lib/python3.11/site-packages/numpy/a": "",
    },
    "a broken one": {"pyvenv.cfg": "home = /usr", "lib/python3.11/site-packages/numpy/a": ""},
    "a hidden file": {".secret": "key"},
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("command", [["lab"], ["test"], ["test", "--colab"]])
def test_a_folder_with_other_things_in_it_is_refused_and_stays_whole(
    start, tmp_path, monkeypatch, capsys, content, command
):
    named = tmp_path / "mine"
    held = named.with_name("mine-colab") if "--colab" in command else named
    for name, text in content.items():
        (held / name).parent.mkdir(parents=True, exist_ok=True)
        (held / name).write_text(text)
    monkeypatch.setenv("KDCOURSE_VENV", str(named))
    monkeypatch.setattr(start, "find_python", lambda _: sys.executable)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing may be installed there"))
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: pytest.fail("nothing may be run there"))
    assert start.main(command) == 1
    said = capsys.readouterr().err
    assert str(held) in said and "has other things in it" in said and "KDCOURSE_VENV" in said
    assert tree(held) == {name: text.encode() for name, text in content.items()}


def test_a_file_in_the_environments_place_is_refused(start, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").write_text("a letter")
    monkeypatch.setenv("KDCOURSE_VENV", str(tmp_path / "mine"))
    assert start.main(["test"]) == 1
    assert "has other things in it" in capsys.readouterr().err and (tmp_path / "mine").read_text() == "a letter"


def test_a_broken_environment_of_the_courses_is_made_again_and_what_else_is_there_is_kept(
    start, ready, monkeypatch, capsys
):
    start._python(ready).unlink()
    (ready / "lib").mkdir()
    (ready / "lib" / "torn").touch()
    (ready / "notes.txt").write_text("mine")
    before = tree(ready)
    monkeypatch.setenv("KDCOURSE_NO_UV", "1")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(start, "fingerprint", lambda *_: "another lock")
    assert start.main(["test"]) == 1
    assert "it holds notes.txt" in capsys.readouterr().err and tree(ready) == before
    (ready / "notes.txt").unlink()
    monkeypatch.setattr(start.venv, "create", lambda place, with_pip: start._python(place).parent.mkdir())
    start.prepare(ready)
    assert set(tree(ready)) == {"kdcourse-environment", "kdcourse-installed"}


def test_a_new_an_empty_and_an_older_environment_are_taken(start, tmp_path, monkeypatch):
    start.refuse_others(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    start.refuse_others(tmp_path / "empty")
    interrupted = tmp_path / "interrupted"  # its first mark comes before anything else
    start.clear(interrupted)
    (interrupted / "bin").mkdir()
    start.clear(interrupted)
    assert set(tree(interrupted)) == {"kdcourse-environment"} and not (interrupted / "bin").exists()
    older = tmp_path / "older"
    older.mkdir()
    (older / "kdcourse-installed").touch()
    start.refuse_others(older)
    own = tmp_path / "own"  # a person's environment, into which they have installed the course
    (own / "lib" / "python3.12" / "site-packages" / "kdcourse-0.1.0.dist-info").mkdir(parents=True)
    (own / "pyvenv.cfg").touch()
    (own / "lib" / "python3.12" / "site-packages" / "thesis.py").touch()
    before = tree(own)
    with pytest.raises(start.NotOurs, match="has other things in it"):
        start.clear(own)
    assert tree(own) == before
    monkeypatch.setattr(start, "ROOT", tmp_path)  # in the course's own folder, before anything of it was installed
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    start.refuse_others(tmp_path / ".venv")


def test_a_real_environment_is_made_in_an_empty_folder_and_made_again(start, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(start.venv, "create", lambda place, with_pip: made.append(place) or VENV_CREATE(place))
    for _ in range(2):
        start.create(tmp_path / "venv", None, sys.executable)
        assert start._python(tmp_path / "venv").is_file() and (tmp_path / "venv" / "kdcourse-environment").is_file()
        start._python(tmp_path / "venv").unlink()
    assert len(made) == 2


def test_without_a_command_it_explains_itself(start, capsys):
    assert start.main([]) == 0
    assert "python start.py test" in capsys.readouterr().out


@pytest.fixture
def rehearsal(start, ready, monkeypatch):
    """The second environment, installed too; what would be run in it is collected."""
    python, called = sys.executable, []
    environment = ready.with_name("venv-colab")
    start._python(environment).parent.mkdir(parents=True)
    start._python(environment).symlink_to(sys.executable)
    (environment / "kdcourse-installed").write_text(start.fingerprint(start.COLAB_LOCK, python))
    monkeypatch.setattr(start, "find_python", lambda _: python)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing needs to be installed"))
    monkeypatch.setattr(subprocess, "call", lambda command, **settings: called.append((command, settings)) or 0)
    return called


def test_the_labs_are_rehearsed_with_colabs_kernel(start, rehearsal):
    assert start.main(["test", "--colab", "02", "10", "-x"]) == 0
    ((command, settings),) = rehearsal
    assert command[0].endswith(str(start._python(Path("venv-colab")))) and command[1:4] == ["-m", "pytest", "-o"]
    assert "--nbval-lax" in command[4] and "--nbval-kernel-name=colab" in command[4]
    assert "-x" in command and [Path(one).name[:2] for one in command if one.endswith(".ipynb")] == ["02", "10"]
    for place in (settings["env"]["PYTHONPATH"], settings["env"]["JUPYTER_PATH"]):
        assert (Path(place) / "google" / "colab" / "__init__.py").is_file()
        assert (Path(place) / "kernels" / "colab" / "kernel.json").is_file()


def test_without_numbers_all_labs_are_rehearsed_and_an_unknown_one_is_named(start, rehearsal, capsys):
    assert start.main(["test", "--colab"]) == 0
    labs = [one for one in rehearsal[0][0] if one.endswith(".ipynb")]
    assert labs == [str(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    assert start.main(["test", "--colab", "77"]) == 1
    assert "lab must be one of 00, " in capsys.readouterr().err and len(rehearsal) == 1


@pytest.mark.parametrize(
    ("here", "taken", "said"),
    [
        ({"python3.13": (3, 13), "python3.12": (3, 12)}, "python3.13", ""),
        ({"python3.13": (), "python3.12": (3, 12)}, "python3.12", "3.13 is not to be had here; Python 3.12 stands in"),
        ({}, sys.executable, "Python 3.11 stands in"),
        ({sys.executable: (3, 14)}, sys.executable, "Python 3.14 stands in"),
    ],
)
def test_colabs_python_or_the_newest_that_is_older(start, monkeypatch, tmp_path, capsys, here, taken, said):
    """`here`: what each name answers; () is a name that does not run."""
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(start.shutil, "which", lambda name: name if name in here else None)
    monkeypatch.setattr(start, "_version", lambda python: {sys.executable: (3, 11), **here}[python])
    assert start.find_python((3, 13)) == taken
    out = capsys.readouterr().out
    assert said in out and bool(said) == bool(out)


def test_a_python_of_pyenvs_is_found(start, monkeypatch, tmp_path):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    python = tmp_path / "versions" / "3.13.0" / "bin" / "python3.13"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setattr(start.shutil, "which", lambda _: None)
    assert start._version(str(python)) == sys.version_info[:2]
    monkeypatch.setattr(start, "_version", lambda one: (3, 13) if one == str(python) else (3, 11))
    assert start.find_python((3, 13)) == str(python)


def test_a_name_that_does_not_run_has_no_version(start, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 127, "", ""))
    assert start._version("python3.13") == ()
