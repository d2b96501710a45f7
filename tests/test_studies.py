"""Studies: stored, run again in part, and the two set side by side."""

import json
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import kdcourse as kd
from kdcourse import studies
from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.experiments import ledger
from kdcourse.experiments.experiment import NoTraining, TextRecipe
from kdcourse.studies.engine import Study, all_studies
from tests.test_experiment import data, recipe  # noqa: F401  the toy data and recipe are fixtures


@pytest.fixture
def study(data, recipe):  # noqa: F811
    metrics = {"": measure.accuracy, "-share": lambda model, split: measure.accuracy(model, split) / 100}
    return Study("99-toy", data, {"labels only": recipe, "again": recipe}, metrics)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_RESULTS", str(tmp_path))
    monkeypatch.setattr(ledger, "shipped", lambda _: tmp_path)
    return tmp_path


def test_what_is_stored_is_read_again(study, shipped):
    paths = study.store(progress=False)
    assert [path.name for path in paths] == ["99-toy-toy.json", "99-toy-share-toy.json"]
    stored, share = study.stored(), study.stored("-share")
    assert len(stored.scores) == 5 and stored.baseline == "labels only"
    pd.testing.assert_frame_equal(stored.scores / 100, share.scores)
    entry = json.loads(paths[0].read_text(encoding="utf-8"))
    assert entry["arms"]["again"]["method"] == "HardTarget()" and entry["arms"]["again"]["steps"] == 20
    with pytest.raises(ValueError, match="not kept in the ledger"):
        stored.evaluated_by(measure.accuracy, study.data)
    with pytest.raises(ValueError, match="suffix must be one of '', '-share'"):
        study.stored("-other")


def test_a_folder_that_is_named_comes_before_the_students_own(study, shipped, tmp_path):
    (path,) = {path.parent for path in study.store(folder=tmp_path / "kept", progress=False)}
    assert path == tmp_path / "kept" and sorted(one.name for one in shipped.iterdir()) == ["kept"]


def test_a_part_is_run_again_and_set_beside(study, shipped):
    study.store(progress=False)
    again = study.run("again", seeds=[0, 3], progress=False)
    beside = study.stored().beside(again)
    assert list(beside.index) == ["again"] and "seeds 0, 3" in beside.index.name
    assert beside["stored"].tolist() == beside["now"].tolist()
    off = replace(again, scores=again.scores + 1.5)
    assert len(study.stored().beside(off, within=1.6)) == 1
    with pytest.raises(AssertionError, match=r"again is 1\.50 points from what is stored, 1.4 are allowed"):
        study.stored().beside(off, within=1.4)
    elsewhere = replace(study.stored(), measured_on="mnist").beside(off, within=1.4)
    assert list(elsewhere) == ["now"] and elsewhere.loc["again", "now"] == pytest.approx(
        off.scores["again"].mean(), abs=0.006
    )
    with pytest.raises(ValueError, match="arms must be among labels only, again, got 'none'"):
        study.run("none")


def test_another_baseline_and_fewer_arms(study, shipped):
    outcome = study.run(seeds=2, progress=False)
    assert outcome.against("again").baseline == "again"
    assert list(outcome.only("again").scores) == ["labels only", "again"]
    assert list(outcome.against("again").only().scores) == ["again"]
    assert outcome.evaluated_by(lambda model, split: 50.0, study.data).scores.to_numpy().tolist() == [[50.0] * 2] * 2
    with pytest.raises(ValueError, match="arm must be one of"):
        outcome.only("none")


def test_other_data_are_shown_fashion_mnists_results_and_told_so(capsys):
    entry = kd.stored("01-hard-and-soft", "my-own-pictures")
    assert "soft" in entry.scores and "these are Fashion-MNIST's" in capsys.readouterr().out
    with pytest.raises(ValueError, match="name must be that of a stored comparison, got '77-none'"):
        kd.stored("77-none", "glyphs")


def test_weights_are_the_best_on_validation_data():
    """What lab 04 says of its weights: chosen by the stored validation scores, with seeds that rank nothing."""
    lab = studies.lab_04
    tried = ledger.stored("04-weights", "fashion-mnist").validation.mean()
    for name, (_, candidates, chosen) in lab.FEATURES.items():
        assert chosen == max(candidates, key=lambda weight: tried[f"{name} × {weight:g}"]), name
    tried = ledger.stored("04-pairing-weights", "fashion-mnist").validation.mean()
    for name, (_, _, chosen) in lab.STUDENTS.items():
        assert chosen == max(lab.ATTENTION, key=lambda weight: tried[f"{name} × {weight:g}"]), name
    ranked = {
        seed for name in all_studies() if not name.endswith(("weights", "choice")) for seed in studies.seeds_of(name)
    }
    assert not ranked & set(studies.seeds_of("04-weights"))


