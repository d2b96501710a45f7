"""What people hand over in the wrong place is told apart in every room, and what has a sensible reading is read so."""

import zipfile
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import kdcourse as kd
from kdcourse.data import augmented, noisy_labels, read_picture, table
from kdcourse.data.splits import ImageData, Split
from kdcourse.deployment import compression, export
from kdcourse.deployment.card import Deployed, model_card
from kdcourse.evaluation import measure
from kdcourse.system.arguments import whole_number
from kdcourse.training.loop import Evaluate
from tests.test_pictures import lay_out, plain

IMAGES = torch.randn(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3
SPLIT = Split(IMAGES, LABELS)
EMPTY = Split(IMAGES[:0], LABELS[:0])
DATA = ImageData("own", ("a", "b", "c"), SPLIT, SPLIT, SPLIT, mean=(0.0,), std=(1.0,), origin="a test")
WITHOUT_LINEAR = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def model(**more):
    return kd.models.perceptron((4,), **{"classes": 3, "inputs": 16, **more})


def train(method=None, student=None, split=SPLIT, **more):
    return kd.train(student or model(), split, method, **{"steps": 2, "batch_size": 4, "progress": False, **more})


def compare(recipes=None, data=DATA, **more):
    recipe = kd.Recipe(lambda seed: model(seed=seed), SPLIT, steps=2, batch_size=4)
    return kd.compare(recipes or {"a": recipe, "b": recipe}, data, **{"seeds": 2, "progress": False, **more})


def refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("value", [0, True, 2.0, "2", None, float("nan")])
def test_what_is_no_whole_number_is_named(value):
    refused(lambda: whole_number("steps", value), f"steps must be a whole number of at least 1, got {value!r}")


def test_whole_numbers_become_pythons_own_within_their_bounds():
    assert type(whole_number("steps", np.int32(7))) is int and whole_number("seed", -3, least=None) == -3
    refused(lambda: whole_number("size", 9, most=8), "size must be a whole number from 1 to 8, got 9")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Split([1, 2], LABELS), "images must be a tensor, got list"),
        (lambda: Split((IMAGES * 20).to(torch.uint8), LABELS), r"images must be floating point, .* got torch\.uint8"),
        (lambda: Split(IMAGES, LABELS.float()), r"labels must be whole numbers, the classes from 0, got torch\.float32"),
        (lambda: Split(IMAGES, LABELS == 1), r"labels must be whole numbers, .* got torch\.bool"),
        (lambda: Split(IMAGES, nn.functional.one_hot(LABELS)), r"labels must be \(12,\), one for each picture, got \(12"),
        (lambda: SPLIT.sample(2.5), r"count must be a whole number from 1 to 12, got 2\.5"),
        (lambda: SPLIT.only(7), r"classes must be labels of this split, one after another: 0, 1, 2; got \(7,\)"),
        (lambda: SPLIT.only([0, 1]), r"one after another: 0, 1, 2; got \(\[0, 1\],\)"),
        (lambda: SPLIT.only(), r"got \(\)"),
        (lambda: SPLIT.without("ant"), r"classes must be labels of this split, .* got \('ant',\)"),
    ],
)  # fmt: skip
def test_what_is_no_split_and_no_part_of_one(call, message):
    refused(call, message)


@pytest.mark.parametrize(
    "labels", [LABELS.int(), LABELS.to(torch.uint8), LABELS.numpy(), LABELS.tolist()], ids=["int32", "uint8", "NumPy", "list"]
)  # fmt: skip
def test_labels_of_any_whole_numbers_are_labels(labels):
    split = Split(IMAGES, labels)
    assert split.labels.dtype == torch.int64 and torch.equal(split.labels, LABELS)
    assert measure.confusion(model(), split).sum() == 12


@pytest.mark.parametrize("images", [IMAGES.double(), IMAGES.double().numpy(), IMAGES.half()])
def test_pictures_of_any_precision_train(images):
    split = Split(images, LABELS)
    assert split.images.dtype == torch.float32 and torch.allclose(split.images, IMAGES, atol=1e-2)
    assert len(train(split=split).losses) == 2


