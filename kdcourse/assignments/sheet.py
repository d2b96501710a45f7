"""The sheet: the notebook that students are handed, which holds no solution, and their answers read back from it."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kdcourse.assignments.processes import SECONDS
from kdcourse.assignments.tasks import ReportTask, Task, WrittenTask
from kdcourse.authoring.notebooks import KERNEL, write

ANSWER = r"#\s*Answer to ([\w-]+)"
KINDS = ("code", "markdown")
LARGEST = 10_000_000  # bytes; a notebook with pictures in its outputs stays well below
INTRODUCTION = """# Assignment {seed}

Fill the answer cells, save, and hand in this notebook. Of your code only the answer cells are run, each alone, with `torch`
and `F` (`torch.nn.functional`) at hand: a function must not lean on other cells. It is called with other tensors than yours,
and can neither import the course, nor write files, nor use the network; all answers together have {seconds:.0f} seconds.
Leave the first line of an answer cell as it is."""
DATA = """import kdcourse as kd
from kdcourse.assignments.measurement import pictures

data = pictures(seed={seed}, classes="{classes}")
teacher = kd.zoo.teacher("convnet", data)"""
WORDS = "*Your answer.*"
WORK = "# Your experiment, in as many cells as you like; its numbers go into the next one."


def hand_out(seed: int, notebook: NotebookNode, folder: Path) -> Path:
    """Write the notebook as `assignment-<seed>.ipynb` into `folder`; its path.

    Raises `ValueError` where it is there already: it may hold somebody's answers.
    """
    path = Path(folder) / f"assignment-{seed}.ipynb"
    if path.exists():
        raise ValueError(f"out must be a folder without {path.name}, got {str(folder)!r}")
    write(notebook, path)
    return path


def compose(seed: int, tasks: Iterable[Task]) -> NotebookNode:
    """The notebook to fill. An answer cell begins with a comment that names its task."""
    cells = [new_markdown_cell(INTRODUCTION.format(seed=seed, seconds=SECONDS))]
    cells.append(new_code_cell("import torch\nfrom torch.nn import functional as F"))
    for task in tasks:
        cells.append(new_markdown_cell(f"## {task.title}\n\n{task.text}"))
        if isinstance(task, ReportTask):
            data = DATA.format(seed=task.setting.data_seed, classes=task.setting.classes)
            cells += [new_code_cell(data), new_code_cell(WORK)]
        if isinstance(task, WrittenTask):
            cells.append(new_markdown_cell(WORDS))
        else:
            cells.append(new_code_cell(f"# Answer to {task.id}\n{task.stub}"))
    for number, cell in enumerate(cells):
        cell.id = f"assignment-{number:02d}"
    metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    return new_notebook(cells=cells, metadata=metadata)


def is_answer(cell: NotebookNode) -> bool:
    """Whether a task is answered there."""
    return cell.source == WORDS or (cell.cell_type == "code" and re.match(ANSWER, cell.source) is not None)


def answers(sources: Iterable[str]) -> dict[str, str]:
    """Task -> source of the code cell that answers it; where two do, the last."""
    return {match[1]: source for source in sources if (match := re.match(rf"\s*{ANSWER}", source))}


def read(path: Path) -> tuple[dict[str, str], int | None]:
    """Task -> source of the code cell that answers it, where two do, the last; and the seed that the sheet names.

    Raises `ValueError` for a file that is too large or no notebook.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(
            f"the notebook cannot be read: it is larger than {LARGEST // 1_000_000} MB, perhaps by its outputs"
        )
    try:
        cells = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]  # some editors begin a file with a mark
        code, words = (["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind] for kind in KINDS)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"the notebook cannot be read ({type(error).__name__})") from error
    titles = [int(match[1]) for text in words if (match := re.match(r"# Assignment (\d{1,18})\b", text))]
    return answers(code), titles[0] if titles else None
