"""start.py and what it does: what is decided and said, without installing anything here."""

import ast
import errno
import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import venv
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = (ROOT / "start.py", ROOT / "kdcourse" / "system" / "installation.py")
VENV_CREATE = venv.create


def load(path: Path):
    """As `start.py` loads its larger part: anew, and by its place."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start():
    return load(PARTS[1])


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


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_it_needs_the_standard_library_only(path):
    source = path.read_text(encoding="utf-8")
    imported = [line.split()[1] for line in source.splitlines() if line.lstrip().startswith(("import ", "from "))]
    assert imported and {one.partition(".")[0] for one in imported} <= sys.stdlib_module_names


def test_an_installed_environment_is_used_as_it_is(start, ready, monkeypatch):
    called = []
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing needs to be installed"))
    monkeypatch.setattr(subprocess, "call", lambda command, **_: called.append(command) or 0)
    assert start.main(["test", "-x"]) == 0
    assert start.main(["run", "03"]) == 0
    assert called[0][1:] == ["-m", "pytest", "-x"]
    assert called[1][1:] == ["-P", "-m", "kdcourse.cli", "run", "03"]


@pytest.mark.parametrize(("asked", "given"), [(None, "1"), ("4", "4")])
def test_a_test_process_has_one_thread_unless_more_are_asked_for(start, ready, monkeypatch, asked, given):
    seen = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(subprocess, "call", lambda _, env, **__: seen.append(env["OMP_NUM_THREADS"]) or 0)
    assert start.main(["test"]) == 0 and seen == [given]


def test_a_changed_lock_installs_again_and_the_stamp_comes_last(start, ready, monkeypatch):
    (ready / "kdcourse-installed").write_text("another lock")
    commands = []

    def run(command, **_):
        commands.append(command)
        assert not (ready / "kdcourse-installed").exists(), "the stamp must come last, and an earlier one goes first"

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(start.shutil, "which", os.path.abspath)
    start.prepare(ready)
    assert [tuple(command[-2:]) for command in commands] == [("-r", start.LOCK.name), ("-e", ".")]
    assert all("--no-deps" in command and "--no-build-isolation" in command for command in commands[1:])
    assert all("--compile-bytecode" in command for command in commands), "else each later process compiles"
    assert (ready / "kdcourse-installed").read_text() == start.fingerprint()


def test_an_interrupted_installation_leaves_no_stamp(start, ready, monkeypatch, capsys):
    (ready / "kdcourse-installed").write_text("another lock")

    def run(command, **_):
        raise subprocess.CalledProcessError(2, command)

    monkeypatch.setattr(subprocess, "run", run)
    assert start.main(["test"]) == 1
    assert "Run the same command again" in capsys.readouterr().err
    assert not (ready / "kdcourse-installed").exists() and (ready / "kdcourse-environment").is_file()


def test_without_uv_pip_takes_the_same_lock(start, ready, monkeypatch, capsys):
    (ready / "kdcourse-installed").write_text("another lock")
    commands = []

    def run(command, **_):
        commands.append([str(part) for part in command])
        if commands[-1][-1].startswith("uv=="):
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(start.shutil, "which", lambda _: None)
    start.prepare(ready)
    assert "uv cannot be had" in capsys.readouterr().out
    assert commands[1][1:3] == ["-m", "pip"] and commands[1][-2:] == ["-r", start.LOCK.name]


def test_an_old_python_is_named(monkeypatch, capsys):
    start = load(PARTS[0])
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert declared == f">={'.'.join(map(str, start.OLDEST))}" and load(PARTS[1]).OLDEST == start.OLDEST
    monkeypatch.setattr(start.sys, "version_info", (3, 9, 0))
    assert start.main(["lab"]) == 1
    assert capsys.readouterr().err == "This course needs Python 3.11 or newer; this is Python 3.9.\n"


def test_every_python_can_read_the_file_that_says_so():
    """Python 2.7 takes ASCII, and none of the syntax that came after it."""
    source = PARTS[0].read_bytes().decode("ascii")
    newer = (
        ast.JoinedStr,
        ast.AnnAssign,
        ast.NamedExpr,
        ast.AsyncFunctionDef,
        ast.Await,
        ast.Nonlocal,
        ast.Starred,
        ast.Match,
    )
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, newer), ast.unparse(node)
        if isinstance(node, ast.arguments):
            assert not node.kwonlyargs and not node.posonlyargs and not any(one.annotation for one in node.args)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            assert len(node.args) == 1 and not node.keywords  # of several, 2.7 prints a tuple


@pytest.mark.parametrize("old", ["2.7", "3.6", "3.8", "3.10"])
def test_an_old_python_gets_the_line(old):
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(map(str, pyenv.glob(f"{old}.*/bin/python"))) + list(filter(None, [shutil.which(f"python{old}")]))
    if not found:
        pytest.skip(f"no Python {old} here")
    done = subprocess.run([found[0], str(PARTS[0]), "lab"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines() == [
        f"This course needs Python 3.11 or newer; this is Python {old}."
    ]


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
    monkeypatch.setattr(start.venv, "create", lambda place: start._python(place).parent.mkdir())
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
    monkeypatch.setattr(start.venv, "create", lambda place: made.append(place) or VENV_CREATE(place))
    for _ in range(2):
        start.create(tmp_path / "venv", sys.executable)
        assert start._python(tmp_path / "venv").is_file() and (tmp_path / "venv" / "kdcourse-environment").is_file()
        start._python(tmp_path / "venv").unlink()
    assert len(made) == 2


def test_a_folder_in_which_somebody_still_writes_for_a_moment_is_deleted_too(start, tmp_path, monkeypatch):
    real, written = shutil.rmtree, ["late", "later"]

    def deleting(folder):
        if written:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", written.pop())
        real(folder)

    monkeypatch.setattr(start.shutil, "rmtree", deleting)
    monkeypatch.setattr(start.time, "sleep", lambda _: None)
    (tmp_path / "lib").mkdir()
    start.delete(tmp_path / "lib")
    assert not (tmp_path / "lib").exists() and not written
    (tmp_path / "lib").mkdir()
    written += range(99)
    with pytest.raises(OSError, match="not empty"):
        start.delete(tmp_path / "lib")


@pytest.mark.skipif(os.name == "nt", reason="what a killed start has begun ends with it there, or holds its files")
def test_while_pip_of_a_killed_start_is_being_installed_no_other_start_has_the_lock(start, tmp_path):
    place = tmp_path / "venv"
    code = (
        "import sys; from pathlib import Path; from kdcourse.system import installation as start\n"
        f"with start.alone(Path({str(place)!r})): start.create(Path({str(place)!r}), sys.executable)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not list(place.glob("lib/python*/site-packages/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    with start.alone(place):
        assert list(place.glob("lib/python*/site-packages/pip/__main__.py")) and start._python(place).is_file()
        subprocess.run([str(start._python(place)), "-m", "pip", "--version"], check=True, capture_output=True)


def test_without_a_command_it_explains_itself(capsys):
    assert load(PARTS[0]).main([]) == 0
    assert "python start.py test" in capsys.readouterr().out


def test_a_home_in_the_environments_name_is_the_users(start, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("KDCOURSE_VENV", "~/course")
    made = []
    monkeypatch.setattr(start, "prepare", made.append)
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: 0)
    assert start.main(["test"]) == 0
    assert made == [tmp_path.resolve() / "course"]


def test_where_this_python_makes_no_environment_uv_does(start, tmp_path, monkeypatch):
    def run(command, **_):
        if "ensurepip" in command:  # as Debian's own Python without python3-venv
            raise subprocess.CalledProcessError(1, command)
        commands.append(command)

    commands = []
    monkeypatch.delenv("KDCOURSE_NO_UV", raising=False)
    monkeypatch.setattr(start.shutil, "which", os.path.abspath)
    monkeypatch.setattr(subprocess, "run", run)
    start.create(tmp_path / "venv", sys.executable)
    assert [command[:2] for command in commands] == [(os.path.abspath("uv"), "venv")]
    monkeypatch.setattr(start.shutil, "which", lambda _: None)
    with pytest.raises(OSError, match="apt install python3-venv"):
        start.create(tmp_path / "venv", sys.executable)


@pytest.mark.skipif(os.name == "nt", reason="no name has a colon there")
def test_a_folder_that_no_path_can_name_is_told_before_anything_is_installed(start, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing may be installed there"))
    with pytest.raises(OSError, match=r"PATH separator :. Let KDCOURSE_VENV name another folder"):
        start.create(tmp_path / "a:b" / "venv", sys.executable)


def test_what_was_begun_and_never_ended_is_made_again(start, ready, monkeypatch):
    """It has a Python, and no pip: as after Debian's refusal, or a stop in the first seconds."""
    (ready / "kdcourse-installed").unlink()
    (ready / "lib").mkdir()
    (ready / "lib" / "torn").touch()
    made = []
    monkeypatch.setattr(start.venv, "create", lambda place: made.append(set(tree(place))))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    start.prepare(ready)
    assert made == [{"kdcourse-environment"}] and (ready / "kdcourse-installed").is_file()


