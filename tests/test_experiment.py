"""Comparisons are paired, budgets are equal, intervals are right, and a claim can fail."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import kdcourse as kd
from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import intervals
from kdcourse.evaluation.intervals import Difference, claim, difference
from kdcourse.experiments.experiment import Equipped, Recipe, compare
from kdcourse.experiments.ledger import Comparison


def toy(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    images = 1.5 * torch.randn(count, 1, 4, 4, generator=generator) + labels.view(-1, 1, 1, 1)
    return Split(images, labels)


@pytest.fixture
def data() -> ImageData:
    return ImageData("toy", ("a", "b", "c"), toy(200, 0), toy(100, 1), toy(100, 2), (0.0,), (1.0,), "built in")


@pytest.fixture
def recipe(data) -> Recipe:
    return Recipe(lambda seed: kd.models.perceptron((8,), classes=3, inputs=16, seed=seed), data.train, steps=20)


def percent_right(model, split: Split) -> float:
    decisions = model.eval()(split.images).argmax(dim=1)
    return (decisions == split.labels).sum().item()  # of a hundred pictures


def test_arms_are_paired_seed_by_seed(data, recipe):
    twins = compare({"one": recipe, "two": replace(recipe)}, data, seeds=3, progress=False)
    assert (twins.scores["one"] == twins.scores["two"]).all()
    assert twins.difference("two") == Difference(0.0, 0.0, 0.0, seeds=len(twins.scores))
    assert twins.scores["one"].nunique() > 1, "different seeds are different runs"
    for one, two in zip(twins.students["one"], twins.students["two"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize(("whole", "said"), [(1, "seeds 0 are whole"), (3, "seeds 0, 1, 2 are whole")])
def test_one_stop_stops_everything_and_whole_seeds_are_kept(whole, said, data, recipe, tmp_path, monkeypatch):
    """Half a run is no run: it is neither compared nor written."""
    monkeypatch.setenv("KDCOURSE_RESULTS", str(tmp_path))
    begun = []

    class Slow(kd.HardTarget):
        def forward(self, batch):
            if len(begun) == whole + 1 and self.steps == 7:
                raise KeyboardInterrupt
            self.steps += 1
            return super().forward(batch)

        def __deepcopy__(self, memo):
            again = Slow()
            again.steps = 0
            return again

    def student(seed):
        return kd.models.perceptron((8,), classes=3, inputs=16, seed=seed)

    def draw(seed):
        begun[:] = sorted({*begun, seed})
        return data.train

    arms = {"plain": recipe, "slow": replace(recipe, student=student, train=draw, method=Slow())}
    with pytest.raises(KeyboardInterrupt, match=said) as stop:
        compare(arms, data, seeds=5, progress=False, ledger="cut")
    assert f"stopped in arm 'slow', seed {whole}" in str(stop.value) and not list(tmp_path.iterdir())
    finished = stop.value.finished
    assert finished is None if whole == 1 else list(finished.scores.index) == list(range(whole))


def test_each_seed_may_draw_its_own_examples(data, recipe):
    drawn = []

    def draw(seed):
        drawn.append(seed)
        return data.train.sample(30, seed)

    compare({"few": replace(recipe, train=draw), "all": recipe}, data, seeds=[4, 9], progress=False)
    assert drawn == [4, 4, 4, 9], "twice more with the first seed: for the look beforehand and for the facts"


def test_scores_are_the_metric_on_test_and_validation(data, recipe):
    outcome = compare({"one": recipe}, data, seeds=2, progress=False)
    model = outcome.students["one"][1]
    assert outcome.scores.loc[1, "one"] == percent_right(model, data.test)
    assert outcome.validation.loc[1, "one"] == percent_right(model, data.validation)
    counted = compare({"one": recipe}, data, seeds=2, metric=lambda _, split: float(len(split)), progress=False)
    assert (counted.scores["one"] == 100).all()


def test_a_methods_own_parameters_start_anew_for_each_seed(data, recipe):
    class Counting(kd.HardTarget):
        def __init__(self):
            super().__init__()
            self.seen = torch.nn.Parameter(torch.zeros(()))

        def forward(self, batch):
            return super().forward(batch) + self.seen

    method = Counting()
    compare({"one": replace(recipe, method=method)}, data, seeds=2, progress=False)
    assert method.seen.item() == 0


def test_the_interval_is_students_t():
    values = np.array([1.0, 2.0, 4.0, 3.0, 2.5])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    got = difference(values)
    assert got.mean == values.mean()
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))
    with pytest.raises(ValueError, match="at least two seeds"):
        difference([1.0])


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_has_no_interval_and_no_verdict(broken):
    with pytest.raises(ValueError, match=rf"an interval must hold finite numbers, got {broken} at 1"):
        difference([1.0, broken, 2.0])
    with pytest.raises(ValueError, match="a difference must hold finite numbers"):
        Difference(broken, 1.0, 2.0)
    with pytest.raises(ValueError, match="at_least must hold finite numbers"):
        claim("soft beats hard", Difference(2.0, 0.5, 3.5, seeds=5), at_least=broken)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_score_that_is_no_number_is_named_by_arm_seed_and_split(data, recipe, split):
    def metric(model, examples):
        return float("nan") if examples is getattr(data, split) else 50.0

    with pytest.raises(ValueError, match=f"got nan for arm 'one', seed 4, on the {split} split"):
        compare({"one": recipe}, data, seeds=[4, 9], metric=metric, progress=False)


def test_a_student_of_nan_is_named_and_no_longer_scores_a_third(data, recipe):
    class Broken(Recipe):
        def run(self, seed=0, *, progress=False):
            student = super().run(seed)
            torch.nn.init.constant_(student.classifier.weight, float("nan") if seed == 9 else 0.0)
            return student

    arms = {"sound": recipe, "broken": Broken(recipe.student, recipe.train, steps=20)}
    with pytest.raises(ValueError, match=r"arm 'broken', seed 9, on the \w+ split: logits .* for 100 of 100 examples"):
        compare(arms, data, seeds=[4, 9], progress=False)


def test_a_stored_score_that_is_no_number_is_refused():
    scores = pd.DataFrame({"plain": [70.0, 72], "KD": [75.0, float("inf")]}, index=[0, 3])
    with pytest.raises(ValueError, match="got inf for arm 'KD', seed 3, on the test split"):
        Comparison(scores, scores[["plain"]], "plain")


def test_the_words_follow_the_interval():
    assert Difference(2.0, 0.5, 3.5).verdict == "helps"
    assert Difference(-2.0, -3.5, -0.5).verdict == "hurts"
    assert Difference(2.0, -0.1, 4.1).verdict == "no clear difference"
    assert difference([0.3] * 3).verdict == "the same for every seed"


def test_a_difference_is_told_with_its_verdict_or_a_word_in_its_place():
    gain, words = Difference(2.0, 0.5, 3.5), {"helps": "more often"}
    assert gain.told() == "+2.0 points [+0.5,\xa0+3.5] (**helps**)", "no line breaks in an interval"
    assert gain.told(words, bold=False) == "+2.0 points [+0.5,\xa0+3.5] (more often)"
    assert gain.level() == "2.0 [0.5,\xa03.5]" and gain.level(2, " %") == "2.00 % [0.50,\xa03.50]"
    assert Difference(-2.0, -3.5, -0.5).told(words).endswith("(**hurts**)")
    scores = pd.DataFrame({"plain": [70.0, 72, 74], "KD": [75.0, 78, 81]})
    outcome = Comparison(scores, scores, "plain")
    assert outcome.told("KD") == "- KD, against plain: +6.0 points [+3.5,\xa0+8.5] (**helps**)\n"
    assert outcome.told("plain", "KD", {"hurts": "lower"}).startswith("- plain, against KD: -6.0")
    with pytest.raises(ValueError, match="arm must be one of plain, KD"):
        outcome.told("none")
    assert str(Difference(2.04, -0.1, 4.1)) == "+2.0 points [-0.1,\xa0+4.1]"


def test_a_claim_holds_or_fails(capsys):
    for seeds in (4, None):
        with pytest.raises(AssertionError, match="at least 5 seeds"):
            claim("soft beats hard", Difference(2.0, 0.5, 3.5, seeds=seeds))
    claim("soft beats hard", Difference(2.0, 0.5, 3.5, seeds=5), at_least=1.5)
    assert "soft beats hard: +2.0 points" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="not clear of zero"):
        claim("soft beats hard", Difference(2.0, -0.1, 4.1, seeds=5))
    with pytest.raises(AssertionError, match=r"less than the 2\.5 points"):
        claim("soft beats hard", Difference(2.0, 0.5, 3.5, seeds=5), at_least=2.5)


def test_the_table_names_the_baseline_and_the_verdicts(data, recipe):
    wrongly = Split(data.train.images, 2 - data.train.labels)
    outcome = compare(
        {"wrong": replace(recipe, train=wrongly, steps=60), "right": replace(recipe, steps=60)},
        data,
        seeds=4,
        baseline="right",
        progress=False,
    )
    table = outcome.table()
    assert table.loc["right", "verdict"] == "the baseline"
    assert table.loc["wrong", "verdict"] == "hurts"


def test_the_tables_numbers_by_hand():
    scores = pd.DataFrame({"plain": [70.0, 72, 74], "KD": [75.0, 78, 81]})
    table = Comparison(scores, scores, "plain").table()
    # Standard errors 2/√3 and 3/√3, of the gaps (5, 6, 7) 1/√3; Student's t with two degrees of freedom is 4.303.
    assert table.loc["plain"].tolist() == [72, 4.97, "", "the baseline"]
    assert table.loc["KD"].tolist() == [78, 7.45, "+6.0 points [+3.5,\xa0+8.5]", "helps"]


def test_the_ledger_keeps_what_repeats_the_run(data, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_RESULTS", str(tmp_path))
    outcome = compare({"one": recipe}, data, seeds=[3, 5], ledger="00-toy", progress=False)
    entry = json.loads((tmp_path / "00-toy-toy.json").read_text(encoding="utf-8"))
    assert entry["seeds"] == [3, 5] and entry["arms"]["one"]["test"] == outcome.scores["one"].tolist()
    assert entry["data"] == {"name": "toy", "fingerprint": data.train.fingerprint}
    assert entry["versions"]["torch"] == torch.__version__.split("+")[0] and entry["device"] == "cpu"
    again = compare({"one": recipe}, data, seeds=entry["seeds"], progress=False)
    assert again.scores["one"].tolist() == entry["arms"]["one"]["test"]


def test_a_student_carries_what_its_metric_needs_and_is_trained_as_without_it(data, recipe):
    arm = Equipped(recipe, lambda student, seed: setattr(student, "seed", seed))
    outcome = compare({"one": arm}, data, seeds=[3, 5], metric=lambda student, split: student.seed, progress=False)
    assert outcome.scores["one"].tolist() == [3, 5]
    expected = compare({"one": recipe}, data, seeds=[3, 5], progress=False)
    assert outcome.evaluated_by(kd.measure.accuracy, data).scores.equals(expected.scores)
    assert arm.budget == recipe.budget and arm.facts() == recipe.facts()
    student = outcome.students["one"][0]
    assert arm.describe(student) == recipe.describe(student)


def test_unfair_or_impossible_comparisons_are_refused(data, recipe):
    with pytest.raises(ValueError, match="one budget"):
        compare({"one": recipe, "longer": replace(recipe, steps=40)}, data)
    with pytest.raises(ValueError, match="at least two"):
        compare({"one": recipe}, data, seeds=1)
    with pytest.raises(ValueError, match="baseline must be one of one"):
        compare({"one": recipe}, data, baseline="none")
    with pytest.raises(ValueError, match="recipes must hold at least one arm"):
        compare({}, data)
    outcome = compare({"one": recipe}, data, seeds=2, progress=False)
    with pytest.raises(ValueError, match="arm must be one of one"):
        outcome.difference("two")


class Untrainable(Recipe):
    def run(self, seed=0, *, progress=False):
        raise AssertionError("it was trained")


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([0, 0, 0], r"twice or more: \[0\]"),
        ([5, 3, 5, 1, 3], r"twice or more: \[3, 5\]"),
        ([0, 1.5], r"whole numbers, .* got \[1.5\]"),
        ([0, "1"], "whole numbers"),
        ([0, True], "whole numbers"),
        (2.5, "whole numbers, or how many"),
        (True, "whole numbers"),
        (None, "whole numbers"),
        (-3, "at least two"),
    ],
)
def test_seeds_that_are_none_are_refused_before_anything_trains(data, recipe, seeds, message):
    arm = Untrainable(recipe.student, recipe.train, steps=20)
    with pytest.raises(ValueError, match=message):
        compare({"one": arm}, data, seeds=seeds, progress=False)


def test_seeds_of_numpy_are_seeds(data, recipe):
    outcome = compare({"one": recipe}, data, seeds=np.array([4, 9]), progress=False)
    assert list(outcome.scores.index) == [4, 9]


CHOICES = {"plain": [90.0, 90, 90], "small": [70.0, 72, 74], "large": [75.0, 78, 70]}


def test_the_best_arm_is_that_of_the_validation_split():
    test, validation = pd.DataFrame(CHOICES), pd.DataFrame({**CHOICES, "small": [80.0, 80, 80]})
    outcome = Comparison(test, validation, "plain")
    assert outcome.best() == outcome.best(on="validation") == "small", "large is better on test, plain is the baseline"
    assert outcome.best(lowest=True) == "large"
    assert outcome.best(among=["large", "plain"]) == "plain"
    assert outcome.best(among=(arm for arm in ["large"])) == "large"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on": "test"}, "on must be \"validation\", got 'test': the best of several test scores is too good"),
        ({"on": "train"}, "on must be \"validation\", got 'train'$"),
        ({"among": []}, "among must hold at least one arm"),
        ({"among": ["tiny"]}, "arm must be one of plain, small, large, got 'tiny'"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(arguments, message):
    scores = pd.DataFrame(CHOICES)
    with pytest.raises(ValueError, match=message):
        Comparison(scores, scores, "plain").best(**arguments)


def test_with_the_baseline_alone_there_is_nothing_to_choose():
    scores = pd.DataFrame({"plain": [70.0, 72]})
    with pytest.raises(ValueError, match="at least one arm"):
        Comparison(scores, scores, "plain").best()


def with_p(*chances: float, seeds: int = 6) -> dict[str, np.ndarray]:
    """Differences whose two-sided t-tests have these p-values, in a shuffled order of seeds."""
    spread = np.linspace(-1, 1, seeds)
    spread = spread / (spread.std(ddof=1) / np.sqrt(seeds))
    return {f"p = {p:g}": spread + stats.t.isf(p / 2, seeds - 1) for p in chances}


def test_holm_steps_down_and_stops_at_the_first_that_is_not_clear():
    """The thresholds of four tests are 1.25, 1.67, 2.5 and 5 %."""
    assert stats.ttest_1samp(with_p(0.012)["p = 0.012"], 0).pvalue == pytest.approx(0.012)
    found = intervals.holm(with_p(0.04, 0.012, 0.03, 0.016))
    assert found == {
        "p = 0.04": "no clear difference",  # below 5 %, but after one that is not below 2.5 %
        "p = 0.012": "helps",
        "p = 0.03": "no clear difference",
        "p = 0.016": "helps",  # above Bonferroni's 1.25 %
    }
    gaps = with_p(0.01, 0.04)
    hurting = {name: -values for name, values in gaps.items()}
    assert list(intervals.holm(hurting).values()) == ["hurts", "hurts"]
    assert list(intervals.holm({**gaps, "one": [0.0, 0, 1, 0, 0, 0]}).values())[1] == "no clear difference"
    assert list(intervals.holm({**gaps, "constant": [1.0] * 6}).values()) == ["helps", "helps", intervals.CONSTANT]
    assert intervals.holm({}) == {}


def test_holm_agrees_with_the_plain_verdict_where_there_is_one_test():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.normal(rng.normal(), 1, 5)
        assert intervals.holm({"one": values}) == {"one": difference(values).verdict}


def test_among_many_that_do_nothing_holm_seldom_finds_one():
    """Of sixteen arms without any effect, one or more look clear in half of the tables; after Holm in one of twenty."""
    rng = np.random.default_rng(0)
    tables = [{str(arm): rng.normal(0, 1, 5) for arm in range(16)} for _ in range(300)]
    plain = np.mean([any(difference(v).verdict != "no clear difference" for v in table.values()) for table in tables])
    held = np.mean([any(word != "no clear difference" for word in intervals.holm(table).values()) for table in tables])
    assert plain > 0.4 and held < 0.08


def test_the_table_shows_holms_verdicts_where_several_arms_are_ranked():
    gaps = with_p(0.01, 0.03, 0.04)
    scores = pd.DataFrame({"plain": np.full(6, 70.0), **{name: 70 + values for name, values in gaps.items()}})
    table = Comparison(scores, scores, "plain").table()
    assert table["verdict"].tolist() == ["the baseline", "helps", "helps", "helps"]
    assert table["Holm"].tolist() == ["", "helps", "no clear difference", "no clear difference"]
    alone = Comparison(scores, scores, "plain").only("p = 0.03")
    assert "Holm" not in alone.table() and alone.table().loc["p = 0.03", "verdict"] == "helps"


PAIRED = {"plain": [70.0, 72, 74], "KD": [75.0, 78, 81], "smooth": [74.0, 77, 79], "other": [60.0, 60, 60]}


def test_one_gain_is_held_against_another():
    scores = pd.DataFrame(PAIRED)
    outcome = Comparison(scores, scores, "plain")
    expected = difference([1.0, 1, 2])  # 5, 6, 7 against 4, 5, 5
    assert outcome.more_than("KD", "smooth") == expected
    assert outcome.more_than("KD", "smooth", baseline="other").mean == pytest.approx(expected.mean)
    assert outcome.more_than("smooth", "KD").mean == -expected.mean
    with pytest.raises(ValueError, match="must be two arms, got 'KD' twice"):
        outcome.more_than("KD", "KD")
    for arguments in (("none", "KD"), ("KD", "none"), ("KD", "smooth", "none")):
        with pytest.raises(ValueError, match="arm must be one of plain, KD, smooth, other, got 'none'"):
            outcome.more_than(*arguments)


def test_a_gain_here_is_held_against_a_gain_there_seed_by_seed():
    here = pd.DataFrame(PAIRED, index=[5, 6, 7])
    there = pd.DataFrame({"few": [50.0, 51, 52], "KD": [60.0, 53, 55], "FitNet": [51.0, 52, 53]}, index=[7, 5, 6])
    ours, theirs = Comparison(here, here, "plain"), Comparison(there, there, "few")
    assert ours.gain_beyond(theirs, "KD") == difference([5.0 - 2, 6 - 3, 7 - 10])
    assert ours.gain_beyond(theirs, "smooth", "FitNet") == difference([4.0 - 1, 5 - 1, 5 - 1])
    with pytest.raises(ValueError, match="arm must be one of few, KD, FitNet, got 'smooth'"):
        ours.gain_beyond(theirs, "smooth")
    later = Comparison(here.set_index(pd.Index([5, 6, 8])), here.set_index(pd.Index([5, 6, 8])), "plain")
    with pytest.raises(ValueError, match=r"same seeds, got \[5, 6, 8\] here and \[5, 6, 7\] there"):
        later.gain_beyond(theirs, "KD")


SEEDS, EXAMPLES = 5, 500


def drawn(rng, sets: int, seed: float, example: float, rest: float, examples: int = EXAMPLES) -> np.ndarray:
    """Two methods' right answers, (sets, 2, seeds, examples): examples differ in how hard they are, and in whom they suit."""
    hard, suits = rng.normal(1, 2, (sets, 1, examples)), rng.normal(0.3, example, (sets, 1, examples))

    def scores(ability):
        return ability + seed * rng.normal(size=(sets, SEEDS, 1)) + rest * rng.normal(size=(sets, SEEDS, examples)) > 0

    return np.stack([scores(hard + suits), scores(hard)], axis=1)


