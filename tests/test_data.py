"""Data sets by name: the lanes and their order, what happens when one is damaged, folders, splits, augmentation."""

import gzip
import hashlib
import io
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdcourse.data import DownloadError, images, load_images, random_shift_flip, sources
from kdcourse.data.images import hold_out
from tests.serving import remote, serving

PICTURES, TESTS = 200, 40  # in the small stand-ins for the public sets


def idx(array: np.ndarray) -> bytes:
    """The format of MNIST's files: magic number, shape, bytes."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def small_mnist() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    files = {}
    for part, count in (("train", PICTURES), ("t10k", TESTS)):
        files[f"{part}-images-idx3-ubyte"] = idx(random.integers(0, 256, (count, 28, 28)))
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count) % 10)
    return files


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A machine of its own: no data, an empty cache, no way to the network, nothing remembered, few glyphs."""
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KDCOURSE_DATA", raising=False)
    monkeypatch.delenv("KDCOURSE_DATASET", raising=False)
    monkeypatch.setattr(images, "GLYPHS", {"train": 60, "validation": 20, "test": 20})
    for name, source in sources.SOURCES.items():
        files = tuple(replace(file, addresses=(f"http://127.0.0.1:9/{file.name}",)) for file in source.files)
        monkeypatch.setitem(sources.SOURCES, name, replace(source, files=files, validation=50))
    images._load.cache_clear()
    yield tmp_path
    images._load.cache_clear()


