"""Every lab, loss, method, scheme, measure, plot, widget and exercise on a device that is not the CPU, and that device itself.

What takes `place` or `split` runs on the second device, and on a GPU too where one is at hand (`pytest -m gpu`).
"""

import copy
import os
import sys
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import kdcourse as kd
from kdcourse import losses, methods, plots, widgets
from kdcourse.authoring.notebooks import labs
from kdcourse.data.characters import Windows
from kdcourse.data.splits import Split
from kdcourse.data.texts import SST2_FILES, Sentences
from kdcourse.deployment import export
from kdcourse.evaluation import costs, measure
from kdcourse.exercises.engine import all_exercises
from kdcourse.experiments import schemes
from kdcourse.experiments.experiment import Recipe
from kdcourse.losses.checks import trusted
from kdcourse.methods import Method, WeightedSum
from kdcourse.models import sentiment
from kdcourse.models.common import evaluating
from kdcourse.models.language import gpt
from kdcourse.system import runtime
from kdcourse.system.download import sha256
from kdcourse.training import finetuning, loop
from kdcourse.training.trainer import _answers
from tests import test_plots, test_widget_geometry, test_widget_matcher, test_widget_mixer
from tests.gpu.place import gpu
from tests.second_device import device, lab
from tests.second_device.rules import NAME, waits
from tests.test_methods import EVERY

random = torch.Generator().manual_seed(0)
MAPS, OTHERS = (torch.randn(4, 3, 6, 6, generator=random) for _ in range(2))
LOGITS, ANSWERS = (torch.randn(4, 5, generator=random) for _ in range(2))
STATES, THEIRS = (torch.randn(2, 4, 6, generator=random) for _ in range(2))
SCORES, SCORED = (torch.randn(2, 3, 4, 4, generator=random) for _ in range(2))
MASK, LABELS = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]), torch.tensor([0, 4, 2, 2])
SPLIT = Split(torch.randn(48, 1, 8, 8, generator=random), torch.arange(48) % 4)
TEXTS = ["a good film", "the plot is not gripping .", "what a lovely pan , but the lid is rusty .", "I regret it ."]
# Some exercises are judged by what an answer does to networks that the probe has made: see `test_an_exercise`.
WATCHED = {
    *("03.training_step", "04.parameters_to_train", "04.input_gradient", "07.born_again"),
    *("09.trainer_loss", "13.on_policy_loss", "14.same_view"),
}


@pytest.fixture
def second():
    with device.present() as place:
        yield place


@pytest.fixture(params=["second", pytest.param("gpu", marks=pytest.mark.gpu)])
def place(request):
    with device.present() if request.param == "second" else gpu() as place:
        yield place


@pytest.fixture
def split(place):
    return SPLIT.to(place)


def net(seed: int = 0) -> nn.Module:
    return kd.models.convnet((4, 6), classes=4, seed=seed)


def moved(thing, place):
    """Tensors and copies of modules within containers, on a device."""

    def move(part):
        part = copy.deepcopy(part) if isinstance(part, nn.Module) else part
        return part.to(place) if isinstance(part, Tensor | nn.Module) else part

    return tree_map(move, thing)


def as_tensors(thing, place):
    """Numbers in arrays and in a reliability diagram, as tensors on a device."""

    def make(part):
        if isinstance(part, measure.Reliability):
            return replace(part, **{one.name: getattr(part, one.name).to(place) for one in fields(part)})
        numbers = isinstance(part, np.ndarray) and part.dtype.kind in "fib"
        return torch.from_numpy(part).to(place) if numbers else part

    return tree_map(make, thing)


# The device itself


def test_what_is_computed_is_the_cpus(second):
    weights = torch.arange(6.0, device=second).view(2, 3).requires_grad_()
    loss = (weights @ weights.T).diagonal().sum()  # the squares' sum
    loss.backward()
    assert loss.item() == 55 and weights.grad.cpu().tolist() == [[0, 2, 4], [6, 8, 10]]
    assert weights.grad.device == second and repr(loss.detach()) == "tensor(55., device='second:0')"
    assert runtime.device() == second


