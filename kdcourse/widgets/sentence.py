"""The sentence box: teacher and student answer while one types, each with the time that it took.

The models are PyTorch's, so Python answers and sends the numbers; `sentence.js` draws them and says them in words.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import numpy as np

from kdcourse import plots
from kdcourse.plots import softened
from kdcourse.plots.palette import check_table, clipped
from kdcourse.widgets.linked import browser_view
from kdcourse.widgets.live import HasControls, LiveFigure, live
from kdcourse.widgets.page import Page
from kdcourse.widgets.wording import fixed

MAX_QUOTED = 60  # characters of the sentence that its description repeats; sentence.js has the same
EMPTY = "There is nothing to read: type a sentence."
NEEDS_KERNEL = " To answer another sentence the models need a kernel: run this cell in a notebook."


def ask(models: Mapping[str, Callable], classes: Sequence[str], sentence: str) -> dict:
    """What each model makes of one sentence: {"sentence", "answers"}; of one without words there are no answers.

    An answer is {"name", "probabilities" (C), "milliseconds", "cut"}; cut is the number of tokens read of a text that has
    more, else 0. models, classes: as in `sentence_box`. Raises `ValueError` for logits that are not (1, C) or not finite.
    """
    answers = []
    if not sentence.strip():
        return {"sentence": sentence, "answers": answers}
    for name, model in models.items():
        started = time.perf_counter()
        logits = getattr(model, "predict", model)([sentence])
        took = 1000 * (time.perf_counter() - started)
        probabilities = softened(check_table(f"logits of {name!r}", logits, len(classes), 1)[0], 1).tolist()
        cut = model.longest if hasattr(model, "is_cut") and model.is_cut(sentence) else 0
        answers.append({"name": name, "probabilities": probabilities, "milliseconds": took, "cut": cut})
    return {"sentence": sentence, "answers": answers}


def describe(classes: Sequence[str], asked: Mapping) -> str:
    """Each model's verdict, and whether the others agree with the first. asked: as `ask` gives it; its times are left out."""
    answers = asked["answers"]
    if not answers:
        return EMPTY
    verdicts = [int(np.argmax(answer["probabilities"])) for answer in answers]
    said = "; ".join(
        f"{answer['name']}: {classes[verdict]} {fixed(100 * answer['probabilities'][verdict], 1)} %"
        for answer, verdict in zip(answers, verdicts, strict=True)
    )
    return f"“{clipped(asked['sentence'], MAX_QUOTED)}” {said}.{_agreement(answers, verdicts)}{_truncation(answers)}"


def draw(classes: Sequence[str], asked: Mapping) -> plots.Figure:
    """The answers as a still figure, a panel for each model. asked: as `ask` gives it."""
    if asked["answers"]:
        rows = {f"{one['name']}, {fixed(one['milliseconds'], 1)} ms": one["probabilities"] for one in asked["answers"]}
        figure = plots.distributions(rows, classes)
    else:
        figure = plots.Figure(4.0, 0.6)
        figure.text(0.5, 0.5, "nothing to read", ha="center", va="center")
    figure.description = describe(classes, asked)
    return figure


class SentenceBox(HasControls):
    """A text field above bars that follow each key. controls: "sentence".

    models, classes: as in `sentence_box`. view: an anywidget with `asked`, what `ask` gives, and `rested`, the sentence at
    which typing came to rest: the still figure takes longer than an answer, so it follows there and not at each key.
    """

    def __init__(
        self,
        models: Mapping[str, Callable],
        classes: Sequence[str],
        control: ipywidgets.Text,
        view: ipywidgets.DOMWidget,
    ):
        self.models, self.classes, self.view = models, classes, view
        self.controls = {"sentence": control}
        self._lock = threading.RLock()  # as in `LiveFigure`
        self._page = Page([control, view])
        control.observe(lambda _: self.answer(), names="value")
        view.observe(lambda _: self._page.update(self._still()), names="rested")

    @property
    def figure(self) -> plots.Figure:
        return draw(self.classes, self.view.asked)

    def answer(self) -> None:
        """Read what is in the box now: keys that came while the models were at work share one answer."""
        with self._lock:
            sentence = self.controls["sentence"].value
            if sentence != self.view.asked["sentence"]:
                self.view.asked = ask(self.models, self.classes, sentence)

    def move(self, **values) -> None:
        super().move(**values)
        self.view.rested = self.view.asked["sentence"]

    def _still(self) -> plots.Figure:
        figure = self.figure
        figure.description += NEEDS_KERNEL
        return figure

    def _ipython_display_(self) -> None:
        self._page.show(self._still())


def sentence_box(
    models: Mapping[str, Callable], classes: Sequence[str], *, sentence: str = ""
) -> SentenceBox | LiveFigure:
    """A text box, and below it the probabilities that each model gives for the sentence, with its time in milliseconds.

    models: name -> a `SentimentClassifier`, anything else with `predict(texts)`, or a function: texts -> logits (N, C).
    classes: C names, two or more. sentence: what the box holds at first, default nothing. Control: sentence. Drawn by
    Python, as `live` does, where anywidget is missing. Raises `ValueError` where there is no model, one is none, or its
    logits do not fit the classes.
    """
    _check(models, classes, sentence)
    layout = {"width": "98%", "max_width": "800px"}
    control = ipywidgets.Text(value=sentence, description="sentence", layout=layout)
    content = {"classes": list(classes), "names": list(models)}
    view = browser_view("sentence", content, asked=ask(models, classes, sentence), rested=sentence)
    if view is None:
        return live(lambda sentence: draw(classes, ask(models, classes, sentence)), sentence=control)
    return SentenceBox(models, classes, control, view)


def _check(models, classes, sentence) -> None:
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models must be at least one model by its name, got {models!r}")
    for name, model in models.items():
        if not callable(getattr(model, "predict", model)):
            raise ValueError(f"models must predict(texts) or be functions, got {type(model).__name__} for {name!r}")
    if len(classes) < 2:
        raise ValueError(f"classes must be two names or more, got {list(classes)}")
    if not isinstance(sentence, str):
        raise ValueError(f"sentence must be a text, got {sentence!r}")
    # Logits must fit also where the box is empty; and a first forward pass would show a time that no later one takes.
    ask(models, classes, "a word")


def _agreement(answers: Sequence[Mapping], verdicts: Sequence[int]) -> str:
    first, *others = (answer["name"] for answer in answers)
    if not others:
        return ""
    apart = [name for name, verdict in zip(others, verdicts[1:], strict=True) if verdict != verdicts[0]]
    if not apart:
        return " They agree."
    verb = "disagrees" if len(apart) == 1 else "disagree"
    return f" They part ways: {' and '.join(apart)} {verb} with {first}."


def _truncation(answers: Sequence[Mapping]) -> str:
    limits = {answer["cut"] for answer in answers}
    if limits == {0}:
        return ""
    if len(limits) == 1:
        return f" Only the first {limits.pop()} tokens are read."
    cut = [f"{answer['name']} after {answer['cut']} tokens" for answer in answers if answer["cut"]]
    return f" Cut short: {', '.join(cut)}."