def test_positions_may_be_a_list():
    assert SPLIT.take([4, 0]).labels.tolist() == SPLIT.take(np.array([4, 0])).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda root: kd.load_images(root, size=2.5), r"size must be a whole number from 1 to 4096, got 2\.5"),
        (
            lambda root: kd.load_images("glyphs", size=8),
            "size is for the path of a folder only, and glyphs has its own",
        ),
        (lambda root: read_picture(root / "ant" / "0.png", 0, 3), "size must be a whole number of at least 1, got 0"),
        (
            lambda root: read_picture(root / "ant" / "0.png", 8, 4),
            "channels must be 1 for grey or 3 for colours, got 4",
        ),
    ],
)
def test_sizes_that_will_not_do(call, message, tmp_path):
    refused(lambda: call(lay_out(tmp_path / "set", "")), message)


def test_an_archive_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        archive.writestr("ant/0.png", plain(0, 0))
    refused(lambda: kd.load_images(tmp_path / "pets.zip"), r"pets\.zip', a file: unpack it, and give the folder")


@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_a_data_set_within_the_one_folder_of_an_archive_is_found(tmp_path, parts):
    lay_out(tmp_path / "pets" / "pet pictures", *parts)
    data = kd.load_images(tmp_path / "pets", device="cpu", size=8)
    assert (data.name, data.classes) == ("pets", ("ant", "bee"))
    assert len(data.train) + len(data.validation) + len(data.test) == 16 * len(parts)


class Answers(nn.Module):
    """A classifier that gives its logits as others do."""

    def __init__(self, wrapped):
        super().__init__()
        self.inner, self.wrapped = model(), wrapped

    def forward(self, images):
        return self.wrapped(self.inner(images))


PAIR, NAMED, FLAT = Answers(lambda y: (y, y)), Answers(lambda y: {"logits": y}), Answers(lambda y: y[:, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train(teacher=model()), r"method must be given beside a teacher, such as Distillation\(\)"),
        (
            lambda: train(kd.Correlation(), teacher=model(), batch_size=1),
            "batch_size must be a whole number of at least 2",
        ),
        (lambda: train(weight_decay="0.01"), "weight_decay must be a finite number of at least 0, got '0.01'"),
        (lambda: train(weight_decay=float("inf")), "weight_decay must be a finite number of at least 0, got inf"),
        (lambda: train(order_seed=1.5), r"order_seed must be a whole number, got 1\.5"),
        (lambda: train(augment=nn.Identity()), r"augment must be called as augment\(images, generator=\.\.\.\)"),
        (
            lambda: train(augment=lambda images, generator: None),
            "augment must give a view of each picture, got NoneType",
        ),
        (lambda: train(augment=lambda images, generator: images[:3]), "a view of each picture, got 3 of 4"),
        (lambda: augmented(SPLIT, augment=nn.Identity()), r"augment must be called as augment\(images"),
        (lambda: augmented(SPLIT, views=True), "views must be a whole number of at least 1, got True"),
        (
            lambda: train(callbacks=Evaluate(SPLIT)),
            r"callbacks must be a list of functions, got Evaluate alone; put it in brackets",
        ),
        (lambda: train(callbacks=[3]), r"callbacks must be a list of functions, called after each step, got \[3\]"),
        (lambda: Evaluate(DATA), r"split must be a Split, such as data\.train, got ImageData"),
        (lambda: Evaluate(SPLIT.unlabelled()), "split has no labels"),
        (lambda: Evaluate(SPLIT, every=-2), "every must be a whole number of at least 1, got -2"),
        (lambda: train(student=PAIR), r"the student must give logits \(N, C\) as a tensor, got tuple"),
        (lambda: train(student=FLAT), r"the student must give logits \(N, C\) as a tensor, got a tensor of shape"),
        (lambda: train(kd.SoftTarget(), teacher=NAMED), r"the teacher must give logits \(N, C\) as a tensor, got dict"),
        (lambda: kd.TeacherCache(NAMED).logits(SPLIT), r"the teacher must give logits \(N, C\) as a tensor, got dict"),
        (lambda: train(student=model(classes=2)), "from 0 to 1, got values from 0 to 2: the logits have 2 classes"),
        (lambda: kd.TeacherCache(model(), limit="4 GB"), "limit must be a number of bytes of at least 0, got '4 GB'"),
        (lambda: kd.TeacherCache(model(), limit=float("nan")), "limit must be a number of bytes"),
        (lambda: kd.TeacherCache(model(), __file__), r"folder must be one, .* got the file test_arguments\.py"),
        (lambda: kd.TeacherCache(model()).logits(DATA), r"split must be a Split, such as data\.train, got ImageData"),
        (lambda: kd.TeacherCache(model()).logits(EMPTY), "split is empty"),
        (lambda: kd.SoftTarget() + 3, r"to a method a method can be added, such as HardTarget\(\), got 3"),
        (lambda: kd.SoftTarget() + kd.HardTarget, "to a method a method can be added"),
        (lambda: kd.SoftTarget() * "2", "weight of a method must be a finite number, got '2'"),
        (lambda: kd.SoftTarget() * float("nan"), "weight of a method must be a finite number, got nan"),
        (lambda: train(kd.Distillation(alpha=90), teacher=model()), r"alpha must be within \[0, 1\], got 90"),
        (lambda: noisy_labels(SPLIT, "0.2"), r"share must be within \[0, 1\], got '0.2'"),
        (lambda: table(20.0), r"rows must be a whole number of at least 12, got 20\.0"),
    ],
)
def test_runs_that_cannot_be_meant_end_before_the_first_step(call, message):
    refused(call, message)


