"""Pictures from folders: any ImageFolder, `<class>/<picture>`, on the disk or inside a tar."""

import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdcourse.system.storage import DamagedFile, cache_folder, cached, load_tensors, save_tensors

# What the parts of a data set are called by those who lay them out.
PARTS = {"train": ("train", "training"), "validation": ("validation", "val", "valid"), "test": ("test", "testing")}

NAMED = 3  # unreadable files that a line names


@dataclass
class RawImageData:
    """A data set as read: pictures (N, C, H, W) uint8 and labels (N,) int64 for each part that it has."""

    classes: tuple[str, ...]
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor] | None = None
    test: tuple[Tensor, Tensor] | None = None
    note: str = ""


def disk_cached(key: str, make: Callable[[], RawImageData]) -> RawImageData:
    """What `make` returns, which takes seconds: out of the cache if it was made before."""
    name = f"{key}.safetensors"
    try:
        tensors, metadata = load_tensors(cached("data", name))
        parts = {part: (tensors[part], tensors[f"{part} labels"]) for part in tensors if part in PARTS}
        return RawImageData(tuple(json.loads(metadata["classes"])), **parts)
    except FileNotFoundError:
        pass
    except DamagedFile as error:
        print(f"{error}; it is made again.")
    raw = make()
    parts = {part: getattr(raw, part) for part in PARTS if getattr(raw, part) is not None}
    tensors = {part: images for part, (images, _) in parts.items()}
    tensors |= {f"{part} labels": labels for part, (_, labels) in parts.items()}
    try:
        save_tensors(cache_folder() / "data" / name, tensors, {"classes": json.dumps(raw.classes)})
    except OSError as error:
        print(f"{name} cannot be kept in the cache ({error.strerror}) and is made again next time.")
    return raw


def read_folder(root: Path, size: int) -> RawImageData:
    """Read an ImageFolder: `root/<class>/`, or the same below `root/train/` beside `test/` and perhaps `val/`.

    Each picture is cut to a square about its centre and scaled to `size` pixels a side; all are grey if every one is,
    else RGB. Files that are no readable pictures, or hold more pixels than Pillow opens (179 million), are left out, with a
    line that counts them and names the first. Where there is `val/` but no `test/`, it serves as the test split. Raises
    `ValueError` for fewer than two classes, for a class without pictures, and for parts whose classes differ.
    """
    parts = _parts(root)
    classes = _classes(parts["train"])
    decoded = {}
    for part, folder in parts.items():
        if _classes(folder) != classes:
            differing = ", ".join(sorted(set(_classes(folder)) ^ set(classes)))
            raise ValueError(f"the folders {folder.name}/ and {parts['train'].name}/ differ in the classes {differing}")
        decoded[part] = _read_part(folder, classes, size)
    _report([path for _, _, unreadable in decoded.values() for path in unreadable])
    pictures = {part: (images, labels) for part, (images, labels, _) in decoded.items()}
    if all(_is_grey(images) for images, _ in pictures.values()):
        pictures = {part: (images[:, :1], labels) for part, (images, labels) in pictures.items()}
    return RawImageData(classes, **pictures)


def read_tar(path: Path, size: int) -> RawImageData:
    """Read `train/<class>/` and `test/<class>/` out of a tar, in RGB, without unpacking it to the disk.

    Raises `DamagedFile` for a tar that is laid out otherwise or cut short and for a picture that cannot be read.
    """
    pictures: dict[str, list] = {"train": [], "test": []}
    try:
        with tarfile.open(path) as tar:
            for member in sorted((member for member in tar if member.isfile()), key=lambda member: member.name):
                part, label, _ = member.name.removeprefix("./").split("/")
                picture = _decode(BytesIO(tar.extractfile(member).read()), size)
                if picture is None:
                    raise DamagedFile(f"{member.name} in {path.name} cannot be read")
                pictures[part].append((label, picture))
        classes = tuple(sorted({label for label, _ in pictures["train"]}))
        parts = {
            part: (_stack([picture for _, picture in found]), torch.tensor([classes.index(name) for name, _ in found]))
            for part, found in pictures.items()
        }
    except DamagedFile:
        raise
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise DamagedFile(f"{path.name} is cut short or damaged") from error
    return RawImageData(classes, **parts)


