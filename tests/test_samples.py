"""A folder of pictures for who has none, views that stay, and one picture as an upload brings it."""

import numpy as np
import pytest
import torch
from PIL import Image

import kdcourse as kd
from kdcourse.data import augmented, load_pictures, picture_folder, random_crop, read_picture, samples
from kdcourse.data.folders import read_folder
from kdcourse.data.splits import Split
from kdcourse.system.storage import DamagedFile
from tests.test_data import local, room, small_tar, write_folder  # noqa: F401  two of them are fixtures


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(samples, "COUNTS", {"train": 30, "val": 20, "test": 10})
    monkeypatch.delenv("KDCOURSE_PICTURES", raising=False)


def test_without_pictures_the_folder_holds_glyphs(room, capsys):  # noqa: F811
    folder = picture_folder()
    assert folder.name == "glyph-pictures" and len(list(folder.rglob("*.png"))) == 60
    data = load_pictures("glyph-pictures")
    assert (data.name, data.origin, len(data.classes)) == ("glyph-pictures", "folder", 10)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 20, 10)
    assert data.train.images.shape[1:] == (1, 32, 32)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert picture_folder() == folder and before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def test_cifars_pictures_are_none_that_its_teacher_was_trained_on(local, monkeypatch):  # noqa: F811
    small_tar(local / "cifar10-jpeg.tar")
    folder = picture_folder()
    assert folder.name == "cifar10-pictures"
    whole, cut = kd.load_images("cifar10", fallback=False), kd.load_images(folder)
    assert (len(cut.train), len(cut.validation), len(cut.test)) == (30, 20, 8)

    def seen(data, *splits):
        levels = [(255 * data.pictures(split.images)).round().astype(np.uint8) for split in splits]
        return {picture.tobytes() for pictures in levels for picture in pictures}

    assert seen(cut, cut.train) | seen(cut, cut.validation) == seen(whole, whole.validation)
    assert seen(cut, cut.test) == seen(whole, whole.test)
    assert cut.test.labels.bincount().tolist() == [4, 4]
    monkeypatch.setattr(samples, "COUNTS", {"train": 10, "val": 20, "test": 4})
    fewer = kd.load_images(picture_folder())
    assert [part.labels.bincount().tolist() for part in (fewer.train, fewer.validation, fewer.test)] == [
        *([5, 5], [10, 10], [2, 2])
    ]


def test_a_tar_in_the_working_folder_is_nobodys_choice(room, monkeypatch):  # noqa: F811
    small_tar(room / "cifar10-jpeg.tar")
    monkeypatch.chdir(room)
    assert picture_folder().name == "glyph-pictures"


