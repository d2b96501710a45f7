"""Guesses before a run: made with sliders or in code, shown on the figure that answers them, and kept with how sure one was."""

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real

from kdcourse.exercises import progress
from kdcourse.exercises.cards import Message, show, verbatim
from kdcourse.system.markup import in_html

BANDS = ((0, 49), (50, 69), (70, 89), (90, 100))  # percent of sureness that are counted together
SURE = 70  # percent, where nothing else is said


class Prediction:
    """One question with its guess. `set(guess, sure)` keeps a guess, `answer(truth)` holds it against what was measured.

    kind: "choice", "ranking" or "number". options: what may be chosen or ranked, or the two ends of a number's scale.
    """

    def __init__(self, identity: str, question: str, kind: str, options: Sequence, unit: str = ""):
        self.id, self.question, self.kind, self.options, self.unit = identity, question, kind, tuple(options), unit
        self.guess, self.sure, self.truth = None, None, None
        self._said = None

    def set(self, guess, *, sure: int = SURE) -> None:
        """Keep a guess: an option; all options, best first; or (low, high) between which the number will lie.

        sure: how sure you are that it will turn out right, in percent. Raises `ValueError` for what is no such guess, and once
        the answer was shown.
        """
        if self.truth is not None:
            raise ValueError(f"{self.id} was answered already: a guess counts only before the run")
        if not isinstance(sure, Integral) or isinstance(sure, bool) or not 0 <= sure <= 100:
            raise ValueError(f"sure must be a whole number of percent from 0 to 100, got {sure!r}")
        self.guess, self.sure = self._checked(guess, "guess"), int(sure)

    def _checked(self, value, name: str):
        """The value in its own form. A number is guessed as a range; raises `ValueError` with what is accepted."""
        if self.kind == "choice" and value in self.options:
            return value
        listed = isinstance(value, list | tuple)
        if self.kind == "ranking" and listed and len(value) == len(self.options) and set(value) == set(self.options):
            return tuple(value)
        if self.kind == "number" and name == "truth" and isinstance(value, Real) and math.isfinite(value):
            return float(value)
        if self.kind == "number" and name == "guess" and _is_range(value):
            return tuple(float(end) for end in value)
        accepted = {
            "choice": "one of " + ", ".join(map(str, self.options)),
            "ranking": "all of " + ", ".join(map(str, self.options)) + ", best first",
            "number": "a finite number" if name == "truth" else "two numbers (low, high)",
        }
        raise ValueError(f"{name} of {self.id} must be {accepted[self.kind]}, got {value!r}")

    @property
    def is_right(self) -> bool:
        if self.kind == "number":
            return self.guess[0] <= self.truth <= self.guess[1]
        return self.guess == self.truth

    def answer(self, truth, on=None, axis: str | None = None) -> None:
        """Show what was measured beside the guess, on its figure where one is given, and keep both.

        truth: an option, all options, best first, or a number. on: a figure of `kd.plots`, which is shown with the guess.
        axis: "x" or "y" of that figure, on which a guessed number is drawn as a band. Without a guess it says so and goes on.
        Only the first guess at a question counts. Raises `ValueError` for a truth that is none of the options.
        """
        self.truth = self._checked(truth, "truth")
        if self.guess is None:
            progress.record(f"{self.id}-guess", first={"seen": True})  # whoever guesses after this knows the answer
        else:
            kept = {"guess": self.guess, "sure": self.sure, "truth": self.truth, "right": self.is_right}
            progress.record(f"{self.id}-guess", first=kept)
        if on is not None:
            self._draw(on, axis)
            on._ipython_display_()
        show(self._verdict())

    def _draw(self, figure, axis: str | None) -> None:
        if self.guess is None:
            return
        sentence = f"Your guess: {self._in_words(self.guess)}. Measured: {ended(self._in_words(self.truth))}"
        figure.supxlabel(sentence, fontsize=9)
        figure.description += f" {sentence}"
        if self.kind == "number" and axis is not None:
            shade = getattr(figure.axes[0], "axhspan" if axis == "y" else "axvspan")
            shade(*self.guess, facecolor="none", edgecolor="black", hatch="///", alpha=0.4, linewidth=1)

    def _verdict(self) -> Message:
        measured = f"Measured: {ended(verbatim(self._in_words(self.truth)))}"
        if self.guess is None:
            return Message("○ No guess was made.", f"{self._asked} {measured}")
        sign = "✓ As you guessed." if self.is_right else "✗ Not as you guessed."
        guess = f"Your guess: {verbatim(self._in_words(self.guess))}, {self.sure} % sure."
        return Message(sign, f"{self._asked} {guess} {measured}")

    @property
    def _asked(self) -> str:
        """The question, also where it is a sentence to be completed."""
        return self.question if self.question[-1] in "?:." else f"{self.question} …"

    def _in_words(self, value) -> str:
        if self.kind == "choice":
            return str(value)
        if self.kind == "ranking":
            return ", then ".join(map(str, value))
        ends = value if isinstance(value, tuple) else (value,)
        return " to ".join(f"{end:.3g}" for end in ends) + (f" {self.unit}" if self.unit else "")

    def _ipython_display_(self) -> None:
        example = {"choice": repr(self.options[-1]), "ranking": repr(list(self.options))}.get(self.kind, "(low, high)")
        code = f"guess.set({example}, sure={SURE})  # in a cell, by the name that this prediction has here"
        show(Message("Predict.", self._asked, code=code))
        _show_controls(self)


