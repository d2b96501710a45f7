"""Methods in the one training loop: what they ask for, what they learn beside the student, how they add up."""

import copy
import functools

import pytest
import torch

import kdcourse as kd
from kdcourse import methods
from kdcourse.data.splits import Split
from kdcourse.methods import HardTarget

LAYERS = {"stage2": "stage2"}
PRE = {"stage2.1": "stage2.1"}
POOL = {"flatten": "flatten"}
EVERY = {
    "hint": methods.Hint(LAYERS),
    "cosine": methods.HiddenCosine(LAYERS),
    "attention": methods.AttentionTransfer(LAYERS),
    "boundaries": methods.ActivationBoundary(PRE),
    "selectivity": methods.NeuronSelectivity(LAYERS),
    "information": methods.VariationalInformation(LAYERS),
    "weights": methods.WeightTransfer({"stage2.0.weight": "stage2.0.weight"}),
    "jacobian": methods.JacobianMatching(),
    "gradient attention": methods.GradientAttention(),
    "rkd distance": methods.RelationalDistance(POOL),
    "rkd angle": methods.RelationalAngle(POOL),
    "similarity": methods.SimilarityPreserving(POOL),
    "probabilistic": methods.ProbabilisticTransfer(POOL),
    "congruence": methods.CorrelationCongruence(POOL),
    "flow": methods.Flow({"stage1": "stage1", "stage2": "stage2"}),
    "contrastive": methods.Contrastive(POOL),
}
LEARNING = {"hint", "boundaries", "information", "weights", "flow", "contrastive"}


@pytest.fixture(scope="module")
def split():
    generator = torch.Generator().manual_seed(0)
    return Split(torch.randn(64, 1, 8, 8, generator=generator), torch.randint(4, (64,), generator=generator))


@pytest.fixture(scope="module")
def teacher():
    return kd.models.convnet((6, 10), classes=4, seed=9).eval()


def student():
    return kd.models.convnet((3, 5), classes=4, seed=1)


def run(method, split, teacher, **settings):
    method = copy.deepcopy(method)
    model = student()
    history = kd.train(model, split, method, teacher=teacher, steps=25, batch_size=16, progress=False, **settings)
    return model, method, history


@pytest.mark.parametrize("name", EVERY)
def test_every_method_lowers_its_own_loss_and_leaves_the_teacher_alone(name, split, teacher):
    before = copy.deepcopy(teacher.state_dict())
    _, _, history = run(EVERY[name], split, teacher, learning_rate=1e-2)
    assert sum(history.losses[-5:]) < sum(history.losses[:5])
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not any(parameter.grad is not None for parameter in teacher.parameters())


@pytest.mark.parametrize("name", EVERY)
def test_cached_and_live_teachers_give_the_same_losses(name, split, teacher):
    live, cached = (run(EVERY[name], split, kind)[2].losses for kind in (teacher, kd.TeacherCache(teacher)))
    assert cached == pytest.approx(live, rel=1e-3, abs=1e-5)


def test_a_longer_teachers_layer_is_averaged_down_before_directions_are_compared():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(4, 3, 2, 2, generator=generator), torch.randn(4, 6, 2, 2, generator=generator)
    batch = methods.Batch(student, student_features={"stage2": student}, teacher_features={"stage2": teacher})
    method = methods.HiddenCosine(LAYERS)
    method.prepare(batch)
    halves = teacher.flatten(1).view(4, 12, 2).mean(dim=2)
    expected = 1 - torch.nn.functional.cosine_similarity(student.flatten(1), halves)
    torch.testing.assert_close(method(batch), expected.mean())


@pytest.mark.parametrize("name", sorted(LEARNING))
def test_what_learns_beside_the_student_reaches_the_optimiser(name, split, teacher):
    """The famous bug: a regressor, or VID's variances, that never move."""
    _, first, _ = run(EVERY[name], split, teacher, learning_rate=1e-9)
    _, trained, _ = run(EVERY[name], split, teacher, learning_rate=1e-2)
    before, after = dict(first.named_parameters()), dict(trained.named_parameters())
    assert before and before.keys() == after.keys()
    for key in before:
        assert not torch.allclose(before[key], after[key], atol=1e-4), f"{key} has not moved"


def test_methods_without_helpers_have_no_parameters(split, teacher):
    for name in EVERY.keys() - LEARNING:
        assert not list(run(EVERY[name], split, teacher)[1].parameters())


def test_helpers_begin_alike_for_one_seed_and_differ_for_another(split, teacher):
    runs = [
        run(EVERY["hint"], split, teacher, order_seed=seed, learning_rate=1e-9)[1].adapters[0].project.weight
        for seed in (0, 0, 1)
    ]
    torch.testing.assert_close(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])


