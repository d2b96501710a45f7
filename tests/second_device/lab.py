"""A lab's cells on the second device, shortened: does any of them mix devices, and where does the host wait?

    python -m tests.second_device.lab 04

prints each cell that fails, with the line of the package, and the lines that make the host wait within a training step.
`run_whole` runs them on a real GPU, as they are.
"""

import ast
import contextlib
import functools
import inspect
import io
import os
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest import mock

from tests.second_device import device, rules

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

STEPS, SEEDS, REPEATS, LETTERS = 2, 2, 1, 8
TRAINER_STEPS = 8  # of a Trainer, which logs every fourth
BUILT_IN = {"KDCOURSE_DATASET": "glyphs", "KDCOURSE_TEXTS": "reviews"}
BUILT_IN |= {"KDCOURSE_PICTURES": "glyph-pictures", "KDCOURSE_CHARACTERS": "plays"}
PICTURES = {"train": 30_000, "validation": 2_000, "test": 1_000}
SENTENCES = {"train": 3_000, "validation": 300, "test": 300}
TRANSFER = 1_000  # sentences that lab 09's teacher reads
CHARACTERS = 100_000


@dataclass(frozen=True)
class Failure:
    """A cell that raised. line: the cell's own. package_line: the innermost of kdcourse, "" for none."""

    cell: int
    error: str
    line: str
    package_line: str

    def __str__(self) -> str:
        return f"cell {self.cell}: {self.error}\n    {self.line}\n    {self.package_line}"


@dataclass
class Outcome:
    """What a lab's cells did. waits: within training steps, line of a library -> how often. steps: how many there were.

    seconds: of all cells.
    plans: the seconds of each comparison at full size, by arithmetic on its real steps and seeds. at_full_size: how many ran.
    """

    failures: list[Failure] = field(default_factory=list)
    waits: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    seconds: float = 0.0
    plans: list[float] = field(default_factory=list)
    at_full_size: int = 0


def run_lab(number: str | int, **settings) -> Outcome:
    """Run the code cells of a lab's source in this process, exercises left blank.

    settings: the device's, as in `device.present`. What a lab asserts and claims of its results need not hold after a few
    steps, and is passed over.
    """
    outcome = Outcome()
    with device.present(**settings), _small_data(), shortened(outcome):
        _run_cells(number, outcome, [_WithoutAssertions()])
    outcome.failures = [one for one in outcome.failures if not one.error.startswith("AssertionError")]
    return outcome


def run_whole(number: str | int) -> Outcome:
    """Run a lab as it is, on the device that the course chooses, on the built-in data; what it asserts must hold."""
    outcome = Outcome()
    with mock.patch.dict(os.environ, BUILT_IN), watched_steps(outcome):
        _run_cells(number, outcome, [])
    return outcome


