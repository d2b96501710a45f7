"""A folder of photographs to a model that can be handed out, by one command; and the signs that stand in for photographs."""

import html
import re
from io import BytesIO

import numpy as np
import pytest
import torch
from nbconvert.filters import markdown2html
from PIL import Image
from typer.testing import CliRunner

from kdcourse import cli
from kdcourse.data import samples
from kdcourse.data.signs import SHAPES, sign_files, sign_folder
from kdcourse.deployment.export import OnnxModel
from kdcourse.scale import photographs
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.photographs import Plan
from kdcourse.system import markup

OFFLINE = ("--teacher", "zoo:cifar10", "--student", "separable")


def call(*arguments) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["photographs", *map(str, arguments)])
    return done.exit_code, done.output


def table(said: str) -> dict[str, str]:
    """Each model's accuracy, as the command prints it."""
    return dict(re.findall(r"│ (teacher|labels|kd|student\S*\.onnx) +│ +([\d.]+) ", said))


def test_the_command_leaves_files_and_a_card_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    code, said = call("--small", *OFFLINE, "--output", tmp_path)
    assert code == 0, said
    measured = table(said)
    assert set(measured) == {"teacher", "labels", "kd", "student.onnx", "student-int8.onnx"}
    card = markup.plain((tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8"))
    chosen = re.match(r"# (\w+): pictures of pictures\n", card)[1]
    assert chosen in photographs.ARMS and measured["student.onnx"] == measured[chosen]
    assert "a linear probe of zoo:cifar10" in card and "20 validation pictures, from 60 training" in card
    beside = re.search(r"The teacher is (not )?above what labels reach, on validation pictures [^:]*? alone", card)[0]
    assert beside in " ".join(said.split())
    assert "on 20 test pictures" in card and "**What it is not for.**" in card
    whole, coarse = (OnnxModel(tmp_path / name) for name in ("student.onnx", "student-int8.onnx"))
    assert coarse.file.stat().st_size < 0.8 * whole.file.stat().st_size
    pixels = torch.rand(3, 3, 32, 32)
    assert whole(pixels).shape == coarse(pixels).shape == (3, len(SHAPES))
    monkeypatch.setattr(
        "kdcourse.scale.runs.train", lambda job, accelerator: pytest.fail("all of it is trained already")
    )
    code, again = call("--small", *OFFLINE, "--output", tmp_path)
    assert code == 0 and table(again) == measured


def test_a_class_a_folder_and_a_file_of_any_name_are_only_names_on_the_card(tmp_path):
    names = ["<script>x<∕script>", "a|b", "$x_$"]
    folder = tmp_path / "*my* $folder$"
    for number in range(30 * len(names)):
        place = folder / names[number % len(names)] / f"{number} $x_$.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(shade).save(place)
    plan = Plan(str(folder), teacher="zoo:cifar10", student="separable", size=16, views=1, epochs=1, batch_size=8)
    photographs.distil(plan, tmp_path / "out")
    page = markdown2html((tmp_path / "out" / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert "<script" not in page and page.count("<tr>") == 2 + 3 + len(names)
    shown = html.unescape(re.sub("<.*?>", "", page))
    assert "*my* $folder$" in shown and all(name in shown for name in names)
    assert "$" not in re.sub("<.*?>", "", page.replace("<span>$</span>", "")), "a page would look for a formula"


def test_torchvisions_pair_is_the_plan_and_labels_see_the_windows_that_kd_sees():
    runs = Plan("photographs").recipe().runs
    assert runs["teacher"].student == {"probe": {"body": "resnet50"}} and runs["teacher"].cached
    assert runs["kd"].student == runs["labels"].student == {"new_head": {"body": "mobilenet_v2"}}
    assert runs["kd"].data == runs["labels"].data and runs["kd"].training == runs["labels"].training
    assert runs["kd"].data.views == 4 and runs["kd"].data.test and runs["kd"].cached


def test_a_tuned_teacher_learns_with_all_its_layers_as_a_student_does(tmp_path):
    probed, tuned = (Plan("photographs", tuned=tuned).recipe().runs for tuned in (False, True))
    teacher = tuned["teacher"]
    assert teacher.student == {"new_head": {"body": "resnet50"}} and not teacher.cached
    assert teacher.training == tuned["kd"].training and teacher.data == tuned["kd"].data
    assert all(tuned[arm] == probed[arm] for arm in photographs.ARMS)
    code, said = call("--small", *OFFLINE, "--tuned", "--output", tmp_path)
    assert code == 0, said
    card = markup.plain((tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert "teacher zoo:cifar10, all of which learnt." in card


def test_a_teacher_that_is_not_above_the_labels_student_is_said_to_have_little_to_give():
    below, equal, above = (photographs._beside_labels(teacher, 89.5) for teacher in (76.5, 89.5, 92.0))
    assert (
        below.startswith("The teacher is not above") and "76.5 % beside 89.5 %" in below and "little to give" in below
    )
    assert equal.startswith("The teacher is not above") and above.startswith("The teacher is above")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--teacher", "resnet51"), "runs.teacher.student.probe: name must be one of torchvision's classifiers"),
        (("--student", "zoo:mars"), "runs.labels.student.new_head: home must be one of cifar10"),
        (("--epochs", "0"), "training.epochs must be a whole number of at least 1, got 0"),
        (("--size", "4"), "data.size must be a whole number of at least 8, got 4"),
        (("--weights", "/no/where.pt"), "no file of weights at /no/where.pt"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_before_anything_trains(arguments, message, tmp_path):
    folder = sign_folder(tmp_path / "signs", {"train": 80, "val": 10, "test": 10}, side=16)
    code, said = call(folder, *(("--fresh",) if "--weights" not in arguments else ()), "--size", 32, *arguments)
    assert code == 2 and message in " ".join(said.split())


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"data.folder"):
        photographs.distil(Plan(str(tmp_path / "nowhere"), fresh=True), tmp_path / "out")


def test_signs_are_drawn_again_as_they_were_and_fill_a_folder(tmp_path, monkeypatch):
    counts = {"train": 20, "test": 10}
    first, second = (dict(sign_files(counts, 24)) for _ in range(2))
    assert first == second and len(set(first.values())) == 30
    assert {path.split("/")[1] for path in first} == set(SHAPES)
    with Image.open(BytesIO(next(iter(first.values())))) as picture:
        assert picture.size == (24, 24) and picture.format == "JPEG" and np.asarray(picture).std() > 10
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(samples, "SIGN_COUNTS", counts | {"val": 10})
    root = samples.picture_folder("sign-pictures")
    assert len(list(root.glob("train/*/*.jpg"))) == 20 and root.name == "sign-pictures"
    signs = samples.load_pictures("sign-pictures")
    assert signs.train.images.shape == (20, 3, 48, 48) and signs.name == "sign-pictures"
