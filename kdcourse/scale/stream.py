"""A folder of pictures as a stream: of hundreds of thousands, a few batches lie in memory, decoded while the models compute.

What happens to a picture depends on the seed, the view and the picture alone, as in `datasets.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

import torch
from torch import Tensor

from kdcourse.data import folders
from kdcourse.data.images import TEST_SHARE, VALIDATION_SHARE, hold_out
from kdcourse.data.pictures import open_picture
from kdcourse.models.transfer import IMAGENET
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Data
from kdcourse.scale.registry import DataSpec
from kdcourse.system.generators import seeded_rng
from kdcourse.system.storage import fingerprint

ViewIndex = tuple[int | None, Tensor]  # which view, None for examples as they are; and their positions (N,)
Sample = tuple[Path, int]  # a file and its label


@dataclass
class Minibatch:
    """Some examples on the device: inputs (N, …), labels, their positions (N,) on the host, and which view of them."""

    inputs: Tensor
    labels: Tensor | None
    index: Tensor
    view: int | None


class ImageFolderDataset(torch.utils.data.Dataset):
    """One part of an ImageFolder, its pictures decoded by worker processes while the models compute.

    root: the folder. parts: name -> the files and labels of each part that it has. part: which of them this is.
    """

    def __init__(
        self, root: Path, parts: dict[str, list[Sample]], part: str, data: Data, seed: int, device: torch.device
    ):
        from torchvision.transforms import v2

        self.root, self.parts, self.samples = root, parts, parts[part]
        self.data, self.seed, self.device = data, seed, device
        self.whole = data.size * 8 // 7  # pixels of a picture's shorter side, of which the middle is seen
        plain = [v2.Resize(self.whole), v2.CenterCrop(data.size)]
        mirror = [v2.RandomHorizontalFlip()] if data.mirror else []
        self.plain = v2.Compose(plain)
        self.augmented = v2.Compose([*([v2.RandomResizedCrop(data.size)] if data.crop else plain), *mirror])
        self.finish = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*IMAGENET)])

    def __len__(self) -> int:
        return len(self.samples)

    def part(self, name: str) -> "ImageFolderDataset":
        """Another part of the same folder, such as its test pictures."""
        return ImageFolderDataset(self.root, self.parts, name, self.data, self.seed, self.device)

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the host."""
        return torch.tensor([label for _, label in self.samples])

    @property
    def fingerprint(self) -> str:
        """Of names, sizes and times: reading a million pictures for a key would take an hour."""
        files = []
        for path, label in self.samples:
            found = Path(path).stat()
            files.append((str(Path(path).relative_to(self.root)), found.st_size, int(found.st_mtime), label))
        return fingerprint(files, IMAGENET, self.data.size, self.data.crop, self.data.mirror, self.seed)

    def __getitem__(self, place: tuple[int | None, int]) -> tuple[Tensor, int]:
        view, position = place
        path, label = self.samples[position]
        picture = open_picture(path, self.whole)  # of a large photograph, a part of its pixels
        if view is None:
            return self.finish(self.plain(picture)), label
        with seeded_rng(derive_seed(self.seed, view, position)):
            return self.finish(self.augmented(picture)), label

    def batches(self, sampler: Iterable[ViewIndex]) -> Iterator[Minibatch]:
        """A batch for each view and positions that the sampler names."""
        sampler, ahead = tee(sampler)  # the workers are some batches ahead
        loader = torch.utils.data.DataLoader(
            self,
            batch_sampler=([(view, position) for position in index.tolist()] for view, index in ahead),
            num_workers=self.data.workers,
            pin_memory=self.device.type == "cuda",
        )
        for (view, index), (inputs, labels) in zip(sampler, loader, strict=True):
            inputs = inputs.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            yield Minibatch(inputs, labels.to(self.device, non_blocking=True), index, view)


def open_folder(data: Data, seed: int, device: torch.device) -> tuple[ImageFolderDataset, ImageFolderDataset, DataSpec]:
    """What is learnt from and what is judged on, every file of which is decoded once before the first step: none stops a run in
    its middle. Test pictures, where they are kept apart, are a part of both: `train.part("test")`. Raises `RecipeError`."""
    root = Path(data.folder)
    try:
        classes, parts = folders.readable_parts(root)
        if data.test:
            _split_off_what_is_missing(parts)
        elif "validation" not in parts:
            raise ValueError(f"it must hold val/<class>/<picture> beside train/, found {', '.join(parts)} alone")
        for part, samples in parts.items():
            if empty := set(range(len(classes))) - {label for _, label in samples}:
                raise ValueError(f"no readable picture in the class {classes[min(empty)]} of its {part} part")
    except (ValueError, OSError) as error:
        raise RecipeError(f"data.folder {data.folder!r}: {error}") from error
    kept = kept_classes(data, classes)
    taught = [(path, label) for path, label in parts["train"] if label in kept]
    if data.pictures:
        taught = taught[:: max(1, len(taught) // data.pictures)][: data.pictures]
    train = ImageFolderDataset(root, parts | {"train": taught}, "train", data, seed, device)
    spec = DataSpec(len(classes), 3, 3 * data.size**2, names=classes, moments=IMAGENET)
    return train, train.part("validation"), spec


def derive_seed(*things: object) -> int:
    """A seed for a generator, far from that of anything else."""
    return int(fingerprint(*things)[:15], 16)


def _split_off_what_is_missing(parts: dict[str, list[Sample]]) -> None:
    """Test and validation pictures as `load_images` has them: where there is val/ but no test/, it is the test part."""
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
    for part, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if part not in parts:
            samples = parts["train"]
            labels = torch.tensor([label for _, label in samples])
            count = max(len(labels.unique()), round(share * len(samples)))
            parts["train"], parts[part] = ([samples[place] for place in places] for places in hold_out(labels, count))


def kept_classes(data: Data, classes: Sequence[str]) -> list[int]:
    """The classes to learn from, by number. Raises `RecipeError` for one that there is not, and where none is left."""
    for key in ("only", "without"):
        if strange := [one for one in getattr(data, key) if not 0 <= one < len(classes)]:
            raise RecipeError(f"data.{key} must be classes from 0 to {len(classes) - 1}, got {strange}")
    kept = [one for one in range(len(classes)) if one not in data.without and (one in data.only or not data.only)]
    if not kept:
        raise RecipeError(f"data.without must leave a class to learn from, got {list(data.without)}")
    return kept
