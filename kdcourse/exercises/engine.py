"""Exercise cards: a goal, hints, a reference, and the wrong answers that are known by name.

A known mistake is itself a function. A check probes the student's answer and compares what comes out with what the reference
gives and then with what each mistake gives, so that "T² left out" is recognised by its numbers, however it is written.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules

from kdcourse.exercises import progress, verdicts
from kdcourse.exercises.cards import Message, as_html, show, show_buttons
from kdcourse.exercises.probing import Heard, NothingReturned, NotJudged, Observed, Probe, is_blank, undisturbed, values
from kdcourse.exercises.verdicts import Mistake

REGISTRY: dict[str, "Exercise"] = {}
LISTED = 8  # mistakes that a card shows before a check names one: those that come first
SIGNS = {
    "right": "✓ Right",
    "wrong": "✗ Not yet",
    "not attempted": "○ Not attempted",
    "not judged": "○ Not judged",
    "reference": "○ The reference",
}


@dataclass(eq=False)
class Exercise:
    """One exercise. `check(answer)` judges an answer, `hint()` shows the next hint, `solution()` shows the reference.

    id: lab and name, such as "07.peer_loss". goal, difficulty, minutes: what its card says. reference: the right function.
    """

    id: str
    goal: str
    difficulty: str
    minutes: str
    reference: Callable
    probe: Probe = field(repr=False)
    hints: tuple[str, ...] = field(repr=False)
    by_hand: tuple[str, ...] = ()
    mistakes: list[Mistake] = field(default_factory=list, repr=False)
    _hints_shown: int = field(default=0, repr=False)
    _was_asked: bool = field(default=False, repr=False)

    def __post_init__(self):
        reference = self.reference

        @functools.wraps(reference)
        def asked(*args, **kwargs):
            self._was_asked |= Observed.running > 0
            return reference(*args, **kwargs)

        self.reference = asked  # so that a check notices the reference within whatever it is wrapped in

    def __call__(self, *args, **kwargs):
        """The reference itself, so that one exercise's reference can build on another's."""
        return self.reference(*args, **kwargs)

    @property
    def name(self) -> str:
        """Of the function that is asked for."""
        return self.reference.__name__

    def mistake(self, name: str, explanation: str) -> Callable[[Callable], Callable]:
        """Decorate a wrong answer so that checks know it by `name`."""

        def remember(function: Callable) -> Callable:
            self.mistakes.append(Mistake(name, explanation, function))
            return function

        return remember

    def check(self, answer: Callable) -> Callable:
        """Judge a student's function, show and record the result. Returns the function if it is right, else the reference.

        So the lab goes on in every case. A right answer whose numbers have another form than the reference's (a list, a NumPy
        array, doubles) is wrapped, so that it gives them in the reference's form.
        """
        message, outcome, observed = self._judged(answer)
        show(message)
        if outcome != "right":
            return self.reference
        given, wanted = observed.returned[0], self._asked_alone().returned[0]
        same = verdicts.form_of(verdicts.in_form_of(given, wanted)) == verdicts.form_of(given)
        return answer if same else _converted(answer, wanted)

    def _judged(self, answer: Callable) -> tuple[Message, str, Observed]:
        observed = Observed(answer)
        outcome, text = self.attempt(answer, observed)
        if outcome in ("wrong", "not attempted", "not judged"):
            text += " The lab goes on with the reference."
        return Message(f"{SIGNS[outcome]}: {self.id}.", text), outcome, observed

    def attempt(self, answer: Callable, observed: Observed | None = None) -> tuple[str, str]:
        """What `judge` says, recorded: for who shows it elsewhere than in a lab."""
        outcome, text = self.judge(answer, observed)
        if outcome not in ("reference", "not judged"):  # nobody's attempt, and none that could be looked at
            progress.record(self.id, outcome=outcome)
        return outcome, text + (" Nothing is recorded." if outcome == "not judged" else "")

    def judge(self, answer: Callable, observed: Observed | None = None) -> tuple[str, str]:
        """("right" | "wrong" | "not attempted" | "not judged" | "reference", what to say about it)."""
        if not callable(answer):
            return "wrong", f"The check wants the function itself, and got {verdicts.describe(answer)}."
        if inspect.isclass(answer):
            return (
                "wrong",
                f"The check wants a function, and got the class {answer.__name__}: one that is made of it is called.",
            )
        if is_blank(answer):
            return "not attempted", f"Write the function above and run both cells again; {self._call('hint')} helps."
        observed, self._was_asked = observed or Observed(answer), False
        try:
            with undisturbed(), Heard() as heard:
                given = self.probe(observed)
        except NothingReturned:
            return "wrong", "Your function gave no value back: it needs a `return`, with what is wanted behind it."
        except NotJudged as error:
            return "not judged", str(error)
        except SystemExit:
            return "not judged", "Your function ends Python, by exit, quit or sys.exit: `return` ends a function."
        except Exception as error:  # whatever a student's code may raise is theirs to read, in one line
            return "wrong", self._stopped(error, observed)
        if self._was_asked:
            again = f"Run the cell with your `def {self.name}` again, and then this one."
            return (
                "reference",
                f"This is the course's own function, which stands in for yours: nothing is recorded. {again}",
            )
        return self._compare(given, heard.names)

    def _compare(self, given: verdicts.Found, heard: set[str]) -> tuple[str, str]:
        reference = Observed(self.reference)
        with undisturbed():
            wanted = self.probe(reference)
        if verdicts.all_close(given, wanted):
            if unfit := verdicts.other_kind(given, wanted):
                return "wrong", unfit
            bypassed = [name for name in self.by_hand if name in heard]
            short = f" But `{bypassed[0]}` did what was to be written by hand: try it without." if bypassed else ""
            return "right", f"It agrees with the reference on every case.{short}"
        with undisturbed():
            outcomes = {mistake: self.probe(mistake.function) for mistake in self.mistakes}
        if known := verdicts.recognise(given, wanted, outcomes):
            together = "" if len(known) == 1 else " two mistakes at once"
            named, why = ", and ".join(one.name for one in known), " ".join(one.explanation for one in known)
            return "wrong", f"This looks like{together}: {named}. {why}"
        names = list(inspect.signature(self.reference).parameters)
        if factor := verdicts.factor_in_words(verdicts.ratios(given, wanted) or {}, names, reference.arguments):
            return "wrong", f"Yours is the right result {factor}."
        return "wrong", verdicts.first_difference(given, wanted, names, reference.arguments)

    def _stopped(self, error: Exception, observed: Observed) -> str:
        """What to say of an error: the student's own, or the check's, which could do nothing with what it was given."""
        if error is observed.error or not observed.returned:
            return verdicts.stopped(error, observed.function)
        wanted = verdicts.describe(self._asked_alone().returned[len(observed.returned) - 1])
        given = verdicts.describe(observed.returned[-1])
        if given == wanted:
            return f"What your function returns could not be used: {type(error).__name__}: {error}"
        return f"Your function returns {given}, and {wanted} is wanted."

    def _asked_alone(self) -> Observed:
        """The reference, after a probe."""
        reference = Observed(self.reference)
        with undisturbed():
            self.probe(reference)
        return reference

    def hint(self) -> None:
        """Show the next hint."""
        show(self._hint())

    def resume_hints(self, again: bool = False) -> None:
        """The next hint is the one behind the last recorded on this machine, by whichever program; `again`: the first."""
        recorded = 0 if again else progress.load().get(self.id, {}).get("hints", 0)
        self._hints_shown = min(recorded, len(self.hints)) if isinstance(recorded, int) and recorded > 0 else 0

    def _hint(self) -> Message:
        if self._hints_shown == len(self.hints):
            return Message("No more hints.", f"{self._call('solution')} shows the reference.")
        self._hints_shown += 1
        progress.record(self.id, hints=self._hints_shown)
        return Message(f"Hint {self._hints_shown} of {len(self.hints)}.", self.hints[self._hints_shown - 1])

    def solution(self) -> None:
        """Show the reference's source."""
        show(self._solution())

    def _solution(self) -> Message:
        progress.record(self.id, solution_seen=True)
        return Message(f"Solution of {self.id}.", code=self.source())

    def source(self) -> str:
        """The reference as a student would have written it."""
        lines = inspect.getsource(self.reference).splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith(("def ", "class ")))
        return "\n".join(lines[start:])

    def _check_in_notebook(self) -> Message:
        from IPython import get_ipython

        answer = getattr(get_ipython(), "user_ns", {}).get(self.name)
        if answer is None:
            return Message("Nothing to check yet.", f"Run the cell with `def {self.name}` first.")
        return self._judged(answer)[0]

    def _call(self, method: str) -> str:
        return f'`kd.exercise("{self.id}").{method}()`'

    def _ipython_display_(self) -> None:
        notes = [f"<li><b>{as_html(one.name)}</b>: {as_html(one.explanation)}</li>" for one in self.mistakes]
        more = len(notes) - LISTED
        notes = [
            *notes[:LISTED],
            *([f"<li>{more} more, each explained when a check meets it.</li>"] if more > 0 else []),
        ]
        folded = f"<details><summary>If your check says …</summary><ul>{''.join(notes)}</ul></details>" if notes else ""
        effort = f"Difficulty: {self.difficulty}. Time: {self.minutes}."
        help_in_a_cell = f"Help in a cell: {self._call('hint')}, {self._call('solution')}."
        show(Message(f"Exercise {self.id}. {self.goal}", f"{effort} {help_in_a_cell}", folded=folded))
        show_buttons({"Check": self._check_in_notebook, "Hint": self._hint, "Solution": self._solution})


