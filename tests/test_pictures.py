"""One reader for every picture that people bring: modes and depths, transparency, cameras' notes, and folders of all layouts."""

import io
import os
import re
import struct
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from kdcourse.authoring import notebooks
from kdcourse.data import load_images, load_pictures, read_picture
from kdcourse.data.folders import part_called
from kdcourse.data.pictures import open_picture
from kdcourse.scale.datasets import open_data
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Data
from tests import odd_pictures

RAMP = np.tile(np.linspace(0, 255, 32).round().astype(np.uint8), (32, 1))
DEEP = np.tile(np.linspace(0, 65535, 32).round().astype(np.uint16), (32, 1))


def content(image, form, **more):
    buffer = io.BytesIO()
    image.save(buffer, form, **more)
    return buffer.getvalue()


def plain(label, number, side=16):
    generator = np.random.default_rng(1000 * label + number)
    return content(Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)), "PNG")


def lay_out(root, *parts, classes=("ant", "bee"), count=8):
    for part in parts:
        for label, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                (root / part / name / f"{number}.png").write_bytes(plain(label, number + 100 * len(part)))
    return root


@pytest.mark.parametrize(
    "made",
    [
        lambda: content(Image.fromarray(RAMP), "PNG"),
        lambda: content(Image.fromarray(DEEP), "PNG"),
        lambda: content(Image.frombytes("I;16B", (32, 32), DEEP.astype(">u2").tobytes()), "TIFF"),
        lambda: content(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
        lambda: content(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
        lambda: content(Image.fromarray((RAMP / 255).astype(np.float32)), "TIFF"),
        lambda: content(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
        lambda: content(Image.fromarray(np.tile(np.linspace(0, 4095, 32).astype(np.uint16), (32, 1))), "PNG"),
        lambda: content(Image.fromarray(RAMP).convert("RGBA"), "PNG"),
        lambda: content(Image.fromarray(RAMP), "GIF"),
    ],
    ids=[
        "8 bits",
        "16 bits",
        "big-endian",
        "32 bits",
        "32 bits of 16",
        "float to 1",
        "float to 255",
        "12 of 16",
        "alpha",
        "GIF",
    ],
)
def test_a_ramp_comes_back_from_every_mode(made):
    row = read_picture(made(), 32, 1)[0, 0, 16].numpy()
    assert abs(row - RAMP[16] / 255).max() < 0.01 and len(np.unique(row)) >= 30


def test_levels_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="levels are not finite"):
        open_picture(content(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"))


def test_deep_scans_are_scaled_in_little_memory():
    scan = Image.fromarray(np.tile(np.arange(4000, dtype=np.uint16), (1500, 1)))
    file = content(scan, "TIFF")
    tracemalloc.start()
    picture = np.asarray(open_picture(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * scan.width * scan.height, "bytes a pixel, where float64 alone takes 8 for each copy"
    assert picture[[0, -1], :, 0].tolist() == [[round(level * 255 / 4095) for level in range(4000)]] * 2


def test_damaged_files_are_read_or_left_out_and_end_no_reading(tmp_path, capsys):
    root, forms = lay_out(tmp_path / "set", ""), [*odd_pictures.FORMS.items(), (".avif", "AVIF"), (".jpe", "JPEG")]
    for label, name in enumerate(("ant", "bee")):
        for ending, form in forms:
            whole = odd_pictures.encoded(odd_pictures.picture(label, 0), form)
            for number in range(40):
                file = root / name / f"damaged {number}{ending}"
                file.write_bytes(odd_pictures.damaged(whole, 1000 * label + number))
    data = load_images(root, device="cpu", size=16)
    found = re.search(r"Of 976 files (\d+) are .* out: (\d+) files that cannot be read", capsys.readouterr().out)
    read, left_out = map(int, found.groups())
    assert read == len(data.train) + len(data.validation) + len(data.test) and read + left_out == 976
    assert read > 100 and left_out > 100
    assert all(split.images.isfinite().all() for split in (data.train, data.validation, data.test))


def test_what_nobody_sees_is_one_colour_and_ink_in_the_alpha_stays():
    noisy = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    noisy[..., 3] = 0
    noisy[8:24, 8:24] = (200, 100, 30, 255)
    seen = read_picture(content(Image.fromarray(noisy), "PNG"), 32, 3)[0]
    assert seen[:, :6].std() == 0 and seen[:, 16, 16].tolist() == pytest.approx([200 / 255, 100 / 255, 30 / 255])
    for ink in (0, 255):  # black on nothing, white on nothing
        drawn = np.full((32, 32, 4), ink, np.uint8)
        drawn[..., 3] = np.linspace(0, 255, 32).astype(np.uint8)
        assert read_picture(content(Image.fromarray(drawn), "PNG"), 32, 3).std() > 0.2


@pytest.mark.parametrize(
    "tag", [(0x0128, 2, 2, b"2\0\0\0"), (0x0100, 9, 1, struct.pack("<i", -5)), (0x0112, 3, 2, b"\6\0\6\0")]
)
def test_odd_notes_of_a_camera_never_stop_a_folder(tag, tmp_path, capsys):
    entries = [(0x0112, 3, 1, struct.pack("<HH", 6, 0)), tag]
    body = (
        struct.pack("<H", 2) + b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries) + b"\0\0\0\0"
    )
    picture = Image.fromarray(np.zeros((24, 32, 3), np.uint8))
    lay_out(tmp_path / "set", "")
    odd = content(picture, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + body)
    (tmp_path / "set" / "ant" / "odd.jpg").write_bytes(odd)
    data = load_images(tmp_path / "set", device="cpu", size=8)
    assert len(data.train) + len(data.validation) + len(data.test) == 17 and "Left out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"), ("Training", "train"), ("TRAIN", "train"), ("training_set", "train"), ("seg_train", "train"),
        ("train-images", "train"), ("trainset", "train"), ("Test", "test"), ("seg_test", "test"), ("testing", "test"),
        ("val", "validation"), ("Valid", "validation"), ("validation_data", "validation"), ("dev", "validation"),
        ("trainer", None), ("trains", None), ("ant", None), ("contest", None), ("set", None), ("images", None),
    ],
)  # fmt: skip
def test_parts_are_known_by_their_usual_names(name, part):
    assert part_called(name) == part


@pytest.mark.parametrize(
    "parts", [("Training", "Testing"), ("train", "Test"), ("training_set", "test_set"), ("seg_train", "seg_test")]
)
def test_the_parts_of_a_data_set_never_become_classes(tmp_path, parts):
    data = load_images(lay_out(tmp_path / "set", *parts), device="cpu", size=8)
    assert data.classes == ("ant", "bee") and len(data.test) == 16


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("val", "test"), "must hold a train/ beside it"),
        (("fold1", "fold2"), "hold the same folders, so they are parts and no classes"),
        (("train", "Training", "test"), "must hold one train part, got"),
    ],
)
def test_layouts_that_cannot_be_meant_are_refused(tmp_path, parts, message):
    with pytest.raises(ValueError, match=message):
        load_images(lay_out(tmp_path / "set", *parts), device="cpu", size=8)