def _parts(root: Path) -> dict[str, Path]:
    """The folder of each part; only "train" where the class folders lie directly in `root`."""
    found = {part: root / name for part, names in PARTS.items() for name in names if (root / name).is_dir()}
    if "train" not in found:
        return {"train": root}
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    return found


def _classes(folder: Path) -> tuple[str, ...]:
    # Hidden folders, such as .ipynb_checkpoints, are no classes.
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")
    if len(classes) < 2:
        raise ValueError(
            f"the folder {folder.resolve().name}/ must hold at least two class folders, <class>/<picture>, "
            f"directly or below train/ and test/; found {', '.join(classes) or 'none'}"
        )
    return tuple(classes)


def read_picture(source: str | Path | bytes, size: int, channels: int) -> Tensor:
    """One picture, a file or its content, as `read_folder` would read it: pixels (1, channels, size, size) within [0, 1].

    channels: 1 for grey, to which colours are turned by their brightness, or 3. Raises `ValueError` for what is no picture.
    """
    picture = _decode(BytesIO(source) if isinstance(source, bytes) else source, size)
    if picture is None:
        raise ValueError("source must be a picture that can be read, such as a JPEG or a PNG")
    pixels = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)
    if channels == 1:
        pixels = torch.einsum("nchw,c->nhw", pixels, torch.tensor([0.299, 0.587, 0.114])).unsqueeze(1)
    return pixels


def _report(unreadable: Sequence[str]) -> None:
    if unreadable:
        named = ", ".join("/".join(Path(path).parts[-2:]) for path in unreadable[:NAMED])
        more = ", …" if len(unreadable) > NAMED else ""
        files = "file" if len(unreadable) == 1 else "files"
        print(f"{len(unreadable)} {files} could not be read as pictures and are left out: {named}{more}.")


def _read_part(folder: Path, classes: Sequence[str], size: int) -> tuple[Tensor, Tensor, list[str]]:
    """Pictures (N, 3, size, size), labels (N,) and the files that could not be read."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    index = {name: label for label, name in enumerate(classes)}
    samples = make_dataset(folder, index, extensions=IMG_EXTENSIONS, allow_empty=True)
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(partial(_decode, size=size), [path for path, _ in samples]))
    readable = [(picture, label) for picture, (_, label) in zip(decoded, samples, strict=True) if picture is not None]
    empty = set(range(len(classes))) - {label for _, label in readable}
    if empty:
        names = ", ".join(classes[label] for label in sorted(empty))
        raise ValueError(
            f"no readable picture in the class {names} of the folder {folder.resolve().name}/ "
            f"(accepted: {' '.join(IMG_EXTENSIONS)})"
        )
    unreadable = [path for picture, (path, _) in zip(decoded, samples, strict=True) if picture is None]
    pictures = _stack([picture for picture, _ in readable])
    return pictures, torch.tensor([label for _, label in readable]), unreadable


def _decode(source: str | Path | BytesIO, size: int) -> np.ndarray | None:
    """One picture as (size, size, 3) uint8, upright; None if it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with Image.open(source) as image:
            image.draft(None, (4 * size, 4 * size))  # a large JPEG is decoded no finer than it needs to be
            image = ImageOps.exif_transpose(image)  # cameras store the way up beside the pixels
            if image.mode in ("I", "I;16"):  # 16 bits a pixel, which convert() would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _stack(pictures: Iterable[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _is_grey(images: Tensor) -> bool:
    return bool((images[:, :1] == images[:, 1:]).all())
