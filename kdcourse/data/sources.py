"""The public data sets: where their files are, how large, with which hash, and which class of torchvision reads them.

Sizes and hashes are the originals', as TensorFlow Datasets and Keras check them; other hosts have the same bytes.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import yaml
from torch import Tensor

from kdcourse.data.folders import RawImageData, disk_cached, read_tar
from kdcourse.system.download import DownloadError, RemoteFile, sha256
from kdcourse.system.storage import DamagedFile, fingerprint


@dataclass(frozen=True)
class Source:
    """A public data set with an official test split.

    title: its name in prose. reader: the class in `torchvision.datasets`. folder: where that class wants the unpacked
    files, below its root. files: the originals, as downloaded.
    unpacked: sha256 of each unpacked file; empty where the reader compares hashes itself.
    archive: an ImageFolder in a tar that may stand in for the originals, and what is to be said of it.
    validation: how many pictures are split off the training split.
    """

    title: str
    reader: str
    folder: str
    files: tuple[RemoteFile, ...]
    unpacked: Mapping[str, str] = field(default_factory=dict)
    archive: str | None = None
    archive_note: str = ""
    validation: int = 5000


def _source(hosts: list[str], files: list[list], **known) -> Source:
    """hosts: addresses of folders, best first. files: each a name, its size in bytes and its sha256."""
    remote = [RemoteFile(*file, tuple(f"{host}/{file[0]}" for host in hosts)) for file in files]
    return Source(files=tuple(remote), **known)


TABLE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
SOURCES = {name: _source(**entry) for name, entry in TABLE.items()}


def read_downloaded(source: Source, folder: Path) -> RawImageData:
    """Read the downloaded originals in `folder`.

    They alone are kept, for their hashes are known: what is unpacked anew each time cannot have been damaged since.
    """
    from torchvision.datasets.utils import extract_archive

    try:
        with tempfile.TemporaryDirectory(prefix="kdcourse-") as temporary:
            # CIFAR's archives hold their folder themselves.
            target = Path(temporary) / source.folder if source.unpacked else Path(temporary)
            target.mkdir(parents=True, exist_ok=True)
            for file in source.files:
                extract_archive(str(folder / file.name), str(target))
            return read_unpacked(source, Path(temporary))
    except OSError as error:
        raise DownloadError(f"it cannot be unpacked: {error.strerror or type(error).__name__}") from error


def read_unpacked(source: Source, root: Path) -> RawImageData | None:
    """Read torchvision's layout below `root`; None where it is not there, `DamagedFile` where it is not whole.

    Nothing is read, let alone unpickled, before its hash was compared: here, or by the CIFAR classes themselves.
    """
    from torchvision import datasets

    folder = root / source.folder
    if not folder.is_dir():
        return _read_archive(source, root)
    for name, expected in source.unpacked.items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            raise DamagedFile(f"{name} is {'not the original' if (folder / name).exists() else 'missing'}")
    reader = getattr(datasets, source.reader)
    try:
        train, test = (reader(root, train=part, download=False) for part in (True, False))
    except RuntimeError as error:
        raise DamagedFile("a file is missing or not the original") from error
    classes = tuple(name.split(" - ")[0] for name in train.classes)  # MNIST's read "0 - zero"
    return RawImageData(classes, train=_pictures(train), test=_pictures(test))


def _read_archive(source: Source, root: Path) -> RawImageData | None:
    """The tar that stands in for the originals, None where it is not there."""
    if source.archive is None or not (root / source.archive).is_file():
        return None
    archive = root / source.archive
    key = fingerprint(archive.stat().st_size, archive.stat().st_mtime_ns)
    raw = disk_cached(f"{archive.stem}-{key}", lambda: read_tar(archive, 32))
    return replace(raw, note=source.archive_note)


def _pictures(dataset) -> tuple[Tensor, Tensor]:
    """A torchvision data set's own arrays, (N, H, W) or (N, H, W, 3), as (N, C, H, W) uint8 with labels (N,)."""
    images = torch.as_tensor(dataset.data)
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images, torch.as_tensor(dataset.targets)