@pytest.mark.parametrize(
    "mix",
    [
        lambda there: there + torch.ones(3),
        lambda there: torch.ones(3).mul_(there),
        lambda there: torch.cat([there, torch.ones(3)]),
        lambda there: there.gather(0, torch.tensor([0])),
        lambda there: nn.Linear(3, 2)(there),
        lambda there: torch.where(there > 0, torch.ones(3), there),
    ],
)
def test_a_mix_of_devices_raises(place, mix):
    with pytest.raises(RuntimeError, match="on the same device"):
        mix(torch.ones(3, device=place))


def test_numpy_raises(place):
    there = torch.ones(3, device=place)
    for read in (there.numpy, lambda: np.asarray(there), lambda: np.atleast_2d(there)):
        with pytest.raises(TypeError, match=rf"{place} device type tensor to numpy. Use Tensor.cpu\(\)"):
            read()
    assert there.cpu().numpy().tolist() == [1, 1, 1]


def test_an_index_from_the_device_raises_on_the_cpu(place):
    index = torch.tensor([1], device=place)
    with pytest.raises(RuntimeError, match="indices should be either on cpu"):
        torch.eye(3)[index]
    assert torch.eye(3, device=place)[index].tolist() == torch.eye(3, device=place)[index.cpu()].tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    "read",
    [
        lambda there: there[0].item(),
        lambda there: bool(there.sum() > 0),
        lambda there: there.tolist(),
        lambda there: there.nonzero(),
        lambda there: there[there > 1],
        lambda there: there.cpu(),
        lambda there: f"{there[0]:.2f}",
        lambda there: runtime.synchronize(there.device),
    ],
)
def test_a_wait_is_counted(second, read):
    there = torch.arange(3.0, device=second)
    waits.clear()
    read(there)
    assert waits.total() == 1
    there.softmax(0).sum().add(1).to("cpu", non_blocking=True)
    assert waits.total() == 1


def test_a_wait_is_known_by_the_line_of_the_course(split):
    waits.clear()
    assert measure.accuracy(nn.functional.one_hot(split.labels).float(), split) == 100
    assert any(line.startswith("kdcourse/evaluation/measure.py:") for line in waits)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_it_cannot_hold_is_refused(dtype):
    with device.present(without=[dtype]) as there:
        for make in (lambda: torch.ones(2, device=there).to(dtype), lambda: torch.ones(2, dtype=dtype, device=there)):
            with pytest.raises(TypeError, match=f"{dtype} on second"):
                make()
    with device.present() as there:
        assert torch.ones(2, dtype=dtype, device=there).sum().item() == 2


def test_generators_belong_to_a_device(second):
    drawn = [torch.rand(3, device=there, generator=torch.Generator(there).manual_seed(1)) for there in (second, "cpu")]
    assert drawn[0].tolist() == drawn[1].tolist()
    with pytest.raises(RuntimeError, match="Expected a 'second' device type for generator but found 'cpu'"):
        torch.rand(3, device=second, generator=torch.Generator())


def test_the_second_of_two(second):
    with pytest.raises(RuntimeError, match="at least two devices, second:1 and second:0"):
        torch.ones(3, device="second:1") + torch.ones(3, device=second)
    with device.present(index=1) as other:
        assert str(other) == "second:1" == str(torch.ones(1, device=other).new_tensor([1.0]).device)
        assert torch.ones(1, device="second").device == other != second


def test_afterwards_the_process_has_no_device_but_the_cpu():
    with device.present():
        assert torch.accelerator.is_available()
    assert not torch.accelerator.is_available() and runtime.device().type == "cpu"


# Labs


