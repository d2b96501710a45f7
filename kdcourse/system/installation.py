"""What `start.py` does, of which this is the larger part: make the course's environment once, then run a command in it.

It needs nothing but the standard library, and nothing of the course: it is loaded before either is installed.
"""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
# The marks that a start leaves in an environment: first of all, last of all.
MADE, INSTALLED = "kdcourse-environment", "kdcourse-installed"
# What a virtual environment consists of, on every system. Of a broken one, these alone are made again.
PARTS = {
    "bin",
    "include",
    "lib",
    "lib64",
    "share",
    "etc",
    "man",
    "scripts",
    "pyvenv.cfg",
    ".gitignore",
    "cachedir.tag",
    ".lock",
}
UTF8 = {"PYTHONUTF8": "1"}  # in which installers note the course's place, whatever this machine's encoding is
COLAB_LOCK, COLAB_PYTHON = ROOT / "requirements-colab.txt", (3, 13)


class NotOurs(Exception):
    """A folder that the course has not made, and so neither fills nor empties."""


def main(arguments: list[str]) -> int:
    """Run a command of the course in its environment: the command's exit code."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a folder's name may have letters that its encoding lacks
        stream.reconfigure(errors="backslashreplace")
    command, *rest = arguments
    try:
        if command == "test" and "--colab" in rest:
            rest.remove("--colab")
            return rehearse(place("-colab"), rest)
        environment = place()
        prepare(environment)
    except NotOurs as error:
        return _fail(str(error))
    except subprocess.CalledProcessError as error:
        return _fail(
            f"The installation stopped with exit code {error.returncode}; its own words are above.\n"
            "It needs the package index and about 8 GB of disk on Linux (2 GB elsewhere). Run the same command again to go on."
        )
    except OSError as error:
        return _fail(
            f"The installation stopped: {error}. Is there room on the disk, and may this folder be written?\n"
            "KDCOURSE_VENV names another, new or empty."
        )
    python = str(_python(environment))
    settings = {**UTF8, **os.environ}
    if command == "test":
        # Tests run in a process for each core, where a second thread would wait for the other processes.
        return subprocess.call([python, "-m", "pytest", *rest], cwd=ROOT, env={"OMP_NUM_THREADS": "1", **settings})
    # In the folder where the user is, whose files the command may be told of; -P: and none of which it imports.
    return subprocess.call([python, "-P", "-m", "kdcourse.cli", command, *rest], env=settings)


def place(ending: str = "") -> Path:
    """The environment's folder, with this at the end of its name. Raises `NotOurs` where there can be none."""
    try:
        path = Path(os.environ.get("KDCOURSE_VENV") or ROOT / ".venv").expanduser().resolve()
        return path.with_name(path.name + ending)
    except (RuntimeError, ValueError) as error:  # no such user, links in a circle, the root of all folders
        raise NotOurs(f"{error}. Let KDCOURSE_VENV name a new or an empty folder, or leave it out.") from error


