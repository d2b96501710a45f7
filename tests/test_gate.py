"""What people hand over in the wrong place is told apart before anything trains, by the argument's name and what is accepted."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import kdcourse as kd
from kdcourse.data.splits import ImageData, Split
from kdcourse.system.arguments import check_model


def split(count=12, classes=3):
    generator = torch.Generator().manual_seed(0)
    return Split(torch.randn(count, 1, 4, 4, generator=generator), torch.arange(count) % classes)


def model(**more):
    return kd.models.perceptron((4,), **{"classes": 3, "inputs": 16, **more})


def data(**parts):
    each = {"train": split(), "validation": split(), "test": split(), **parts}
    return ImageData("own", ("a", "b", "c"), **each, mean=(0.0,), std=(1.0,), origin="a test")


def train(student=None, examples=None, method=None, **more):
    student = model() if student is None else student
    examples = split() if examples is None else examples
    return kd.train(student, examples, method, **{"steps": 2, "batch_size": 4, "progress": False, **more})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train(examples=data()), r"split must be a Split, such as data\.train, got ImageData"),
        (
            lambda: train(examples=torch.utils.data.DataLoader([1])),
            r"split must be a Split: give Split\(inputs, labels\), got DataLoader",
        ),
        (lambda: train(method=model()), "method must be a Method, got Perceptron; a teacher is given as teacher="),
        (
            lambda: train(method=kd.losses.soft_target),
            r"method must be a Method, such as SoftTarget\(\), got <function soft_target",
        ),
        (
            lambda: train(method=kd.SoftTarget),
            r"method must be a Method, got the class SoftTarget; write SoftTarget\(\)",
        ),
        (lambda: train(method="SoftTarget"), r"method must be a Method, such as SoftTarget\(\), got 'SoftTarget'"),
        (lambda: train(student=kd.models.perceptron), "student must be a model, got the function perceptron; call it"),
        (lambda: train(method=kd.SoftTarget()), "method SoftTarget needs a teacher"),
        (
            lambda: train(method=kd.SoftTarget(), teacher=torch.zeros(12, 3)),
            "teacher must be a model or a TeacherCache, got a tensor of",
        ),
        (
            lambda: train(method=kd.SoftTarget(), teacher=nn.Linear),
            r"teacher must be a model or a TeacherCache, got the class Linear",
        ),
        (lambda: train(learning_rate=float("inf")), "learning_rate must be a finite number above 0, got inf"),
        (lambda: train(learning_rate="0.1"), "learning_rate must be a finite number above 0, got '0.1'"),
        (lambda: train(steps=True), "steps must be a whole number of at least 1, got True"),
        (lambda: train(batch_size=2.0), r"batch_size must be a whole number of at least 1, got 2\.0"),
        (lambda: kd.TeacherCache(torch.zeros(12, 3)), r"teacher must be a model, got a tensor of shape \(12, 3\)"),
        (lambda: check_model("student", 3), "student must be a model, got int"),
    ],
)
def test_what_is_in_the_wrong_place_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_weights_that_student_and_teacher_share_cannot_train():
    student = model()
    with pytest.raises(ValueError, match="student and teacher share 4 weights"):
        train(student, method=kd.SoftTarget(), teacher=kd.TeacherCache(student))
    train(student, method=kd.SoftTarget(), teacher=copy.deepcopy(student))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=["half", "bfloat16", "double"])
@pytest.mark.parametrize("cached", [True, False])
def test_teachers_of_any_precision_teach(dtype, cached):
    teacher = model(seed=1).to(dtype)
    train(method=kd.SoftTarget(), teacher=kd.TeacherCache(teacher) if cached else teacher)
    assert kd.measure.accuracy(teacher, split()) >= 0


class OneRow(nn.Module):
    def __init__(self):
        super().__init__()
        self.row = nn.Parameter(torch.zeros(1, 3))

    def forward(self, images):
        return self.row


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train(student=model().requires_grad_(False)), "student has no weight that can learn"),
        (lambda: train(student=nn.Flatten()), "student has no weight that can learn"),
        (lambda: train(student=model().to("meta")), "student lies on the device meta"),
        (lambda: train(method=kd.SoftTarget(), teacher=model().to("meta")), "teacher lies on the device meta"),
        (lambda: kd.TeacherCache(model().to("meta")), "teacher lies on the device meta"),
        (lambda: kd.TeacherCache(nn.Sequential(nn.Flatten(), nn.LazyLinear(3))), "teacher has weights without values"),
        (
            lambda: kd.TeacherCache(OneRow()).logits(split()),
            "teacher must give a row of logits for each example, got 1",
        ),
    ],
)
def test_models_that_cannot_work_are_told_apart(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_nothing_learns_where_gradients_are_off(mode):
    student = model()
    with mode(), pytest.raises(ValueError, match=r"train was called within torch\.no_grad"):
        train(student=student)


def test_quantised_teachers_are_told_apart():
    def quantised(seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that PyTorch moves quantisation to torchao
            return torch.ao.quantization.quantize_dynamic(model(seed=seed).eval(), {nn.Linear}, dtype=torch.qint8)

    one, same, other = (kd.TeacherCache(quantised(seed)) for seed in (0, 0, 1))
    assert one._key == same._key != other._key
    assert torch.equal(one.logits(split()), same.logits(split()))


def test_numpys_whole_numbers_are_whole_numbers():
    assert len(train(steps=np.int64(3), batch_size=np.int32(4)).losses) == 3


TRAINED = []


class Counted(kd.HardTarget):
    def forward(self, batch):
        TRAINED.append(len(batch.labels))
        return super().forward(batch)


def arm(**more):
    settings = {"student": kd_student, "train": split(), "method": Counted(), "steps": 2, "batch_size": 4}
    return kd.Recipe(**{**settings, **more})


def kd_student(seed=0):
    return model(seed=seed)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (lambda: {"a": arm(), "b": arm(method=kd.SoftTarget())}, "arm 'b': method SoftTarget needs a teacher"),
        (lambda: {"a": arm(), "b": arm(student=model())}, "arm 'b': student must be called as student"),
        (lambda: {"a": arm(), "b": arm(train=data())}, r"arm 'b': split must be a Split, such as data\.train"),
        (lambda: {"a": arm(), "b": arm(student=lambda seed: model(classes=2))}, "arm 'b': labels must be from 0 to 1"),
        (
            lambda: {"a": arm(), "b": arm(method=kd.SoftTarget(), teacher=model(classes=5))},
            "arm 'b': student and teacher must have one",
        ),
        (
            lambda: {"a": arm(), "b": arm(method=kd.methods.Hint({"nope": "flatten"}), teacher=model())},
            "arm 'b': the student has no layer",
        ),
        (lambda: [arm(), arm()], "recipes must be a dict, arm -> recipe, got list"),
        (lambda: {}, "recipes must hold at least one arm"),
    ],
)
def test_a_comparison_looks_at_all_its_arms_before_the_first_trains(arms, message):
    TRAINED.clear()
    with pytest.raises(ValueError, match=message):
        kd.compare(arms(), data(), seeds=2, progress=False)
    assert len(TRAINED) <= 2, "a look at each arm, and no step"


def test_a_comparison_on_data_without_labels_is_refused_before_it_trains():
    TRAINED.clear()
    with pytest.raises(ValueError, match=r"data\.test has no labels"):
        kd.compare({"a": arm(), "b": arm()}, data(test=Split(split().images, None)), seeds=2, progress=False)
    assert not TRAINED


def test_a_look_beforehand_changes_no_result():
    outcome = kd.compare({"a": arm(), "b": arm()}, data(), seeds=2, progress=False)
    alone = kd.Recipe(kd_student, split(), kd.HardTarget(), steps=2, batch_size=4).run(1)
    for one, other in zip(outcome.students["b"][1].parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