def test_a_class_may_be_called_train_and_may_begin_with_an_underscore(tmp_path):
    data = load_images(lay_out(tmp_path / "set", "", classes=("car", "train", "_other")), device="cpu", size=8)
    assert data.classes == ("_other", "car", "train")


def litter(root):
    """Everything at once that people's folders hold beside pictures, in the class ant."""
    ant = root / "ant"
    (ant / ".ipynb_checkpoints").mkdir()
    (ant / ".ipynb_checkpoints" / "0-checkpoint.png").write_bytes(plain(0, 0))
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (ant / name).write_bytes(b"x")
    (ant / "empty.jpg").write_bytes(b"")
    (ant / "cut.png").write_bytes(plain(0, 7)[:200])
    (ant / "photo.heic").write_bytes(b"x")
    (ant / "README").write_bytes(b"x")
    (ant / "copy.png").write_bytes((ant / "1.png").read_bytes())
    (ant / "anim.gif").write_bytes(content(Image.fromarray(RAMP), "GIF"))
    (ant / "camera.jfif").write_bytes(content(Image.fromarray(RAMP), "JPEG"))
    os.symlink(root / "nowhere.png", ant / "gone.png")
    os.symlink(ant, ant / "loop")
    return root


def test_one_line_adds_up_what_was_seen_read_and_left_out(tmp_path, capsys):
    root = litter(lay_out(tmp_path / "set", ""))
    data = load_images(root, device="cpu", size=8)
    read = len(data.train) + len(data.validation) + len(data.test)
    line = capsys.readouterr().out.splitlines()[0]
    assert read == 19 and line.startswith("Of 25 files 19 are read as pictures. Left out: 3 files that cannot be read")
    for part in (
        "(ant/cut.png, ant/empty.jpg, ant/gone.png)",
        "1 hidden",
        "1 with the ending .heic",
        "1 no ending",
        "1 already read",
    ):
        assert part in line
    assert "1 of those read is a copy of another" in line


