"""Schemes: an ensemble's target is the contract's, each peer moves by its own gradient, a chain hands on stage by stage."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import kdcourse as kd
from kdcourse import losses
from kdcourse.experiments import schemes
from kdcourse.experiments.experiment import compare
from kdcourse.methods import Batch
from tests.test_experiment import data, recipe  # noqa: F401  the toy data and recipe are fixtures

IMAGES = torch.randn(6, 1, 4, 4)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def net(seed, hidden=(8,)):
    return kd.models.perceptron(hidden, classes=3, inputs=16, seed=seed)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_an_ensembles_softened_logits_are_the_ensemble_target(mean, temperature):
    members = [net(seed) for seed in range(3)]
    ensemble = schemes.Ensemble(members, temperature=temperature, mean=mean)
    wanted = losses.ensemble_target([one(IMAGES) for one in members], temperature=temperature, mean=mean)
    torch.testing.assert_close((ensemble(IMAGES) / temperature).softmax(1), wanted)


def test_weights_are_scaled_and_a_zero_leaves_a_member_out():
    members = [net(seed) for seed in range(3)]
    some = schemes.Ensemble(members, temperature=2, weights=[3, 1, 0])
    p, q = ((one(IMAGES) / 2).softmax(1) for one in members[:2])
    torch.testing.assert_close((some(IMAGES) / 2).softmax(1), 0.75 * p + 0.25 * q)
    alone = schemes.Ensemble(members, mean="logits", weights=[0, 0, 5])
    torch.testing.assert_close(alone(IMAGES), members[2](IMAGES))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: schemes.Ensemble([]), "at least one teacher"),
        (lambda: schemes.Ensemble([net(0)], temperature=0), "temperature must be above 0"),
        (lambda: schemes.Ensemble([net(0)], mean="median"), "mean must be"),
        (lambda: schemes.Ensemble([net(0)], weights=[1, 2]), "weights must be 1 numbers"),
        (lambda: schemes.Ensemble([net(0), net(1)], weights=[0, 0]), "not all 0"),
        (lambda: schemes.Ensemble([net(0), net(1)], weights=[2, -1]), "0 or more"),
        (lambda: schemes.Peers([net(0)]), "at least two peers, got 1"),
        (lambda: schemes.MutualLearning(weight=-1), "weight must be 0 or more"),
        (lambda: schemes.CoTraining(alpha=2), "alpha must be within"),
    ],
)
def test_impossible_schemes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_each_peers_gradient_is_the_one_of_its_own_loss(count, temperature):
    """By hand, peer by peer, with the others' answers as constants; a shared gradient would move peers the wrong way."""
    members = [net(seed) for seed in range(count)]
    method = schemes.MutualLearning(weight=0.7, temperature=temperature)
    method(Batch(schemes.Peers(members)(IMAGES), labels=LABELS)).backward()

    for number, member in enumerate(members):
        alone = copy.deepcopy(member)
        alone.zero_grad()
        others = [one(IMAGES).detach() for other, one in enumerate(members) if other != number]
        own = alone(IMAGES)
        log_q = (own / temperature).log_softmax(1)
        divergence = sum(
            F.kl_div(log_q, (other / temperature).softmax(1), reduction="batchmean") for other in others
        ) / len(others)
        (F.cross_entropy(own, LABELS) + 0.7 * temperature**2 * divergence).backward()
        for ours, theirs in zip(member.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_one_step_of_the_loop_moves_each_peer_as_its_own_optimiser_would(data):  # noqa: F811
    together = [net(seed) for seed in range(3)]
    apart = copy.deepcopy(together)
    few = data.train.take(torch.arange(32))
    kd.train(schemes.Peers(together), few, schemes.MutualLearning(), steps=1, batch_size=32, progress=False)

    index = kd.training.batches(few, 1, 32, 0)[0]
    logits = [one(few.images[index]) for one in apart]
    method = schemes.MutualLearning()
    for number, one in enumerate(apart):
        settled = [own if other == number else own.detach() for other, own in enumerate(logits)]
        optimizer = torch.optim.AdamW(one.parameters(), 3e-3, weight_decay=1e-2)
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=2)
        method.of_peer(number, settled, few.labels[index]).backward()
        optimizer.step()
        for ours, theirs in zip(together[number].parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_in_co_training_the_teacher_learns_from_labels_alone():
    teacher, student = net(0, (16,)), net(1)
    schemes.CoTraining(alpha=0.9)(Batch(schemes.Peers([teacher, student])(IMAGES), labels=LABELS)).backward()
    alone = copy.deepcopy(teacher)
    alone.zero_grad()
    F.cross_entropy(alone(IMAGES), LABELS).backward()
    for ours, theirs in zip(teacher.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert student.classifier.weight.grad.abs().sum() > 0


def test_methods_for_peers_refuse_a_single_student(data):  # noqa: F811
    with pytest.raises(ValueError, match=r"student must be Peers, which give logits \(N, K, C\)"):
        kd.train(net(0), data.train, schemes.MutualLearning(), steps=1, progress=False)


def test_a_committee_trains_members_with_seeds_of_their_own(data, recipe):  # noqa: F811
    committee = schemes.Committee([recipe, recipe], temperature=3)
    ensemble = committee.run(seed=5)
    first, second = ensemble.members
    assert not torch.equal(first.classifier.weight, second.classifier.weight)
    torch.testing.assert_close(first.classifier.weight, recipe.run(5).classifier.weight)
    assert ensemble.temperature == 3 and committee.budget == 2 * recipe.budget
    assert not any(parameter.requires_grad for parameter in ensemble.parameters())


def test_each_stages_teacher_is_the_stage_before_it_frozen(data, recipe, monkeypatch):  # noqa: F811
    asked, train = [], kd.experiment.train

    def watched(student, split, method=None, *, teacher=None, **settings):
        asked.append(teacher.teacher)
        assert not any(parameter.requires_grad for parameter in teacher.teacher.parameters()) or len(asked) == 1
        before = copy.deepcopy(teacher.teacher.state_dict())
        history = train(student, split, method, teacher=teacher, **settings)
        assert all(torch.equal(value, before[key]) for key, value in teacher.teacher.state_dict().items())
        return history

    monkeypatch.setattr(kd.experiment, "train", watched)
    teacher = net(77, (32,)).eval()
    distilled = replace(recipe, method=kd.Distillation(), teacher=kd.TeacherCache(teacher))
    sizes = [(16,), (12,), (8,)]
    builders = [lambda seed, hidden=hidden: net(seed, hidden) for hidden in sizes]
    stages = schemes.Chain([replace(distilled, student=builder) for builder in builders]).train(seed=3)
    assert [stage.hidden[0].out_features for stage in stages] == [16, 12, 8]
    assert [id(one) for one in asked] == [id(teacher), id(stages[0]), id(stages[1])]
    assert not stages[-1].training and not any(parameter.requires_grad for parameter in stages[-1].parameters())


def test_a_chain_of_one_is_plain_distillation(data, recipe):  # noqa: F811
    distilled = replace(recipe, method=kd.Distillation(), teacher=kd.TeacherCache(net(77).eval()))
    chained = schemes.Chain([distilled]).run(4)
    torch.testing.assert_close(chained.classifier.weight, distilled.run(4).classifier.weight)


def test_chains_and_recipes_are_compared_and_budgets_shown(data, recipe):  # noqa: F811
    distilled = replace(recipe, method=kd.Distillation(), teacher=kd.TeacherCache(net(77).eval()))
    arms = {"alone": recipe, "two stages": schemes.Chain([distilled, distilled])}
    with pytest.raises(ValueError, match="must share one budget"):
        compare(arms, data, seeds=2, progress=False)
    table = compare(arms, data, seeds=2, equal_budgets=False, progress=False).table()
    assert table["pictures seen in training"].tolist() == ["2,560", "5,120"]


def test_generations_begin_with_labels_where_there_is_no_teacher(data, recipe):  # noqa: F811
    distilled = replace(recipe, method=kd.Distillation())
    chain = schemes.Chain([recipe, distilled, distilled])
    stages = chain.train(seed=1)
    assert len(stages) == 3 and chain.budget == 3 * recipe.budget
    weights = [stage.classifier.weight for stage in stages]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])
    by_hand = replace(distilled, teacher=kd.TeacherCache(stages[1])).run(1)
    torch.testing.assert_close(weights[2], by_hand.classifier.weight)