@pytest.mark.parametrize("number", [one.number for one in labs()])
def test_a_lab_mixes_no_devices_and_no_line_of_the_course_waits_in_a_training_step(number, monkeypatch):
    """At full size too, with which every lab but the welcome ends: one comparison, of a minute at most."""
    monkeypatch.setenv("KDCOURSE_SIZE", "full")
    outcome = lab.run_lab(number)
    print(f"lab {number}: {outcome.steps} steps, in which the host waits at {dict(outcome.waits) or 'no line'}")
    assert not outcome.failures, "\n".join(map(str, outcome.failures))
    assert outcome.steps and not outcome.waits
    assert outcome.at_full_size == len(outcome.plans) == (number != "00") and sum(outcome.plans) <= 60


@pytest.mark.parametrize("number", ["03", "10", "11"])
def test_a_lab_on_a_second_gpu_without_float64_and_bf16(number):
    assert not lab.run_lab(number, index=1, without=[torch.float64, torch.bfloat16]).failures


def test_a_fault_in_a_cell_is_found(tmp_path):
    cells = (
        "import torch\nassert False",
        "torch.ones(2) + torch.ones(2, device='second')",
        "from kdcourse.losses import logit_mse\nlogit_mse(torch.ones(2, 2), torch.ones(2, 2, device='second'))",
    )
    broken = tmp_path / "99_mix_devices.py"
    broken.write_text("\n".join(f"# %%\n{cell}" for cell in cells), encoding="utf-8")
    with mock.patch("kdcourse.authoring.notebooks.lab", lambda number: mock.Mock(source=broken)):
        mixed, deeper = lab.run_lab("99").failures
    assert mixed.cell == 1 and "at least two devices" in mixed.error and mixed.line.startswith("torch.ones(2) +")
    assert deeper.cell == 2 and "kdcourse/losses/" in deeper.package_line


# Losses and methods

ARGUMENTS = {
    **dict.fromkeys(("hint", "attention_transfer", "activation_boundary", "neuron_selectivity"), (MAPS, OTHERS)),
    **dict.fromkeys(("rkd_angle", "rkd_distance", "similarity_preserving", "contrastive"), (LOGITS, ANSWERS)),
    **dict.fromkeys(("probabilistic_transfer", "correlation_congruence"), (LOGITS, ANSWERS)),
    **dict.fromkeys(("soft_target", "logit_mse", "correlation", "standardized_soft_target"), (LOGITS, ANSWERS)),
    "multi_label": (LOGITS, ANSWERS),
    **dict.fromkeys(("distillation", "decoupled"), (LOGITS, ANSWERS, LABELS)),
    **dict.fromkeys(("distances", "angles"), (LOGITS,)),
    "label_smoothing": (LOGITS, LABELS),
    "attention_map": (MAPS,),
    "attention_mse": (SCORES, SCORED, MASK),
    "hidden_cosine": (STATES, THEIRS, MASK),
    **dict.fromkeys(("generalized_jsd", "universal_logit"), (STATES, THEIRS)),
    "top_k_kl": (STATES, *losses.top_k(THEIRS, 2)),
    "flow": ((MAPS, OTHERS), (OTHERS, MAPS)),
    "ensemble_target": ([LOGITS, ANSWERS],),
    "weight": (torch.ones(2, 3), torch.ones(4, 5), losses.WeightProjector((2, 3), (4, 5))),
}
LEARNING = {"Regressor", "VariationalInformation", "WeightProjector"}
DIFFERENTIATING = {"gradient_attention", "jacobian", "feature_gradient"}


