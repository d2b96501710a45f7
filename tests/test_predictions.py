"""Guesses before a run: made, shown on the figure that answers them, kept once, and counted by how sure one was."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

import kdcourse as kd
from kdcourse.authoring import notebooks
from kdcourse.cli import app
from kdcourse.exercises import predictions, progress, quiz
from kdcourse.exercises.quiz import labs, questions


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_PROGRESS", str(tmp_path / "progress.sqlite"))
    progress._warned.clear()


def choice():
    return kd.predict("06.most", "Which gains most?", options=["weights", "pictures", "shapes"])


def number():
    return kd.predict("03.share", "How many?", between=(0, 100), unit="%")


def ranking():
    return kd.predict("01.order", "Best first?", ranking=["hard", "soft", "smooth"])


def bars():
    figure = kd.plots.distributions({"one": [0.2, 0.8]}, ["a", "b"])
    assert figure.description
    return figure


@pytest.mark.parametrize(
    ("make", "right", "wrong", "truth", "words"),
    [
        (choice, "pictures", "weights", "pictures", "pictures"),
        (number, (60, 80), (10, 20.5), 64.8, "64.8 %"),
        (
            ranking,
            ["soft", "hard", "smooth"],
            ["hard", "soft", "smooth"],
            ("soft", "hard", "smooth"),
            "soft, then hard, then",
        ),
    ],
)
def test_a_guess_is_held_against_the_measurement_and_kept_once(make, right, wrong, truth, words, capsys):
    for guess, sign in ((right, "✓ As you guessed."), (wrong, "✗ Not as you guessed.")):
        asked = make()
        asked.set(guess, sure=80)
        asked.answer(truth)
        said = capsys.readouterr().out
        assert sign in said and f"Measured: {words}" in said and "80 % sure" in said
    (kept,) = predictions.kept()
    assert kept["right"] is True and kept["sure"] == 80, "the second time one knew the answer"


@pytest.mark.parametrize(("make", "truth"), [(choice, "shapes"), (number, 3), (ranking, ["soft", "hard", "smooth"])])
def test_without_a_guess_the_answer_is_shown_and_nothing_kept(make, truth, capsys):
    figure = bars()
    before = figure.description
    make().answer(truth, on=figure)
    assert "No guess was made" in capsys.readouterr().out and figure.description == before
    assert predictions.kept() == []


@pytest.mark.parametrize("axis", ["x", "y", None])
def test_a_guess_is_drawn_on_its_figure(axis):
    asked, figure = number(), bars()
    before = len(figure.axes[0].patches)
    asked.set((20, 40))
    asked.answer(30, on=figure, axis=axis)
    assert len(figure.axes[0].patches) == before + (axis is not None)
    assert "Your guess: 20 to 40 %. Measured: 30 %." in figure.description
    assert figure.get_supxlabel() in figure.description and figure.get_supxlabel()


@pytest.mark.parametrize(
    ("make", "guess", "accepted"),
    [
        (choice, "nothing", "one of weights, pictures, shapes"),
        (number, 50, "two numbers"),
        (number, (50, 40), "two numbers"),
        (number, (50, float("nan")), "two numbers"),
        (number, ("a", "b"), "two numbers"),
        (ranking, ["soft", "hard"], "all of hard, soft, smooth"),
        (ranking, ["soft", "hard", "hard"], "all of hard, soft, smooth"),
    ],
)
def test_other_guesses_are_refused(make, guess, accepted):
    with pytest.raises(ValueError, match=accepted):
        make().set(guess)


def test_a_guess_after_the_answer_was_seen_does_not_count(capsys):
    number().answer(42)
    again = number()
    again.set((41, 43), sure=100)
    again.answer(42)
    assert "✓ As you guessed." in capsys.readouterr().out and predictions.kept() == []


@pytest.mark.parametrize("sure", [0.9, 69.5, "90", True])
def test_sureness_is_a_whole_number_of_percent(sure):
    with pytest.raises(ValueError, match="sure must be a whole number of percent"):
        number().set((1, 2), sure=sure)


def test_numpys_numbers_are_kept():
    asked = number()
    asked.set((np.float32(1), np.int64(2)), sure=np.int64(100))
    asked.answer(np.float64(1.5))
    assert predictions.kept()[0]["sure"] == 100


def test_sureness_and_truth_are_looked_at_and_a_late_guess_is_refused():
    asked = number()
    with pytest.raises(ValueError, match="from 0 to 100"):
        asked.set((1, 2), sure=101)
    with pytest.raises(ValueError, match=r"truth of 03\.share must be a finite number"):
        asked.answer(float("nan"))
    asked.answer(3)
    with pytest.raises(ValueError, match="answered already"):
        asked.set((1, 2))


@pytest.mark.parametrize(
    "asked",
    [{}, {"options": ["a", "b"], "between": (0, 1)}, {"options": ["a"]}, {"ranking": ["a", "a"]}, {"between": (2, 1)}],
)
def test_questions_that_cannot_be_answered_are_refused(asked):
    with pytest.raises(ValueError, match=r"exactly one|at least two|two finite numbers"):
        kd.predict("00.x", "?", **asked)


def controls(asked, monkeypatch):
    shown = []
    monkeypatch.setattr("kdcourse.widgets.page.show_widget", shown.append)
    monkeypatch.setattr(predictions, "show", lambda message: None)
    asked._ipython_display_()
    _, *inputs, row, said = shown[0].children
    return inputs, *row.children, said


def test_widgets_keep_a_guess(monkeypatch):
    asked = choice()
    (radio,), sure, button, said = controls(asked, monkeypatch)
    button.click()
    assert asked.guess is None and "Not kept: guess of 06.most must be one of" in said.value
    radio.value, sure.value = "shapes", 95
    button.click()
    assert (asked.guess, asked.sure) == ("shapes", 95) and "Kept: shapes, 95 % sure" in said.value
    asked = ranking()
    places, _, button, said = controls(asked, monkeypatch)
    for place, name in zip(places, ["soft", "smooth", "hard"], strict=True):
        place.value = name
    button.click()
    assert asked.guess == ("soft", "smooth", "hard")
    asked = number()
    (ends,), _, button, said = controls(asked, monkeypatch)
    ends.value = (40, 60)
    button.click()
    assert asked.guess == (40, 60) and 'aria-live="polite"' in said.value


def test_progress_draws_how_often_guesses_were_right_by_how_sure_one_was():
    for place, (sure, truth) in enumerate([(60, "pictures"), (55, "weights"), (95, "pictures"), (90, "pictures")]):
        asked = kd.predict(f"06.guess{place}", "Which?", options=["weights", "pictures"])
        asked.set("pictures", sure=sure)
        asked.answer(truth)
    assert predictions.calibration() == [("50–69 %", 2, 57.5, 50.0), ("90–100 %", 2, 92.5, 100.0)]
    kd.quiz("00").answer(0, 0)
    said = CliRunner().invoke(app, ["progress"]).output
    assert (
        "guesses, how sure" in said
        and re.search(r"50–69 %.*50 █{10}(?!█)", said)
        and re.search(r"90–100 %.*100 █{20}", said)
    )
    assert "quiz of lab" in said


def test_a_quiz_keeps_every_first_choice_and_the_last():
    shown = kd.quiz("00")
    right = next(place for place, option in enumerate(shown.questions[1].options) if option.right)
    wrong = (right + 1) % len(shown.questions[1].options)
    shown.answer(1, wrong)
    shown.answer(1, right)
    shown.try_every_option()
    entry = progress.load()["00.question-2"]
    assert entry["first_choice"] == shown.questions[1].options[wrong].text and entry["right_at_first"] is False
    assert entry["chosen"] == shown.questions[1].options[right].text and entry["outcome"] == "right"
    assert shown._choices[1].index == right, "a test leaves a student's choice alone"
    assert quiz.__name__ and quiz("00").questions == shown.questions


def test_no_place_in_a_quiz_is_the_right_one_more_often_than_chance_allows():
    places = [next(place for place, one in enumerate(q.options) if one.right) for lab in labs() for q in questions(lab)]
    assert max(places.count(place) for place in range(3)) < 0.45 * len(places)
    assert all(list(questions(lab)) == list(questions(lab)) for lab in labs())


# The words **Predict** in a lab's prose, and the predictions that its cells ask for and answer.
ASKS = re.compile(r"^(\w+) = kd\.predict\(\s*\"(\d\d)\.([\w-]+)\"", re.MULTILINE)


@pytest.mark.parametrize("lab", notebooks.labs(), ids=lambda lab: lab.number)
def test_every_prediction_is_asked_for_and_answered_later(lab):
    cells = notebooks.compose(lab).cells
    prose = [place for place, cell in enumerate(cells) if cell.cell_type == "markdown" and "**Predict" in cell.source]
    if lab.number == "00":
        prose = prose[1:]  # the first explains the word
    asked = {}
    for place, cell in enumerate(cells):
        for name, number, _ in ASKS.findall(cell.source) if cell.cell_type == "code" else ():
            assert number == lab.number and re.search(rf"^{name}$", cell.source, re.MULTILINE), (
                "the cell ends with its card"
            )
            asked[place] = name
    for place in prose:
        assert place + 1 in asked, f"no guess is taken after: {cells[place].source[-80:]}"
    for place, name in asked.items():
        later = "\n".join(cell.source for cell in cells[place + 1 :] if cell.cell_type == "code")
        assert f"{name}.answer(" in later, f"{name} is never answered"