def test_numbers_and_names_that_can_be_meant_are_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    taught = {"method": kd.SoftTarget() * np.float64(2), "teacher": kd.TeacherCache(model(seed=1), "~/answers")}
    one = train(**taught, order_seed=np.int64(3), steps=np.int64(2), learning_rate=np.float32(1e-2))
    assert one.losses == train(**taught, order_seed=3, learning_rate=float(np.float32(1e-2))).losses
    assert list((tmp_path / "answers").iterdir())
    assert list(taught["teacher"].outputs(SPLIT, "hidden.0")) == ["hidden.0"]
    assert measure.outputs(model(), SPLIT, "hidden.0").keys() == {"hidden.0", "logits"}


JUDGES = ("accuracy", "correct", "per_class_accuracy", "confusion", "reliability", "calibration_error",
          "negative_log_likelihood", "brier", "temperature_scaling")  # fmt: skip


@pytest.mark.parametrize("judge", [getattr(measure, name) for name in JUDGES], ids=JUDGES)
def test_every_measure_looks_at_what_it_is_given(judge):
    student = model()
    answers = measure.predict(student, SPLIT)
    refused(lambda: judge(student, DATA), r"split must be a Split, such as data\.train, got ImageData")
    refused(lambda: judge(student, EMPTY), "split is empty")
    refused(lambda: judge(student, SPLIT.unlabelled()), "split has no labels")
    refused(lambda: judge(model(classes=2), SPLIT), "labels must be from 0 to 1, .* the logits have 2 classes")
    refused(lambda: judge("student.pt", SPLIT), r"model_or_logits must be a model or logits \(12, C\), got str")
    refused(lambda: judge(kd.models.perceptron, SPLIT), "got the function perceptron; call it")
    refused(lambda: judge(answers.argmax(dim=1), SPLIT), r"model_or_logits must be .* got shape \(12,\)")
    refused(lambda: judge(answers.round().int(), SPLIT), r"in floating point, got torch\.int32")
    refused(lambda: judge(PAIR, SPLIT), r"the model must give logits \(N, C\) as a tensor, got tuple")
    assert str(judge(answers.numpy(), SPLIT)) == str(judge(student, SPLIT))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measure.latency(model(), DATA), r"split must be a Split, such as data\.train, got ImageData"),
        (
            lambda: measure.latency(model(), SPLIT, batch_size=0),
            "batch_size must be a whole number of at least 1, got 0",
        ),
        (lambda: measure.latency(model(), SPLIT, repeats=0), "repeats must be a whole number of at least 1, got 0"),
        (lambda: measure.flops(model(), EMPTY), "split is empty"),
        (lambda: measure.parameters(model().state_dict()), "model must be a model, got OrderedDict"),
        (lambda: measure.size_in_bytes("student.pt"), "model must be a model, got str"),
        (
            lambda: measure.summary(model(), SPLIT),
            "models must be a dict, name -> model, of at least one, got Perceptron",
        ),
        (lambda: measure.summary({}, SPLIT), "models must be a dict, name -> model, of at least one"),
        (lambda: measure.predict(model(), IMAGES), "split must be a Split.*, got Tensor"),
        (lambda: measure.predict(model(), SPLIT, batch_size=0), "batch_size must be a whole number"),
        (lambda: measure.calibration_error(model(), SPLIT, bins=2.0), r"bins must be a whole number .* got 2\.0"),
        (lambda: model_card(model(), DATA, training="", limits=[], file_bytes=1), "models must hold at least the one"),
        (
            lambda: model_card({"m": model()}, DATA, training="", limits="No faces.", file_bytes=1),
            r"limits must be a list of sentences, got one string: \['No faces\.'\]",
        ),
        (lambda: Deployed(model(), SPLIT), "data must be the ImageData that the model was trained on, got Split"),
        (lambda: export.to_onnx(model(), DATA, "never.onnx"), r"split must be a Split, such as data\.train"),
        (lambda: export.to_onnx(kd.models.perceptron, SPLIT, "never.onnx"), "model must be a model, got the function"),
        (lambda: export.OnnxModel("nowhere.onnx"), r"path must be an ONNX file that can be read, got nowhere\.onnx"),
        (lambda: compression.quantize(WITHOUT_LINEAR), "model must have linear layers, got Sequential"),
        (lambda: compression.round_weights(WITHOUT_LINEAR, 4), "model must have linear layers, got Sequential"),
        (lambda: compression.prune("student.pt", 0.5), "model must be a model, got str"),
        (lambda: compression.prune(model(), "0.5"), "share must be at least 0 and below 1, got '0.5'"),
        (lambda: compression.prune(compression.prune(model(), 0.5), 0.8), "model is pruned already: remove_masks"),
        (lambda: compression.round_weights(model(), 99), "bits must be a whole number from 2 to 24, got 99"),
        (lambda: compression.round_weights(model(), 4, layers=[7]), "layers must be a whole number from 0 to 1, got 7"),
        (lambda: compression.round_weights(model(), 4, layers=[1, 1]), r"layers must be different ones, got \[1, 1\]"),
    ],
)
def test_what_cannot_be_measured_or_handed_out_is_named(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(call, message)


def test_a_batch_that_is_timed_has_its_size_whatever_the_split():
    seen = []

    class Counting(nn.Flatten):
        def forward(self, images):
            seen.append(len(images))
            return super().forward(images)

    measure.latency(Counting(), SPLIT, batch_size=40, repeats=2)
    assert set(seen) == {40}


def test_one_picture_is_enough_to_export_for_any_number(tmp_path):
    network = model()
    file = export.to_onnx(network, SPLIT.take([0]), tmp_path / "one.onnx")
    outside = export.OnnxModel(file)
    torch.testing.assert_close(outside(IMAGES.double()), network(IMAGES).detach(), rtol=1e-4, atol=1e-5)
    refused(
        lambda: outside(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)), r"images must be floating point.* torch\.uint8"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare(data=SPLIT), "data must be a data set with its splits, as load_images gives, got Split"),
        (lambda: compare(data="glyphs"), "data must be a data set with its splits, as load_images gives, got str"),
        (lambda: compare({"a": SPLIT, "b": SPLIT}), "recipes must be a dict, name -> Recipe, got 'a' -> Split"),
        (lambda: compare({"a": kd.Recipe}), "recipes must be a dict, name -> Recipe, got 'a' -> the class Recipe"),
        (lambda: compare({"a": {"steps": 2}}), "recipes must be a dict, name -> Recipe, got 'a' -> dict"),
        (lambda: compare(metric="accuracy"), r"metric must be called as metric\(student, split\), .* got 'accuracy'"),
        (lambda: compare(metric=lambda student, split: None), "arm 'a', seed 0, on the validation split: .*NoneType"),
        (lambda: compare(ledger="../mine"), r"ledger must be a name, not a path, got '\.\./mine'"),
        (lambda: compare(seeds=[0, 0, 0]), "seeds must differ"),
        (lambda: compare(seeds=None), "seeds must be whole numbers"),
        (
            lambda: compare({"a": kd.Recipe(partial(model), SPLIT, steps=2, weight_decay=float("nan"))}),
            "arm 'a': weight_decay must be a finite number",
        ),
    ],
)
def test_comparisons_that_cannot_be_meant_are_refused(call, message):
    refused(call, message)


