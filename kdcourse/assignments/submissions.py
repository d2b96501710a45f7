"""What was handed in: every file, whether it can be marked, and what a person should look at beside the marks."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kdcourse.assignments import sheet
from kdcourse.assignments.tasks import FunctionTask, Task

ARCHIVES = {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
# What file managers, browsers and people add to the name of a second file.
AGAIN = r"([\s_.-]*(\(\d+\)|copy( \d+)?|final|new|v\d+))+$"
ALIKE = 2  # answers that are equal word for word: one short line may well be
NAMED = 5  # submissions in one flag


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
    paths = sorted(_below(place)) if place.is_dir() else [place]
    if not paths or (not place.is_dir() and not (_is_notebook(place) and place.is_file())):
        raise ValueError(f"place must be a notebook, or a folder that holds some, got {str(place)!r}")
    return [_read(path, path.relative_to(base).as_posix()) for path in paths]


def _below(folder: Path) -> Iterator[Path]:
    """What is in a folder and in its folders, however deep, but for hidden ones; of these folders, those that do not open."""
    folders = [folder]
    while folders:
        folder = folders.pop()
        try:
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
            within = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # not permitted, or a path longer than the system's limit
            yield folder
            continue
        folders += within
        yield from {Path(entry.path) for entry in entries}.difference(within)


def _read(path: Path, name: str) -> Submission:
    if os.path.islink(path):
        return Submission(name, "a link, which is not followed")
    if not os.path.isfile(path):  # a pipe has no end
        return Submission(name, "neither a plain file nor a folder that opens")
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
    tasks = list(tasks)
    readable = [one for one in submissions if not one.error]
    texts = {one.name: _texts(one, tasks) for one in readable}
    sharing, owned = defaultdict(list), defaultdict(list)
    for one in readable:
        owned[_owner(one)].append(one.name)
        for text in texts[one.name]:
            sharing[text].append(one.name)
    found = {one.name: [] for one in submissions}
    for one in readable:
        notes = found[one.name]
        if one.seed not in (None, seed):
            notes.append(f"it is assignment {one.seed}, marked as {seed}")
        answers = [(task.id, one.answers.get(task.id, "")) for task in tasks]
        notes += [f"{name}: asks for the course" for name, text in answers if re.search(r"\bkdcourse\b|\bkd\.", text)]
        equal = Counter(other for text in texts[one.name] for other in sharing[text] if other != one.name)
        for count in range(len(tasks), ALIKE - 1, -1):
            if names := [other for other, number in equal.items() if number == count]:
                notes.append(f"{count} answers are word for word those of {_listed(names)}")
        if names := [other for other in owned[_owner(one)] if other != one.name]:
            notes.append(f"perhaps of the same student as {_listed(names)}")
    return found


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _owner(submission: Submission) -> tuple[str, str]:
    """The folder, and the file's name without what marks a second one."""
    path = Path(submission.name)
    return path.parent.as_posix(), re.sub(AGAIN, "", path.stem.lower())


def _texts(submission: Submission, tasks: Iterable[Task]) -> set[tuple[str, str]]:
    """The functions' tasks with their answers' text, but for blank ones and the published solution."""
    functions = [task for task in tasks if isinstance(task, FunctionTask)]
    texts = [(task, _text(submission.answers.get(task.id, ""))) for task in functions]
    return {
        (task.id, text) for task, text in texts if text not in ("", _text(task.stub)) and not task.is_published(text)
    }


def _text(source: str) -> str:
    """Without the line that names the task, and without the spaces at lines' ends."""
    lines = [line.rstrip() for line in source.strip().splitlines()]
    return "\n".join(line for line in lines if not re.match(sheet.ANSWER, line))