def test_a_tar_cut_short_leaves_no_half_folder(local):  # noqa: F811
    small_tar(local / "cifar10-jpeg.tar")
    content = (local / "cifar10-jpeg.tar").read_bytes()
    (local / "cifar10-jpeg.tar").write_bytes(content[: len(content) // 2 + 100])
    with pytest.raises(DamagedFile, match="cut short"):
        picture_folder()
    assert not list((samples.cache_folder() / "pictures").rglob("cifar10-pictures"))


def test_a_folder_of_ones_own_is_taken_as_it_is(room, monkeypatch):  # noqa: F811
    monkeypatch.setenv("KDCOURSE_PICTURES", str(write_folder(room / "insects")))
    assert picture_folder() == room / "insects" and load_pictures().name == "insects"
    with pytest.raises(
        ValueError,
        match="name must be cifar10-pictures, glyph-pictures, sign-pictures or the path of a folder, got 'no",
    ):
        picture_folder("nowhere")
    with pytest.raises(ValueError, match=r"wants cifar10-jpeg\.tar"):
        picture_folder("cifar10-pictures")


def test_unreadable_files_are_named(room, capsys):  # noqa: F811
    root = write_folder(room / "set")
    for number in range(4):
        (root / "ant" / f"{number}.png").write_bytes(b"no picture")
    read_folder(root, 8)
    said = capsys.readouterr().out
    assert (
        "4 files that cannot be read" in said and "ant/0.png, ant/1.png, ant/2.png, …" in said and str(room) not in said
    )


def test_huge_pictures_are_cut_and_those_beyond_pillows_limit_left_out(room, capsys, monkeypatch):  # noqa: F811
    root = write_folder(room / "set", mode="RGB")
    Image.new("RGB", (4000, 3000), (255, 0, 0)).save(root / "ant" / "huge.jpg")
    assert read_folder(root, 8).train[0].shape[1:] == (3, 8, 8)
    assert "left out" not in capsys.readouterr().out
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000 * 3000 // 3)
    read_folder(root, 8)
    assert "1 file that cannot be read as pictures (ant/huge.jpg)" in capsys.readouterr().out


@pytest.mark.parametrize("channels", [1, 3])
def test_one_picture_is_read_as_a_folder_is(room, channels):  # noqa: F811
    root = write_folder(room / "set", classes=("ant", "bee"), count=3, mode={1: "L", 3: "RGB"}[channels])
    path = root / "ant" / "0.png"
    pixels = read_picture(path, 16, channels)
    assert pixels.shape == (1, channels, 16, 16) and pixels.dtype == torch.float32
    torch.testing.assert_close(read_picture(path.read_bytes(), 16, channels), pixels)
    whole = read_folder(root, 16).train[0].float() / 255
    assert (whole - pixels).abs().amax((1, 2, 3)).min() < 1 / 255
    with pytest.raises(ValueError, match="source must be a picture that can be read"):
        read_picture(b"no picture", 16, channels)


def test_a_colour_upload_to_a_grey_model_keeps_its_brightness(tmp_path):
    Image.new("RGB", (20, 10), (0, 255, 0)).save(tmp_path / "green.png")
    assert read_picture(tmp_path / "green.png", 8, 1).numpy() == pytest.approx(np.full((1, 1, 8, 8), 0.587), abs=1e-3)


# --- views


def numbered(count: int) -> Split:
    images = torch.arange(count * 64, dtype=torch.float32).view(count, 1, 8, 8) / 64
    return Split(images, torch.arange(count))


def test_a_crop_is_a_window_of_its_own_picture():
    split = numbered(200)
    cut = random_crop(split.images, smallest=0.25, flip=False, generator=torch.Generator().manual_seed(0))
    assert cut.is_contiguous(memory_format=torch.channels_last) and torch.equal(split.images, numbered(200).images)
    for before, after in zip(split.images, cut, strict=True):
        assert before.min() <= after.min() and after.max() <= before.max()
    widths = (cut[:, 0, 0, -1] - cut[:, 0, 0, 0]) / (7 / 64)  # 1 for the whole, half of it for a quarter of the area
    assert 0.49 < widths.min() < 0.6 and 0.9 < widths.max() <= 1.001
    mirrored = random_crop(split.images, smallest=1, generator=torch.Generator().manual_seed(0))
    same = (mirrored - split.images).abs().amax((1, 2, 3)) < 1e-4
    flipped = (mirrored - split.images.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    assert (same ^ flipped).all() and 60 < int(flipped.sum()) < 140


def test_a_cache_answers_for_the_very_views():
    """Training on fixed crops with a cache is training with the teacher asked at each step."""
    split = numbered(30)
    views = augmented(Split(split.images / 30, split.labels % 3), 2, augment=random_crop)
    model = kd.models.perceptron((4,), classes=3, inputs=64, seed=1)
    losses = [
        kd.train(
            kd.models.perceptron((4,), classes=3, inputs=64),
            views,
            kd.SoftTarget(),
            teacher=teacher,
            steps=5,
            batch_size=8,
        ).losses
        for teacher in (model, kd.TeacherCache(model))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: random_crop(torch.zeros(2, 8, 8)), "images"),
        (lambda: random_crop(torch.zeros(2, 1, 8, 8), smallest=0), "smallest"),
        (lambda: random_crop(torch.zeros(2, 1, 8, 8), smallest=1.5), "smallest"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