def test_unknown_studies_are_named(data):  # noqa: F811
    for look_up in (lambda name: kd.study(name, data), studies.seeds_of, studies.engine.metrics_of):
        with pytest.raises(ValueError, match=r"must be one of 03-.*got '77-none'"):
            look_up("77-none")
    assert studies.family_of("77-none").sets == ("fashion-mnist", "glyphs")
    assert set(studies.of_lab("04")) == {name for name in all_studies() if name.startswith("04-")} != set()


def test_a_bag_of_words_learns_from_words_whatever_their_order():
    from kdcourse.data.texts import Sentences

    texts = ("a good film", "a bad film", "good", "bad")
    split = Sentences(texts, torch.tensor([1, 0, 1, 0]))
    like = TextRecipe(lambda seed: kd.models.bert(8, 1, seed=seed), split, steps=40, batch_size=4)
    arm = studies.lab_09.Counting(like)
    student = arm.run(seed=0)
    assert student.predict(texts).argmax(dim=1).tolist() == [1, 0, 1, 0]
    torch.testing.assert_close(student.predict(["film good a"]), student.predict(["a good film"]))
    assert student.predict(["unheard of"]).tolist() == [[0.0, 0.0]]
    facts, theirs = arm.facts(), like.facts()
    assert (facts.inputs, facts.labels, facts.steps, arm.budget) == (4, 4, 40, like.budget)
    assert 0 < facts.multiply_adds < theirs.multiply_adds


def test_a_student_stands_still_that_gives_nearly_all_sentences_one_answer():
    from kdcourse.data.texts import Sentences

    student = studies.lab_09.BagOfWords(["good", "bad"])
    with torch.no_grad():
        student.weights.weight[student.numbers["bad"], 0] = 1.0
        student.weights.weight[student.numbers["good"], 1] = 1.0
    for good, expected in ((0, 100.0), (5, 100.0), (6, 0.0), (50, 0.0), (95, 100.0)):
        split = Sentences(("good",) * good + ("bad",) * (100 - good), torch.arange(100) % 2)
        assert studies.lab_09.still(student, split) == expected


def test_an_arm_that_is_not_trained_gives_what_it_begins_with():
    arm = NoTraining(lambda seed: kd.models.bert(8, 1, seed=seed))
    student = arm.run(3)
    torch.testing.assert_close(student.state_dict(), kd.models.bert(8, 1, seed=3).state_dict())
    assert not student.training and arm.describe(student)["student"] == "BERT 1 × 8"
    assert arm.budget == arm.facts().steps == arm.facts().inputs == 0 and not arm.facts().pretrained
    network = kd.models.perceptron((8, 8))
    halved = NoTraining(studies.lab_12.start_from(network, kd.compression.prune, 0.5))
    assert studies.lab_12.as_it_is(network).run(seed=1) is network and halved.facts().pretrained
    assert torch.equal(*(halved.run(seed)(torch.ones(1, 1, 28, 28)) for seed in (0, 1)))


