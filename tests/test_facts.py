"""What differs between arms is computed by hand here, and nothing is trained for it."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import kdcourse as kd
from kdcourse.data.characters import Windows
from kdcourse.data.splits import Split
from kdcourse.data.texts import Sentences
from kdcourse.experiments import facts, ledger, schemes
from kdcourse.experiments.experiment import compare
from kdcourse.experiments.facts import Facts
from kdcourse.methods import JacobianMatching, OnPolicy, TokenDivergence
from kdcourse.models.language import gpt
from kdcourse.models.sentiment import bert
from tests.test_experiment import data, recipe, toy  # noqa: F401  the toy data and recipe are fixtures

STUDENT = 16 * 8 + 8 * 3  # multiply-adds of the toy's perceptron for one picture
TEACHER = 16 * 32 + 32 * 3
EXAMPLES = 20 * 128  # steps × batch


def net(seed=0, hidden=(8,)):
    return kd.models.perceptron(hidden, classes=3, inputs=16, seed=seed)


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch):
    def refuse(*args, **settings):
        raise AssertionError("facts must not train")

    with monkeypatch.context() as patch:
        patch.setattr(kd.experiment, "train", refuse)
        patch.setattr(kd.experiment, "finetune", refuse)
        yield patch


@pytest.fixture
def distilled(recipe):  # noqa: F811
    return replace(recipe, method=kd.SoftTarget(temperature=2), teacher=kd.TeacherCache(net(7, (32,))))


def test_a_recipes_facts_by_hand(recipe, distilled):  # noqa: F811
    assert recipe.facts() == Facts(200, 200, 20, 3 * EXAMPLES * STUDENT, None, False)
    assert distilled.facts() == Facts(200, 0, 20, 3 * EXAMPLES * STUDENT + 200 * TEACHER, 2.0, False)
    live = replace(distilled, teacher=net(7, (32,)))
    assert live.facts().multiply_adds == EXAMPLES * (3 * STUDENT + TEACHER), "a model is asked at every step"
    looking = replace(distilled, method=JacobianMatching())
    assert looking.facts().multiply_adds == EXAMPLES * (3 * STUDENT + TEACHER), "gradients are in no cache"
    unused = replace(recipe, teacher=net(7, (32,)))
    assert unused.facts() == recipe.facts(), "a teacher that nobody listens to costs nothing"
    unlabelled = replace(distilled, train=recipe.train.unlabelled(), method=kd.SoftTarget())
    assert unlabelled.facts().labels == 0


def test_equal_inputs_count_once_and_unseen_ones_never(recipe, data):  # noqa: F811
    twice = data.train.take(torch.arange(400) % 200)
    assert replace(recipe, train=twice).facts().inputs == 200
    few = replace(recipe, steps=3, batch_size=16)
    assert few.facts().inputs == few.facts().labels == 48
    balanced = replace(few, balanced=True)
    index = kd.training.batches(data.train, 3, 16, 0, balanced=True).unique()
    assert balanced.facts().inputs == len(index) < 48, "drawn with replacement"
    drawn = replace(recipe, train=lambda seed: data.train.sample(30 + seed, seed))
    assert [drawn.facts(seed).inputs for seed in (0, 5)] == [30, 35]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_row_has_its_own_number(dtype):
    images = torch.randint(0, 2, (5000, 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(dtype)
    rows = Split(images).rows
    assert rows.unique().numel() == images.flatten(1).unique(dim=0).shape[0]
    assert Split(images.repeat(2, 1, 1, 1)).rows.tolist() == rows.tolist() * 2


def test_the_temperature_is_the_methods(distilled):
    assert facts.temperature_of(kd.HardTarget() + kd.SoftTarget(3) * 0.5) == 3
    assert facts.temperature_of(schemes.MutualLearning(temperature=5)) == 5
    assert facts.temperature_of(kd.LogitMSE()) is None


def test_schemes_count_all_that_they_train(recipe, distilled, data):  # noqa: F811
    alone = recipe.facts().multiply_adds
    committee = schemes.Committee([recipe, replace(recipe, train=toy(50, 5))])
    assert committee.facts() == Facts(250, 250, 40, 2 * alone, None, False)
    chain = schemes.Chain([replace(recipe, student=lambda seed: net(seed, (32,))), distilled, distilled])
    taught = 3 * EXAMPLES * STUDENT
    assert chain.facts() == Facts(
        200, 200, 60, 3 * EXAMPLES * TEACHER + 2 * taught + 200 * (TEACHER + STUDENT), 2.0, False
    )
    begun = replace(distilled, student=schemes.WarmStart(recipe))
    assert begun.facts() == Facts(200, 200, 40, alone + distilled.facts().multiply_adds, 2.0, True)
    further = schemes.Chain([distilled, begun])
    assert further.facts().pretrained and further.facts().steps == 60
    pair = replace(recipe, student=lambda seed: schemes.Peers([net(seed), net(seed + 1000)]), networks=2)
    assert replace(pair, method=schemes.MutualLearning()).facts() == Facts(200, 200, 20, 2 * alone, 1.0, False)


def test_a_student_that_is_marked_and_a_teacher_by_seed(recipe, distilled):  # noqa: F811
    learnt = net(3)
    assert replace(recipe, student=facts.starts_trained(lambda seed: learnt)).facts().pretrained
    asked = []
    by_seed = replace(distilled, teacher=lambda s: asked.append(s) or kd.TeacherCache(net(s, (32,))))
    assert by_seed.facts(4) == distilled.facts() and asked == [4]
    by_seed.teacher.untrained = lambda s: kd.TeacherCache(net(0, (32,)))
    assert by_seed.facts(9) == distilled.facts() and asked == [4], "nothing was trained for its shape"


def test_sentences_and_characters_have_facts():
    split = Sentences(tuple(f"a film about number {n}" for n in range(30)) + ("again",) * 10, torch.arange(40) % 2)
    alone = kd.TextRecipe(lambda seed: bert(16, 1, heads=2, seed=seed), split, steps=4, batch_size=16)
    own = alone.facts()
    assert (own.inputs, own.labels, own.steps, own.temperature) == (31, 31, 4, None)
    teacher = bert(32, 2, heads=2)
    passes = facts.multiply_adds(teacher, split)
    taught = replace(alone, teacher=teacher, temperature=2.0)
    assert taught.facts() == replace(own, multiply_adds=own.multiply_adds + 31 * passes, temperature=2.0)
    inner = replace(taught, hidden=1.0, alpha=1.0)
    assert inner.facts().multiply_adds == own.multiply_adds + (31 + 64) * passes and inner.facts().labels == 0

    text = torch.arange(200).view(10, 20) % 7
    windows = Windows(text[:, :-1].contiguous(), text[:, 1:].contiguous())
    base = kd.Recipe(
        lambda seed: gpt(8, 1, heads=2, characters=7, length=19, seed=seed),
        windows, TokenDivergence(temperature=2), gpt(16, 1, heads=2, characters=7, length=19), steps=5, batch_size=4,
    )  # fmt: skip
    given = facts.multiply_adds(base.student(seed=0), windows), facts.multiply_adds(base.teacher, windows)
    assert base.facts() == Facts(7, 0, 5, 20 * (3 * given[0] + given[1]), 2.0, False)
    writing = replace(base, method=base.method * 0.5 + OnPolicy(prompt=4) * 0.5)
    assert writing.facts().multiply_adds == 20 * (7 * given[0] + 2 * given[1]), "it writes, and learns from that too"


def test_a_comparison_says_what_differs(recipe, distilled, data, tmp_path, nothing_is_trained, monkeypatch):  # noqa: F811
    nothing_is_trained.undo()
    monkeypatch.setenv("KDCOURSE_RESULTS", str(tmp_path))
    monkeypatch.setattr(ledger, "shipped", lambda _: tmp_path)
    arms = {"labels": recipe, "soft": distilled, "longer": replace(recipe, steps=60)}
    outcome = compare(arms, data, seeds=2, equal_budgets=False, ledger="00-facts", progress=False)
    found = outcome.differs()
    assert list(found) == ["labels", "steps", "multiply adds", "temperature"]
    assert found["labels"].tolist() == [200, 0, 200] and found["temperature"].tolist() == [None, 2.0, None]
    assert outcome.table()["arithmetic"].tolist() == ["×1.0", "×1.1", "×3.0"]
    assert list(outcome.only("longer").differs()) == ["steps", "multiply adds"]
    again = outcome.evaluated_by(lambda model, split: 50.0, data)
    assert ledger.stored("00-facts", "toy").facts == outcome.facts == again.facts
    assert ledger.stored("00-facts", "toy").differs().equals(found)


def test_a_ledger_from_before_knows_no_facts(recipe, data, tmp_path, nothing_is_trained, monkeypatch):  # noqa: F811
    nothing_is_trained.undo()
    monkeypatch.setenv("KDCOURSE_RESULTS", str(tmp_path))
    monkeypatch.setattr(ledger, "shipped", lambda _: tmp_path)
    outcome = compare({"labels": recipe, "again": recipe}, data, seeds=2, ledger="00-old", progress=False)
    assert outcome.differs().shape == (2, 0)
    path = tmp_path / "00-old-toy.json"
    entry = json.loads(path.read_text(encoding="utf-8"))
    del entry["facts"]
    path.write_text(json.dumps(entry), encoding="utf-8")
    old = ledger.stored("00-old", "toy")
    assert old.facts is None
    with pytest.raises(ValueError, match="without the facts of its arms; kdcourse results makes them"):
        old.differs()


def test_an_arm_of_somebodys_own_needs_no_facts_and_luck_is_left_alone(recipe, data, nothing_is_trained):  # noqa: F811
    nothing_is_trained.undo()

    class Untaught:
        budget = recipe.budget

        def run(self, seed=0, *, progress=False):
            return net(seed)

    assert compare({"one": recipe, "own": Untaught()}, data, seeds=2, progress=False).facts is None
    unseeded = replace(recipe, student=lambda seed: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    torch.manual_seed(3)
    first = unseeded.student(seed=0)[1].weight
    torch.manual_seed(3)
    kd.experiment._looked_at({"one": unseeded}, 0)
    assert torch.equal(unseeded.student(seed=0)[1].weight, first)


def test_arithmetic_of_a_baseline_that_trains_nothing_is_no_multiple(data):  # noqa: F811
    table = ledger.Comparison.evaluate(
        {"as it is": [net(), net()], "trained": [net(1), net(2)]}, data, kd.measure.accuracy, [0, 1], "as it is",
        {"as it is": 0, "trained": 10}, {"as it is": Facts(0, 0, 0, 0), "trained": Facts(9, 9, 9, 12_340_000_000)},
    ).table()  # fmt: skip
    assert table["billions of multiply-adds"].tolist() == ["0.0", "12.3"]


@pytest.mark.parametrize("name", ["12-compression", "12-bits", "12-rewinding", "08-assistants"])
def test_every_arm_of_a_study_knows_its_facts(name):
    study = kd.study(name, kd.load_images("glyphs"))
    found = {arm: one.facts() for arm, one in study.recipes.items()}
    assert all(isinstance(one, Facts) for one in found.values())
    if name == "08-assistants":
        assert found["through 64"].multiply_adds > 2 * found["direct"].multiply_adds and found["direct"].labels == 0
    if name == "12-compression":
        assert found["the network"].steps == 0 and found["weights pruned, labels"].pretrained
        assert not found["small, labels"].pretrained
