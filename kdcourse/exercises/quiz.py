"""Quizzes: questions from `questions/NN.json`, each option with its own explanation.

Buttons answer where a kernel runs; the folded list below them answers on a page without one.
"""

import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kdcourse.exercises import progress
from kdcourse.system.markup import in_html

FOLDER = Path(__file__).parent / "questions"
# By themselves, options stay on one line, and a long one pushes its button off a narrow page.
WRAPPED = """<style>
.kd-options .widget-radio-box label { display: flex; height: auto; line-height: 1.5; white-space: normal }
.kd-options .widget-radio-box input { flex: none; order: -1 }
</style>"""


@dataclass(frozen=True)
class Option:
    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    text: str
    options: tuple[Option, ...]

    def __post_init__(self):
        if sum(option.right for option in self.options) != 1:
            raise ValueError(f"exactly one option must be right in the question {self.text!r}")
        if not all(option.text and option.why for option in self.options):
            raise ValueError(f"every option needs a text and an explanation in the question {self.text!r}")


class Quiz:
    """The questions of one lab, shown as radio buttons. `answer(question, option)` chooses an option from code."""

    def __init__(self, lab: str, questions: tuple[Question, ...]):
        import ipywidgets

        self.lab, self.questions = lab, questions
        self._choices, self._replies = [], []
        for number, question in enumerate(questions):
            texts = [option.text for option in question.options]
            choice = ipywidgets.RadioButtons(options=texts, index=None, layout={"width": "auto"})
            choice.add_class("kd-options")
            choice.observe(lambda change, number=number: self._reply(number, change["new"]), names="index")
            self._choices.append(choice)
            self._replies.append(ipywidgets.HTML())

    def answer(self, question: int, option: int) -> str:
        """Choose an option of a question, both numbered from 0. Returns the explanation of this option."""
        if not 0 <= question < len(self.questions):
            raise ValueError(f"question must be from 0 to {len(self.questions) - 1}, got {question}")
        count = len(self.questions[question].options)
        if not 0 <= option < count:
            raise ValueError(f"option must be from 0 to {count - 1}, got {option}")
        self._choices[question].index = option
        return self._replies[question].value

    def try_every_option(self) -> None:
        """Choose each option of each question once, on a copy of the quiz: a test of all its buttons.

        What a student has chosen stays as it is, and nothing is recorded.
        """
        trial = Quiz(self.lab, self.questions)
        with progress.paused():
            for number, question in enumerate(self.questions):
                for option in range(len(question.options)):
                    assert in_html(question.options[option].why) in trial.answer(number, option)

    def _reply(self, number: int, chosen: int | None) -> None:
        if chosen is None:
            self._replies[number].value = ""
            return
        option = self.questions[number].options[chosen]
        word = "✓ Right." if option.right else "✗ Not quite."
        self._replies[number].value = f'<div aria-live="polite"><b>{word}</b> {in_html(option.why)}</div>'
        first = {"question": self.questions[number].text, "first_choice": option.text, "right_at_first": option.right}
        outcome = "right" if option.right else "wrong"
        progress.record(f"{self.lab}.question-{number + 1}", outcome=outcome, first=first, chosen=option.text)

    def _ipython_display_(self) -> None:
        import ipywidgets
        from IPython.display import display

        from kdcourse.widgets.page import show_widget

        boxes = [ipywidgets.HTML(WRAPPED, layout={"display": "none"})]
        for number, question in enumerate(self.questions):
            title = ipywidgets.HTML(f"<b>{number + 1}.</b> {in_html(question.text)}")
            boxes.append(ipywidgets.VBox([title, self._choices[number], self._replies[number]]))
        show_widget(ipywidgets.VBox(boxes))
        display({"text/html": self._folded(), "text/plain": f"Quiz of lab {self.lab}"}, raw=True)

    def _folded(self) -> str:
        parts = []
        for number, question in enumerate(self.questions, start=1):
            options = "".join(
                f"<li>{in_html(option.text)}: {'<b>right</b>' if option.right else 'wrong'}. {in_html(option.why)}</li>"
                for option in question.options
            )
            parts.append(f"<p>{number}. {in_html(question.text)}</p><ul>{options}</ul>")
        return f"<details><summary>All answers, explained</summary>{''.join(parts)}</details>"


def quiz(lab: str) -> Quiz:
    """The quiz of a lab, such as "02". Raises `ValueError`, which lists the labs that have one, for any other."""
    return Quiz(lab, questions(lab))


@cache
def questions(lab: str) -> tuple[Question, ...]:
    path = FOLDER / f"{lab}.json"
    if not path.is_file():
        raise ValueError(f"lab must be one of {', '.join(labs())}, got {lab!r}")
    entries = json.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Question(entry["question"], tuple(_shuffled(entry["options"], f"{lab}.{number}")))
        for number, entry in enumerate(entries)
    )


def _shuffled(options: list[dict], seed: str) -> list[Option]:
    """In an order that is drawn once for all: where the right one stands in the file says nothing."""
    return [Option(**option) for option in random.Random(seed).sample(options, len(options))]


def labs() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def results() -> list[tuple[str, int, int]]:
    """For each lab whose quiz was begun: the lab, how many questions were answered, how many of them right at first."""
    found: dict[str, list[bool]] = {}
    for identity, entry in sorted(progress.load().items()):
        lab, _, name = identity.partition(".")
        if name.startswith("question-"):
            found.setdefault(lab, []).append(entry.get("right_at_first", entry.get("outcome") == "right"))
    return [(lab, len(answers), sum(answers)) for lab, answers in found.items()]