def test_peers_are_evaluated_by_the_mean_of_those_asked_for(data):  # noqa: F811
    members = [net(seed) for seed in range(3)]
    scores = [kd.measure.accuracy(one, data.test) for one in members]
    assert schemes.peer_accuracy(schemes.Peers(members), data.test) == pytest.approx(sum(scores) / 3)
    assert schemes.peer_accuracy(schemes.Peers(members, evaluated=[2]), data.test) == scores[2]
    assert schemes.peer_accuracy(members[0], data.test) == scores[0]


def test_a_chain_needs_stages_that_listen(data, recipe):  # noqa: F811
    with pytest.raises(ValueError, match="at least one recipe"):
        schemes.Chain([])
    with pytest.raises(ValueError, match=r"stage 2 has HardTarget\(\)"):
        schemes.Chain([recipe, recipe])
    with pytest.raises(ValueError, match="needs a teacher"):
        schemes.Chain([replace(recipe, method=kd.SoftTarget())]).run()


def test_each_seed_may_have_its_own_teacher(data, recipe):  # noqa: F811
    asked = []

    def teacher(seed):
        asked.append(seed)
        return net(seed).eval()

    compare({"own": replace(recipe, method=kd.SoftTarget(), teacher=teacher)}, data, seeds=[3, 8], progress=False)
    assert asked == [3, 3, 3, 8], "twice more with the first seed: for the look beforehand and for the facts"


def test_students_that_have_begun_are_the_same_for_each_arm_of_a_seed_and_trained_once(data, recipe, monkeypatch):  # noqa: F811
    runs = []
    run = type(recipe).run
    monkeypatch.setattr(type(recipe), "run", lambda self, seed: runs.append(seed) or run(self, seed))
    begun = schemes.WarmStart(recipe)
    one, same, other = begun(seed=3), begun(seed=3), begun(seed=4)
    assert runs == [3, 4]
    for mine, yours in zip(one.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=0, atol=0)
    assert any((mine != yours).any() for mine, yours in zip(one.parameters(), other.parameters(), strict=True))
    next(one.parameters()).data.zero_()
    assert next(begun(seed=3).parameters()).any(), "an arm must not train the copy of another"