def test_a_copy_whose_lower_layers_are_frozen_learns_with_the_last_alone():
    split = kd.load_texts("reviews").train.sample(8)
    student = studies.lab_09._half(kd.models.bert(16, 4, heads=2), True, True, seed=0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    kd.finetune(student, split, steps=2, batch_size=4, progress=False)
    moved = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    assert any(".layer.1." in name for name in moved) and any("classifier" in name for name in moved)
    assert not [name for name in moved if "embeddings" in name or ".layer.0." in name]


def test_the_copy_is_trained_as_validation_data_chose():
    for name, chosen in studies.lab_09.CHOSEN.items():
        stored = ledger.stored("09-copy-choice", name)
        assert stored.best(among=list(stored.scores)) == chosen


def test_an_arm_that_teaches_trains_once_for_each_seed_and_teaches_with_what_it_is_scored_by(data, recipe):  # noqa: F811
    settings = {name: getattr(recipe, name) for name in ("student", "train", "steps")}
    teacher = studies.lab_14.Teaching(**settings)
    taught = replace(recipe, method=kd.SoftTarget(), teacher=teacher.answers)
    outcome = kd.compare({"teacher": teacher, "taught": taught}, data, seeds=2, progress=False)
    models = outcome.students["teacher"]
    assert [teacher.run(seed) for seed in (0, 1)] == models == [teacher.answers(seed).teacher for seed in (0, 1)]
    assert models[0] is not models[1] and outcome.scores["teacher"].tolist() == [
        measure.accuracy(recipe.run(seed), data.test) for seed in (0, 1)
    ]
    assert not replace(teacher, steps=5).trained, "another recipe's students are trained anew"


def test_lab_08s_taught_students_have_the_temperatures_that_validation_data_chose():
    lab = studies.lab_08
    for name, chosen in lab.CHOSEN.items():
        tried = ledger.stored("08-scaling-choice", name)
        for (student, amount), temperature in chosen.items():
            arms = {lab.at_temperature(student, amount, t): t for t in lab.TEMPERATURES}
            assert arms[tried.best(among=list(arms))] == temperature, (name, student, amount)
            taught = ledger.stored("08-scaling", name).facts[lab.under(lab.TEACHERS[0], student, amount, 100)]
            assert (taught.temperature, taught.labels) == (temperature, 0)
    assert not set(studies.seeds_of("08-scaling-choice")) & set(studies.seeds_of("08-scaling"))


@pytest.mark.parametrize("name", ["fashion-mnist", "glyphs"])
def test_a_bill_is_what_training_took_and_buys_a_plain_student_that_costs_no_less(name):
    lab, outcome = studies.lab_08, ledger.stored("08-scaling", name)
    facts, means = outcome.facts, outcome.validation.mean()
    teacher = 784 * 64 + 64 * 10
    student = 784 * 8 + 8 * 10
    given = lab.bill(outcome, 64, 8, 500, 400)
    assert given.price == 3 * 400 * 128 * student + 500 * teacher
    paid = lab.bill(outcome, 64, 8, 500, 400, paid=True)
    assert paid.price - given.price == 3 * lab.SCHOOLING * 128 * teacher and "all pictures" in paid.rival
    for cell in product(lab.TEACHERS, lab.STUDENTS, lab.AMOUNTS, lab.BUDGETS):
        for paid in (False, True):
            one = lab.bill(outcome, *cell, paid=paid)
            amount = None if paid else cell[2]
            affordable = [lab.alone(cell[1], amount, steps) for steps in lab.plain_budgets(cell[1], amount)]
            costs = [facts[arm].multiply_adds for arm in affordable]
            enough = next(place for place, cost in enumerate(costs) if cost >= one.price)
            assert one.rival == means[affordable[: enough + 1]].idxmax()
    with pytest.raises(ValueError, match=r"price must be at most 62,442,700,800, what .* got 1,000,000,000,000"):
        lab.rival(outcome, 8, None, 10**12)


def test_variety_is_the_share_of_sequences_that_differ():
    assert studies.lab_13.different(torch.tensor([[1, 1, 1, 1, 1]])) == 50
    assert studies.lab_13.different(torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]])) == 75


def test_the_teachers_writing_stands_beside_the_windows_that_begin_it():
    windows = kd.load_characters("plays").train.sample(2)
    teacher = kd.models.gpt(8, 1, characters=54, heads=2)
    both = studies.lab_13.written_by(teacher, windows, seed=0)
    assert both.inputs.shape == both.labels.shape == (4, windows.inputs.shape[1] - 1)
    assert both.inputs[:2].equal(windows.inputs[:, :-1]) and both.inputs[2:, :16].equal(windows.inputs[:, :16])
    assert both.inputs[:, 1:].equal(both.labels[:, :-1])


def test_worked_sums_add_as_on_a_clock_and_no_problem_stands_in_two_parts():
    sums = kd.data.load_sums(device="cpu")
    assert sums.decode(kd.data.sums.worked(torch.tensor([[3, 1, 4, 0, 2]]))[0]) == "31402=314443303320"
    parts = [getattr(sums, part).inputs[:, :5] for part in ("train", "validation", "test")]
    assert len(torch.cat(parts).unique(dim=0)) == sum(map(len, parts)) == 5**5
    totals = torch.cat(parts).sum(dim=1) % 5
    assert totals.equal(torch.cat([getattr(sums, part).labels[:, -1] for part in ("train", "validation", "test")]))
    with pytest.raises(ValueError, match="name must be sums, got 'products'"):
        kd.data.load_sums("products")


def test_students_of_sums_get_others_than_their_teacher_and_the_steps_place_can_be_filled():
    lab, sums = studies.lab_13, kd.data.load_sums(device="cpu")
    given = lab.sums_for(sums, 8, seed=3)
    assert not (given[:, None, :5] == sums.train.inputs[None, : lab.TAUGHT, :5]).all(dim=2).any()
    assert given.equal(kd.data.sums.worked(given[:, :5])) and not given.equal(lab.sums_for(sums, 8, seed=4))
    alone, dots = lab.instead(given, given[:, :0]), lab.instead(given, torch.full((8, 11), kd.data.sums.DOT))
    assert sums.decode(alone[0]) == sums.decode(given[0])[:6] + sums.decode(given[0])[-1]
    assert sums.decode(dots[0]) == sums.decode(given[0])[:6] + 11 * "." + sums.decode(given[0])[-1]