def _is_range(value) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(isinstance(end, Real) for end in value):
        return False
    return all(map(math.isfinite, value)) and value[0] <= value[1]


def _show_controls(prediction: Prediction) -> None:
    """Widgets that set the guess; what was kept stands below them. A page without a kernel has the question alone."""
    import ipywidgets

    from kdcourse.exercises.quiz import WRAPPED
    from kdcourse.widgets.page import show_widget

    wide = {"width": "auto"}
    parts, read = _inputs(prediction, ipywidgets)
    sure = ipywidgets.IntSlider(SURE, min=0, max=100, step=5, description="sure, %")
    button, said = ipywidgets.Button(description="Keep my guess", layout=wide), ipywidgets.HTML()

    def keep(_) -> None:
        try:
            prediction.set(read(), sure=sure.value)
            text = f"Kept: {prediction._in_words(prediction.guess)}, {prediction.sure} % sure. Go on."
        except ValueError as error:
            text = f"Not kept: {error}."
        said.value = f'<div aria-live="polite">{in_html(text)}</div>'

    button.on_click(keep)
    style = ipywidgets.HTML(WRAPPED, layout={"display": "none"})
    show_widget(ipywidgets.VBox([style, *parts, ipywidgets.HBox([sure, button]), said]))


def ended(words: str) -> str:
    """With a full stop, unless an option brings its own."""
    return words if words.endswith(".") else f"{words}."


def _inputs(prediction: Prediction, ipywidgets) -> tuple[list, Callable]:
    """The controls for one kind of guess, and what reads the guess from them."""
    options = list(prediction.options)
    if prediction.kind == "choice":
        choice = ipywidgets.RadioButtons(options=options, index=None, layout={"width": "auto"})
        choice.add_class("kd-options")
        return [choice], lambda: choice.value
    if prediction.kind == "ranking":
        places = [
            ipywidgets.Dropdown(options=options, index=None, description=f"place {place}")
            for place in range(1, len(options) + 1)
        ]
        return places, lambda: [place.value or "nothing" for place in places]
    low, high = options
    ends = ipywidgets.FloatRangeSlider(
        value=(low, high), min=low, max=high, step=(high - low) / 100, description="between"
    )
    return [ends], lambda: ends.value


def predict(
    identity: str,
    question: str,
    *,
    options: Sequence[str] | None = None,
    ranking: Sequence[str] | None = None,
    between: tuple[float, float] | None = None,
    unit: str = "",
) -> Prediction:
    """Ask for a guess before a run. `answer(truth)` of the returned `Prediction` compares it with what was measured.

    identity: lab and name, such as "06.order". Exactly one of the following. options: one of these is chosen. ranking: these
    are put in order, best first. between: the ends of the scale on which two numbers are set; the guess is right where the
    measured number lies between the two. unit: of that number, such as "%".
    Raises `ValueError` for none or several of these, fewer than two options, doubled ones, and ends that are no range.
    """
    asked = {"choice": options, "ranking": ranking, "number": between}
    given = {kind: value for kind, value in asked.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"give exactly one of options, ranking and between, got {len(given)}")
    ((kind, value),) = given.items()
    if kind == "number" and not (_is_range(value) and value[0] < value[1]):
        raise ValueError(f"between must be two finite numbers, the smaller first, got {value!r}")
    if kind != "number" and (len(value) < 2 or len(set(value)) < len(value)):
        raise ValueError(f"a {kind} needs at least two options, each once, got {list(value)!r}")
    return Prediction(identity, question, kind, value, unit)


def kept() -> list[dict]:
    """Every guess that was made before its answer was seen: identity, guess, sure, truth, right, when."""
    found = sorted(progress.load().items())
    guesses = [{"id": name, **entry} for name, entry in found if name.endswith("-guess")]
    return [guess for guess in guesses if "right" in guess and not guess.get("seen")]


def calibration() -> list[tuple[str, int, float, float]]:
    """How often guesses were right, by how sure one was: (band, how many, mean sureness in percent, percent right)."""
    guesses, rows = kept(), []
    for low, high in BANDS:
        band = [guess for guess in guesses if low <= guess["sure"] <= high]
        if band:
            sure = sum(guess["sure"] for guess in band) / len(band)
            rows.append((f"{low}–{high} %", len(band), sure, 100 * sum(guess["right"] for guess in band) / len(band)))
    return rows