def _converted(answer: Callable, wanted: object) -> Callable:
    """The same function, with its numbers in the form of `wanted`: the rest of a lab computes with them."""

    @functools.wraps(answer)
    def converted(*args, **kwargs):
        return verdicts.in_form_of(answer(*args, **kwargs), wanted)

    return converted


def define(
    identity: str,
    *,
    goal: str,
    difficulty: str,
    minutes: str,
    hints: tuple[str, ...],
    cases: Callable[[], list[tuple]] | None = None,
    probe: Probe | None = None,
    by_hand: tuple[str, ...] = (),
) -> Callable[[Callable], Exercise]:
    """Make the decorated reference an exercise. `cases` gives lists of arguments; `probe` is for answers that do more.

    by_hand: PyTorch's functions that do what is to be written; an answer that calls one is right, and is told.
    """

    def register(reference: Callable) -> Exercise:
        chosen = probe or (lambda answer: values(answer, cases()))
        made = Exercise(identity, goal, difficulty, minutes, reference, chosen, hints, by_hand)
        if identity in REGISTRY:
            raise ValueError(f"there are two exercises called {identity}")
        REGISTRY[identity] = made
        return made

    return register


def exercise(identity: str) -> Exercise:
    """The exercise of this name, such as "02.entropy". Raises `ValueError`, which lists all names, for any other."""
    all_exercises()
    if identity not in REGISTRY:
        raise ValueError(f"identity must be one of {', '.join(sorted(REGISTRY))}, got {identity!r}")
    return REGISTRY[identity]


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of every lab: identity -> `Exercise`."""
    package = import_module("kdcourse.exercises")
    for module in iter_modules(package.__path__):
        if module.name.startswith("lab_"):
            import_module(f"{package.__name__}.{module.name}")
    return REGISTRY


def summary() -> list[dict]:
    """A row for every exercise of the course, attempted or not: its lab, exercise, goal, outcome, attempts, hints and when."""
    known = progress.load()
    rows = []
    for identity, card in sorted(all_exercises().items()):
        entry = known.get(identity, {})
        lab, name = identity.split(".", 1)
        facts = {"outcome": "not attempted", "attempts": 0, "hints": 0, "when": "", **entry}
        rows.append({"lab": lab, "exercise": name, "goal": card.goal, **facts})
    return rows