def test_every_loss_is_tried():
    public = {name for name in vars(losses) if callable(getattr(losses, name)) and not name.startswith("_")}
    # The last three by methods that use them.
    assert public == set(ARGUMENTS) | LEARNING | DIFFERENTIATING | {"top_k"}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_loss_is_the_cpus_and_makes_no_host_wait(name, place):
    given = moved(ARGUMENTS[name], place)
    waits.clear()
    with trusted():
        found = getattr(losses, name)(*given)
    assert not waits
    torch.testing.assert_close(found.cpu(), getattr(losses, name)(*ARGUMENTS[name]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "loss", [losses.soft_target, losses.logit_mse, losses.multi_label, losses.generalized_jsd, losses.universal_logit]
)
def test_a_mask_makes_no_host_wait(loss, place):
    given, mask = moved((STATES, THEIRS), place), moved(MASK, place)
    waits.clear()
    with trusted():
        found = loss(*given, mask=mask)
    assert not waits
    torch.testing.assert_close(found.cpu(), loss(STATES, THEIRS, mask=MASK), rtol=1e-4, atol=1e-5)


RESPONSES = {
    kind.__name__: kind()
    for kind in (
        *(methods.HardTarget, methods.SoftTarget, methods.Distillation, methods.LogitMSE, methods.Decoupled),
        *(methods.Correlation, methods.StandardizedSoftTarget, methods.LabelSmoothing, methods.MultiLabel),
    )
}
OF_TEXTS = {
    kind.__name__: kind() for kind in (methods.NextToken, methods.TokenDivergence, methods.TopK, methods.UniversalLogit)
}
OF_TEXTS["OnPolicy"] = methods.OnPolicy(prompt=4)
TWO_HEADS = methods.AuxiliaryLogits(count=3)


def test_every_method_is_tried():
    public = {kind for kind in vars(methods).values() if isinstance(kind, type) and issubclass(kind, Method)}
    tried = {type(method) for method in (*EVERY.values(), *RESPONSES.values(), *OF_TEXTS.values(), TWO_HEADS)}
    assert public == tried | {Method, WeightedSum}


def waits_of_steps(student, split, method, teacher, steps: int = 3):
    """Train, and say what made the host wait within the steps."""
    outcome = lab.Outcome()
    with lab.shortened(outcome):
        history = loop.train(
            student, split, copy.deepcopy(method), teacher=teacher, steps=steps, batch_size=8, progress=False
        )
    assert outcome.steps == len(history.losses) == lab.STEPS and np.isfinite(history.losses).all()
    return outcome.waits


@pytest.mark.parametrize("name", EVERY | RESPONSES)
def test_a_method_trains_a_student_of_the_cpu_with_a_teacher_of_the_cpu(name, split):
    method = 0.5 * (EVERY | RESPONSES)[name] + methods.HardTarget()
    student, teacher = net(), kd.models.convnet((8, 10), classes=4, seed=1)
    assert not waits_of_steps(student, split, method, teacher if method.needs_teacher else None)
    assert next(student.parameters()).device == split.device


def test_a_method_for_two_heads(split):
    student, teacher = (kd.models.two_heads((8,), auxiliary=5, classes=4, inputs=64, seed=seed) for seed in (0, 1))
    assert not waits_of_steps(student, split, TWO_HEADS, teacher)


@pytest.mark.parametrize("name", OF_TEXTS)
def test_a_method_for_texts(name, place):
    texts = torch.arange(160, device=place).view(16, 10) % 7
    split = Windows(texts[:, :-1], texts[:, 1:])
    student, teacher = (gpt(width, 1, heads=2, characters=7, length=12) for width in (8, 16))
    assert not waits_of_steps(student, split, OF_TEXTS[name], teacher)


def test_layers_are_computed_in_bf16_where_the_device_has_it_and_losses_are_not(split):
    seen = []
    student = net()
    student.classifier.register_forward_hook(lambda layer, given, answers: seen.append(answers.dtype))
    with mock.patch.object(runtime, "has_bf16", lambda device: True):
        history = loop.train(student, split, methods.SoftTarget(), teacher=net(1), steps=2, progress=False)
    assert seen[-2:] == [torch.bfloat16] * 2 and np.isfinite(history.losses).all()
    assert next(student.parameters()).dtype == torch.float32


# Schemes and measures


def recipe(split, method=None, student=net, **settings):
    return Recipe(student, split, method or methods.HardTarget(), steps=2, batch_size=8, **settings)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_an_ensemble_of_members_from_the_cpu_and_from_the_device(mean, split):
    members = [net(), net(1).to(split.device)]
    ensemble = schemes.Ensemble(members, mean=mean, weights=[3, 1])
    alone = schemes.Ensemble([net(), net(1)], mean=mean, weights=[3, 1])
    found, wanted = measure.predict(ensemble, split).cpu(), measure.predict(alone, SPLIT)
    torch.testing.assert_close(found, wanted)


def test_schemes_give_models_where_their_data_lie(split):
    imitating = recipe(split, methods.SoftTarget())
    warm = schemes.WarmStart(recipe(split))
    arms = {
        "committee": schemes.Committee([recipe(split), recipe(split)]),
        "chain": schemes.Chain([recipe(split), imitating, imitating]),
        "warm start": recipe(split, student=warm),
    }
    for name, arm in arms.items():
        answers = arm.run(1)(split.images)
        assert answers.device == split.device and answers.shape == (48, 4), name


@pytest.mark.parametrize("method", [schemes.MutualLearning(), schemes.CoTraining()])
def test_peers(method, split):
    peers = schemes.Peers([net(), net(1)])
    assert not waits_of_steps(peers, split, method, None)
    assert 0 <= schemes.peer_accuracy(peers, split) <= 100


def measured(model, other, split) -> dict:
    return {
        "accuracy": measure.accuracy(model, split),
        "per_class_accuracy": measure.per_class_accuracy(model, split),
        "confusion": measure.confusion(model, split),
        "agreement": measure.agreement(model, other, split),
        "centered_kernel_alignment": measure.centered_kernel_alignment(split.images, split.images[:, :, :4]),
        "recall_at_1": measure.recall_at_1(measure.predict(model, split), split.labels),
        "reliability": measure.reliability(model, split).count,
        "calibration_error": measure.calibration_error(model, split),
        "negative_log_likelihood": measure.negative_log_likelihood(model, split),
        "brier": measure.brier(model, split),
        "temperature_scaling": measure.temperature_scaling(model, split),
        "parameters": measure.parameters(model),
        "size_in_bytes": measure.size_in_bytes(model),
        "flops": measure.flops(model, split),
        "outputs": measure.outputs(model, split, ["stage1"])["stage1"],
    }


def test_measures_of_a_model_from_the_cpu_are_the_cpus(split):
    wanted = measured(net(), net(1), SPLIT)
    for name, found in measured(net(), net(1), split).items():
        found = found.cpu() if isinstance(found, Tensor) else found
        # A saved tensor of a device has a longer description than one of the CPU.
        close = {"rtol": 0.2} if name == "size_in_bytes" else {"rtol": 1e-4}
        np.testing.assert_allclose(found, wanted[name], atol=1e-5, equal_nan=True, **close)


def test_costs_and_tables(split):
    models = {"one": net(), "other": net(1)}
    assert measure.latency(net(), split, repeats=2) > 0
    with mock.patch.object(measure, "seconds", lambda run, *args, **settings: run() or 1.0):
        assert list(costs.table(models, split).index) == list(measure.summary(models, split).index) == list(models)
        assert costs.milliseconds(models, split) == {"one": 1000, "other": 1000}


def test_measures_of_texts(place):
    texts = torch.arange(40, device=place).view(4, 10) % 7
    writer, judge = (gpt(8, 1, heads=2, characters=7, length=12, seed=seed) for seed in (0, 1))
    assert measure.bits_per_character(writer, Windows(texts[:, :-1], texts[:, 1:])) > 0
    assert measure.free_running_loss(writer, judge, texts[:, :4], 5).shape == (4, 5)


# Plots and widgets


def with_moved_arrays(function, place):
    @wraps(function)
    def draw(*args, **settings):
        return function(*as_tensors(args, place), **as_tensors(settings, place))

    return draw


def test_plots_draw_tensors_of_the_device(place, monkeypatch):
    drawn = set()
    for name in [name for name, value in vars(plots).items() if callable(value) and name[0].islower()]:
        draw = with_moved_arrays(getattr(plots, name), place)
        monkeypatch.setattr(plots, name, lambda *args, n=name, d=draw, **kwargs: drawn.add(n) or d(*args, **kwargs))
    rng = np.random.default_rng(0)
    figures = test_plots.every_figure(rng.random((3, 28, 28)), rng.dirichlet(np.ones(10), 3), rng.random((10, 10)))
    assert all(figure.png() for figure in figures.values()) and len(drawn) > 20


def views(place) -> dict:
    """A call for each widget that shows tensors, given those of the device."""
    mixer, matcher, geometry = test_widget_mixer, test_widget_matcher, test_widget_geometry
    pixels = Split(torch.rand(6, 3, 8, 8, device=place), torch.arange(6, device=place) % 3)
    classify = kd.models.perceptron((8,), classes=3, inputs=192, seed=0).to(place)
    logits, pictures = torch.randn(3, 3, device=place), torch.rand(3, 8, 8, device=place)
    names = ["a", "b", "c"]
    return {
        "temperature": lambda: widgets.temperature_explorer(pictures, logits, names, labels=torch.tensor([0, 1, 2])),
        "landscape": lambda: widgets.loss_landscape(logits[0], names, 0),
        "mixer": lambda: mixer.mixer(**as_tensors({"logits": mixer.LOGITS, "pictures": mixer.PICTURES}, place)),
        "matcher": lambda: widgets.layer_matcher(
            *as_tensors((matcher.PICTURES, matcher.STUDENT, matcher.TEACHER, matcher.ALIKE), place)
        ),
        "geometry": lambda: widgets.batch_geometry(
            *as_tensors((geometry.PICTURES, geometry.EMBEDDINGS, geometry.LABELS), place), geometry.CLASSES
        ),
        "sentence": lambda: widgets.sentence_box(
            {"one": lambda texts: torch.randn(len(texts), 2, device=place)}, ["no", "yes"], sentence="a good film"
        ),
        "classifier": lambda: widgets.picture_classifier({"one": classify}, pixels, names),
    }  # fmt: skip


def another_value(control):
    if hasattr(control, "options"):
        return control.options[-1][1] if isinstance(control.options[-1], tuple) else control.options[-1]
    if isinstance(control.value, bool):
        return not control.value
    if isinstance(control.value, int | float):
        return getattr(control, "base", 1) ** control.max if hasattr(control, "base") else control.max
    return "a bad film" if isinstance(control.value, str) else None


@pytest.mark.parametrize("name", views("cpu"))
def test_a_widget_shows_tensors_of_the_device_and_its_controls_move(name, place):
    view = views(place)[name]()
    before = view.description
    for control, widget in view.controls.items():
        if (value := another_value(widget)) is not None:
            view.move(**{control: value})
            assert view.description
    assert view.description != before


def test_a_run_in_the_background_is_on_the_device_and_so_is_what_it_leaves(split, tmp_path):
    arm = recipe(split, methods.Distillation(), teacher=kd.TeacherCache(net(1)))
    watch = widgets.dashboard({"one": arm}, folder=tmp_path)
    student = watch.wait()["one"]
    assert student(split.images).device == split.device == watch.background.runs["one"].load()(split.images).device


# Exercises


class OfTheDefaultDevice(device.Generator):
    """As if every generator that a probe makes were made for the device that its tensors are made on."""

    def __new__(cls, place=None):
        return super().__new__(cls, place or torch.get_default_device())

    def __init__(self, place=None):
        super().__init__(place or torch.get_default_device())


@pytest.mark.parametrize("name", sorted(all_exercises()))
def test_an_exercise(name, place, monkeypatch):
    """Its reference answers tensors of the device, and its check finds that right."""
    card = all_exercises()[name]

    def answer(*args, **settings):
        return at("cpu", card.reference.__wrapped__(*at(place, args), **at(place, settings)))

    def at(there, thing):
        return tree_map(lambda part: part.to(there) if isinstance(part, Tensor | nn.Module) else part, thing)

    def on_the_cpu(*args, **settings):
        with torch.device("cpu"):  # where a student's own tensors are made, if nothing is said
            return card.reference.__wrapped__(*args, **settings)

    if name not in WATCHED:
        assert card.judge(answer)[0] == "right"
        return
    monkeypatch.setattr(torch, "Generator", OfTheDefaultDevice)
    with torch.device(place):  # all of the probe's tensors, networks too
        assert card.judge(on_the_cpu)[0] == "right"


# What once stopped a lab on a GPU, or would have


def test_a_one_hot_row_of_labels_on_the_device(place):
    labels = torch.tensor([2, 0], device=place)
    assert all_exercises()["01.one_hot"].reference(labels, 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_mask_of_weights_on_the_device(place):
    weights = torch.tensor([[1.0, -3.0], [2.0, -0.5]], device=place)
    assert all_exercises()["12.magnitude_mask"].reference(weights, 0.5).tolist() == [[False, True], [True, False]]


def test_an_untrained_student_answers_where_its_pictures_are(split):
    student = net()
    answers = measure.outputs(student, split, ["stage1"])
    assert {one.device for one in answers.values()} == {split.device} == {one.device for one in student.parameters()}


def test_a_model_that_is_moved_within_inference_mode_can_still_be_trained():
    """As `measure.latency` does. The device `meta` shows it as a GPU does: what is made in that mode is no leaf for autograd."""
    student = net()
    with torch.inference_mode(), evaluating(student, torch.device("meta")):
        pass
    assert not any(one.is_inference() or one.device.type != "meta" for one in student.parameters())


def test_a_split_of_the_cpu_after_one_of_the_device(split):
    student = net()
    for one in (split, SPLIT, split):
        loop.train(student, one, steps=1, batch_size=8, progress=False)
        assert next(student.parameters()).device == one.device


@pytest.mark.parametrize("folder", [False, True])
def test_a_cache_answers_on_the_askers_device(folder, split, tmp_path):
    cache = kd.TeacherCache(net(), tmp_path if folder else None)
    asked = [(one.device, cache.logits(one)) for one in (SPLIT, split, SPLIT)]
    assert all(logits.device == place for place, logits in asked)
    torch.testing.assert_close(asked[1][1].cpu(), asked[0][1])


def test_a_loss_that_picks_classes_makes_no_host_wait(place):
    logits, labels = LOGITS.to(place), LABELS.to(place)
    waits.clear()
    with trusted():
        losses.decoupled(logits, 2 * logits, labels)
    assert not waits


def test_an_onnx_file_answers_where_its_pictures_are(split, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model = net()
    outside = export.OnnxModel(export.to_onnx(model.to(split.device), split, tmp_path / "model.onnx"))
    assert outside(split.images).device == split.device
    torch.testing.assert_close(measure.predict(outside, split), measure.predict(model, split), rtol=1e-3, atol=1e-4)


@pytest.fixture
def tiny_hub(tmp_path, monkeypatch):
    """Two folders of the names that lab 09's block for Colab asks the hub for, tiny and without heads; SST-2, and a Drive."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(drive=SimpleNamespace(mount=os.makedirs)))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    sizes = {"vocab_size": len(words), "max_position_embeddings": 16}
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    half = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
    for kind, shape in (("Bert", bert), ("DistilBert", half)):
        config = getattr(transformers, f"{kind}Config")(**shape, **sizes)
        tokenizer = getattr(transformers, f"{kind}Tokenizer")(vocab={word: n for n, word in enumerate(words)})
        getattr(transformers, f"{kind}Model")(config).save_pretrained(f"{kind.lower()}-base-uncased")
        tokenizer.save_pretrained(f"{kind.lower()}-base-uncased")
    Path("sst2").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        rows = [f"{'good' if number % 2 else 'bad'} film {number}{name[0]}\t{number % 2}" for number in range(40)]
        Path("sst2", name).write_text("\n".join(["sentence\tlabel", *rows]), encoding="utf-8")
        monkeypatch.setitem(SST2_FILES, name, sha256(Path("sst2", name)))
    return tmp_path


@pytest.mark.parametrize("kind", ["cpu", "second", pytest.param("gpu", marks=pytest.mark.gpu)])
def test_lab_09s_block_for_colab_distils_and_resumes(kind, tiny_hub):
    """The block as it stands, but for two steps. What lies on the second device cannot be saved."""
    code = (
        lab.shown_code("09", "google.colab")
        .replace("6000", "2")
        .replace("1000", "1")
        .replace("/content", str(tiny_hub))
    )
    with {"cpu": nullcontext, "second": device.present, "gpu": gpu}[kind]():
        place, names = runtime.device(), {"kd": kd}
        if place.type != "cuda":  # half precision of a Trainer is a GPU's
            code = code.replace("fp16=True", "fp16=False")
        if place.type == NAME:
            code = code.replace('save_strategy="steps"', 'save_strategy="no"')
        exec(code, names)
        large, small, line = names["large"], names["small"], names["losses"].history[-2]
        assert line["step"] == 2 and {"eval_accuracy", "eval_loss"} <= line.keys()
        assert small.bert.device == large.bert.device == place and measure.parameters(small) < measure.parameters(large)
        assert small.bert.config.model_type == "distilbert" and small.bert.config.num_labels == 2
        if place.type != NAME:
            assert (tiny_hub / "drive/MyDrive/distil-bert/student/checkpoint-2").is_dir(), "saved on the Drive"
            (tiny_hub / "drive").rename(tiny_hub / "again")
            code = code.replace("/drive/My", "/again/My").replace(
                "**taught, ", "**taught, resume_from_checkpoint=True, "
            )
            exec(code, names)
            moved, kept = names["small"].state_dict(), small.state_dict()
            assert names["small"] is not small and all(torch.equal(moved[name], kept[name]) for name in kept)


@pytest.mark.parametrize("where", ["cpu", "second:0"])
def test_only_the_device_at_work_has_its_random_numbers_kept(where, place, monkeypatch):
    touched = []
    monkeypatch.setattr(torch.second, "get_rng_state", touched.append, raising=False)
    loop.train(net(), SPLIT.to(where), steps=1, batch_size=8, progress=False)
    assert not touched


def test_sentences_are_learnt_on_the_chosen_device(place):
    student, teacher = sentiment.bert(16, 1, heads=2, seed=1), sentiment.bert(16, 1, heads=2, seed=2)
    sentences = Sentences(tuple(TEXTS), torch.tensor([1, 0, 0, 0]))
    found = finetuning.finetune(student, sentences, teacher=teacher, steps=2, batch_size=2, progress=False)
    assert np.isfinite(found).all() and student.bert.device == place
    # The mask that a GPU is given, so as not to wait, hides the padding as well as transformers' own does.
    texts = student.padded(student.encode(TEXTS))
    assert len({int(row.sum()) for row in texts["attention_mask"]}) > 1
    with torch.no_grad(), evaluating(student.bert):
        seen, wanted = (
            run(student.bert) for run in (lambda bert: _answers(bert, texts, {}), lambda bert: bert(**texts))
        )
    torch.testing.assert_close(seen.logits.cpu(), wanted.logits.cpu(), rtol=1e-4, atol=1e-5)
    assert 0 <= measure.accuracy(student, sentences) <= 100


@pytest.mark.parametrize("settings", [{"index": 1}, {"without": [torch.float64]}, {"without": [torch.bfloat16]}])
def test_cuda_1_and_mps_and_a_t4(settings):
    with device.present(**settings) as place:
        split = SPLIT.to(runtime.device())
        student = kd.Recipe(net, split, methods.Decoupled(), kd.TeacherCache(net(1)), steps=2, batch_size=8).run()
        assert next(student.parameters()).device == place
        assert measured(student, net(1), split).keys() == measured(net(), net(1), SPLIT).keys()


def test_bf16_that_is_only_imitated_is_not_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not runtime.has_bf16(torch.device("cuda"))
