"""Quizzes: every option explained, exactly one right, answers recorded on this machine only."""

import html
import json

import pytest

from kdcourse.authoring.notebooks import labs as notebooks
from kdcourse.exercises import progress, quiz
from kdcourse.exercises.quiz import FOLDER, Option, Question, labs, questions


def test_every_lab_has_a_quiz_of_three_to_five_questions():
    assert labs() == [one.number for one in notebooks()]
    for lab in labs():
        assert 3 <= len(questions(lab)) <= 5
        assert all(3 <= len(question.options) <= 4 for question in questions(lab))


@pytest.mark.parametrize("lab", labs())
def test_every_option_is_answered_with_its_explanation(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_PROGRESS", str(tmp_path / "progress.sqlite"))
    shown = quiz(lab)
    for number, question in enumerate(shown.questions):
        for choice, option in enumerate(question.options):
            reply = shown.answer(number, choice)
            assert html.escape(option.why) in reply
            assert ("✓ Right" in reply) == option.right and ("✗ Not quite" in reply) != option.right
    assert len(progress.load()) == len(shown.questions)


def test_trying_every_option_records_nothing_and_starts_over(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_PROGRESS", str(tmp_path / "progress.sqlite"))
    shown = quiz("00")
    shown.try_every_option()
    assert progress.load() == {}
    assert all(choice.index is None for choice in shown._choices)
    shown.answer(0, 0)
    assert "00.question-1" in progress.load()


def test_a_page_without_a_kernel_has_all_answers():
    folded = quiz("00")._folded()
    for question in questions("00"):
        assert all(html.escape(option.why) in folded for option in question.options)
    assert folded.startswith("<details>")


def test_wrong_quizzes_are_refused():
    one, other = Option("a", True, "because"), Option("b", False, "because not")
    assert Question("?", (one, other))
    with pytest.raises(ValueError, match="exactly one option"):
        Question("?", (one, one))
    with pytest.raises(ValueError, match="exactly one option"):
        Question("?", (other, other))
    with pytest.raises(ValueError, match="needs a text and an explanation"):
        Question("?", (one, Option("b", False, "")))
    with pytest.raises(ValueError, match="lab must be one of 00"):
        quiz("99")
    with pytest.raises(ValueError, match="question must be from 0"):
        quiz("00").answer(17, 0)
    with pytest.raises(ValueError, match="option must be from 0"):
        quiz("00").answer(0, 17)


def test_the_right_option_is_not_known_by_its_length():
    asked = [question for lab in labs() for question in questions(lab)]
    longest = shortest = 0
    for question in asked:
        lengths = sorted(len(option.text) for option in question.options)
        right = next(len(option.text) for option in question.options if option.right)
        longest += right == lengths[-1]
        shortest += right == lengths[0]
        assert lengths[-1] < 25 or lengths[-1] <= 2.2 * lengths[0], question.text
    assert longest <= 24 and shortest <= 24, (
        f"of {len(asked)} it is the longest in {longest} and the shortest in {shortest}"
    )


def test_a_wrong_choice_is_told_why_that_very_one_is_wrong():
    for lab in labs():
        for question in questions(lab):
            reasons = [option.why for option in question.options]
            assert len(set(reasons)) == len(reasons) and all(len(why) >= 15 for why in reasons), question.text


def test_the_files_are_plain_data():
    for path in FOLDER.glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))
