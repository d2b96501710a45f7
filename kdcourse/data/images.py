"""A data set of pictures by name, from wherever it can be had: a folder, the cache, the network, or built in."""

import os
import re
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from kdcourse.data import folders, glyphs
from kdcourse.data.folders import RawImageData
from kdcourse.data.sources import SOURCES, Source, read_downloaded, read_unpacked
from kdcourse.data.splits import ImageData, standardised
from kdcourse.system import runtime
from kdcourse.system.arguments import whole_number
from kdcourse.system.download import DownloadError, fetch
from kdcourse.system.storage import DamagedFile, cache_folder, cached, fingerprint

DEFAULT = "fashion-mnist"
GLYPHS = {"train": 55_000, "validation": 5_000, "test": 10_000}  # pictures, as many as Fashion-MNIST has
FOLDER_SIZE, LARGEST = 32, 4096  # pixels a side
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2  # of a folder that comes unsplit
SPLIT_SEED = 0


def load_images(
    name: str | Path | None = None,
    *,
    device: torch.device | str | None = None,
    size: int | None = None,
    fallback: bool = True,
) -> ImageData:
    """A data set with its splits apart, standardised and on the device; one printed line says where it came from.

    name: "fashion-mnist", "mnist", "cifar10", "cifar100", "glyphs", or the path of an ImageFolder. Default: the
        environment variable KDCOURSE_DATASET, else "fashion-mnist".
    device: where the pictures go; default `kdcourse.system.runtime.device()`.
    size: pixels a side, for a path only; default 32, at most 4096.
    fallback: take the built-in glyphs when a download fails, with a message; otherwise the failure is raised.

    Public sets are looked for in the folder named by KDCOURSE_DATA (torchvision's layout), then in the cache, then on
    the network. Their test split is the official one; 5,000 pictures are split off the training split for validation,
    classes in equal shares, always the same ones. A second call within a session returns the same tensors.
    Raises `ValueError` for an unknown name and for a folder that is no ImageFolder, `DownloadError` as said.
    """
    wanted = name or os.environ.get("KDCOURSE_DATASET") or DEFAULT
    known = _known(wanted)
    device = runtime.device() if device is None else torch.device(device)
    if size is not None and known:
        raise ValueError(f"size is for the path of a folder only, and {known} has its own, got {size!r}")
    if known is None:
        size = whole_number("size", FOLDER_SIZE if size is None else size, most=LARGEST)
        data = _standardise_splits(*_read_own_folder(Path(wanted).expanduser(), size), device)
        print(_describe(data, ""))
        return data
    try:
        data, note = _load(known, device, *_places())
    except DownloadError as error:
        failure = f"{SOURCES[known].title} could not be downloaded ({error})"
        if not fallback:
            raise DownloadError(failure) from error
        print(f"{failure}; using the built-in glyphs instead.")
        data, note = _load("glyphs", device, *_places())
    print(_describe(data, note))
    return data


