"""The labs in a student's folder: written where they are missing, and never over what the student has changed."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import kdcourse
from kdcourse.authoring.notebooks import BADGE, NOTEBOOKS, in_checkout
from kdcourse.system.storage import shipped, write_safely

FOLDER = "kdcourse-labs"
RECORD = ".kdcourse-labs.json"  # file -> the hash of the course's own version of it that was given out last


@dataclass
class Handout:
    """Names of files: newly written, with a newer version that was not brought, renewed, set beside a changed one."""

    written: list[str] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)


def choose_folder(named: str | None = None) -> Path:
    """Where the labs are opened: the named folder; else the checkout's own, if there is one that may be written.

    Else the current folder where the labs are in it already, and `kdcourse-labs` in it where they are not.
    """
    if named:
        return Path(named).expanduser().resolve()
    if in_checkout() and os.access(NOTEBOOKS, os.W_OK):
        return NOTEBOOKS
    here = Path.cwd()
    return here if (here / RECORD).is_file() else here / FOLDER


def hand_out(folder: Path, *, update: bool = False) -> Handout:
    """Write the labs that are missing in a folder, and what they show and link to. What is there stays as it is.

    update: bring newer versions, too: in place of a file that nobody has changed, else beside it, with the version in its name.
    Raises `OSError` where the folder cannot be read or written.
    """
    given, done = _given(folder), Handout()
    known = dict(given)
    for name, content in _files():
        target, wanted, last = folder / name, _hash(content), given.get(name)
        found = _hash(target.read_bytes()) if os.path.lexists(target) else None
        is_new = found is not None and wanted not in (
            found,
            last,
        )  # else it is as it comes, or a student has changed it since
        if is_new and not update:
            done.newer.append(name)
            continue
        known[name] = wanted
        if found is None:
            done.written.append(name)
        elif is_new and found == last:
            done.renewed.append(name)
        elif is_new:
            target = target.with_stem(f"{target.stem}-{kdcourse.__version__}")
            done.beside.append(target.name)
        if target.name in done.renewed or not os.path.lexists(target):
            write_safely(target, lambda path, content=content: path.write_bytes(content))
    if known != given:
        text = json.dumps(known, indent=1) + "\n"
        write_safely(folder / RECORD, lambda path: path.write_text(text, encoding="utf-8"))
    return done


def _files() -> Iterator[tuple[str, bytes]]:
    """Name and content of each lab, of the badge that it shows, and of the glossary that it links to: all in one folder."""
    for lab in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        yield lab.name, lab.read_bytes().replace(b"](../docs/glossary.md)", b"](glossary.md)")
    for path in (NOTEBOOKS / BADGE, shipped("docs") / "glossary.md"):
        yield path.name, path.read_bytes()


def _given(folder: Path) -> dict[str, str]:
    """What the record says; nothing where there is none, or none that can be read: then every file counts as changed."""
    try:
        read = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()