def test_a_metric_may_give_a_tensor():
    scores = compare(metric=lambda student, split: torch.tensor(90.0)).scores
    assert scores.dtypes.tolist() == [np.float64] * 2 and (scores == 90).to_numpy().all()


@pytest.mark.parametrize("which", ["student", "teacher"])
def test_a_network_that_ends_in_a_softmax_is_told_from_one_that_gives_logits(which):
    networks = {"student": model(), "teacher": model(seed=1)}
    with_logarithm = {**networks, which: nn.Sequential(networks[which], nn.LogSoftmax(dim=1))}
    assert len(train(kd.SoftTarget(), **with_logarithm).losses) == 2
    with_softmax = {**networks, which: nn.Sequential(networks[which], nn.Softmax(dim=1))}
    refused(lambda: train(kd.SoftTarget(), **with_softmax), f"{which} must give logits, got probabilities")
    if which == "teacher":
        cached = {**with_softmax, which: kd.TeacherCache(with_softmax[which])}
        refused(lambda: train(kd.SoftTarget(), **cached), "teacher must give logits, got probabilities")


def test_one_student_for_all_seeds_is_refused():
    one = model()
    same = kd.Recipe(lambda seed: one, SPLIT, steps=2, batch_size=4)
    refused(lambda: compare({"a": same}), "arm 'a': student must build a new model at each call")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Split(IMAGES, LABELS + 1), r"data.test: labels must be from 0 to 2, got values from 1 to 3"),
        (Split(IMAGES.index_fill(0, torch.tensor([5]), torch.nan), LABELS), "data.test: inputs must not hold NaN"),
        (Split(IMAGES.index_fill(0, torch.tensor([5]), -torch.inf), LABELS), "data.test: inputs must be finite here"),
    ],
)
def test_examples_to_be_judged_on_are_looked_at_before_anything_trains(part, message):
    refused(
        lambda: compare(data=ImageData("own", ("a", "b", "c"), SPLIT, SPLIT, part, (0.0,), (1.0,), "a test")), message
    )


