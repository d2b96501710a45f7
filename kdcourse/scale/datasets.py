"""Examples for a run, wherever they lie: in memory as in the labs, or in a folder that is read as training goes.

What happens to a picture depends on the seed, the view and the picture alone, so that a run that is cut among processes, or
stopped and resumed, sees the very same pictures.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdcourse.data import DownloadError, folders, load_characters, load_images, load_texts
from kdcourse.data.augment import draw_moves, move
from kdcourse.data.glyphs import CHARACTERS, glyphs
from kdcourse.data.pictures import open_picture
from kdcourse.data.splits import Examples, Split, picked, standardised
from kdcourse.data.texts import joined
from kdcourse.data.tokens import as_tokens
from kdcourse.models import sentiment
from kdcourse.models.transfer import Moments, from_hub
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import PLAYS, SENTENCES, Data
from kdcourse.scale.registry import DataSpec
from kdcourse.system.generators import seeded_rng
from kdcourse.system.storage import fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ViewIndex = tuple[int | None, Tensor]  # which view, None for examples as they are; and their positions (N,)
# Mean and deviation that torchvision's weights were trained with.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GLYPHS_MOMENTS = (
    (0.196,),
    (0.263,),
)  # of all the glyphs of `load_images`, so that one who learnt from these teaches a few


@dataclass
class Minibatch:
    """Some examples on the device: inputs (N, …), labels, their positions (N,) on the host, and which view of them."""

    inputs: Tensor
    labels: Tensor | None
    index: Tensor
    view: int | None


def open_data(
    data: Data, seed: int, device: torch.device
) -> tuple["InMemoryDataset | ImageFolderDataset", "InMemoryDataset | ImageFolderDataset", DataSpec]:
    """What is learnt from, what is judged on, and what models must know of both. Raises `RecipeError`."""
    if data.folder is not None:
        return _open_folder(data, seed, device)
    if data.name in SENTENCES:
        return _open_sentences(data, seed, device)
    train, test, names, moments = _load(data, device)
    if data.pictures and data.pictures < len(train):
        train = train.sample(data.pictures)
    kind, channels = ("pictures", train.inputs.shape[1]) if train.inputs.ndim == 4 else ("characters", 1)
    spec = DataSpec(len(names), channels, train.inputs[0].numel(), kind=kind, names=tuple(names), moments=moments)
    return InMemoryDataset(train, data, seed), InMemoryDataset(test, Data(), seed), spec


def view_of(data: Data, epoch: int) -> int:
    """Which view of the pictures an epoch sees: its own, or one of the fixed ones in turn."""
    if data.views:
        return epoch % data.views
    return epoch if data.augmented else 0


class InMemoryDataset:
    """Examples that lie on the device: a batch is an index selection."""

    def __init__(self, examples: Examples, data: Data, seed: int):
        self.examples, self.data, self.seed = examples, data, seed
        self._moves: tuple[int, tuple[Tensor, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.examples.fingerprint, self.data.shift, self.data.mirror, self.seed)

    def batches(self, sampler: Iterable[ViewIndex]) -> Iterator[Minibatch]:
        """A batch for each view and positions that the sampler names."""
        for view, index in sampler:
            rows = index.to(self.examples.device)
            inputs = picked(self.examples.inputs, rows)
            if view is not None and self.data.augmented:
                windows, mirrored = self._moves_of(view)
                inputs = move(inputs, self.data.shift, windows[:, rows], mirrored[rows])
            labels = None if self.examples.labels is None else self.examples.labels[rows]
            yield Minibatch(inputs, labels, index, view)

    def _moves_of(self, view: int) -> tuple[Tensor, Tensor]:
        """What happens to every picture in this view, drawn on the host: one seed, the same on every device."""
        if self._moves is None or self._moves[0] != view:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "view", view))
            drawn = draw_moves(len(self), self.data.shift, self.data.mirror, generator, "cpu")
            self._moves = view, tuple(one.to(self.examples.device) for one in drawn)
        return self._moves[1]


class ImageFolderDataset(torch.utils.data.Dataset):
    """An ImageFolder, `<split>/<class>/<picture>`, decoded by worker processes while the models compute."""

    def __init__(
        self, root: Path, samples: list, classes: tuple[str, ...], data: Data, seed: int, device: torch.device
    ):
        from torchvision.transforms import v2

        self.samples, self.classes = samples, classes
        self.root, self.data, self.seed, self.device = root, data, seed, device
        plain = [v2.Resize(data.size * 8 // 7), v2.CenterCrop(data.size)]
        mirror = [v2.RandomHorizontalFlip()] if data.mirror else []
        self.plain = v2.Compose(plain)
        self.augmented = v2.Compose([*([v2.RandomResizedCrop(data.size)] if data.crop else plain), *mirror])
        self.finish = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*IMAGENET)])

    def __len__(self) -> int:
        return len(self.samples)

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
        picture = open_picture(path)
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


def _open_folder(
    data: Data, seed: int, device: torch.device
) -> tuple[ImageFolderDataset, ImageFolderDataset, DataSpec]:
    """Both parts, every file of which is decoded once before the first step: none stops a run in its middle."""
    root = Path(data.folder)
    try:
        parts = folders.parts_of(root)
        if "validation" not in parts:
            raise ValueError(f"it must hold val/<class>/<picture> beside train/, found {', '.join(parts)} alone")
        classes, others = (folders.classes_of(parts[part]) for part in ("train", "validation"))
        if classes != others:
            raise ValueError(
                f"it must hold the same classes in train/ and val/, {', '.join(set(classes) ^ set(others))} in one"
            )
        scans = {part: folders.scan(parts[part], classes) for part in ("train", "validation")}
    except (ValueError, OSError) as error:
        raise RecipeError(f"data.folder {data.folder!r}: {error}") from error
    for part, found in scans.items():
        folders.check_readable(found)
        if empty := [name for label, name in enumerate(classes) if label not in {label for _, label in found.samples}]:
            raise RecipeError(
                f"data.folder {data.folder!r}: no readable picture in the class {empty[0]} of its {part} part"
            )
    folders.report(list(scans.values()))
    kept = _kept(data, classes)
    taught = [(path, label) for path, label in scans["train"].samples if label in kept]
    if data.pictures:
        taught = taught[:: max(1, len(taught) // data.pictures)][: data.pictures]
    train, test = (
        ImageFolderDataset(root, samples, classes, data, seed, device)
        for samples in (taught, scans["validation"].samples)
    )
    return train, test, DataSpec(len(classes), 3, 3 * data.size**2, names=classes, moments=IMAGENET)


def draw_folder(root: Path, pictures: int = 24) -> Path:
    """A small ImageFolder of glyphs in colour, for trying a recipe without its data."""
    from PIL import Image

    for split, seed in (("train", 0), ("val", 1)):
        for number, (picture, label) in enumerate(zip(*glyphs(pictures, seed), strict=True)):
            folder = root / split / CHARACTERS[label]
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{number}.png"
            if not path.exists():  # or a trial that goes on would find other times of its files
                Image.fromarray(picture[0].numpy()).convert("RGB").save(path)
    return root


def derive_seed(*things: object) -> int:
    """A seed for a generator, far from that of anything else."""
    return int(fingerprint(*things)[:15], 16)


def _open_sentences(data: Data, seed: int, device: torch.device) -> tuple[InMemoryDataset, InMemoryDataset, DataSpec]:
    """Sentences as their tokens; for a trial with the built-in ones, few to judge on too."""
    try:
        found = load_texts(data.name, fallback=False)
    except DownloadError as error:
        raise RecipeError(f"data.name {data.name!r} cannot be had: {error}") from error
    tokenizer = _load_tokenizer(data.tokenizer)
    train = found.train if data.hold_out else joined(found.train, found.validation)
    test = found.test
    if data.pictures and data.pictures < len(train):
        train = train.sample(data.pictures)
        test = test.sample(data.pictures) if data.name == "reviews" else test
    train, test = (as_tokens(split, tokenizer, device) for split in (train, test))
    spec = DataSpec(
        len(found.classes), 1, train.inputs.shape[1], tokenizer.get_vocab(), kind="sentences", names=found.classes
    )
    return InMemoryDataset(train, data, seed), InMemoryDataset(test, Data(), seed), spec


def _load_tokenizer(name: str | None) -> "PreTrainedTokenizerBase":
    if name is None:
        return sentiment.tokenizer()
    from transformers import AutoTokenizer

    try:
        return from_hub(AutoTokenizer, name)
    except ValueError as error:
        raise RecipeError(f"data.tokenizer: {error}") from error


def _load(data: Data, device: torch.device) -> tuple[Examples, Examples, Sequence[str], Moments | None]:
    """Training and test examples in memory, the classes, and what pictures are standardised by."""
    if data.name == "glyphs" and data.pictures:
        # Drawn on the spot, so that a trial waits for nothing; enough that two classes of ten suffice.
        drawn = [glyphs(5 * data.pictures, seed) for seed in (0, 1)]
        splits = [standardised(images, labels, *GLYPHS_MOMENTS, device) for images, labels in drawn]
        return _selected(splits[0], data, CHARACTERS), splits[1].sample(data.pictures), CHARACTERS, GLYPHS_MOMENTS
    try:
        if data.name in PLAYS:
            text = load_characters(data.name, fallback=False, device=device)
            return text.train, text.test, text.alphabet, None
        found = load_images(data.name, fallback=False, device=device)
    except ValueError as error:
        raise RecipeError(f"data.{error}") from error
    except DownloadError as error:
        raise RecipeError(f"data.name {data.name!r} cannot be had: {error}") from error
    train = found.train if data.hold_out else _joined(found.train, found.validation)
    return _selected(train, data, found.classes), found.test, found.classes, (found.mean, found.std)


def _joined(*splits: Split) -> Split:
    return Split(torch.cat([one.images for one in splits]), torch.cat([one.labels for one in splits]))


def _selected(train: Split, data: Data, classes: Sequence[str]) -> Split:
    return train.only(*_kept(data, classes)) if data.only or data.without else train


def _kept(data: Data, classes: Sequence[str]) -> list[int]:
    """The classes to learn from, by number. Raises `RecipeError` for one that there is not, and where none is left."""
    for key in ("only", "without"):
        if strange := [one for one in getattr(data, key) if not 0 <= one < len(classes)]:
            raise RecipeError(f"data.{key} must be classes from 0 to {len(classes) - 1}, got {strange}")
    kept = [one for one in range(len(classes)) if one not in data.without and (one in data.only or not data.only)]
    if not kept:
        raise RecipeError(f"data.without must leave a class to learn from, got {list(data.without)}")
    return kept