def test_copies_are_counted_across_parts_and_classes(tmp_path, capsys):
    root = lay_out(tmp_path / "set", "train", "test")
    for place, name in (("test/ant", "seen in training.png"), ("train/bee", "an ant.png"), ("train/ant", "again.png")):
        (root / place / name).write_bytes((root / "train" / "ant" / "0.png").read_bytes())
    load_images(root, device="cpu", size=8)
    line = capsys.readouterr().out.splitlines()[0]
    assert "3 of those read are copies of another" in line and "1 of them in another class" in line


def test_everything_odd_at_once_is_read_or_left_out_for_a_reason(tmp_path, capsys):
    root = odd_pictures.odd_folder(tmp_path / "odd")
    data = load_pictures(root)
    assert capsys.readouterr().out.splitlines()[0] == odd_pictures.REPORT
    assert data.classes == odd_pictures.CLASSES
    labels = torch.cat([split.labels for split in (data.train, data.validation, data.test)])
    assert labels.bincount().tolist() == [40] * 5


def test_the_lab_shows_such_a_folder(tmp_path):
    notebook = notebooks.compose(notebooks.lab(14))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shows = next(place for place, cell in enumerate(code) if "kd.plots.pictures(" in cell.source)
    notebook.cells = code[: shows + 1]
    root = odd_pictures.odd_folder(tmp_path / "odd")
    notebooks.execute(notebook, tmp_path, environment={"KDCOURSE_PICTURES": str(root)})
    notebooks.check_outputs(notebook)  # nothing on stderr, of class names that no font has, for one
    said, *_, figure = code[shows].outputs
    assert said.text.startswith(
        f"{odd_pictures.REPORT}\nodd, from your folder: 144 training, 16 validation and 40 test"
    )
    assert all(name in str(figure) for name in odd_pictures.CLASSES)


def test_nothing_is_said_of_a_folder_without_fault(tmp_path, capsys):
    load_images(lay_out(tmp_path / "set", "train", "test"), device="cpu", size=8)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_recipes_read_folders_as_labs_do_and_before_the_first_step(tmp_path, capsys):
    root = lay_out(tmp_path / "set", "Train", "val")
    litter(root / "Train")
    train, test, spec = open_data(Data(folder=str(root), size=16), 0, torch.device("cpu"))
    assert (len(train), len(test), spec.classes) == (19, 16, 2)
    assert "Of 41 files 35 are read" in capsys.readouterr().out
    deep = content(Image.fromarray(DEEP), "PNG")
    for part in ("Train", "val"):
        (root / part / "cow").mkdir()
        (root / part / "cow" / "0.png").write_bytes(deep)
    train, _, _ = open_data(Data(folder=str(root), size=32), 0, torch.device("cpu"))
    picture, label = train[None, len(train) - 1]
    assert label == 2 and float((picture * 0.225 + 0.45).mean()) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "val").rename(root / "test"), r"must hold val/<class>/<picture> beside train/"),
        (lambda root: (root / "val" / "cow").mkdir(), "must hold the same classes in train/ and val/, cow"),
        (
            lambda root: [file.write_bytes(b"") for file in (root / "val" / "ant").iterdir()],
            "no readable picture in the class ant",
        ),
    ],
)
def test_a_recipes_folder_that_will_not_do_is_refused_at_once(tmp_path, change, message):
    root = lay_out(tmp_path / "set", "train", "val")
    change(root)
    with pytest.raises(RecipeError, match=message):
        open_data(Data(folder=str(root), size=16), 0, torch.device("cpu"))
