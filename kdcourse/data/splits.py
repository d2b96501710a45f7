"""What a data set is here: three splits of pictures that already lie on the device as tensors.

A batch is an index selection, `picked(split.images, index)`: no worker processes, no copies from host to device.
"""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import UnionType

import numpy as np
import torch
from torch import Tensor

from kdcourse.system.arguments import whole_number
from kdcourse.system.storage import fingerprint


class Examples:
    """What the training loop asks of any split: how many there are, where they lie, and which they are.

    inputs: (N, …), what a model is given. labels: (N, …), or None.
    """

    inputs: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    @cached_property
    def fingerprint(self) -> str:
        """Changes when a single input or label does; the key under which teacher outputs are cached."""
        return fingerprint(self.inputs, self.labels)

    @cached_property
    def rows(self) -> Tensor:
        """A number for each input, (N,) int64 on the CPU: equal inputs have equal ones, different inputs almost surely not."""
        return torch.cat([_numbers(part.cpu()) for part in self.inputs.split(4096)])


@dataclass(frozen=True, eq=False)
class Split(Examples):
    """Pictures and, where there are any, their labels.

    images: (N, C, H, W) float32, standardised, channels-last. labels: (N,) int64, or None for a transfer set without labels.
    NumPy's arrays, other floating-point numbers for images and other whole numbers for labels are turned into these.
    Raises `ValueError` for other kinds and shapes.
    """

    images: Tensor
    labels: Tensor | None = None

    def __post_init__(self):
        images = _as_tensor("images", self.images)
        if images.ndim != 4:
            raise ValueError(f"images must be (N, C, H, W), got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(
                f"images must be floating point, standardised: data.splits.standardised does it, got {images.dtype}"
            )
        object.__setattr__(self, "images", images.float())
        if self.labels is not None:
            object.__setattr__(self, "labels", _as_labels(self.labels, len(images)))

    @property
    def inputs(self) -> Tensor:
        """The images, as every kind of examples calls what a model is given."""
        return self.images

    def take(self, index: Tensor) -> "Split":
        """The examples at `index`: K positions, a tensor (K,) int64 or a list, or a mask (N,) bool."""
        index = torch.as_tensor(index, device=self.device)
        labels = None if self.labels is None else self.labels[index]
        return Split(self.images[index].contiguous(memory_format=torch.channels_last), labels)

    def sample(self, count: int, seed: int = 0) -> "Split":
        """`count` examples drawn by `seed` (default 0), the classes as equal in number as can be.

        Raises `ValueError` for a split without labels, and for more examples than there are.
        """
        return self.take(balanced_indices(self.labelled("sample").cpu(), count, seed))

    def only(self, *classes: int) -> "Split":
        """The examples of these classes. Raises `ValueError` for no class, and for one that the split does not hold."""
        return self.take(self._are_of("only", classes))

    def without(self, *classes: int) -> "Split":
        """The examples of all other classes. Raises `ValueError` for no class, and for one that the split does not hold."""
        return self.take(~self._are_of("without", classes))

    def _are_of(self, action: str, classes: Sequence[int]) -> Tensor:
        labels = self.labelled(action)
        known = labels.unique().tolist()
        if not classes or any(one not in known for one in classes):
            wanted = ", ".join(map(str, known))
            raise ValueError(f"classes must be labels of this split, one after another: {wanted}; got {classes}")
        return torch.isin(labels, torch.tensor(classes, device=self.device))

    def unlabelled(self) -> "Split":
        """The same pictures with the labels thrown away."""
        return replace(self, labels=None)

    def to(self, device: torch.device | str) -> "Split":
        labels = None if self.labels is None else self.labels.to(device)
        return Split(self.images.to(device), labels)

    def labelled(self, action: str) -> Tensor:
        """The labels, or a `ValueError` that names what wanted them."""
        if self.labels is None:
            raise ValueError(f"this split has no labels, so {action}() cannot choose by class")
        return self.labels


def check_split(split: object, accepted: type | UnionType = Examples) -> None:
    """Raise `ValueError` for what is no split, such as a whole data set or a loader, and for one that is empty."""
    if not isinstance(split, accepted):
        hint = ", such as data.train" if hasattr(split, "train") else ": give Split(inputs, labels)"
        raise ValueError(f"split must be a Split{hint}, got {type(split).__name__}")
    if len(split) == 0:
        raise ValueError("split is empty: there is nothing to learn from, and nothing to measure")