def test_a_picture_of_minus_infinity_is_no_picture():
    broken = Split(IMAGES.index_fill(0, torch.tensor([5]), -torch.inf), LABELS)
    refused(lambda: train(split=broken), "split must be finite here, got 16 infinite of 192 values")


@pytest.mark.parametrize("labels", [["a", "b"] * 6, [None] * 12, np.array(["a", "b"] * 6), np.array([0, None] * 6)])
def test_labels_that_are_no_numbers_are_named(labels):
    refused(lambda: Split(IMAGES, labels), "labels must be numbers, got an array of")


@pytest.mark.parametrize("labels", [range(12), list(range(12)), pd.Series(range(12)), np.arange(12, dtype=np.int8)])
def test_labels_in_a_column_are_taken(labels):
    assert Split(IMAGES, labels).labels.tolist() == list(range(12))


def test_texts_that_are_judged_by_the_next_character_have_no_classes():
    texts = kd.load_characters("plays")
    small = partial(kd.models.gpt, 8, 1, heads=2, characters=len(texts.alphabet))
    recipe = kd.Recipe(lambda seed: small(), texts.train, kd.methods.NextToken(), steps=1, batch_size=2)
    found = kd.compare({"a": recipe}, texts, seeds=2, metric=lambda net, split: 1.0, progress=False)
    assert found.scores["a"].tolist() == [1.0, 1.0]


def test_labels_are_held_against_classes_and_not_against_a_maps_width():
    maps = nn.Sequential(nn.Conv2d(1, 3, 1), nn.AdaptiveAvgPool2d((4, 2)))  # two wide, of three classes
    refused(
        lambda: train(student=maps), r"labels must be int64 of shape \(4, 4, 2\), got a int64 tensor of shape \(4,\)"
    )