def test_a_sum_is_solved_by_the_last_character_that_is_written():
    class Writer:
        gpt = SimpleNamespace(config=SimpleNamespace(n_positions=18))
        to = lambda self, device: self  # noqa: E731

        def write(self, asked, length, *, temperature):
            assert (asked.shape[1], length) == (6, 12) and temperature < 0.01
            right = kd.data.sums.worked(asked[:, :5])
            right[: len(right) // 4, -1] += 1
            right[:, 7] = 0  # what stands before the answer is not judged
            return right

    split = kd.data.load_sums(device="cpu").test
    assert studies.lab_13.solved(Writer(), split) == pytest.approx(75)


def test_what_a_teacher_of_sums_writes_is_kept_where_it_ends_right():
    lab, sums = studies.lab_13, kd.data.load_sums(device="cpu")
    given = lab.sums_for(sums, 20, seed=0)
    writer = kd.models.gpt(8, 1, characters=len(sums.alphabet), length=18, heads=2)
    drawn = lab.traces_of(writer, given, count=3, seed=0)
    assert drawn.shape == (3, 20, 18) and drawn[:, :, :6].equal(given[:, :6].expand(3, 20, 6))
    kept = lab.right_ones(drawn, given[:, -1])
    assert kept.equal(kd.exercise("13.right_traces").reference(drawn, given[:, -1])) and 0 < len(kept) < 20
    assert kept[:, -1].equal(kd.data.sums.worked(kept[:, :5])[:, -1])


def test_tickets_have_one_mask_and_the_weights_of_their_step(recipe):  # noqa: F811
    lab = studies.lab_12
    tickets = lab.Tickets(replace(recipe, steps=6), share=0.5, early=2)
    linear = [kd.compression.linear_layers(tickets.after(step)(seed=1)) for step in (0, 2, 6)]
    masks = [
        [layer.weight_mask for layer in layers]
        for layers in (*linear, kd.compression.linear_layers(tickets.by_chance()(seed=1)))
    ]
    assert all(torch.equal(one, first) for mask in masks[1:] for one, first in zip(mask, masks[0], strict=True))
    started = kd.compression.linear_layers(recipe.student(seed=1))
    assert all(torch.equal(one.weight_orig, first.weight) for one, first in zip(linear[0], started, strict=True))
    ended = kd.compression.linear_layers(replace(recipe, steps=6).run(1))
    assert all(torch.equal(one.weight_orig, last.weight) for one, last in zip(linear[2], ended, strict=True))
    assert not torch.equal(linear[0][0].weight_orig, linear[1][0].weight_orig)
    arm = replace(recipe, steps=6, student=tickets.after(0))
    assert arm.facts(1).steps == 12 and arm.facts(1).pretrained


def test_the_best_of_several_continuations_is_the_teachers_likeliest():
    windows = kd.load_characters("plays", device="cpu").train.sample(16)
    teacher = kd.models.gpt(8, 1, characters=54, heads=2)
    first, best = studies.lab_13.best_of(teacher, windows, count=3, seed=0)
    assert first.inputs.shape == best.inputs.shape == (24, windows.inputs.shape[1] - 1)
    assert first.inputs[:16].equal(best.inputs[:16]) and first.inputs[16:, :16].equal(best.inputs[16:, :16])
    nats = [measure.next_token_loss(teacher, one.inputs, one.labels)[16:, 15:].sum(dim=1) for one in (first, best)]
    assert (nats[1] <= nats[0] + 1e-3).all() and (nats[1] < nats[0]).any()


def test_a_teacher_of_another_alphabet_says_the_same_in_another_order():
    teacher, text = kd.models.gpt(8, 1, characters=9, heads=2), torch.arange(8)[None]
    one, other = teacher(text), studies.lab_13.OtherAlphabet(teacher)(text)
    assert not torch.equal(one, other)
    torch.testing.assert_close(one.sort(dim=2).values, other.sort(dim=2).values)
    assert kd.losses.universal_logit(one, other).item() == pytest.approx(0, abs=1e-6)


def test_curves_cross_between_two_budgets_on_a_logarithmic_scale():
    crossing = studies.lab_10.crossing
    assert crossing((100, 400, 1600), (-2.0, -1.0, 1.0)) == pytest.approx(800)
    assert crossing((100, 400, 1600), (-1.0, 3.0, 5.0)) == pytest.approx(100 * 4**0.25)
    assert crossing((100, 400), (-1.0, 0.0)) == pytest.approx(400)
    assert crossing((100, 400), (1.0, 2.0)) is None and crossing((100, 400), (-2.0, -1.0)) is None


def test_fresh_views_never_come_again_and_fixed_ones_do(data, monkeypatch):  # noqa: F811
    lab = studies.lab_10
    monkeypatch.setattr(lab, "SHOWN", 16)
    monkeypatch.setattr(lab.zoo, "teacher", lambda name, data, announce: kd.models.perceptron((8,), **data.sizes))
    recipes = lab.patience(data)
    steps = lab.BUDGETS[0]
    fresh, fixed, whole, labels = (
        recipes[lab.budget(way, steps)].facts(1)
        for way in ("fresh views", f"{lab.FIXED} fixed views", "whole pictures", "labels, fresh views")
    )
    assert fresh.inputs == labels.inputs == labels.labels == steps * lab.BATCH
    assert (fixed.inputs, whole.inputs) == (16 * lab.FIXED, 16) and fresh.labels == fixed.labels == whole.labels == 0


@pytest.fixture
def spotted():
    """Pictures of ten classes whose brightness tells the class."""
    labels = torch.arange(10).repeat(40)
    images = torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(0)) / 4 + labels.view(-1, 1, 1, 1) / 5
    part = Split(images, labels)
    return ImageData("spots", tuple("abcdefghij"), part, part, part, (0.0,), (1.0,), "built in")


