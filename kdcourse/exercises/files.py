"""A Python file of a student's own, whose functions have the names that exercises ask for: a lab's cells without a notebook."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from kdcourse.exercises.engine import all_exercises
from kdcourse.exercises.verdicts import raised

NAME = "answers"  # of the module; not "__main__", so that a file's own try-outs stay out of it


def answers_in(path: Path) -> dict[str, Callable]:
    """Run the file with the rights of who calls, and find its own functions: exercise's identity -> answer, in the labs' order.

    It finds `torch`, `nn` and `F` without an import, as a lab's cell does, and its folder's modules, as a script does.
    Raises `ValueError` for what is no Python file, does not run to its end, or defines no exercise's function.
    """
    path = Path(path)
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"file must be a Python file, such as answers.py, got {str(path)!r}")
    defined = _run(path)
    found = {identity: defined.get(card.name) for identity, card in sorted(all_exercises().items())}
    answers = {identity: answer for identity, answer in found.items() if getattr(answer, "__module__", None) == NAME}
    if not answers:
        names = ", ".join(f"{card.name} ({identity[:2]})" for identity, card in sorted(all_exercises().items()))
        raise ValueError(f"{path.name} must define a function called as an exercise asks: {names}")
    return answers


def _run(path: Path) -> dict[str, object]:
    sys.path.insert(0, str(path.resolve().parent))
    try:
        return runpy.run_path(str(path), {"torch": torch, "nn": nn, "F": F}, run_name=NAME)
    except (Exception, SystemExit) as error:  # whatever a student's code may raise is theirs to read, in one line
        raise ValueError(f"{path.name} stopped{raised(error, str(path))}") from error
    finally:
        del sys.path[0]