def test_a_mark_that_is_a_link_is_none_and_what_it_leads_to_stays(start, tmp_path, monkeypatch, capsys):
    letter, forged = tmp_path / "letter", tmp_path / "forged"
    letter.write_text("dear")
    (forged / "lib").mkdir(parents=True)
    (forged / "kdcourse-environment").symlink_to(letter)
    monkeypatch.setenv("KDCOURSE_VENV", str(forged))
    monkeypatch.setenv("KDCOURSE_NO_UV", "1")
    monkeypatch.setattr(start.venv, "create", lambda place: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: 0)
    assert start.main(["lab"]) == 1
    assert "has other things in it" in capsys.readouterr().err and (forged / "lib").is_dir()
    (forged / "kdcourse-environment").unlink()
    (forged / "kdcourse-environment").touch()
    (forged / "kdcourse-installed").symlink_to(tmp_path / "new")
    start.prepare(forged)
    assert letter.read_text() == "dear" and not (tmp_path / "new").exists()
    assert (forged / "kdcourse-installed").read_text() == start.fingerprint()


@pytest.mark.parametrize("command", [["lab"], ["test", "--colab"]])
@pytest.mark.parametrize(
    "named", [os.path.abspath(os.sep), "~nobody-of-this-name/x", "{here}/circle/x", "{here}/piped"]
)
def test_a_place_that_can_be_none_is_told(start, tmp_path, monkeypatch, capsys, named, command):
    if os.name == "nt" and "{here}" in named:
        pytest.skip("links and pipes are other things there")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("piped.lock", "piped-colab.lock"):
        os.mkfifo(tmp_path / name)
    monkeypatch.setenv("KDCOURSE_VENV", named.format(here=tmp_path))
    monkeypatch.setattr(start, "find_python", lambda _: sys.executable)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing may be installed there"))
    assert start.main(command) == 1
    assert "Let KDCOURSE_VENV name" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="it locks otherwise")