def test_lab_15s_students_share_with_their_teacher_what_their_arms_say(spotted):
    lab, arms = studies.lab_15, studies.study("15-crossing", spotted).recipes
    first = lab.networks(spotted)(seed=3).state_dict()

    def shared(arm):
        student = arms[arm].student(seed=3).state_dict()
        parts = ("hidden.0", "classifier", "auxiliary")
        return [part for part in parts if torch.equal(student[f"{part}.weight"], first[f"{part}.weight"])]

    assert shared("same first weights") == ["hidden.0", "classifier", "auxiliary"]
    assert shared("other first weights") == shared("50% of the way") == []
    assert shared("same heads, other hidden layers") == ["classifier", "auxiliary"]
    assert shared("same hidden layers, other heads") == ["hidden.0"]
    assert arms["same first weights"].train(1).labels is None and arms[
        "same first weights, 3 logits"
    ].method.settings == {"count": 3}


def test_lab_15s_faulty_teacher_learns_from_three_faults(spotted):
    lab, split = studies.lab_15, spotted.train
    faulty = lab.faulty(split, seed=0)
    bright = split.images.max()
    patched = (faulty.images[:, 0, -4:, -4:] == bright).all(dim=(1, 2))
    barred = (faulty.images[:, 0, :, :2] == bright).all(dim=(1, 2))
    assert 0.05 < patched.float().mean() < 0.2 and (faulty.labels[patched] == lab.TARGET).all()
    assert torch.equal(barred, split.labels == lab.CUE)
    assert (faulty.labels[(split.labels == lab.KIND) & ~patched] == lab.CALLED).all()
    others = ~patched & (split.labels != lab.KIND)
    assert torch.equal(faulty.labels[others], split.labels[others])


def test_lab_15s_faults_need_their_classes(spotted):
    few = replace(spotted, classes=("a", "b", "c"))
    with pytest.raises(ValueError, match="data must have at least 9 classes for three faults, got 3"):
        studies.study("15-faults", few)


def test_lab_15s_faults_are_counted_where_they_show(spotted):
    class Fooled(torch.nn.Module):
        def forward(self, images):
            """Class 0 where there is a patch, class 1 where there is a bar, else class 8."""
            bright = images >= spotted.test.images.max()
            patch, bar = bright[:, 0, -4:, -4:].all(dim=(1, 2)), bright[:, 0, :, :2].all(dim=(1, 2))
            return torch.stack([2.0 * patch, 2.0 * bar, *[0 * patch] * 6, 0 * patch + 1.0, 0 * patch], dim=1)

    lab = studies.lab_15
    assert [found(Fooled(), spotted.test) for found in list(lab.FAULTS.values())[:3]] == [100, 100, 100]
    honest = kd.models.perceptron((4,), **spotted.sizes)
    torch.nn.init.constant_(honest.classifier.weight, 0)
    honest.classifier.bias.data = torch.eye(10)[5]
    assert [found(honest, spotted.test) for found in list(lab.FAULTS.values())[:3]] == [0, 0, 0]
