"""Marks for a class. Verdicts are reached here, where no line of a student's code ever runs.

A submission's answers run in a process of their own, which gets arguments drawn anew and sends values back; here they are
compared with the reference's. What an answer does to its process can cost it marks and win none: no reference is in it. But
the references are public, like all of the course: an answer that is one of them in other words is named, and keeps its marks.
Whether an answer is a student's own is for a person to see.
"""

import csv
import io
import secrets
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from kdcourse.assignments.processes import SECONDS, run_answers
from kdcourse.assignments.submissions import Submission, flags, handed_in
from kdcourse.assignments.tasks import Check, Task
from kdcourse.assignments.variants import assignment


def mark(place: Path, seed: int, names: Iterable[str] | None = None, *, seconds: float = SECONDS) -> list[dict]:
    """Mark a notebook, or every notebook in a folder: a row for each.

    seed, names: as the assignment was made with. seconds: for one submission's answers, once their process is ready;
    after an answer that runs out of time, those behind it get as many again.
    A row holds `submission`, its path below the folder; `marks` of `out_of`; `error`, why it is not marked, else ""; `tasks`,
    each with `id`, its `checks` (`name`, `passed`, `note`), and `published`: whether it equals the published solution; and
    `flags`, what else to look at. Raises `ValueError` for bad arguments and a place where nothing was handed in.
    """
    from tqdm.auto import tqdm

    if not seconds > 0:  # nor NaN, which no clock reaches
        raise ValueError(f"seconds must be more than 0, got {seconds}")
    tasks = [task for task in assignment(seed, names) if task.checks]
    found = handed_in(place)  # all of them, before anybody's code runs
    flagged = flags(found, seed, tasks)
    bar = tqdm(found, desc="marking", unit="submission", leave=False, disable=None)
    return [{"submission": one.name, **marked(tasks, one, seconds), "flags": flagged[one.name]} for one in bar]


def marked(tasks: list[Task], submission: Submission, seconds: float) -> dict:
    """A submission's `marks`, `out_of`, `error` and `tasks`, as `mark` says; seconds: for its answers."""
    given = submission.answers
    seeds = {task.id: secrets.randbits(32) for task in tasks}  # so that no answer knows its arguments beforehand
    jobs = {task.id: task.job(seeds[task.id]) | {"code": given[task.id]} for task in tasks if task.id in given}
    replies = dict(zip(jobs, run_answers(list(jobs.values()), seconds), strict=True))
    missing = {"error": "no answer cell"}
    marked = {task.id: _checks(task, replies.get(task.id, missing), seeds[task.id]) for task in tasks}
    passed = [check.passed for checks in marked.values() for check in checks]
    published = {task.id: task.is_published(given.get(task.id, "")) for task in tasks}
    rows = [
        {"id": name, "checks": [asdict(check) for check in checks], "published": published[name]}
        for name, checks in marked.items()
    ]
    return {"marks": sum(passed), "out_of": len(passed), "error": submission.error, "tasks": rows}


def as_csv(rows: list[dict]) -> str:
    """A class as one table for a spreadsheet: a line for each submission, a column for each check, 1 or 0.

    A submission that is not marked has a reason and no marks. What begins like a formula gets an apostrophe, as spreadsheets
    ask for it, and stays text: names of files and what they hold are the students'.
    """
    text = io.StringIO()
    table = csv.writer(text)
    names = [f"{task['id']}: {check['name']}" for task in rows[0]["tasks"] for check in task["checks"]]
    table.writerow(["submission", "marks", "out of", *names, "missed", "to look at", "not marked because"])
    for row in rows:
        checks = [int(check["passed"]) for task in row["tasks"] for check in task["checks"]]
        found = [row["marks"], row["out_of"], *checks, "; ".join(missed(row))]
        marks = ["", row["out_of"], *[""] * (len(names) + 1)] if row["error"] else found
        table.writerow(map(_no_formula, [row["submission"], *marks, "; ".join(to_look_at(row)), row["error"]]))
    return text.getvalue()


def missed(row: dict) -> list[str]:
    """A line for each check that a submission does not pass, of a row that `mark` gives."""
    failed = [(task["id"], check) for task in row["tasks"] for check in task["checks"] if not check["passed"]]
    return [f"{task}, {check['name']}: {check['note']}" for task, check in failed]


def to_look_at(row: dict) -> list[str]:
    """What a person should see beside the marks: published solutions, and the submission's flags."""
    return [f"{task['id']}: equals the published solution" for task in row["tasks"] if task["published"]] + row["flags"]


def _no_formula(cell: object) -> str:
    text = "".join(sign if sign.isprintable() else " " for sign in str(cell))
    return f"'{text}" if text.startswith(("=", "+", "-", "@", " ")) else text


def _checks(task: Task, reply: dict, seed: int) -> list[Check]:
    """All checks of one task, none passed where the answer gave no values."""
    if "error" in reply:
        return [Check(name, False, reply["error"]) for name in task.checks]
    return task.judge(reply["found"], seed)
