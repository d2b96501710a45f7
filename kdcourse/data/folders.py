"""Pictures from folders: any ImageFolder, `<class>/<picture>`, on the disk or inside a tar."""

import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdcourse.data.pictures import ENDINGS, cut_square, open_picture
from kdcourse.system.storage import DamagedFile, cache_folder, cached, fingerprint, load_tensors, save_tensors

# What the parts of a data set are called by those who lay them out, in any case, alone or with one of the words beside them.
PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
BESIDE = "seg|set|data|dataset|split|images?|imgs?|pictures?|photos?"
LITTER = {"thumbs.db", "desktop.ini"}  # what systems lay into every folder
NAMED = 3  # unreadable files that a line names


@dataclass
class RawImageData:
    """A data set as read: pictures (N, C, H, W) uint8 and labels (N,) int64 for each part that it has."""

    classes: tuple[str, ...]
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor] | None = None
    test: tuple[Tensor, Tensor] | None = None
    note: str = ""


@dataclass
class Scan:
    """The files of one part of a folder: what is a picture by its name, and what was passed over and why."""

    samples: list[tuple[Path, int]] = field(default_factory=list)
    hidden: int = 0
    linked_again: int = 0
    endings: Counter = field(default_factory=Counter)
    unreadable: list[Path] = field(default_factory=list)
    contents: list[tuple[str, int]] = field(
        default_factory=list
    )  # of each sample that can be read: its content's name, its label


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

    Parts are known in any case and by their usual names, such as `Training/`, `seg_test/` and `val/`. Each picture is cut to a
    square about its centre and scaled to `size` pixels a side; all are grey if every one is, else RGB. A line adds up the files
    that were seen, read, and left out and why. Where there is `val/` but no `test/`, it serves as the test split. Raises
    `ValueError` for fewer than two classes, for a class without pictures, for parts whose classes differ, for a `test/` without
    a `train/`, and for folders that look like parts and are called otherwise.
    """
    parts = parts_of(root)
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
    classes = classes_of(parts["train"])
    decoded, scans = {}, []
    for part, folder in parts.items():
        if classes_of(folder) != classes:
            differing = ", ".join(sorted(set(classes_of(folder)) ^ set(classes)))
            raise ValueError(f"the folders {folder.name}/ and {parts['train'].name}/ differ in the classes {differing}")
        found = scan(folder, classes)
        decoded[part] = _decode_all(found, folder, classes, size)
        scans.append(found)
    report(scans)
    if all(_is_grey(images) for images, _ in decoded.values()):
        decoded = {part: (images[:, :1], labels) for part, (images, labels) in decoded.items()}
    return RawImageData(classes, **decoded)


def read_tar(path: Path, size: int) -> RawImageData:
    """Read `train/<class>/` and `test/<class>/` out of a tar, in RGB, without unpacking it to the disk.

    Raises `DamagedFile` for a tar that is laid out otherwise or cut short and for a picture that cannot be read.
    """
    pictures: dict[str, list] = {"train": [], "test": []}
    try:
        with tarfile.open(path) as tar:
            for member in sorted((member for member in tar if member.isfile()), key=lambda member: member.name):
                part, label, _ = member.name.removeprefix("./").split("/")
                picture = _decode(tar.extractfile(member).read(), size)
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


def parts_of(root: Path) -> dict[str, Path]:
    """The folder of each part; only "train" where the class folders lie directly in `root`. Raises as `read_folder` does.

    Where `root` holds one folder and the data set lies in that, as many an archive unpacks, it is looked for there.
    """
    inside = _subfolders(root)
    if len(inside) == 1 and part_called(inside[0].name) is None and len(_subfolders(inside[0])) > 1:
        return parts_of(inside[0])
    found: dict[str, Path] = {}
    for folder in _subfolders(root):
        part = part_called(folder.name)
        if part is None or not (_subfolders(folder) or part == "test"):  # a class may be called train
            continue
        if part in found:
            raise ValueError(
                f"the folder {_name(root)}/ must hold one {part} part, got {found[part].name}/ and {folder.name}/"
            )
        found[part] = folder
    if "train" not in found:
        split = [folder for folder in found.values() if _subfolders(folder)]
        if split:
            raise ValueError(
                f"the folder {_name(root)}/ holds {split[0].name}/ and must hold a train/ beside it; found none"
            )
        _refuse_parts_as_classes(root)
        return {"train": root}
    return found


def part_called(name: str) -> str | None:
    """Which part of a data set a folder is by its name: "Training", "seg_test" and "val-images" are; a class is none."""
    bare = re.sub(rf"[^a-z]|^({BESIDE})(?=[^a-z])|({BESIDE})$", "", name.lower())
    return next((part for part, names in PARTS.items() if bare in names), None)


def _refuse_parts_as_classes(root: Path) -> None:
    """Folds and the like: folders that hold nothing but the same folders are no classes."""
    inner = [tuple(folder.name for folder in _subfolders(one)) for one in _subfolders(root)]
    if len(inner) > 1 and len(inner[0]) > 1 and len(set(inner)) == 1:
        names = ", ".join(f"{folder.name}/" for folder in _subfolders(root))
        raise ValueError(
            f"the folders {names} of {_name(root)}/ hold the same folders, so they are parts and no classes: "
            f"call them train/, val/ and test/, or put them together"
        )


def readable_parts(root: Path) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
    """The classes, and the files and labels of each part, none of them held: every file is decoded once and let go.

    A line says what was left out, as with `read_folder`. Raises `ValueError` for parts whose classes differ, and as `parts_of`.
    """
    folders_of = parts_of(root)
    classes = classes_of(folders_of["train"])
    for folder in folders_of.values():
        if differing := set(classes_of(folder)) ^ set(classes):
            places = f"{folders_of['train'].name}/ and {folder.name}/"
            raise ValueError(f"it must hold the same classes in {places}, {', '.join(sorted(differing))} in one")
    scans = {part: scan(folder, classes) for part, folder in folders_of.items()}
    for found in scans.values():
        check_readable(found)
    report(list(scans.values()))
    return classes, {part: found.samples for part, found in scans.items()}


def classes_of(folder: Path) -> tuple[str, ...]:
    """Names of the class folders, sorted. Raises `ValueError` for fewer than two."""
    classes = [entry.name for entry in _subfolders(folder)]
    if len(classes) < 2:
        raise ValueError(
            f"the folder {_name(folder)}/ must hold at least two class folders, <class>/<picture>, "
            f"directly or below train/ and test/; found {', '.join(classes) or 'none'}"
        )
    return tuple(classes)


def _subfolders(folder: Path) -> list[Path]:
    """Without hidden ones, such as .ipynb_checkpoints, and what a Mac lays into its archives."""
    return sorted(
        (one for one in folder.iterdir() if one.is_dir() and one.name[0] != "." and one.name != "__MACOSX"),
        key=lambda one: one.name,
    )


def _name(folder: Path) -> str:
    return folder.resolve().name


def scan(folder: Path, classes: Sequence[str]) -> Scan:
    """What lies in the class folders and below them; nothing is opened. A folder that links lead to again is not read twice."""
    found, visited = Scan(), set()
    for label, name in enumerate(classes):
        for place, folders, files in os.walk(folder / name, followlinks=True):
            facts = os.stat(place)
            if (facts.st_dev, facts.st_ino) in visited:
                found.linked_again += 1
                folders.clear()
                continue
            visited.add((facts.st_dev, facts.st_ino))
            folders.sort()
            for file in sorted(files):
                _note(found, Path(place, file), Path(place, file).relative_to(folder).parts, label)
    return found


def _note(found: Scan, path: Path, below: Sequence[str], label: int) -> None:
    ending = path.suffix.lower()
    if any(part.startswith(".") for part in below):
        found.hidden += ending in ENDINGS and not path.name.startswith("._")
    elif ending in ENDINGS:
        found.samples.append((path, label))
    elif path.name.lower() not in LITTER:
        found.endings[ending or "no ending"] += 1


def check_readable(found: Scan) -> None:
    """Decode every picture once, move those that cannot be read from `samples` to `unreadable`, and note what the others hold."""
    with ThreadPoolExecutor() as pool:
        read = list(pool.map(lambda sample: _content_of(sample[0]), found.samples))
    _keep_readable(found, read)


def _content_of(path: Path) -> str | None:
    """A short name for a file's content; None where it is no picture."""
    try:
        content = path.read_bytes()
        open_picture(content, 1)
    except (OSError, ValueError):
        return None
    return fingerprint(content)


