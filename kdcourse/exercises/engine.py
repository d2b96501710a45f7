"""Exercise cards: a goal, hints, a reference, and the wrong answers that are known by name.

A known mistake is itself a function. A check probes the student's answer and compares what comes out with what the reference
gives and then with what each mistake gives, so that "T² left out" is recognised by its numbers, however it is written.
"""

import html
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules

import torch
from torch import Tensor

from kdcourse.exercises import progress

Probe = Callable[[Callable], Mapping[str, object]]
REGISTRY: dict[str, "Exercise"] = {}
SIGNS = {"right": "✓ Right", "wrong": "✗ Not yet", "not attempted": "○ Not attempted"}


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people write: what it is called, why it is wrong, and the function itself."""

    name: str
    explanation: str
    function: Callable


@dataclass(eq=False)
class Exercise:
    """One card. `check(answer)` judges, `hint()` helps a little more each time, `solution()` shows the reference."""

    id: str
    goal: str
    difficulty: str
    minutes: str
    reference: Callable
    probe: Probe = field(repr=False)
    hints: tuple[str, ...] = field(repr=False)
    mistakes: list[Mistake] = field(default_factory=list, repr=False)
    _hints_shown: int = field(default=0, repr=False)

    def __call__(self, *args, **kwargs):
        """The reference itself, so that one exercise's reference can build on another's."""
        return self.reference(*args, **kwargs)

    def mistake(self, name: str, explanation: str) -> Callable[[Callable], Callable]:
        """Decorate a wrong answer so that checks know it by `name`."""

        def remember(function: Callable) -> Callable:
            self.mistakes.append(Mistake(name, explanation, function))
            return function

        return remember

    def check(self, answer: Callable) -> Callable:
        """Judge `answer` and say so. Returns it when it is right, and the reference otherwise, so that the lab goes on."""
        outcome, text = self.judge(answer)
        progress.record(self.id, outcome=outcome)
        if outcome != "right":
            text += " The lab goes on with the reference."
        _show(f"{SIGNS[outcome]}: {self.id}.", text)
        return answer if outcome == "right" else self.reference

    def judge(self, answer: Callable) -> tuple[str, str]:
        """("right" | "wrong" | "not attempted", what to say about it)."""
        if not callable(answer):
            return "wrong", f"The check wants the function itself, and got {type(answer).__name__}."
        try:
            given = self.probe(answer)
        except (NotAttempted, NotImplementedError):
            return "not attempted", "Write the function above and run both cells again; hint() helps."
        except Exception as error:  # whatever a student's code may raise is theirs to read, in one line
            return "wrong", f"Your function stopped with {type(error).__name__}: {error}"
        wanted = self.probe(self.reference)
        if all_close(given, wanted):
            return "right", "It agrees with the reference on every case."
        if mistake := self.recognise(given, self.probe):
            return "wrong", f"This looks like: {mistake.name}. {mistake.explanation}"
        return "wrong", first_difference(given, wanted)

    def recognise(self, given: Mapping[str, object], probe: Probe) -> Mistake | None:
        """The known mistake from which `probe` finds what is `given`, if there is one."""
        return next((mistake for mistake in self.mistakes if all_close(given, probe(mistake.function))), None)

    def hint(self) -> None:
        """Show the next hint."""
        if self._hints_shown == len(self.hints):
            _show("No more hints.", "solution() shows the reference.")
            return
        self._hints_shown += 1
        progress.record(self.id, hints=self._hints_shown)
        _show(f"Hint {self._hints_shown} of {len(self.hints)}.", self.hints[self._hints_shown - 1])

    def solution(self) -> None:
        """Show the reference's source."""
        progress.record(self.id, solution_seen=True)
        _show(f"Solution of {self.id}.", "", code=self.source())

    def source(self) -> str:
        """The reference as a student would have written it."""
        lines = inspect.getsource(self.reference).splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("def "))
        return "\n".join(lines[start:])

    def _ipython_display_(self) -> None:
        notes = "".join(
            f"<li><b>{_as_html(mistake.name)}</b>: {_as_html(mistake.explanation)}</li>" for mistake in self.mistakes
        )
        folded = f"<details><summary>If your check says …</summary><ul>{notes}</ul></details>" if notes else ""
        effort = f"Difficulty: {self.difficulty}. Time: {self.minutes}."
        _show(f"Exercise {self.id}. {self.goal}", effort, folded=folded)


class NotAttempted(Exception):
    """The answer returned nothing: its body is still the stub's."""


def define(
    identity: str,
    *,
    goal: str,
    difficulty: str,
    minutes: str,
    hints: tuple[str, ...],
    cases: Callable[[], list[tuple]] | None = None,
    probe: Probe | None = None,
) -> Callable[[Callable], Exercise]:
    """Make the decorated reference an exercise. `cases` gives lists of arguments; `probe` is for answers that do more."""

    def register(reference: Callable) -> Exercise:
        chosen = probe or (lambda answer: values(answer, cases()))
        made = Exercise(identity, goal, difficulty, minutes, reference, chosen, hints)
        if identity in REGISTRY:
            raise ValueError(f"there are two exercises called {identity}")
        REGISTRY[identity] = made
        return made

    return register


