"""The command that starts an answer's process: how little of the machine it sees.

| with | what an answer sees |
|---|---|
| bubblewrap | Python, the installed packages without the course, system libraries; its own processes; nothing else |
| `unshare` alone | its own processes; all files but the course's own and the folders of other programs' sockets |
| neither | everything; `import kdcourse` is refused, and whoever looks for a way around finds one |

In none of them does the process hold a reference: it runs copies of the files in `LENT`, which know none, and not one other
file of the course. What an answer can do all the same, `processes.liberties` finds out by trying.
"""

import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
LENT = ("assignments/runner.py", "assignments/confinement.py", "exercises/probing.py", "system/generators.py")
# The lent files come first, in a folder of their own; no `.pth` file is read, which might lead to the course.
START = "import sys; sys.path[:] = [sys.argv[1], *sys.path, *sys.argv[2:]]; "
START += "from kdcourse.assignments.runner import main; main()"
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/nix/store")
WITHOUT_BUBBLEWRAP = (
    "bubblewrap, which keeps students' code from seeing your files and processes, is not here or does not work: on Linux, "
    "install the package `bubblewrap`; elsewhere, mark on a machine that holds nothing else."
)
BUBBLEWRAP = ("bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
UNSHARE = (
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--net",
    "--ipc",
    "--pid",
    "--fork",
    "--kill-child=SIGKILL",
)


def command(lent: Path) -> list[str]:
    """What starts `runner.py` from the folder that `lend` has filled, in the smallest view that this machine grants."""
    python = [_python(), "-I", "-S", "-B", "-c", START]
    if means() == "bwrap":
        return [*_bubblewrap(lent), *python, "/answers", *map(str, _packages())]
    return [*(UNSHARE if means() == "unshare" else ()), *python, str(lent), *map(str, _packages())]


def means() -> str:
    """What keeps an answer's process apart on this machine: "bwrap", "unshare", or "" where neither works."""
    return next(filter(works, ("bwrap", "unshare")), "")


@cache
def works(name: str) -> bool:
    """Whether "bwrap" or "unshare" does here what is asked of it, found by trying once; bubblewrap, with PyTorch within."""
    if sys.platform != "linux" or not shutil.which(name):
        return False
    within = [_python(), "-I", "-S", "-c", "import sys; sys.path += sys.argv[1:]; import torch", *map(str, _packages())]
    trial = [*_bubblewrap(PACKAGE), *within] if name == "bwrap" else [*UNSHARE, "true"]
    return subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def lend(folder: Path) -> None:
    """Copy what an answer's process needs of the course."""
    for name in LENT:
        copy = folder / "kdcourse" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / name, copy)


def hidden() -> list[str]:
    """Folders of the course, for `unshare`, which leaves other files in sight: the environment alone stays."""
    kept = [*_packages(), Path(_python())]
    parts = (
        [path for path in _home().iterdir() if path.is_dir() and not path.is_symlink()] if _home() != PACKAGE else []
    )
    parts = [path for path in parts if not any(place.is_relative_to(path) for place in kept)]
    return [str(path) for path in (*parts, *_copies(_packages()))]


def _bubblewrap(lent: Path) -> list[str]:
    base = Path(sys.base_prefix).resolve()
    libraries = [Path(name) for name in LIBRARIES] + [base / "lib", base / "lib64", Path(_python())]
    shown = [part for path in libraries for part in ("--ro-bind-try", str(path), str(path))]
    if any(_home().is_relative_to(path) for path in libraries):
        shown += _emptied(_home())
    shown += [part for path in _packages() for part in ("--ro-bind", str(path), str(path))]
    shown += [part for path in _copies([*libraries, *_packages()]) for part in _emptied(path)]
    own = ["--ro-bind", str(lent), "/answers", "--proc", "/proc", "--dev", "/dev"]
    return [*BUBBLEWRAP, *shown, *own, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def _emptied(path: Path) -> list[str]:
    return ["--tmpfs", str(path), "--remount-ro", str(path)]


def _home() -> Path:
    """The folder that the course came in: its own, where it is installed among other packages."""
    return PACKAGE if PACKAGE.parent in _packages() else PACKAGE.parent


def _python() -> str:
    """The interpreter itself: an environment's own is a link to it."""
    return str(Path(getattr(sys, "_base_executable", "") or sys.executable).resolve())


def _packages() -> list[Path]:
    """The folders that packages are installed in, PyTorch's first."""
    torch = Path(importlib.util.find_spec("torch").origin).parents[1]
    named = [Path(place) for place in sys.path if place.endswith("-packages")]
    return list(dict.fromkeys(path.resolve() for path in (torch, *named) if path.is_dir()))


def _copies(places: list[Path]) -> list[Path]:
    """Installed copies of the course within these folders, for whichever Python."""
    patterns = ("kdcourse*", "python*/*-packages/kdcourse*")
    found = {path.resolve() for place in places if place.is_dir() for glob in patterns for path in place.glob(glob)}
    return sorted(path for path in found if path.is_dir())