@pytest.fixture
def fashion(room, monkeypatch):
    """Small Fashion-MNIST on a local server; returns the server and the unpacked files."""
    files = small_mnist()
    with serving() as server:
        packed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
        server.files = {f"/{name}": content for name, content in packed.items()}
        source = replace(
            sources.SOURCES["fashion-mnist"],
            files=tuple(remote(name, content, server.address) for name, content in packed.items()),
            unpacked={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        )
        monkeypatch.setitem(sources.SOURCES, "fashion-mnist", source)
        yield server, files


@pytest.fixture
def local(room, monkeypatch) -> Path:
    """The folder in KDCOURSE_DATA, empty."""
    folder = room / "local"
    folder.mkdir()
    monkeypatch.setenv("KDCOURSE_DATA", str(folder))
    return folder


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def forget() -> None:
    """What a new session does: nothing is remembered but what lies on the disk."""
    images._load.cache_clear()


def load(name="fashion-mnist", **options):
    return load_images(name, device="cpu", **options)


# --- the lanes


def test_the_lanes_in_their_order(fashion, local, capsys):
    server, files = fashion
    assert load().origin == "download"
    forget()
    assert load().origin == "cache"
    assert sum(method == "GET" for method, _ in server.asked) == 4
    write(local / "FashionMNIST" / "raw", files)
    forget()
    assert load().origin == "KDCOURSE_DATA"
    said = capsys.readouterr().out
    assert "Fashion-MNIST, downloaded into the cache: 150 training, 50 validation and 40 test pictures" in said
    assert "Fashion-MNIST, from the cache" in said
    assert "Fashion-MNIST, from the folder in KDCOURSE_DATA" in said
    assert str(local.parent) not in said, "a path of this machine would be committed with a notebook's output"
    assert len(said.splitlines()) == 3


def test_the_pictures_arrive_as_they_were(fashion):
    _, files = fashion
    data = load()
    raw = np.frombuffer(files["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 28, 28)
    assert np.allclose(data.pictures(data.test.images), raw / 255, atol=1e-6)
    assert data.test.labels.tolist() == [label % 10 for label in range(TESTS)]
    assert data.classes[9] == "Ankle boot"


def test_a_second_call_returns_the_same_tensors_and_says_so_again(fashion, capsys):
    first = load()
    line = capsys.readouterr().out.splitlines()[-1]
    assert load() is first
    assert capsys.readouterr().out.strip() == line


def test_without_network_the_glyphs_take_over(room, capsys):
    data = load()
    said = capsys.readouterr().out
    assert (data.name, data.origin) == ("glyphs", "built in")
    assert "Fashion-MNIST could not be downloaded (none of its hosts can be reached); using the built-in glyphs" in said
    assert "Glyphs, built in: 60 training" in said


def test_the_fallback_can_be_refused(room):
    with pytest.raises(DownloadError, match="Fashion-MNIST could not be downloaded"):
        load(fallback=False)


def test_the_network_is_tried_again_after_a_failure(fashion, monkeypatch):
    source = sources.SOURCES["fashion-mnist"]
    gone = replace(source, files=tuple(replace(f, addresses=("http://127.0.0.1:9/x",)) for f in source.files))
    with monkeypatch.context() as unplugged:
        unplugged.setitem(sources.SOURCES, "fashion-mnist", gone)
        assert load().name == "glyphs"
    assert load().name == "fashion-mnist"


def test_a_truncated_download_is_never_read(fashion, capsys):
    server, _ = fashion
    path = "/train-images-idx3-ubyte.gz"
    server.files[path] = server.files[path][:1000]
    assert load().name == "glyphs"
    assert "1,000 of" in capsys.readouterr().out
    assert not (images.cache_folder() / "data" / "fashion-mnist" / path[1:]).exists()


def test_a_damaged_file_in_the_cache_is_fetched_again(fashion, capsys):
    before = load().train.fingerprint
    damaged = images.cache_folder() / "data" / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    forget()
    data = load()
    assert data.origin == "download" and data.train.fingerprint == before
    assert "train-images-idx3-ubyte.gz in the cache is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_local_folder_is_passed_over(fashion, local, capsys, damage):
    _, files = fashion
    raw = local / "FashionMNIST" / "raw"
    write(raw, files)
    path = raw / "train-images-idx3-ubyte"
    if damage == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[5000] ^= 1
        path.write_bytes(content if damage == "flipped" else content[:-100])
    assert load().origin == "download"
    assert "in the folder in KDCOURSE_DATA is damaged (train-images-idx3-ubyte is" in capsys.readouterr().out


def test_a_local_folder_that_does_not_exist_is_mentioned(room, monkeypatch, capsys):
    monkeypatch.setenv("KDCOURSE_DATA", str(room / "nowhere"))
    load("mnist")
    said = capsys.readouterr().out
    assert "KDCOURSE_DATA names a folder that does not exist" in said and str(room) not in said


def test_a_cache_that_cannot_be_written_does_not_stop_the_lab(fashion, room, monkeypatch, capsys):
    (room / "occupied").write_text("a file where the cache should be: not even root can write below it")
    monkeypatch.setenv("KDCOURSE_CACHE", str(room / "occupied" / "cache"))
    assert load().origin == "download"
    assert "The cache folder cannot be written" in capsys.readouterr().out


def test_a_full_disk_does_not_stop_the_lab(fashion, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.retrieve", full)
    monkeypatch.setattr("kdcourse.data.folders.save_tensors", full)
    assert load().name == "glyphs"
    said = capsys.readouterr().out
    assert "the cache cannot be used: No space left on device" in said and "made again next time" in said


# --- the other names


def test_mnist_from_a_local_folder(local, monkeypatch):
    files = small_mnist()
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setitem(sources.SOURCES, "mnist", replace(sources.SOURCES["mnist"], unpacked=hashes))
    write(local / "MNIST" / "raw", files)
    data = load("MNIST")
    assert data.origin == "KDCOURSE_DATA" and data.classes == tuple("0123456789")


def small_cifar(monkeypatch, name: str) -> dict[str, bytes]:
    """The pickled files of a small CIFAR; torchvision's own list of hashes is made to fit."""
    from torchvision import datasets

    reader = getattr(datasets, sources.SOURCES[name].reader)
    label_key, classes = ("labels", 10) if name == "cifar10" else ("fine_labels", 100)
    random = np.random.default_rng(0)

    def batch(count):
        pixels = random.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
        return pickle.dumps({"data": pixels, label_key: [label % classes for label in range(count)]})

    files = {"part_1": batch(300), "part_2": batch(300), "test": batch(100)}
    files[reader.meta["filename"]] = pickle.dumps({reader.meta["key"]: [f"class {label}" for label in range(classes)]})
    md5 = {part: hashlib.md5(content).hexdigest() for part, content in files.items()}
    monkeypatch.setattr(reader, "train_list", [["part_1", md5["part_1"]], ["part_2", md5["part_2"]]])
    monkeypatch.setattr(reader, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": md5[reader.meta["filename"]]})
    return files


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_from_a_local_folder_and_from_the_network(local, monkeypatch, name, classes):
    files = small_cifar(monkeypatch, name)
    source = replace(sources.SOURCES[name], validation=100)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for part, content in files.items():
            member = tarfile.TarInfo(f"{source.folder}/{part}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with serving() as server:
        archive = source.files[0].name
        server.files[f"/{archive}"] = packed.getvalue()
        source = replace(source, files=(remote(archive, packed.getvalue(), server.address),))
        monkeypatch.setitem(sources.SOURCES, name, source)
        downloaded = load(name)
    assert downloaded.origin == "download" and len(downloaded.classes) == classes
    assert downloaded.train.images.shape == (500, 3, 32, 32)

    write(local / source.folder, files)
    forget()
    found = load(name)
    assert found.origin == "KDCOURSE_DATA" and found.train.fingerprint == downloaded.train.fingerprint


def test_a_tampered_pickle_is_not_loaded(local, monkeypatch, capsys):
    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(local / "executed"),))

    files = small_cifar(monkeypatch, "cifar10")
    files["part_1"] = pickle.dumps(Payload())
    write(local / "cifar-10-batches-py", files)
    assert load("cifar10").name == "glyphs"
    assert "CIFAR-10 in the folder in KDCOURSE_DATA is damaged" in capsys.readouterr().out
    assert not (local / "executed").exists()


def small_tar(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for part, count in (("train", 60), ("test", 8)):
            for number in range(count):
                name = ("cat", "dog")[number % 2]
                content = io.BytesIO()
                Image.new("RGB", (32, 32), (number, 100 * (number % 2), 50)).save(content, "JPEG")
                member = tarfile.TarInfo(f"{part}/{name}/{number:04}.jpg")
                member.size = content.tell()
                content.seek(0)
                tar.addfile(member, content)


def test_cifar_from_a_tar_of_jpegs(local, capsys, monkeypatch):
    small_tar(local / "cifar10-jpeg.tar")
    data = load("cifar10")
    assert data.origin == "KDCOURSE_DATA" and data.classes == ("cat", "dog")
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 50, 8)
    green = data.pictures(data.test.images)[..., 1].mean((1, 2))
    assert ((green > 0.2).astype(int) == data.test.labels.numpy()).all(), "labels and pictures are out of step"
    assert "do not compare with published ones" in capsys.readouterr().out

    # What was decoded once is kept ...
    monkeypatch.setattr(sources, "read_tar", lambda *_: pytest.fail("decoded a second time"))
    forget()
    assert load("cifar10").train.fingerprint == data.train.fingerprint


def test_a_tar_cut_short_is_passed_over(local, capsys):
    small_tar(local / "cifar10-jpeg.tar")
    content = (local / "cifar10-jpeg.tar").read_bytes()
    (local / "cifar10-jpeg.tar").write_bytes(content[: len(content) // 2 + 100])
    assert load("cifar10").name == "glyphs"
    assert "CIFAR-10 in the folder in KDCOURSE_DATA is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cifar-10", "CIFAR10", "fashion_mnist", "Fashion-MNIST", "glyphs"])
def test_names_may_be_spelt_in_several_ways(name):
    assert images._known(name) in (*sources.SOURCES, "glyphs")


def test_the_name_may_come_from_the_environment(room, monkeypatch):
    monkeypatch.setenv("KDCOURSE_DATASET", "glyphs")
    assert load(None).name == "glyphs"
    monkeypatch.delenv("KDCOURSE_DATASET")
    assert images._known(images.DEFAULT) == "fashion-mnist"


def test_pictures_go_to_the_device_of_the_course(room, monkeypatch):
    asked = []
    monkeypatch.setattr(images.runtime, "device", lambda: asked.append(1) or torch.device("cpu"))
    assert load_images("glyphs").train.device.type == "cpu" and asked == [1]
    assert load_images("glyphs", device="cpu").train.device.type == "cpu" and asked == [1]


@pytest.mark.parametrize("name", ["imagenet", "no/such/folder", 7])
def test_an_unknown_name_lists_what_is_accepted(room, name):
    with pytest.raises(ValueError, match=f"fashion-mnist, mnist, cifar10, cifar100, glyphs, .*got '{name}'"):
        load(name)


@pytest.mark.parametrize(("name", "size"), [("glyphs", 28), (".", 0), (".", 2.5)])
def test_size_is_for_folders(room, name, size):
    with pytest.raises(ValueError, match="size"):
        load(name, size=size)


def test_glyphs_are_drawn_once_and_drawn_again_when_damaged(room, monkeypatch, capsys):
    first = load("glyphs")
    (kept,) = (images.cache_folder() / "data").glob("glyphs-*.safetensors")
    forget()
    with monkeypatch.context() as patched:
        patched.setattr(images.glyphs, "glyphs", lambda *_: pytest.fail("drawn a second time"))
        assert load("glyphs").train.fingerprint == first.train.fingerprint
    content = bytearray(kept.read_bytes())
    content[-5] ^= 1
    kept.write_bytes(content)
    forget()
    assert load("glyphs").train.fingerprint == first.train.fingerprint
    assert "damaged" in capsys.readouterr().out


# --- splits and standardisation


def test_the_splits_are_apart_stratified_and_always_the_same(fashion):
    _, files = fashion
    data = load()
    raw = np.frombuffer(files["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 28, 28)
    originals = {picture.tobytes(): position for position, picture in enumerate(raw)}

    def positions(split):
        pictures = (data.pictures(split.images) * 255).round().astype(np.uint8)
        return [originals[picture.tobytes()] for picture in pictures]

    train, validation = positions(data.train), positions(data.validation)
    assert sorted(train + validation) == list(range(PICTURES))
    assert data.validation.labels.bincount().tolist() == [5] * 10
    assert data.train.labels.tolist() == [position % 10 for position in train]
    forget()
    assert positions(load().validation) == validation


def test_pictures_are_standardised_by_the_training_split_and_channels_last(fashion):
    data = load()
    assert data.train.images.dtype == torch.float32 and data.train.labels.dtype == torch.int64
    assert abs(data.train.images.mean().item()) < 1e-5
    assert data.train.images.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert abs(data.test.images.mean().item()) > 1e-6, "the test split was standardised by itself"
    for split in (data.train, data.validation, data.test):
        assert split.images.is_contiguous(memory_format=torch.channels_last)


def test_hold_out_keeps_proportions_and_gives_every_class_something():
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 3)
    kept, held_out = hold_out(labels, 100)
    assert sorted(kept.tolist() + held_out.tolist()) == list(range(len(labels)))
    first, second, third = labels[held_out].bincount().tolist()
    assert abs(first - 90) <= 1 and abs(second - 9) <= 1 and third == 1
    assert hold_out(labels, 100, seed=1)[1].tolist() != held_out.tolist()


# --- folders


def write_folder(root: Path, classes=("ant", "bee", "cow"), count=10, mode="RGB", size=(40, 30)) -> Path:
    random = np.random.default_rng(len(classes))
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{number}.png")
    return root


def test_a_flat_folder_is_split_in_three(room, capsys):
    root = write_folder(room / "insects")
    data = load(root)
    assert (data.name, data.origin, data.classes) == ("insects", "folder", ("ant", "bee", "cow"))
    assert (len(data.train), len(data.validation), len(data.test)) == (21, 3, 6)
    assert data.test.labels.bincount().tolist() == [2, 2, 2] and data.validation.labels.bincount().tolist() == [1, 1, 1]
    assert data.train.images.shape[1:] == (3, 32, 32)
    said = capsys.readouterr().out
    assert "insects, from your folder" in said and str(room) not in said
    assert load(str(root), size=8).train.images.shape[1:] == (3, 8, 8)
    assert load(root).train.fingerprint == data.train.fingerprint


def test_a_folder_with_train_val_and_test(room):
    for part, count in (("train", 10), ("val", 3), ("test", 4)):
        write_folder(room / "set" / part, count=count, mode="L")
    data = load(room / "set")
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 9, 12)
    assert data.train.images.shape[1] == 1, "grey pictures have one channel"


def test_a_folder_with_train_and_val_only_tests_on_val(room):
    for part, count in (("train", 10), ("val", 4)):
        write_folder(room / "set" / part, count=count)
    data = load(room / "set")
    assert (len(data.train), len(data.validation), len(data.test)) == (27, 3, 12)


def test_unreadable_files_are_counted_and_left_out(room, capsys):
    root = write_folder(room / "set")
    (root / "ant" / "3.png").write_bytes(b"no picture")
    truncated = (root / "bee" / "4.png").read_bytes()
    (root / "bee" / "4.png").write_bytes(truncated[: len(truncated) // 2])
    (root / "ant" / "notes.txt").write_text("not counted: not called a picture")
    (root / ".ipynb_checkpoints").mkdir()
    data = load(root)
    assert "2 files that cannot be read as pictures" in capsys.readouterr().out
    assert len(data.train) + len(data.validation) + len(data.test) == 28 and len(data.classes) == 3


def test_sixteen_bits_and_cameras_held_upright(room):
    for name, level in (("dark", 20), ("light", 200)):
        (room / "set" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((8, 8), level * 256, np.uint16)).save(room / "set" / name / f"{number}.png")
    data = load(room / "set", size=8)
    dark = data.pictures(data.train.images[data.train.labels == 0])
    assert dark == pytest.approx(np.full_like(dark, 20 / 255), abs=1e-3)

    turned = Image.new("RGB", (8, 8))
    turned.paste((255, 0, 0), (0, 0, 4, 8))  # red on the left; shown at the top once turned
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(room / "turned.png", exif=exif)
    upright = images.folders._decode(str(room / "turned.png"), 8)
    assert (upright[:4, :, 0] == 255).all() and (upright[4:, :, 0] == 0).all()


def test_what_is_no_image_folder_is_refused(room):
    (room / "empty").mkdir()
    with pytest.raises(ValueError, match=r"at least two class folders.*found none"):
        load(room / "empty")
    write_folder(room / "single", classes=("ant",))
    with pytest.raises(ValueError, match=r"at least two class folders.*found ant"):
        load(room / "single")
    (write_folder(room / "hollow") / "dog").mkdir()
    with pytest.raises(ValueError, match="no readable picture in the class dog"):
        load(room / "hollow")
    with pytest.raises(ValueError, match=r"the class ant .* at least 3 pictures.*got 2"):
        load(write_folder(room / "few", count=2))
    write_folder(room / "differing" / "train")
    write_folder(room / "differing" / "test", classes=("ant", "bee", "dog"))
    with pytest.raises(ValueError, match="differ in the classes cow, dog"):
        load(room / "differing")


# --- augmentation


def numbered(count: int) -> torch.Tensor:
    """Pictures of which no two pixels are alike."""
    return torch.arange(count * 2 * 8 * 8, dtype=torch.float32).view(count, 2, 8, 8)


def test_each_picture_is_moved_and_mirrored_as_a_whole():
    pictures = numbered(64)
    moved = random_shift_flip(pictures, shift=2, generator=torch.Generator().manual_seed(0))
    seen = set()
    for before, after in zip(pictures, moved, strict=True):
        padded = torch.nn.functional.pad(before, (2, 2, 2, 2), mode="replicate")
        matches = [
            (down, right, mirrored)
            for down in range(5)
            for right in range(5)
            for mirrored in (False, True)
            if torch.equal(padded[:, down : down + 8, right : right + 8], after.flip(2) if mirrored else after)
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert {down for down, _, _ in seen} == {right for _, right, _ in seen} == set(range(5))
    assert {mirrored for _, _, mirrored in seen} == {False, True}
    assert moved.is_contiguous(memory_format=torch.channels_last)


def test_augmentation_is_pure_and_repeatable():
    pictures = numbered(16)
    before = pictures.clone()
    first, second = (random_shift_flip(pictures, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(pictures, before)
    assert not torch.equal(first, random_shift_flip(pictures, generator=torch.Generator().manual_seed(4)))


def test_augmentation_can_be_switched_off():
    pictures = numbered(4)
    same = random_shift_flip(pictures, shift=0, flip=False)
    assert torch.equal(same, pictures) and same.data_ptr() != pictures.data_ptr()


@pytest.mark.parametrize(
    ("pictures", "shift", "named"),
    [
        (torch.zeros(2, 8, 8), 2, "images"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), 2, "images"),
        (torch.zeros(2, 1, 8, 8), -1, "shift"),
        (torch.zeros(2, 1, 8, 8), 0.5, "shift"),
    ],
)
def test_augmentation_refuses_bad_input(pictures, shift, named):
    with pytest.raises(ValueError, match=named):
        random_shift_flip(pictures, shift=shift)


# --- the real thing

HERE = Path(os.environ.get("KDCOURSE_DATA") or "nowhere")


@pytest.mark.skipif(not (HERE / "FashionMNIST").is_dir(), reason="KDCOURSE_DATA holds no Fashion-MNIST")
def test_the_real_fashion_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))
    data = load()
    assert data.origin == "KDCOURSE_DATA"
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    assert data.train.labels.bincount().tolist() == [5_500] * 10
    assert data.validation.labels.bincount().tolist() == [500] * 10
    assert data.test.labels.bincount().tolist() == [1_000] * 10
    # The known moments of all 60,000 training pictures; 55,000 of them come close.
    assert data.mean[0] == pytest.approx(0.2860, abs=2e-3) and data.std[0] == pytest.approx(0.3530, abs=2e-3)