def hold_out(labels: Tensor, count: int, seed: int = SPLIT_SEED) -> tuple[Tensor, Tensor]:
    """Divide the positions of N examples in two: (N − count,) that are kept and (count,) that are held out, both in order.

    labels: (N,); each class gives in proportion to its size, and at least one example where `count` is at least the number of
    classes. seed: default the one by which the course splits off its validation pictures.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    # How far down its class an example stands, in [0, 1): the lowest of all are held out.
    depth = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        of_class = order[labels[order] == label]
        depth[of_class] = torch.arange(len(of_class), dtype=torch.float64) / len(of_class)
    ranked = order[torch.argsort(depth[order], stable=True)]
    return ranked[count:].sort().values, ranked[:count].sort().values


def _known(wanted: str | Path) -> str | None:
    """The name of a known set, however it is spelt, or None for a folder that exists."""
    for name in (*SOURCES, "glyphs"):
        if isinstance(wanted, str) and re.sub("[-_ ]", "", wanted.lower()) == name.replace("-", ""):
            return name
    if isinstance(wanted, str | os.PathLike) and Path(wanted).expanduser().is_dir():
        return None
    is_file = isinstance(wanted, str | os.PathLike) and Path(wanted).expanduser().is_file()
    hint = ", a file: unpack it, and give the folder" if is_file else ""
    raise ValueError(
        f"name must be one of {', '.join(SOURCES)}, glyphs, or the path of a folder, got {str(wanted)!r}{hint}"
    )


def _places() -> tuple[str | None, str | None]:
    """What decides where data come from: the key under which a session remembers them."""
    return os.environ.get("KDCOURSE_DATA"), os.environ.get("KDCOURSE_CACHE")


@lru_cache(maxsize=2)
def _load(name: str, device: torch.device, local: str | None, _cache: str | None) -> tuple[ImageData, str]:
    """_cache: which cache folder is in use; a part of the key alone, so that another one is looked into."""
    if name == "glyphs":
        raw, origin, validation = _glyphs(), "built in", 0
    else:
        source = SOURCES[name]
        raw, origin = _read_public(name, source, local)
        validation = source.validation
    return _standardise_splits(name, raw, origin, validation, device), raw.note


def _read_public(name: str, source: Source, local: str | None) -> tuple[RawImageData, str]:
    """A public data set from the first place that has it whole, and that place."""
    if local:
        root = Path(local).expanduser()
        if not root.is_dir():
            print("KDCOURSE_DATA names a folder that does not exist; looking in the cache.")
        try:
            if found := read_unpacked(source, root):
                return found, "KDCOURSE_DATA"
        except DamagedFile as error:
            print(f"{source.title} in the folder in KDCOURSE_DATA is damaged ({error}); looking in the cache.")
    folder = cached("data", name)
    if not all(file.is_intact(folder) for file in source.files):
        folder = cache_folder() / "data" / name
    origin = "download" if fetch(source.files, folder) else "cache"
    return read_downloaded(source, folder), origin


def _glyphs() -> RawImageData:
    def draw() -> RawImageData:
        parts = {part: glyphs.glyphs(count, seed) for seed, (part, count) in enumerate(GLYPHS.items())}
        return RawImageData(tuple(glyphs.CHARACTERS), **parts)

    # Drawn again as soon as the code that draws them changes.
    code = Path(glyphs.__file__).read_text(encoding="utf-8")
    return folders.disk_cached(f"glyphs-{fingerprint(code, GLYPHS)}", draw)


def _read_own_folder(root: Path, size: int) -> tuple[str, RawImageData, str, int]:
    raw = folders.read_folder(root, size)
    missing = [part for part in folders.PARTS if getattr(raw, part) is None]
    needed = 1 + len(missing)
    fewest, name = min(zip(raw.train[1].bincount().tolist(), raw.classes, strict=True))
    if fewest < needed:
        raise ValueError(
            f"the class {name} of the folder {root.resolve().name}/ must have at least {needed} pictures, one for each "
            f"split that is made of them, got {fewest}"
        )
    if raw.test is None:
        _split_off(raw, "test", max(len(raw.classes), round(TEST_SHARE * len(raw.train[1]))))
    validation = max(len(raw.classes), round(VALIDATION_SHARE * len(raw.train[1])))
    return root.resolve().name, raw, "folder", validation


def _split_off(raw: RawImageData, part: str, count: int) -> None:
    """Move `count` examples from the training split to a part that the data set came without."""
    images, labels = raw.train
    kept, held_out = hold_out(labels, count)
    raw.train = images[kept], labels[kept]
    setattr(raw, part, (images[held_out], labels[held_out]))


def _standardise_splits(name: str, raw: RawImageData, origin: str, validation: int, device: torch.device) -> ImageData:
    """Split off the validation pictures and standardise all by the mean and deviation of the training split."""
    if raw.validation is None:
        _split_off(raw, "validation", validation)
    mean, std = _moments(raw.train[0])
    parts = {part: standardised(*getattr(raw, part), mean, std, device) for part in folders.PARTS}
    return ImageData(name=name, classes=raw.classes, mean=mean, std=std, origin=origin, **parts)


def _moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in [0, 1], by a histogram: exact, so the same on every machine."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in images.unbind(1):
        share = channel.flatten().bincount(minlength=256).double() / channel.numel()
        means.append(float(share @ levels))
        deviations.append(float((share @ (levels - means[-1]).square()).sqrt()) or 1.0)  # pictures of one colour
    return tuple(means), tuple(deviations)


def _describe(data: ImageData, note: str) -> str:
    titles = {"glyphs": "Glyphs"} | {name: source.title for name, source in SOURCES.items()}
    title = data.name if data.origin == "folder" else titles[data.name]
    place = {
        "KDCOURSE_DATA": "from the folder in KDCOURSE_DATA",
        "cache": "from the cache",
        "download": "downloaded into the cache",
        "built in": "built in",
        "folder": "from your folder",
    }[data.origin]
    _, channels, height, width = data.train.images.shape
    sizes = f"{len(data.train):,} training, {len(data.validation):,} validation and {len(data.test):,} test pictures"
    look = f"{height}×{width} {'grey' if channels == 1 else 'colour'}"
    return f"{title}, {place}: {sizes}, {look}, {len(data.classes)} classes{f' ({note})' if note else ''}."