def test_smoothed_labels_need_no_teacher_and_compose(split):
    method = methods.LabelSmoothing(smoothing=0.3)
    assert not method.needs_teacher and method.needs_labels and method.hyperparameters == {"smoothing": 0.3}
    assert repr(methods.LabelSmoothing()) == "LabelSmoothing(smoothing=0.1)"
    smoothed = run(method, split, None)[2].losses
    assert sum(smoothed[-5:]) < sum(smoothed[:5])
    logits = student().train()(split.images[kd.training.batches(split, 1, 16, 0)[0]])
    wanted = torch.nn.functional.cross_entropy(
        logits, split.labels[kd.training.batches(split, 1, 16, 0)[0]], label_smoothing=0.3
    )
    assert smoothed[0] == pytest.approx(wanted.item(), rel=1e-4)
    sharp, hard = (run(one, split, None)[2].losses for one in (methods.LabelSmoothing(0), HardTarget()))
    assert sharp == pytest.approx(hard, rel=1e-3)


def test_methods_compose_each_with_its_weight(split, teacher):
    both = methods.Distillation() + methods.AttentionTransfer(LAYERS) * 100 + methods.RelationalDistance(POOL) * 0.5
    assert both.features == [("stage2", "stage2"), ("flatten", "flatten")]
    assert both.needs_labels and both.needs_teacher and not both.needs_gradients
    parts = [run(one, split, teacher)[2].losses[0] for one in (methods.Distillation(), *both.methods[1:])]
    total = run(both, split, teacher)[2].losses[0]
    assert total == pytest.approx(parts[0] + 100 * parts[1] + 0.5 * parts[2], rel=1e-4)


def test_a_layer_method_is_the_mean_over_its_pairs(split, teacher):
    one, two = ({f"stage{n}": f"stage{n}"} for n in (1, 2))
    losses = [run(methods.AttentionTransfer(pairs), split, teacher)[2].losses[0] for pairs in (one, two, one | two)]
    assert losses[2] == pytest.approx((losses[0] + losses[1]) / 2, rel=1e-4)


def test_a_student_of_another_architecture_can_be_matched(split, teacher):
    method = HardTarget() + methods.Hint({"features.stage2": "stage1"})
    model = kd.models.separable((3, 5), classes=4)
    history = kd.train(model, split, method, teacher=teacher, steps=5, batch_size=16, progress=False)
    assert len(history.losses) == 5


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (methods.Hint({"stage7": "stage2"}), "the student has no layer 'stage7'; its layers are stage1.0"),
        (methods.Hint({"stage2": "stage7"}), "the (teacher|model) has no layer 'stage7'"),
        (methods.WeightTransfer({"nothing": "stage2.0.weight"}), "the student has no weight 'nothing'"),
        (methods.WeightTransfer({"stage1.0.weight": "classifier.weight"}), "student_shape and teacher_shape"),
    ],
)
def test_what_is_mistyped_is_named(method, message, split, teacher):
    for kind in (teacher, kd.TeacherCache(teacher)):
        with pytest.raises(ValueError, match=message):
            run(method, split, kind)


@pytest.mark.parametrize("build", [methods.Hint, methods.RelationalAngle, methods.Flow])
def test_a_method_without_layers_is_refused(build):
    with pytest.raises(ValueError, match="layers must name at least"):
        build({})


def test_an_augmented_batch_is_answered_by_the_live_teacher(split, teacher):
    flipped = []

    def flip(images, generator):
        flipped.append(images)
        return images.flip(3)

    method = HardTarget() + methods.JacobianMatching() + methods.Hint(LAYERS)
    history = run(method, split, teacher, augment=flip)[2]
    assert len(flipped) == 25 and len(history.losses) == 25


def test_auxiliary_logits_are_compared_and_nothing_else(split):
    build = functools.partial(kd.models.two_heads, (12,), auxiliary=6, classes=4, inputs=64)
    teacher, learner = build(seed=0), build(seed=1)
    before = copy.deepcopy(learner)
    history = kd.train(learner, split, methods.AuxiliaryLogits(4), teacher=teacher, steps=60, progress=False)
    assert history.losses[-1] < history.losses[0]
    assert torch.equal(learner.classifier.weight, before.classifier.weight), "class logits are not looked at"
    assert learner.auxiliary.weight.grad[4:].abs().max() == 0 < learner.auxiliary.weight.grad[:4].abs().max()
    with pytest.raises(ValueError, match="count must be a whole number of at least 2, got 1"):
        methods.AuxiliaryLogits(1)
    with pytest.raises(ValueError, match="count must be a whole number from 1 to 6, got 7"):
        kd.train(build(seed=1), split, methods.AuxiliaryLogits(7), teacher=teacher, steps=2, progress=False)