def shown_code(number: str | int, word: str) -> str:
    """The one block of code with this word in it that a lab shows in its text, to be run elsewhere."""
    from kdcourse.authoring import notebooks

    source = re.sub(r"^# ?", "", notebooks.lab(number).source.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (found,) = [code for code in re.findall(r"```python\n(.*?)```", source, re.DOTALL) if word in code]
    return found


def _run_cells(number: str | int, outcome: Outcome, transformers: list[ast.NodeTransformer]) -> None:
    from kdcourse.authoring import notebooks

    cells = notebooks.jupytext.read(notebooks.lab(number).source, fmt="py:percent").cells
    started = time.perf_counter()
    with _own_folder(), _shell(transformers) as shell:
        for position, cell in enumerate(cells):
            if cell.cell_type == "code" and (error := _error_of(shell, cell.source)):
                outcome.failures.append(_failure(position, error))
    outcome.seconds = time.perf_counter() - started


@contextmanager
def _small_data() -> Iterator[None]:
    """The built-in data, whatever the user's are, and few of them."""
    from kdcourse.data import characters, images, texts
    from kdcourse.studies import lab_09

    def forget() -> None:
        for module in (images, texts, characters):
            module._load.cache_clear()

    with ExitStack() as stack:
        stack.callback(forget)
        stack.enter_context(mock.patch.dict(os.environ, BUILT_IN))
        stack.enter_context(mock.patch.dict(images.GLYPHS, PICTURES))
        stack.enter_context(mock.patch.dict(texts.BUILT_IN, SENTENCES))
        stack.enter_context(mock.patch.object(characters, "BUILT_IN", CHARACTERS))
        stack.enter_context(mock.patch.object(lab_09, "TRANSFER", TRANSFER))
        forget()
        yield


@contextmanager
def _own_folder() -> Iterator[None]:
    """A working folder that goes away, with what the lab writes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        places = {"KDCOURSE_PROGRESS": f"{folder}/progress.sqlite", "KDCOURSE_RESULTS": folder}
        with mock.patch.dict(os.environ, places):
            yield


@contextmanager
def shortened(outcome: Outcome) -> Iterator[None]:
    """Few steps for every training, few seeds for every comparison; the waits of each step are counted in `outcome`.

    A draft of few steps is refused at nearly every letter, so it writes few.
    """
    from kdcourse.evaluation import intervals, measure, speculative
    from kdcourse.experiments import experiment, full_size
    from kdcourse.training import finetuning, loop

    replacements = {
        loop.train: _at_most(loop.train, steps=STEPS),
        finetuning.finetune: _at_most(finetuning.finetune, steps=STEPS),
        experiment.compare: _at_most(experiment.compare, seeds=SEEDS),
        speculative.speculate: _at_most(speculative.speculate, length=LETTERS),
        measure.seconds: functools.partial(_measured, measure.seconds),
        full_size.planned: _noted(full_size.planned, outcome),
        full_size.at_full_size: _counted(full_size.at_full_size, outcome),
        intervals.claim: lambda *args, **settings: None,
    }
    with watched_steps(outcome), _swapped(replacements), _short_trainers():
        yield


@contextmanager
def _short_trainers() -> Iterator[None]:
    from transformers import Trainer

    whole = Trainer.train

    @functools.wraps(whole)
    def short(trainer, *args, **settings):
        trainer.args.max_steps = min(trainer.args.max_steps, TRAINER_STEPS)  # -1: by epochs
        return whole(trainer, *args, **settings)

    with mock.patch.object(Trainer, "train", short):
        yield


@contextmanager
def watched_steps(outcome: Outcome) -> Iterator[None]:
    """Steps of every training are counted in `outcome`, and the lines that make the host wait in them."""
    from kdcourse.training import loop, trainer

    trainers = trainer.DistillationTrainer
    training_step = _watched(trainers.training_step, outcome)
    with (
        mock.patch.object(trainers, "training_step", training_step),
        _swapped({loop.step: _watched(loop.step, outcome)}),
    ):
        yield


@contextmanager
def _swapped(replacements: dict[Callable, Callable]) -> Iterator[None]:
    with ExitStack() as stack:
        for original, replacement in replacements.items():
            _swap(original, replacement)
            stack.callback(_swap, replacement, original)
        yield


def _swap(original: Callable, replacement: Callable) -> None:
    """In every module of the course that has imported it by name; what is imported later imports the replacement."""
    for name, module in list(sys.modules.items()):
        if name.startswith("kdcourse."):
            for attribute, value in list(vars(module).items()):
                if value is original:
                    setattr(module, attribute, replacement)


def _at_most(function: Callable, **most: int) -> Callable:
    """The function, with these settings cut. Where a lab names its seeds, it counts on them."""

    signature = inspect.signature(function)

    @functools.wraps(function)
    def cut(*args, **settings):
        call = signature.bind(*args, **settings)
        for name, value in most.items():
            given = call.arguments.get(name, value)
            call.arguments[name] = min(given, value) if isinstance(given, int) else given
        return function(*call.args, **call.kwargs)

    return cut


def _measured(seconds: Callable, run: Callable[[], object], *args, **settings) -> float:
    return seconds(run, repeats=REPEATS, warm_up=0)


def _watched(step: Callable, outcome: Outcome) -> Callable:
    @functools.wraps(step)
    def watched(*args, **kwargs):
        before = rules.waits.copy()
        result = step(*args, **kwargs)
        outcome.waits.update(rules.waits - before)
        outcome.steps += 1
        return result

    return watched


def _noted(planned: Callable[..., float], outcome: Outcome) -> Callable[..., float]:
    @functools.wraps(planned)
    def noted(*args, **settings):
        outcome.plans.append(planned(*args, **settings))
        return outcome.plans[-1]

    return noted


def _counted(at_full_size: Callable, outcome: Outcome) -> Callable:
    @functools.wraps(at_full_size)
    def counted(*args, **settings):
        found = at_full_size(*args, **settings)
        outcome.at_full_size += found is not None
        return found

    return counted


@contextmanager
def _shell(transformers: list[ast.NodeTransformer]) -> Iterator["InteractiveShell"]:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    # The shell's name space takes the place of this process's own.
    main = sys.modules["__main__"]
    try:
        shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
        shell.ast_transformers += transformers
        yield shell
    finally:
        InteractiveShell.clear_instance()
        sys.modules["__main__"] = main


class _WithoutAssertions(ast.NodeTransformer):
    """What is asserted is still computed, but need not hold."""

    def visit_Assert(self, node: ast.Assert) -> ast.Expr:
        return ast.copy_location(ast.Expr(node.test), node)


def _error_of(shell, source: str) -> BaseException | None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = shell.run_cell(source)
    return result.error_before_exec or result.error_in_exec


def _failure(position: int, error: BaseException) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.line for frame in frames if "ipython-input" in frame.filename]
    package = [frame for frame in frames if frame.filename.startswith(str(rules.PACKAGE))]
    where = f"{package[-1].filename}:{package[-1].lineno} {package[-1].line}" if package else ""
    return Failure(position, f"{type(error).__name__}: {str(error)[:300]}", own[-1] if own else "", where)


if __name__ == "__main__":
    found = run_lab(sys.argv[1])
    print(*found.failures, sep="\n")
    print(f"{found.steps} steps; the host waits in them at {dict(found.waits) or 'no line'}")
    print(f"{found.at_full_size} comparisons at full size; plans on a T4: {[round(one, 1) for one in found.plans]} s")
    sys.exit(bool(found.failures))
