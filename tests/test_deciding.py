"""When a model answers and when a person is asked: coverage, costs, thresholds, and the memo that defends them."""

import re

import pytest
import torch

import kdcourse as kd
from kdcourse.data.splits import Split
from kdcourse.deployment.memo import QUESTIONS
from kdcourse.evaluation.deciding import NEVER, Answers, answers, cheapest_threshold, chows_threshold


@pytest.fixture
def given():
    confidence = torch.tensor([0.9, 0.8, 0.6, 0.55, 0.5])
    return Answers(confidence, torch.tensor([True, True, False, True, False]))


def test_what_a_threshold_answers_gets_right_and_costs(given):
    assert given.coverage(0.6) == pytest.approx(60) and given.accuracy(0.6) == pytest.approx(200 / 3)
    assert given.costs(0.6, error=5, asking=2).tolist() == [0, 0, 5, 2, 2]
    assert given.coverage(NEVER) == 0 and given.accuracy(NEVER) is None
    assert given.costs(NEVER, error=5).tolist() == [1] * 5 and given.costs(0, error=5).tolist() == [0, 0, 5, 0, 5]


@pytest.mark.parametrize(
    ("error", "asking", "answered"),
    [(10, 1, 2), (1.5, 1, 4), (1, 2, 5), (1, 0, 2)],
)
def test_the_cheapest_threshold_is_found_among_all(given, error, asking, answered):
    threshold = cheapest_threshold(given, error=error, asking=asking)
    assert (given.confidence >= threshold).sum() == answered
    cost = given.costs(threshold, error=error, asking=asking).sum()
    for other in torch.linspace(0, 1.5, 151).tolist():
        assert cost <= given.costs(other, error=error, asking=asking).sum()


def test_a_model_that_is_always_wrong_is_never_asked():
    wrong = Answers(torch.tensor([0.9, 0.4]), torch.tensor([False, False]))
    assert cheapest_threshold(wrong, error=3) == NEVER


def test_the_labs_exercise_finds_the_same_threshold(given):
    reference = kd.exercise("14.cheapest_threshold").reference
    for error, asking in ((10.0, 1.0), (1.5, 1.0), (1.0, 2.0)):
        assert reference(given.confidence, given.right, error, asking) == pytest.approx(
            cheapest_threshold(given, error=error, asking=asking)
        )


def test_chows_rule_is_cheapest_where_probabilities_are_true():
    generator = torch.Generator().manual_seed(0)
    confidence = 0.5 + torch.rand(20_000, generator=generator) / 2
    true = Answers(confidence, torch.rand(20_000, generator=generator) < confidence)
    costs = [true.costs(threshold, error=5).sum().item() for threshold in (0.7, chows_threshold(error=5), 0.9)]
    assert chows_threshold(error=5) == pytest.approx(0.8) and min(costs) == costs[1]
    assert chows_threshold(error=1) == chows_threshold(error=0) == chows_threshold(error=1, asking=7) == 0


def test_answers_are_those_of_the_softmax():
    split = Split(torch.zeros(2, 1, 1, 1), torch.tensor([1, 0]))
    logits = torch.tensor([[0.0, torch.tensor(3.0).log()], [0.0, 0.0]])
    found = answers(logits, split)
    torch.testing.assert_close(found.confidence, torch.tensor([0.75, 0.5]))
    assert found.right.tolist() == [True, True]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Answers(torch.rand(3), torch.ones(2, dtype=torch.bool)), r"must be \(N,\).* got \(3,\) and \(2,\)"),
        (lambda: Answers(torch.rand(0), torch.ones(0, dtype=torch.bool)), "at least one"),
        (lambda: Answers(torch.rand(2), torch.ones(2)), "right must be bool, got torch.float32"),
        (lambda: Answers(torch.tensor([3.0]), torch.tensor([True])), "probabilities from 0 to 1"),
        (lambda: Answers(torch.tensor([torch.nan]), torch.tensor([True])), "probabilities from 0 to 1"),
        (lambda: chows_threshold(error=-1), "error must be a cost of 0 or more, got -1"),
        (lambda: chows_threshold(error=5, asking=float("nan")), "asking must be a cost of 0 or more, got nan"),
        (lambda: kd.plots.coverage({}, {}, error=1), "models must hold at least one"),
        (lambda: kd.deployment.deployment_memo("x", "one fact", {}), "facts must be a list of sentences"),
        (lambda: kd.deployment.deployment_memo("x", [], {"why": "so"}), "answers must be to decision, .* got 'why'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_figure_says_what_each_threshold_answers_and_costs(given):
    figure = kd.plots.coverage({"student": given}, {"chosen": 0.8, "nobody": NEVER}, error=10)
    assert "student: 60.0 % right of all" in figure.description
    assert "chosen: at 0.80, 40 % answered, cost 0.60 a picture" in figure.description
    assert "nobody: never to answer, 0 % answered, cost 1.00 a picture" in figure.description
    left = figure.axes[0].lines[0]
    assert left.get_ydata().tolist() == pytest.approx([100, 100, 200 / 3, 75, 60])


def test_a_memo_asks_all_questions_and_is_judged_by_a_rubric():
    memo = kd.deployment.deployment_memo(
        "a_student", ["90 % answered."], {"stop": "  Fewer than *half* answered. ", "cost": " "}
    )
    assert memo.startswith("# Memo: a&#95;student") and "- 90 % answered." in memo
    assert memo.count("*Not answered yet.*") == len(QUESTIONS) - 1 and "Fewer than &#42;half&#42; answered." in memo
    assert len(re.findall(r"^\| \w+ \| ", memo, re.MULTILINE)) == len(QUESTIONS) and "out of 12 points" in memo


def test_each_student_has_its_own_threshold_and_is_judged_by_it(given):
    lab, student = kd.studies.lab_14, torch.nn.Flatten()
    given = Answers(given.confidence + 0.01, given.right)  # no ties
    labels = torch.where(given.right, 1, 0)
    shares = torch.stack([1 - given.confidence, given.confidence], dim=1)
    split = Split(shares.log()[:, :, None, None], labels)
    student.threshold = cheapest_threshold(given, error=lab.ERROR)
    found = {suffix: measure(student, split) for suffix, measure in lab.DECISIONS.items()}
    assert found["-threshold"] == pytest.approx(0.81) and found["-covered"] == pytest.approx(40)
    assert found["-wrong"] == 0 and found[""] == pytest.approx(100 - 60)
    assert found["-always"] == pytest.approx(100 - 200) and found["-chow"] == pytest.approx(40)
    student.threshold = NEVER
    assert lab.saved(student, split) == lab.wrong_among_answered(student, split) == 0
