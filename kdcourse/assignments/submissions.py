"""What was handed in: every file, whether it can be marked, and what a person should look at beside the marks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from kdcourse.assignments import sheet
from kdcourse.assignments.tasks import FunctionTask, Task

ARCHIVES = {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
# What file managers, browsers and people add to the name of a second file.
AGAIN = r"([\s_.-]*(\(\d+\)|copy( \d+)?|final|new|v\d+))+$"
ALIKE = 2  # answers that are equal word for word: one short line may well be


@dataclass(frozen=True)
class Submission:
    """A file that was handed in. name: its path below the folder. error: why it is not marked, "" where it is.

    answers: task -> source of its cell. seed: that the sheet names, None where it names none.
    """

    name: str
    error: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    seed: int | None = None


def handed_in(place: Path) -> list[Submission]:
    """The notebook itself, or every file in a folder and in its folders, by name; hidden ones are left out.

    Raises `ValueError` for a file that is no notebook, and a folder without files.
    """
    place = Path(place)
    base = place if place.is_dir() else place.parent
    paths = sorted(place.rglob("*")) if place.is_dir() else [place]
    paths = [path for path in paths if path.is_symlink() or path.is_file()]
    paths = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(base).parts)]
    if not paths or (not place.is_dir() and not _is_notebook(place)):
        raise ValueError(f"place must be a notebook, or a folder that holds some, got {str(place)!r}")
    return [_read(path, path.relative_to(base).as_posix()) for path in paths]


def _read(path: Path, name: str) -> Submission:
    if path.is_symlink():
        return Submission(name, "a link, which is not followed")
    if path.suffix.lower() in ARCHIVES:
        return Submission(name, "an archive: unpack it first")
    if not _is_notebook(path):
        return Submission(name, "no notebook")
    try:
        answers, seed = sheet.read(path)
    except ValueError as error:
        return Submission(name, str(error))
    return Submission(name, "", answers, seed)


def _is_notebook(path: Path) -> bool:
    return path.suffix.lower() == ".ipynb"


def flags(submissions: Iterable[Submission], seed: int, tasks: Iterable[Task]) -> dict[str, list[str]]:
    """Submission's name -> what a person should look at: another variant, a second file, equal answers, a use of the course."""
    found = {one.name: [] for one in submissions}
    readable = [one for one in submissions if not one.error]
    functions = [task for task in tasks if isinstance(task, FunctionTask)]
    for one in readable:
        if one.seed not in (None, seed):
            found[one.name].append(f"it is assignment {one.seed}, marked as {seed}")
        asking = [task for task, source in one.answers.items() if re.search(r"\bkdcourse\b|\bkd\.", source)]
        found[one.name] += [f"{task}: asks for the course" for task in asking]
    for one, other in combinations(readable, 2):
        notes = ["perhaps of the same student as {}"] if _owner(one) == _owner(other) else []
        if (alike := sum(_is_alike(task, one, other) for task in functions)) >= ALIKE:
            notes.append(f"{alike} answers are word for word those of {{}}")
        for note in notes:
            found[one.name].append(note.format(other.name))
            found[other.name].append(note.format(one.name))
    return found


def _owner(submission: Submission) -> tuple[str, str]:
    """The folder, and the file's name without what marks a second one."""
    path = Path(submission.name)
    return path.parent.as_posix(), re.sub(AGAIN, "", path.stem.lower())


def _is_alike(task: FunctionTask, one: Submission, other: Submission) -> bool:
    """Whether two answers are the same text, which is neither the blank one nor the published solution."""
    mine, theirs = (_text(submission.answers.get(task.id, "")) for submission in (one, other))
    return mine == theirs not in ("", _text(task.stub)) and not task.is_published(mine)


def _text(source: str) -> str:
    """Without the line that names the task, and without the spaces at lines' ends."""
    lines = [line.rstrip() for line in source.strip().splitlines()]
    return "\n".join(line for line in lines if not re.match(sheet.ANSWER, line))
