"""A sheet as nbgrader's source notebook, and what its grading cells call; nbgrader itself is not needed for either."""

from collections.abc import Iterable

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from kdcourse.assignments import marking, sheet
from kdcourse.assignments.processes import SECONDS
from kdcourse.assignments.submissions import Submission
from kdcourse.assignments.tasks import Task, WrittenTask
from kdcourse.assignments.variants import assignment

SCHEMA = 3  # of nbgrader's metadata
WORDS = 3  # points for an answer in words, which a person gives; nbgrader's toolbar changes them
REGION = "### BEGIN SOLUTION\n{indent}...\n{indent}### END SOLUTION"  # where nbgrader writes YOUR CODE HERE
GRADING = """\
# The marks of {name} are counted here.
### BEGIN HIDDEN TESTS
from kdcourse.assignments.nbgrader import marks

marks({seed}, "{name}", In)
### END HIDDEN TESTS"""


def compose(seed: int, tasks: Iterable[Task]) -> NotebookNode:
    """`sheet.compose`, whose cells nbgrader knows: answers, behind each the cell that grades it, and what stays as it is.

    A mark is a point; the answer in words has `WORDS`. No cell holds a solution.
    """
    waiting, cells = iter(tasks), []
    notebook = sheet.compose(seed, tasks)
    for cell in notebook.cells:
        cells.append(cell)
        if not sheet.is_answer(cell):
            if cell.source != sheet.WORK:
                _tag(cell, cell.id, locked=True)
            continue
        task = next(waiting)
        if isinstance(task, WrittenTask):
            _tag(cell, task.id, grade=True, solution=True, points=WORDS)
            continue
        _tag(cell, task.id, solution=True)
        indent = "    " if cell.source.endswith("    ...") else ""
        cell.source = cell.source.removesuffix("...") + "\n" * (not indent) + REGION.format(indent=indent)
        grading = new_code_cell(GRADING.format(seed=seed, name=task.id), id=f"{cell.id}-marks")
        _tag(grading, f"{task.id}-marks", grade=True, locked=True, points=len(task.checks))
        cells.append(grading)
    notebook.cells = cells
    return notebook


def marks(seed: int, name: str, cells: Iterable[str]) -> int:
    """How many checks the answer among these cells passes, run apart as `kdcourse mark` runs it; prints what is missed.

    seed, name: of the task. cells: what a notebook has run, such as its `In`; of two answers the last counts.
    """
    found = marking.marked(list(assignment(seed, [name])), Submission(name, answers=sheet.answers(cells)), SECONDS)
    for line in marking.missed(found):
        print(line)
    return found["marks"]


def _tag(cell: NotebookNode, name: str, **settings: object) -> None:
    kinds = {"grade": False, "locked": False, "solution": False, "task": False}
    cell.metadata["nbgrader"] = NotebookNode(kinds | {"schema_version": SCHEMA, "grade_id": name} | settings)
