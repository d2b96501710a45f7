"""A folder of pictures for who has none at hand: some of CIFAR-10's where KDCOURSE_DATA has them, else built-in glyphs."""

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from kdcourse.data import signs
from kdcourse.data.glyphs import CHARACTERS, glyphs
from kdcourse.data.images import hold_out, load_images
from kdcourse.data.sources import SOURCES
from kdcourse.data.splits import ImageData
from kdcourse.system.storage import DamagedFile, cache_folder, cached, fingerprint

COUNTS = {"train": 2000, "val": 1000, "test": 2000}  # pictures in each part
GLYPH_SEEDS = {"train": 14, "val": 15, "test": 16}  # no picture that the shipped teacher has seen
NAMES = ("cifar10-pictures", "glyph-pictures")
SIGNS = "sign-pictures"  # larger ones, 96 pixels a side, for what is done at full size
SIGN_SIZE = 48  # pixels a side in memory: enough to tell them apart, in a quarter of the arithmetic
SIGN_COUNTS = {"train": 1400, "val": 200, "test": 400}
BORDER = 2  # pixels around a glyph of 28, so that it is as large as a picture of CIFAR-10

Files = Iterable[tuple[str, bytes]]


def picture_folder(name: str | Path | None = None) -> Path:
    """An ImageFolder, `train/`, `val/` and `test/` with a folder for each class; made once and kept in the cache.

    name: "cifar10-pictures", "glyph-pictures", "sign-pictures", or the path of a folder of one's own, which is returned as it
        is. Default: the environment variable KDCOURSE_PICTURES, else the first if the folder in KDCOURSE_DATA has the pictures,
        or the second.
    No picture is one that the shipped teachers were trained on: those of CIFAR-10 are from the 5,000 that `load_images`
    keeps for validation, and from its test split. Raises `ValueError` for another name and where the pictures are missing.
    """
    wanted = name or os.environ.get("KDCOURSE_PICTURES") or ("cifar10-pictures" if _archive() else "glyph-pictures")
    if wanted == "glyph-pictures":
        return _cached_folder(wanted, fingerprint(COUNTS, GLYPH_SEEDS), _glyph_files)
    if wanted == "cifar10-pictures":
        archive = _archive()
        if archive is None:
            raise ValueError(
                f"cifar10-pictures wants {SOURCES['cifar10'].archive} in the folder in KDCOURSE_DATA, and it is not there"
            )
        return _cached_folder(wanted, fingerprint(COUNTS, archive.stat().st_size), lambda: _cifar_files(archive))
    if wanted == SIGNS:
        code = Path(signs.__file__).read_text(encoding="utf-8")
        return _cached_folder(wanted, fingerprint(SIGN_COUNTS, code), lambda: signs.sign_files(SIGN_COUNTS))
    if not Path(wanted).expanduser().is_dir():
        raise ValueError(f"name must be {', '.join((*NAMES, SIGNS))} or the path of a folder, got {str(wanted)!r}")
    return Path(wanted).expanduser()


def load_pictures(name: str | Path | None = None, *, fallback: bool = True) -> ImageData:
    """The pictures of `picture_folder(name)`, loaded by `load_images`; signs with 48 pixels a side. Raises as these two do.

    fallback: not used, because nothing is downloaded; it is there so that all loaders are called alike.
    """
    return load_images(picture_folder(name), size=SIGN_SIZE if name == SIGNS else None)


def _archive() -> Path | None:
    """CIFAR-10's pictures in a tar, None where the folder in KDCOURSE_DATA has none."""
    folder = os.environ.get("KDCOURSE_DATA")
    if not folder:
        return None
    path = Path(folder).expanduser() / SOURCES["cifar10"].archive
    return path if path.is_file() else None


def _cached_folder(name: str, key: str, files: Callable[[], Files]) -> Path:
    """The folder of this name; written aside and renamed when it is complete, so that half a folder is never read."""
    target = cached("pictures", key, name)
    if target.is_dir():
        return target
    parent = cache_folder() / "pictures"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=parent) as temporary:
        aside = Path(temporary) / name
        for path, content in files():
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).write_bytes(content)
        target = parent / key / name
        target.parent.mkdir(exist_ok=True)
        if not target.is_dir():  # another session may have been faster
            aside.rename(target)
    return target


def _glyph_files() -> Iterator[tuple[str, bytes]]:
    from PIL import Image

    for part, count in COUNTS.items():
        for number, (picture, label) in enumerate(zip(*glyphs(count, GLYPH_SEEDS[part]), strict=True)):
            buffer = BytesIO()
            Image.fromarray(np.pad(picture[0].numpy(), BORDER, mode="reflect")).save(
                buffer, format="PNG", compress_level=1
            )
            yield f"{part}/{CHARACTERS[label]}/{number:05d}.png", buffer.getvalue()


def _cifar_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Files of the tar as they are, chosen as `load_images` chooses: by their place in the order of names."""
    try:
        with tarfile.open(archive) as tar:
            members = sorted((member for member in tar if member.isfile()), key=lambda member: member.name)
            for part, member in _select_members(members):
                _, label, file = member.name.removeprefix("./").split("/")
                yield f"{part}/{label}/{file}", tar.extractfile(member).read()
    except (tarfile.TarError, ValueError) as error:
        raise DamagedFile(f"{archive.name} is cut short or damaged") from error


def _select_members(members: list[tarfile.TarInfo]) -> Iterator[tuple[str, tarfile.TarInfo]]:
    found = {
        part: [member for member in members if member.name.removeprefix("./").startswith(f"{part}/")]
        for part in ("train", "test")
    }
    _, unseen = _split_members(found["train"], SOURCES["cifar10"].validation)
    rest, validation = _split_members(unseen, COUNTS["val"])
    _, train = _split_members(rest, COUNTS["train"])
    _, test = _split_members(found["test"], COUNTS["test"])
    for part, chosen in (("train", train), ("val", validation), ("test", test)):
        yield from ((part, member) for member in chosen)


def _split_members(members: list[tarfile.TarInfo], count: int) -> list[list[tarfile.TarInfo]]:
    """What stays, and `count` that are held out, each class in proportion; both in their order."""
    return [[members[place] for place in places.tolist()] for places in hold_out(_labels(members), count)]


def _labels(members: list[tarfile.TarInfo]) -> torch.Tensor:
    names = [member.name.removeprefix("./").split("/")[1] for member in members]
    number = {name: place for place, name in enumerate(sorted(set(names)))}
    return torch.tensor([number[name] for name in names])
