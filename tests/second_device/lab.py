"""A lab's cells on the second device, shortened: does any of them mix devices, and where does the host wait?

    python -m tests.second_device.lab 04

prints each cell that fails, with the line of the package, and the lines that make the host wait within a training step.
A process runs one lab: what shortens training is put in place before the course's other rooms are imported.
"""

import ast
import contextlib
import functools
import io
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


from tests.second_device import device

STEPS, SEEDS = 3, 2
BUILT_IN = {"KDCOURSE_DATASET": "glyphs", "KDCOURSE_TEXTS": "reviews"}
BUILT_IN |= {"KDCOURSE_PICTURES": "glyph-pictures", "KDCOURSE_CHARACTERS": "plays"}


@dataclass(frozen=True)
class Failure:
    """A cell that raised. line: the cell's own. package_line: the innermost of kdcourse, "" for none."""

    cell: int
    error: str
    line: str
    package_line: str

    def __str__(self) -> str:
        return f"cell {self.cell}: {self.error}\n    {self.line}\n    {self.package_line}"


@dataclass(frozen=True)
class Outcome:
    """What a lab's cells did. steps: how many training steps. waits: within them, line of kdcourse -> how often."""

    failures: list[Failure] = field(default_factory=list)
    waits: Counter[str] = field(default_factory=Counter)
    steps: list[int] = field(default_factory=list)


def run_lab(number: str | int, **settings) -> Outcome:
    """Run the code cells of a lab's source in this process, exercises left blank.

    settings: the device's, as in `device.present`. What a lab asserts and claims of its results need not hold after a few
    steps, so an `AssertionError` is no failure.
    """
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder, device.present(**settings):
        os.environ.update(KDCOURSE_PROGRESS=f"{folder}/progress.sqlite", KDCOURSE_RESULTS=folder)
        os.environ.update({name: os.environ.get(name, chosen) for name, chosen in BUILT_IN.items()})
        _shorten(outcome)
        from kdcourse.authoring import notebooks

        cells = notebooks.jupytext.read(notebooks.lab(number).source, fmt="py:percent").cells
        os.chdir(folder)
        shell = _shell()
        for position, cell in enumerate(cells):
            if cell.cell_type == "code" and (error := _error_of(shell, cell.source)):
                outcome.failures.append(_failure(position, error))
        os.chdir(notebooks.ROOT)
    return outcome


def _shorten(outcome: Outcome) -> None:
    """Few steps for every training, few seeds for every comparison; the waits of each step are counted."""
    from kdcourse import training
    from kdcourse.training import finetuning, loop

    training.train = loop.train = _with_few_steps(loop.train)
    finetuning.finetune = _with_few_steps(finetuning.finetune)
    loop.step = _watched(loop.step, outcome)
    from kdcourse.evaluation import intervals
    from kdcourse.experiments import experiment

    experiment.compare = _with_few_seeds(experiment.compare)
    intervals.claim = lambda *args, **settings: None


def _with_few_steps(train: Callable) -> Callable:
    @functools.wraps(train)
    def shortened(*args, steps: int, **settings):
        return train(*args, steps=min(steps, STEPS), **settings)

    return shortened


def _with_few_seeds(compare: Callable) -> Callable:
    @functools.wraps(compare)
    def shortened(*args, seeds=SEEDS, **settings):
        # Where a lab names its seeds, it counts on them.
        return compare(*args, seeds=min(seeds, SEEDS) if isinstance(seeds, int) else seeds, **settings)

    return shortened


def _watched(step: Callable, outcome: Outcome) -> Callable:
    @functools.wraps(step)
    def watched(*args):
        before = device.waits.copy()
        step(*args)
        outcome.waits.update(device.waits - before)
        outcome.steps.append(1)

    return watched


def _shell():
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    shell.ast_transformers.append(_WithoutAssertions())
    return shell


class _WithoutAssertions(ast.NodeTransformer):
    """What is asserted is still computed, but need not hold."""

    def visit_Assert(self, node: ast.Assert) -> ast.Expr:
        return ast.copy_location(ast.Expr(node.test), node)


def _error_of(shell, source: str) -> BaseException | None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = shell.run_cell(source)
    error = result.error_before_exec or result.error_in_exec
    return None if isinstance(error, AssertionError) else error


def _failure(position: int, error: BaseException) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.line for frame in frames if "ipython-input" in frame.filename]
    package = [frame for frame in frames if frame.filename.startswith(str(device.PACKAGE))]
    where = f"{package[-1].filename}:{package[-1].lineno} {package[-1].line}" if package else ""
    return Failure(position, f"{type(error).__name__}: {str(error)[:300]}", own[-1] if own else "", where)


if __name__ == "__main__":
    found = run_lab(sys.argv[1])
    print(*found.failures, sep="\n")
    print(f"{len(found.steps)} steps; the host waits in them at {dict(found.waits) or 'no line'}")
    sys.exit(bool(found.failures))
