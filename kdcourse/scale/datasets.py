"""Examples for a run, wherever they lie: in memory as in the labs, or in a folder that is read as training goes.

What happens to a picture depends on the seed, the view and the picture alone, so that a run that is cut among processes, or
stopped and resumed, sees the very same pictures.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdcourse.data import DownloadError, load_characters, load_images, load_texts
from kdcourse.data.augment import draw_moves, move
from kdcourse.data.glyphs import CHARACTERS, glyphs
from kdcourse.data.splits import Examples, Split, picked, standardised
from kdcourse.data.texts import joined
from kdcourse.data.tokens import as_tokens
from kdcourse.models import sentiment
from kdcourse.models.transfer import Moments, from_hub
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import PLAYS, SENTENCES, Data
from kdcourse.scale.registry import DataSpec
from kdcourse.scale.stream import ImageFolderDataset, Minibatch, ViewIndex, derive_seed, kept_classes, open_folder
from kdcourse.system.storage import fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GLYPHS_MOMENTS = (
    (0.196,),
    (0.263,),
)  # of all the glyphs of `load_images`, so that one who learnt from these teaches a few


def open_data(
    data: Data, seed: int, device: torch.device
) -> tuple["InMemoryDataset | ImageFolderDataset", "InMemoryDataset | ImageFolderDataset", DataSpec]:
    """What is learnt from, what is judged on, and what models must know of both. Raises `RecipeError`."""
    if data.folder is not None:
        return open_folder(data, seed, device)
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

    @property
    def labels(self) -> Tensor | None:
        return self.examples.labels

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
    return train.only(*kept_classes(data, classes)) if data.only or data.without else train