def _keep_readable(found: Scan, contents: Sequence[str | None]) -> None:
    both = list(zip(contents, found.samples, strict=True))
    found.unreadable = [path for content, (path, _) in both if content is None]
    found.samples = [sample for content, sample in both if content is not None]
    found.contents = [(content, label) for content, (_, label) in both if content is not None]


def report(scans: Sequence[Scan]) -> None:
    """One line: files seen, read, left out by reason and ending, and copies; nothing where all was read and is there once."""
    read = sum(len(one.samples) for one in scans)
    unreadable = [path for one in scans for path in one.unreadable]
    named = ", ".join("/".join(path.parts[-2:]) for path in unreadable[:NAMED]) + (
        ", …" if len(unreadable) > NAMED else ""
    )
    endings = sum((one.endings for one in scans), Counter())
    hidden, links = sum(one.hidden for one in scans), sum(one.linked_again for one in scans)
    left_out = [
        (len(unreadable), f"{'file' if len(unreadable) == 1 else 'files'} that cannot be read as pictures ({named})"),
        (hidden, "hidden"),
        *(
            (count, ending if ending == "no ending" else f"with the ending {ending}")
            for ending, count in sorted(endings.items())
        ),
        (links, "already read, to which a link leads again"),
    ]
    reasons = [f"{count:,} {why}" for count, why in left_out if count]
    copies = _of_copies(scans)
    if not reasons and not copies:
        return
    seen = read + len(unreadable) + hidden + endings.total()
    left = f" Left out: {', '.join(reasons)}." if reasons else ""
    print(f"Of {seen:,} files {read:,} are read as pictures.{left}{copies}")


