"""The kinds of task: each says what is asked, what to send to the process that runs an answer, and what its reply is worth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kdcourse.assignments.drawing import KINDS
from kdcourse.assignments.likeness import equals
from kdcourse.assignments.measurement import Setting, outcome
from kdcourse.exercises import engine, probing, verdicts

CASES = 3


@dataclass(frozen=True)
class Check:
    """One mark: what was looked at, whether it is right, and what to say where it is not."""

    name: str
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class FunctionTask:
    """A function to write: an exercise of the labs with some of its arguments fixed.

    exercise: its identity. arguments: what the student's function takes. settings: what the exercise's own function takes
    after them. probe: "values" or "gradients" of the exercises' engine. spread: standard deviation of the last case's logits.
    kinds: what is drawn for each argument, of `drawing.KINDS`; default logits, and labels for "labels". part: of a result of
    several parts the one that is asked for; default the whole.
    """

    id: str
    title: str
    text: str
    exercise: str
    arguments: tuple[str, ...]
    settings: tuple[float, ...]
    probe: str
    spread: float = 3.0
    kinds: tuple[str, ...] = ()
    part: int | None = None

    @property
    def checks(self) -> tuple[str, ...]:
        return ("values", "gradients" if self.probe == "gradients" else "arguments unchanged")

    @property
    def name(self) -> str:
        return self.exercise.split(".")[1]

    @property
    def stub(self) -> str:
        return f"def {self.name}({', '.join(self.arguments)}):\n    ..."

    def cases(self, seed: int) -> list[tuple[Tensor, ...]]:
        """Arguments of fresh calls, other sizes each time."""
        generator = torch.Generator().manual_seed(seed)
        kinds = self.kinds or ["labels" if name == "labels" else "logits" for name in self.arguments]
        sizes = [(5 + number, 4 + 2 * number, 3.0) for number in range(CASES - 1)] + [(8, 7, self.spread)]
        return [tuple(KINDS[kind][1](generator, *size) for kind in kinds) for size in sizes]

    def job(self, seed: int) -> dict:
        """What the process that runs answers is sent, besides the answer."""
        cases = [[argument.tolist() for argument in case] for case in self.cases(seed)]
        return {"names": [self.name], "probe": self.probe, "cases": cases}

    def judge(self, found: Mapping[str, object], seed: int) -> list[Check]:
        """Compare with the reference on the same arguments, and name the mistake where its numbers are known."""
        card, cases = engine.exercise(self.exercise), self.cases(seed)

        def probe(function: Callable) -> Mapping[str, object]:
            return getattr(probing, self.probe)(lambda *given: self._asked(function(*given, *self.settings)), cases)

        wanted = probe(card.reference)
        found = {name: found[name] for name in wanted if name in found}
        if verdicts.all_close(found, wanted):
            return [Check(name, True) for name in self.checks]
        known = verdicts.recognise(found, wanted, {mistake: probe(mistake.function) for mistake in card.mistakes})
        note = ", and ".join(mistake.name for mistake in known) or verdicts.first_difference(found, wanted)
        values = verdicts.all_close(_results(found), _results(wanted))
        return [Check(self.checks[0], values, "" if values else note), Check(self.checks[1], False, note)]

    def _asked(self, result: object) -> object:
        return result if self.part is None else result[self.part]

    def is_published(self, answer: str) -> bool:
        """Whether the answer is the exercise's reference in other words."""
        return equals(answer, engine.exercise(self.exercise).reference, self.arguments, self.settings)


def _results(found: Mapping[str, object]) -> dict[str, object]:
    """The values alone, of all that a probe finds."""
    return {name: value for name, value in found.items() if name.startswith(("case", "loss"))}


@dataclass(frozen=True)
class ReportTask:
    """An experiment to run, and its numbers to report; the marker runs the same and compares within `tolerances`.

    The seeds that other tasks draw their arguments from are of no use to it: its numbers are the same for all.
    """

    id: str
    title: str
    text: str
    setting: Setting

    # By how much libraries and processors may move a number: percentage points, nats, and not at all. Each number is one that
    # differs between variants, so that no guess serves for all of them.
    tolerances: ClassVar = {"labels_accuracy": 1.5, "gain": 1.5, "mean_entropy": 0.01, "hardest_picture": 0.0}
    checks: ClassVar = tuple(tolerances)
    stub: ClassVar = (
        "labels_accuracy = None  # percent, to 0.1\ngain = None  # percentage points, to 0.1\n"
        "mean_entropy = None  # nats, to 0.001\nhardest_picture = None  # its place in data.test, from 0"
    )

    def job(self, seed: int) -> dict:
        return {"names": self.checks, "probe": "numbers"}

    def judge(self, found: Mapping[str, object], seed: int) -> list[Check]:
        known = outcome(self.setting)
        return [self._near(name, found.get(name), known[name]) for name in self.checks]

    def is_published(self, answer: str) -> bool:
        return False

    def _near(self, name: str, given: object, wanted: float) -> Check:
        if not isinstance(given, Tensor) or given.numel() != 1:
            return Check(name, False, "one number is wanted")
        if abs(given.item() - wanted) <= self.tolerances[name]:
            return Check(name, True)
        return Check(name, False, f"{given.item():.4g} is not what the marker finds")


@dataclass(frozen=True)
class WrittenTask:
    """A question answered in words, which a person marks."""

    id: str
    title: str
    text: str
    checks: ClassVar = ()


Task = FunctionTask | ReportTask | WrittenTask