def exercise(identity: str) -> Exercise:
    """The card called `identity`, such as "02.entropy". Raises `ValueError` with the known ones for another name."""
    all_exercises()
    if identity not in REGISTRY:
        raise ValueError(f"identity must be one of {', '.join(sorted(REGISTRY))}, got {identity!r}")
    return REGISTRY[identity]


def all_exercises() -> dict[str, Exercise]:
    """Every card of every lab."""
    package = import_module("kdcourse.exercises")
    for module in iter_modules(package.__path__):
        if module.name.startswith("lab_"):
            import_module(f"{package.__name__}.{module.name}")
    return REGISTRY


def summary() -> list[dict]:
    """A row for every exercise of the course, attempted or not: lab, exercise, goal, outcome, attempts, hints, when."""
    known = progress.load()
    rows = []
    for identity, card in sorted(all_exercises().items()):
        entry = known.get(identity, {})
        lab, name = identity.split(".", 1)
        facts = {"outcome": "not attempted", "attempts": 0, "hints": 0, "when": "", **entry}
        rows.append({"lab": lab, "exercise": name, "goal": card.goal, **facts})
    return rows


def values(answer: Callable, cases: list[tuple]) -> dict[str, object]:
    """What `answer` returns for each case, each with arguments of its own, and whether it changed them."""
    found: dict[str, object] = {}
    for number, case in enumerate(cases, start=1):
        own = tuple(given.clone() if isinstance(given, Tensor) else given for given in case)
        found[f"case {number}"] = filled(answer(*own))
        changed = any(isinstance(a, Tensor) and not torch.equal(a, b) for a, b in zip(own, case, strict=True))
        found[f"arguments changed in case {number}"] = changed
    return found


def gradients(answer: Callable, cases: list[tuple], **settings) -> dict[str, object]:
    """For losses of (student, teacher, ...): the value, the student's gradient, and whether the teacher got one."""
    found: dict[str, object] = {}
    for number, (student, teacher, *rest) in enumerate(cases, start=1):
        student, teacher = student.clone().requires_grad_(), teacher.clone().requires_grad_()
        loss = filled(answer(student, teacher, *rest, **settings))
        found[f"loss in case {number}"] = loss
        if not isinstance(loss, Tensor) or loss.ndim:
            continue
        if loss.requires_grad:
            loss.backward()
        found[f"student's gradient in case {number}"] = student.grad
        # Autograd leaves None where no path leads, and zeros where paths cancel.
        reached = teacher.grad is not None and bool(teacher.grad.abs().max() > 0)
        found[f"gradient into the teacher in case {number}"] = reached
    return found


def filled(result: object) -> object:
    """The result, or `NotAttempted` where the stub still stands."""
    if result is None or result is Ellipsis:
        raise NotAttempted
    return result


def all_close(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether two outcomes of one probe agree: the same names, and for each the same value, to a relative 1e-4."""
    return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in other)


def _close(given: object, wanted: object) -> bool:
    if given is None or wanted is None:
        return given is wanted
    if isinstance(wanted, bool):
        return given is wanted
    try:
        given, wanted = torch.as_tensor(given), torch.as_tensor(wanted)
    except (TypeError, ValueError, RuntimeError):
        return False
    return given.shape == wanted.shape and torch.allclose(
        given.detach().double(), wanted.detach().double(), rtol=1e-4, atol=1e-6, equal_nan=True
    )


def first_difference(given: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    """In words, where two outcomes of one probe part first."""
    name = next(key for key in wanted if key not in given or not _close(given[key], wanted[key]))
    if name not in given:
        return f"{name.capitalize()} could not be looked at: return one scalar tensor."
    mine, theirs = given[name], wanted[name]
    if isinstance(theirs, bool):
        return f"{name.capitalize()}: {'yes' if mine is True else 'no'}, and it should be {'yes' if theirs else 'no'}."
    if mine is None:
        return f"{name.capitalize()}: there is none. Does the result still hang on the student's logits?"
    if isinstance(theirs, Tensor) and isinstance(mine, Tensor):
        if mine.shape != theirs.shape:
            return f"{name.capitalize()}: shape {tuple(mine.shape)}, and it should be {tuple(theirs.shape)}."
        if mine.isnan().any() and not theirs.isnan().any():
            return f"{name.capitalize()}: it holds NaN."
    return f"{name.capitalize()}: {_brief(mine)}, and it should be {_brief(theirs)}."


def _brief(value: object) -> str:
    if isinstance(value, Tensor):
        flat = [f"{number:.4g}" for number in value.detach().flatten()[:4].tolist()]
        return ", ".join(flat) + (", …" if value.numel() > 4 else "")
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"


def _show(title: str, text: str, *, code: str = "", folded: str = "") -> None:
    """A card in a notebook, plain lines elsewhere. Borders and words carry the meaning, colour none of it."""
    from IPython import get_ipython

    plain = "\n".join(part for part in (title, text, textwrap.indent(code, "    ")) if part)
    if get_ipython() is None:
        print(plain)
        return
    from IPython.display import display

    block = f"<pre>{html.escape(code)}</pre>" if code else ""
    page = (
        '<div style="border-left: 3px solid currentColor; padding: 0.2em 0.8em; margin: 0.3em 0">'
        f"<b>{_as_html(title)}</b> {_as_html(text)}{block}{folded}</div>"
    )
    display({"text/html": page, "text/plain": plain}, raw=True)


def _as_html(text: str) -> str:
    """Safe on a page; what stands between backticks is code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))