def rehearse(environment: Path, arguments: list[str]) -> int:
    """Run the labs as on Colab: on its versions, in a kernel that knows a stand-in for its own package."""
    numbers = [one for one in arguments if one.isdigit()]
    labs = {path.name[:2]: str(path) for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    if unknown := set(numbers) - set(labs):
        return _fail(f"lab must be one of {', '.join(labs)}, got {', '.join(sorted(unknown))}")
    prepare(environment, COLAB_LOCK, find_python(COLAB_PYTHON))
    options = [one for one in arguments if not one.isdigit()]
    stand_in = str(ROOT / "tests" / "colab")
    settings = "addopts=--nbval-lax --nbval-kernel-name=colab --nbval-cell-timeout=300 --durations=8"
    command = [str(_python(environment)), "-m", "pytest", "-o", settings, *options]
    # Places of the stand-in and of the kernel called `colab`; and no word about debuggers from Colab's older kernel.
    places = {"PYTHONPATH": stand_in, "JUPYTER_PATH": stand_in, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return subprocess.call(
        [*command, *(labs[one] for one in numbers or labs)], cwd=ROOT, env={**UTF8, **os.environ, **places}
    )


def find_python(wanted: tuple[int, int]) -> str:
    """The Python of this version, or the newest that is older: this one, on the PATH or pyenv's. Another than wanted is named."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    pythons = [sys.executable]
    for minor in range(wanted[1], OLDEST[1] - 1, -1):
        pythons += filter(None, [_which(f"python3.{minor}")])
        pythons += map(str, sorted(pyenv.glob(f"3.{minor}.*/bin/python3.{minor}")))
    versions = {python: _version(python) for python in pythons}
    found = max(pythons, key=lambda python: versions[python] if versions[python] <= wanted else ())
    if versions[found] != wanted:
        print(
            f"Colab's Python {_dotted(wanted)} is not to be had here; Python {_dotted(versions[found])} stands in.",
            flush=True,
        )
    return found


def prepare(environment: Path, lock: Path = LOCK, python: str = sys.executable) -> None:
    """Make the environment unless it is there, whole and of this lock; what is half-made is made again.

    Raises `NotOurs` for a folder with other things in it, which is left as it is.
    """
    wanted = fingerprint(lock, python)
    if _is_ready(environment, wanted):
        return
    refuse_others(environment)
    with alone(environment):
        if _is_ready(environment, wanted):  # another start has made it meanwhile
            return
        print(f"Installing the course into {environment}, once: a minute or a few.", flush=True)
        # Marked as begun and never as ended: what is in it may be torn anywhere.
        is_torn = _is_marked(environment, MADE) and not _is_marked(environment, INSTALLED)
        if is_torn or not _python(environment).is_file():
            create(environment, python)
        if _is_marked(
            environment, MADE
        ):  # the next start has to know where this one stopped, in an earlier lock's, too
            (environment / INSTALLED).unlink(missing_ok=True)
        install(environment, lock)
        _leave(environment, INSTALLED, wanted)  # last of all: an interrupted installation leaves none


def _is_ready(environment: Path, wanted: str) -> bool:
    if not _is_marked(environment, INSTALLED) or not _python(environment).is_file():
        return False
    return (environment / INSTALLED).read_text(encoding="utf-8", errors="replace") == wanted


def _is_marked(environment: Path, mark: str) -> bool:
    """By a plain file: a link may lead anywhere, and proves nothing."""
    return (environment / mark).is_file() and not (environment / mark).is_symlink()


def _leave(environment: Path, mark: str, text: str) -> None:
    (environment / mark).unlink(missing_ok=True)
    (environment / mark).write_text(text, encoding="utf-8")


@contextmanager
def alone(environment: Path) -> Iterator[None]:
    """One start at a time for each environment: another waits until this one ends, however it ends."""
    environment.parent.mkdir(parents=True, exist_ok=True)
    lock = environment.with_name(f"{environment.name}.lock")
    if lock.exists() and not lock.is_file():  # a pipe would not open
        raise NotOurs(f"{lock} is no plain file, and one is needed there. Let KDCOURSE_VENV name another folder.")
    with lock.open("ab") as file:
        os.set_inheritable(
            file.fileno(), True
        )  # where this process is killed, what it has started still holds the lock
        if not _locked(file):
            print("Another start is installing the course; this one waits for it.", flush=True)
            while not _locked(file):
                time.sleep(0.5)
        yield


def _locked(file: IO[bytes]) -> bool:
    """Whether this process has the lock now; the system takes it back when the file is closed, or the process killed."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks, as some networks' are: waiting for one would never end
        return True
    return True


def install(environment: Path, lock: Path) -> None:
    """What the lock pins, then the project itself, by uv; by pip from the same lock, and slower, where uv cannot be had."""
    uv = find_uv(environment)
    # Compiled once, as pip does: a Python that may not write beside its packages would do it in every process.
    by_uv = (uv, "pip", "install", "--compile-bytecode", "--python", str(_python(environment)))
    installer = by_uv if uv else (*_pip(environment), "install")
    # By names without folders: pip reads signs in a folder's name, such as [ and #, as its own.
    _run(*installer, "-r", lock.name)
    # Built with the locked hatchling, so that nothing unpinned is fetched.
    _run(*installer, "--no-deps", "--no-build-isolation", "-e", ".")


def _run(*command: str, stdout: int | None = None) -> None:
    subprocess.run(command, check=True, cwd=ROOT, close_fds=False, stdout=stdout)


def fingerprint(lock: Path = LOCK, python: str = sys.executable) -> str:
    """Changes when the lock, the project's own declaration, its place or the Python does."""
    parts = [lock.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), os.fsencode(ROOT)]
    parts.append((sys.version if python == sys.executable else python).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def refuse_others(environment: Path) -> None:
    """Raise `NotOurs` unless the folder is new, empty, or an environment that the course has made, earlier versions of it too."""
    if not os.path.lexists(environment) or (environment.is_dir() and not os.listdir(environment)):
        return
    in_place = (environment / "pyvenv.cfg").is_file() and environment.absolute().parent == ROOT
    if in_place or _is_marked(environment, MADE) or _is_marked(environment, INSTALLED):
        return
    raise NotOurs(
        f"{environment} has other things in it, and the course fills and empties only what it has made itself.\n"
        "Nothing was changed. Let KDCOURSE_VENV name a new or an empty folder, or leave it out."
    )


def clear(environment: Path) -> None:
    """Mark the folder as the course's; of a broken environment delete its parts. Raises `NotOurs` where there is more."""
    refuse_others(environment)
    environment.mkdir(parents=True, exist_ok=True)
    found = [path for path in environment.iterdir() if path.name not in (MADE, INSTALLED)]
    if others := sorted(path.name for path in found if path.name.lower() not in PARTS):
        raise NotOurs(
            f"{environment} is no whole environment any more and has to be made again, but it holds {', '.join(others[:3])}, "
            "too.\nNothing was changed. Move that elsewhere, or let KDCOURSE_VENV name a new folder."
        )
    _leave(environment, MADE, "Made by start.py, which may delete it and make it again.\n")
    for path in found:
        delete(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def delete(folder: Path) -> None:
    """Also a folder in which the last process of a start that was stopped still writes for a moment."""
    for left in range(60, -1, -1):
        try:
            return shutil.rmtree(folder)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or not left:
                raise
            time.sleep(0.5)


def create(environment: Path, python: str) -> None:
    """A virtual environment with pip; without, by uv, where the Python cannot make one, as on Debian without python3-venv."""
    clear(environment)
    try:
        if python == sys.executable:
            venv.create(environment)
        else:
            _run(python, "-m", "venv", "--without-pip", str(environment))
        # venv's own call of it would outlive a start that is killed, without holding the lock.
        _run(str(_python(environment)), "-Im", "ensurepip", "--upgrade", "--default-pip", stdout=subprocess.DEVNULL)
    except ValueError as error:  # a colon in the folder's name, which separates folders in a PATH
        raise OSError(f"{error} Let KDCOURSE_VENV name another folder") from None
    except subprocess.CalledProcessError:  # Debian's own Python lacks ensurepip
        uv = _uv_at_hand()
        if uv is None:
            raise OSError(
                "this Python makes no virtual environments (on Debian and Ubuntu: apt install python3-venv)"
            ) from None
        _run(uv, "venv", "--allow-existing", "--python", python, str(environment))


def find_uv(environment: Path) -> str | None:
    """uv from the PATH, else from the package index into the environment; None where it cannot be had."""
    if (found := _uv_at_hand()) or os.environ.get("KDCOURSE_NO_UV"):
        return found
    try:
        _run(*_pip(environment), "install", "--quiet", _pinned("uv"))
    except (subprocess.CalledProcessError, OSError):
        print("uv cannot be had here; pip installs the same versions, in a few minutes more.", flush=True)
        return None
    return str(_python(environment).with_name("uv.exe" if os.name == "nt" else "uv"))


def _uv_at_hand() -> str | None:
    return None if os.environ.get("KDCOURSE_NO_UV") else _which("uv")


def _which(name: str) -> str | None:
    """A program on the PATH, but none of the current folder, where Windows looks first: anybody's file may lie there."""
    found = shutil.which(name)
    return found if found and os.path.isabs(found) else None


def _pinned(package: str) -> str:
    """The lock's own line for a package."""
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{package}=="):
            return line.split(" ")[0]
    raise OSError(f"{LOCK.name} does not pin {package}")


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _version(python: str) -> tuple[int, ...]:
    """Of the Python at this place; empty where it does not run, as pyenv's names on the PATH may not, or does not say it."""
    try:
        done = subprocess.run(
            [python, "--version"], capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=60
        )
        return () if done.returncode else tuple(int(part) for part in done.stdout.split()[1].split(".")[:2])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _pip(environment: Path) -> list[str]:
    return [str(_python(environment)), "-m", "pip", "--disable-pip-version-check"]


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Interrupted. Run the same command again to go on.")