def _of_copies(scans: Sequence[Scan]) -> str:
    """A sentence on pictures that are there twice, in one part or in two, and another on those with two labels."""
    contents = [content for one in scans for content in one.contents]
    pictures, labels = {content for content, _ in contents}, set(contents)
    copies, contradicted = len(contents) - len(pictures), len(labels) - len(pictures)
    if not copies:
        return ""
    torn = f" {contradicted:,} of them in another class, so one of two labels is wrong." if contradicted else ""
    are = "is a copy" if copies == 1 else "are copies"
    return f" {copies:,} of those read {are} of another: a copy in two splits flatters the score.{torn}"


def _decode_all(found: Scan, folder: Path, classes: Sequence[str], size: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, size, size) and labels (N,); what cannot be read is noted in `found`."""
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(partial(_decode_with_content, size=size), [path for path, _ in found.samples]))
    _keep_readable(found, [content for _, content in decoded])
    labels = [label for _, label in found.samples]
    empty = ", ".join(name for label, name in enumerate(classes) if label not in labels)
    if empty:
        raise ValueError(
            f"no readable picture in the class {empty} of the folder {_name(folder)}/ (accepted: {' '.join(ENDINGS)})"
        )
    return _stack([picture for picture, _ in decoded if picture is not None]), torch.tensor(labels)


def _decode_with_content(path: Path, size: int) -> tuple[np.ndarray | None, str | None]:
    try:
        content = path.read_bytes()
    except OSError:
        return None, None
    picture = _decode(content, size)
    return picture, None if picture is None else fingerprint(content)


def _decode(source: str | Path | bytes, size: int) -> np.ndarray | None:
    """One picture as (size, size, 3) uint8; None if it cannot be read."""
    try:
        return cut_square(open_picture(source, size), size)
    except ValueError:
        return None


def _stack(pictures: Iterable[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _is_grey(images: Tensor) -> bool:
    return bool((images[:, :1] == images[:, 1:]).all())