def test_where_nothing_can_be_locked_a_start_goes_on(start, tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(start.time, "sleep", lambda _: pytest.fail("there is nobody to wait for"))
    with start.alone(tmp_path / "venv"):
        pass


def test_no_program_of_the_current_folder_is_run(start, tmp_path, monkeypatch):
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KDCOURSE_NO_UV", raising=False)
    for path in ("", ".", os.pathsep):
        monkeypatch.setenv("PATH", path)
        assert start._uv_at_hand() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert os.name == "nt" or start._uv_at_hand() == str(tmp_path / "uv")


def test_letters_that_the_output_lacks_stop_nothing(start, tmp_path, monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", written)
    monkeypatch.setenv("KDCOURSE_VENV", str(tmp_path / "Łukasz"))
    monkeypatch.setattr(start, "install", lambda *_: None)
    monkeypatch.setattr(start.venv, "create", lambda place: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: 0)
    assert start.main(["lab"]) == 0
    written.flush()
    assert b"u0141ukasz, once" in written.buffer.getvalue()


STAND_IN = """#!{python}
\"\"\"In uv's place: it writes slowly, and stumbles over what somebody else is writing.\"\"\"
import sys, time
from pathlib import Path

place = Path(sys.argv[sys.argv.index("--python") + 1]).parents[1]
(site,) = place.glob("lib/python*/site-packages")
(site / "course.pth").write_text(str(Path.cwd()), encoding="utf-8")  # as an editable installation does
name = "project" if sys.argv[-1] == "." else Path(sys.argv[-1]).name
parts = [place / "lib" / f"{{name}}-{{number}}" for number in range(8)]
for part in parts:
    part.mkdir()
    time.sleep(0.1)
(place / f"{{name}}-whole").touch()
"""


@pytest.fixture
def slow(tmp_path):
    """A copy of what a start needs, and the environment variables of a machine whose uv is slow."""
    course, tools = tmp_path / "a ${HOME} [2026] #b, Übung", tmp_path / "tools"
    for path in (*PARTS, ROOT / "pyproject.toml", ROOT / "requirements.lock"):
        copy = course / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    tools.mkdir()
    (tools / "uv").write_text(STAND_IN.format(python=sys.executable))
    (tools / "uv").chmod(0o755)
    (course / "kdcourse" / "cli.py").write_text("import os, random\nprint('opened in', os.getcwd())\n")
    settings = {
        name: value
        for name, value in os.environ.items()
        if name not in ("KDCOURSE_VENV", "KDCOURSE_NO_UV", "PYTHONPATH")
    }
    return course, {**settings, "PATH": f"{tools}:{os.environ['PATH']}"}


def begin(slow, folder: Path | None = None, *before: str, **more: str) -> subprocess.Popen:
    """Start the course in this folder, its own by default. before: a command that starts it. more: environment variables."""
    course, settings = slow
    command = [*before, sys.executable, str(course / "start.py"), "lab"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder or course, env={**settings, **more}, start_new_session=True, **streams)


def ended_well(process: subprocess.Popen, environment: Path) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert (environment / "requirements.lock-whole").is_file() and (environment / "project-whole").is_file()
    assert "opened" in out
    return out


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for uv is a script with a first line")
def test_a_first_start_that_is_stopped_anywhere_is_made_good_by_the_next(slow):
    course, _ = slow
    for seconds, end in ((0.2, signal.SIGKILL), (0.7, signal.SIGINT), (2.5, signal.SIGKILL), (4.0, signal.SIGINT)):
        process = begin(slow)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break  # a fast machine is done before
        os.killpg(process.pid, end) if end == signal.SIGINT else process.kill()  # what it had started goes on
        process.communicate()
    ended_well(begin(slow), course / ".venv")
    assert "Installing" not in ended_well(begin(slow), course / ".venv")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for uv is a script with a first line")
def test_of_two_starts_at_once_the_second_waits(slow):
    first, second = begin(slow), begin(slow)
    said = [ended_well(one, slow[0] / ".venv") for one in (first, second)]
    assert sorted("this one waits" in one for one in said) == [False, True]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for uv is a script with a first line")
def test_a_command_works_in_the_folder_where_the_user_is_and_imports_none_of_its_files(slow, tmp_path):
    here = tmp_path / "Élèves, März"
    here.mkdir()
    (here / "random.py").write_text("raise SystemExit('a file of the user')")
    assert f"opened in {here}\n" in ended_well(begin(slow, here), slow[0] / ".venv")


@pytest.fixture
def read_only(slow):
    """The course in a folder that nobody may write; what a command needs in front of it, so that root may not either."""
    course, _ = slow
    for path in (course, *course.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.access(course, os.W_OK) else []
    for path in (course, *course.rglob("*")):
        path.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="folders that cannot be written are made otherwise there")
def test_from_a_checkout_that_cannot_be_written_the_environment_goes_elsewhere(slow, read_only, tmp_path):
    if read_only and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere here")
    course, before = slow[0], tree(slow[0])
    out, err = begin(slow, tmp_path, *read_only).communicate(timeout=120)
    assert not out and "The installation stopped" in err and "KDCOURSE_VENV names another" in err
    place = tmp_path / "Élève's own" / "venv"
    ended_well(begin(slow, tmp_path, *read_only, KDCOURSE_VENV=str(place)), place)
    assert "Installing" not in ended_well(begin(slow, tmp_path, *read_only, KDCOURSE_VENV=str(place)), place)
    assert tree(course) == before and place.with_name("venv.lock").is_file()


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
        ({"/bin/python3.13": (3, 13), "/bin/python3.12": (3, 12)}, "/bin/python3.13", ""),
        (
            {"/bin/python3.13": (), "/bin/python3.12": (3, 12)},
            "/bin/python3.12",
            "3.13 is not to be had here; Python 3.12 stands in",
        ),
        ({}, sys.executable, "Python 3.11 stands in"),
        ({sys.executable: (3, 14)}, sys.executable, "Python 3.14 stands in"),
    ],
)
def test_colabs_python_or_the_newest_that_is_older(start, monkeypatch, tmp_path, capsys, here, taken, said):
    """`here`: what each name answers; () is a name that does not run."""
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(start.shutil, "which", lambda name: f"/bin/{name}" if f"/bin/{name}" in here else None)
    monkeypatch.setattr(start.os.path, "isabs", lambda path: path.startswith("/"))
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


def test_a_name_that_does_not_run_has_no_version(start, monkeypatch, tmp_path):
    assert start._version(str(tmp_path)) == ()
    for said in ("", "Python x.y"):
        monkeypatch.setattr(
            subprocess, "run", lambda command, said=said, **_: subprocess.CompletedProcess(command, 0, said, "")
        )
        assert start._version("python3.13") == ()
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 127, "", ""))
    assert start._version("python3.13") == ()