@pytest.mark.parametrize(
    ("seed", "example", "rest", "most"),
    [
        (0.02, 0.8, 0.3, 0.85),
        (0.05, 1.2, 0.5, 0.85),
        (0.3, 0.4, 0.5, 0.97),
    ],  # in the last the seeds' luck is all there is
)
def test_the_crossed_interval_covers_what_it_promises_and_that_of_seeds_alone_less(seed, example, rest, most):
    rng = np.random.default_rng(0)
    true = np.mean([np.diff(drawn(rng, 20, seed, example, rest, 5000).mean((2, 3))[:, ::-1]) for _ in range(10)])
    both, seeds_alone = [], []
    for a, b in drawn(rng, 600, seed, example, rest):
        for found, interval in (
            (both, intervals.crossed(a, b)),
            (seeds_alone, difference(100 * (a.mean(1) - b.mean(1)))),
        ):
            found.append(interval.low <= 100 * true <= interval.high)
    assert 0.93 <= np.mean(both) <= 0.97
    assert np.mean(seeds_alone) <= min(most, np.mean(both))


def test_the_crossed_interval_by_hand():
    """Gaps 1, 0 / 3, 4: mean 2, by seed 0.5 and 3.5, by example 2 and 2, rest ±0.5."""
    a, b = np.array([[1.0, 0], [3, 4]]), np.zeros((2, 2))
    half = stats.t.ppf(0.975, 1) * np.sqrt((9 + 0 - 1) / 4)
    found = intervals.crossed(a, b, scale=1)
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half))
    assert intervals.crossed(a, b).mean == 200 and intervals.crossed(b, a, scale=1).high == pytest.approx(half - 2)
    assert intervals.crossed(a > 0, a > 0).verdict == intervals.CONSTANT


