#!/usr/bin/env python3
"""Two commands for a fresh machine: `python start.py lab` opens the course, `python start.py test` passes its tests.

Needs nothing but CPython 3.11 or newer. The first start makes `.venv` and installs what `requirements.lock` pins; later
starts find it done. Everything else is handed on to the `kdcourse` command: `python start.py doctor`, `… run 03`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if sys.version_info < OLDEST:
        return _fail(f"This course needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {sys.version.split()[0]}.")
    environment = Path(os.environ.get("KDCOURSE_VENV") or ROOT / ".venv")
    try:
        prepare(environment)
    except subprocess.CalledProcessError as error:
        return _fail(
            f"The installation stopped with exit code {error.returncode}; its own words are above.\n"
            "It needs the package index and about 8 GB of disk on Linux (2 GB elsewhere). Run the same command again to go on."
        )
    except OSError as error:
        return _fail(f"The installation stopped: {error}. Is there room on the disk, and may this folder be written?")
    command, *rest = arguments
    python = str(_python(environment))
    if command == "test":
        return subprocess.call([python, "-m", "pytest", *rest], cwd=ROOT)
    return subprocess.call([python, "-m", "kdcourse.cli", command, *rest], cwd=ROOT)


def prepare(environment: Path) -> None:
    """Make the environment unless it is there, whole and of this lock; what is half-made is made again."""
    stamp, wanted = environment / "kdcourse-installed", fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted and _python(environment).is_file():
        return
    print(f"Installing the course into {environment}, once: a minute or a few.", flush=True)
    uv = find_uv(environment)
    if not _python(environment).is_file():
        create(environment, uv)
    # pip's own `install` when uv cannot be had: slower, and from the same lock.
    installer = [uv, "pip", "install", "--python", str(_python(environment))] if uv else [*_pip(environment), "install"]
    subprocess.run([*installer, "-r", str(LOCK)], check=True)
    # Built with the locked hatchling, so that nothing unpinned is fetched.
    subprocess.run([*installer, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=True)
    stamp.write_text(wanted)  # last of all: an interrupted installation leaves none


def fingerprint() -> str:
    """Changes when the lock, the project's own declaration, its place or this Python does."""
    parts = [LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode(), sys.version.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def create(environment: Path, uv: str | None) -> None:
    """A virtual environment; by uv where this Python cannot give it pip, as on Debian without python3-venv."""
    try:
        venv.create(environment, with_pip=True, clear=environment.exists())
    except (subprocess.CalledProcessError, ImportError):
        if uv is None:
            raise OSError(
                "this Python makes no virtual environments (on Debian and Ubuntu: apt install python3-venv)"
            ) from None
        subprocess.run([uv, "venv", "--clear", "--python", sys.executable, str(environment)], check=True)


def find_uv(environment: Path) -> str | None:
    """uv from the PATH, else from the package index into the environment; None where it cannot be had."""
    if os.environ.get("KDCOURSE_NO_UV"):
        return None
    if found := shutil.which("uv"):
        return found
    try:
        if not _python(environment).is_file():
            create(environment, None)
        subprocess.run([*_pip(environment), "install", "--quiet", _pinned("uv")], check=True)
    except (subprocess.CalledProcessError, OSError):
        print("uv cannot be had here; pip installs the same versions, in a few minutes more.", flush=True)
        return None
    return str(_python(environment).with_name("uv.exe" if os.name == "nt" else "uv"))


def _pinned(package: str) -> str:
    """The lock's own line for a package."""
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{package}=="):
            return line.split(" ")[0]
    raise OSError(f"{LOCK.name} does not pin {package}")


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


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