def _as_tensor(name: str, values: object) -> Tensor:
    if not isinstance(values, Tensor | np.ndarray):
        raise ValueError(f"{name} must be a tensor, got {type(values).__name__}")
    if isinstance(values, np.ndarray) and values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers, got an array of {values.dtype}: {reprlib.repr(values.tolist())}")
    return torch.as_tensor(values)


def _as_labels(values: object, count: int) -> Tensor:
    as_column = hasattr(values, "to_numpy") or isinstance(values, list | tuple | range)  # pandas' too
    labels = _as_tensor("labels", np.asarray(values) if as_column else values)
    if labels.shape != (count,):
        raise ValueError(f"labels must be ({count},), one for each picture, got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be whole numbers, the classes from 0, got {labels.dtype}")
    return labels.long()


@dataclass(frozen=True, eq=False)
class ImageData:
    """A named data set in three splits: learn on `train`, choose on `validation`, report on `test`.

    classes: C names; a label is a position among them. mean, std: by which each channel was standardised, pixels within [0, 1].
    origin: where the pictures came from: "KDCOURSE_DATA", "cache", "download", "built in" or "folder".
    """

    name: str
    classes: tuple[str, ...]
    train: Split = field(repr=False)
    validation: Split = field(repr=False)
    test: Split = field(repr=False)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of inputs (pixels times channels) and of classes, as `perceptron((64,), **data.sizes)` takes them."""
        return {"inputs": self.train.images[0].numel(), "classes": len(self.classes)}

    def pictures(self, images: Tensor) -> np.ndarray:
        """Standardised images (N, C, H, W) as pictures to be shown: arrays (N, H, W) grey or (N, H, W, 3), within [0, 1]."""
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        pictures = (images.detach().cpu() * std + mean).clamp(0, 1)
        return pictures[:, 0].numpy() if pictures.shape[1] == 1 else pictures.permute(0, 2, 3, 1).numpy()

    def to(self, device: torch.device | str) -> "ImageData":
        return replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )


def balanced_indices(labels: Tensor, count: int, seed: int) -> Tensor:
    """Positions (count,) int64 of examples drawn by `seed`, the classes as equal in number as can be. labels: (N,)."""
    count = whole_number("count", count, most=len(labels))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    # An example's rank within its class: all firsts come before all seconds, whatever the class.
    ranks = torch.empty_like(order)
    for label in labels.unique():
        of_class = order[labels[order] == label]
        ranks[of_class] = torch.arange(len(of_class))
    return order[torch.argsort(ranks[order], stable=True)[:count]]


def _numbers(inputs: Tensor) -> Tensor:
    """Inputs (N, …) -> (N,) int64: their bits, stirred and summed with random weights, modulo 2⁶⁴."""
    flat = inputs.flatten(1).contiguous()
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = (flat.view(whole[flat.itemsize]) if flat.is_floating_point() else flat).long() * -7046029254386353131
    bits ^= bits >> 29  # round numbers end in zeros, which a sum of products would carry on
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**63), 2**63 - 1, bits.shape[1:], generator=generator)
    return (bits * weights).sum(dim=1)


def picked(images: Tensor, index: Tensor) -> Tensor:
    """`images[index]` for positions (K,), laid out as the images are; `index_select` takes a third of the time."""
    if images.ndim != 4 or images.shape[1] == 1:
        return images.index_select(0, index)
    # It writes one picture after another, channel by channel: channels go last before it, and back after it.
    return images.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)


def standardised(pictures: Tensor, labels: Sequence[int] | Tensor, mean, std, device) -> Split:
    """Raw pictures (N, C, H, W) uint8 as a `Split` on `device`: (pixel / 255 − mean) / std, channel by channel."""
    images = pictures.to(device).to(torch.float32).div_(255)
    shift, scale = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))
    images = images.sub_(shift).div_(scale).contiguous(memory_format=torch.channels_last)
    return Split(images, torch.as_tensor(labels, dtype=torch.int64).to(device))