def test_with_no_luck_of_examples_it_is_the_interval_of_seeds():
    by_seed = np.array([[1.0], [2], [4], [3], [2.5]])
    found = intervals.crossed(np.repeat(by_seed, 9, axis=1), np.zeros((5, 9)), scale=1)
    seeds_alone = difference(by_seed[:, 0])
    assert (found.low, found.high) == pytest.approx((seeds_alone.low, seeds_alone.high))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((5, 9)), np.zeros((5, 8)), r"one shape, .* got \(5, 9\) and \(5, 8\)"),
        (np.zeros(5), np.zeros(5), r"must be \(S, N\)"),
        (np.zeros((1, 9)), np.zeros((1, 9)), "at least two seeds"),
        (np.zeros((2, 2)), np.array([[0, 1], [np.nan, 0]]), "correct_b must hold finite numbers, got nan at 2"),
    ],
)
def test_what_is_not_crossed_is_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        intervals.crossed(a, b)


def test_a_comparison_asks_its_students_about_each_example(data, recipe):
    outcome = compare(
        {"short": recipe, "long": replace(recipe, steps=90)}, data, seeds=3, equal_budgets=False, progress=False
    )
    right = {
        arm: np.array([[bool(one(x[None]).argmax() == y) for x, y in zip(data.test.images, data.test.labels, strict=True)]
                       for one in students])
        for arm, students in outcome.students.items()
    }  # fmt: skip
    found = outcome.crossed("long", data)
    assert found == intervals.crossed(right["long"], right["short"])
    assert found.mean == pytest.approx(outcome.difference("long").mean)
    assert outcome.crossed("short", data, "long").mean == -found.mean
    with pytest.raises(ValueError, match="arm must be one of short, long, got 'none'"):
        outcome.crossed("none", data)
    with pytest.raises(ValueError, match="students are not kept"):
        replace(outcome, students={}).crossed("long", data)


def test_the_figure_shows_differences_and_for_a_single_arm_its_mean():
    scores = pd.DataFrame(PAIRED)
    outcome = Comparison(scores, scores, "plain")
    assert outcome.figure(ylabel="foresight, %").axes[0].get_xlabel() == "foresight, %"
    assert len(outcome.only("KD").figure().axes) == 2 and "KD 78.0 % ± 7.5, +6.0 points" in outcome.figure().description
    assert "over 3 seeds" in outcome.only().figure().description
