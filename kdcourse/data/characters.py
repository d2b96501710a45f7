"""Text as characters, cut into windows of equal length: what a language model of characters learns from."""

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from kdcourse.data.plays import plays
from kdcourse.data.splits import Examples
from kdcourse.system import runtime
from kdcourse.system.arguments import whole_number
from kdcourse.system.download import DownloadError, RemoteFile, fetch, sha256
from kdcourse.system.storage import cache_folder, cached

LENGTH = 64  # characters a window
SHARES = {"train": 0.9, "validation": 0.05, "test": 0.05}  # of the text, in this order
BUILT_IN = 600_000  # characters
DEFAULT = "tinyshakespeare"

SHAKESPEARE = RemoteFile(
    "input.txt",
    1115394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
)


@dataclass(frozen=True, eq=False)
class Windows(Examples):
    """Stretches of text: inputs are characters, labels the characters that follow.

    inputs: (N, L) int64, numbers of characters. labels: (N, L) int64, each the next character, or None.
    text: what they were cut from.
    """

    inputs: Tensor
    labels: Tensor | None = None
    text: str = ""

    def sample(self, count: int, seed: int = 0) -> "Windows":
        """`count` of the windows, drawn at random by `seed` (default 0). Raises `ValueError` for more than there are."""
        count = whole_number("count", count, most=len(self))
        index = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count].to(self.device)
        return Windows(self.inputs[index], None if self.labels is None else self.labels[index], self.text)


@dataclass(frozen=True, eq=False)
class CharacterData:
    """A text in three parts: learn on `train`, choose on `validation`, report on `test`.

    alphabet: every character that occurs; its position is its number. origin: where the text came from, in words.
    """

    name: str
    alphabet: str
    train: Windows = field(repr=False)
    validation: Windows = field(repr=False)
    test: Windows = field(repr=False)
    origin: str

    def encode(self, text: str) -> Tensor:
        """The numbers of a text's L characters, (L,) int64.

        Raises `ValueError` for an empty text and for a character that the alphabet lacks.
        """
        strange = sorted(set(text) - set(self.alphabet))
        if strange or not text:
            raise ValueError(
                f"text must be of characters among {self.alphabet!r}, got {''.join(strange)!r} in {text[:40]!r}"
            )
        return torch.tensor([self.alphabet.index(character) for character in text], device=self.train.device)

    def decode(self, characters: Tensor) -> str:
        """The text of numbers of characters, (L,) int64."""
        return "".join(self.alphabet[number] for number in characters.tolist())


def load_characters(
    name: str | None = None, *, fallback: bool = True, device: torch.device | str | None = None, announce: bool = True
) -> CharacterData:
    """A text by name; one printed line says where it came from, not with announce=False.

    name: "tinyshakespeare" (1.1 M characters of plays), looked for in the folder named by KDCOURSE_DATA, then in the cache,
        then on the network; or "plays" (built in). Default: the environment variable KDCOURSE_CHARACTERS, else the first.
    fallback: take the built-in plays when the download fails, with a message; otherwise the failure is raised.
    device: where it goes; default `kdcourse.system.runtime.device()`.
    Raises `ValueError` for another name, `DownloadError` as said. Source: Karpathy (2015), *char-rnn*.
    """
    wanted = name or os.environ.get("KDCOURSE_CHARACTERS") or DEFAULT
    if wanted not in ("tinyshakespeare", "plays"):
        raise ValueError(f"name must be tinyshakespeare or plays, got {wanted!r}")
    device = runtime.device() if device is None else torch.device(device)
    places = os.environ.get("KDCOURSE_DATA"), os.environ.get("KDCOURSE_CACHE")
    try:
        data = _load(wanted, device, *places)
    except DownloadError as error:
        if not fallback:
            raise
        print(f"Tiny Shakespeare could not be downloaded ({error}); using the built-in plays instead.")
        data = _load("plays", device, *places)
    title = "Tiny Shakespeare" if data.name == "tinyshakespeare" else "Plays"
    sizes = [len(getattr(data, part)) * LENGTH for part in SHARES]
    if announce:
        print(
            f"{title}, {data.origin}: {sizes[0]:,} training, {sizes[1]:,} validation and {sizes[2]:,} test characters, "
            f"an alphabet of {len(data.alphabet)}."
        )
    return data


@lru_cache(maxsize=2)
def _load(name: str, device: torch.device, local: str | None, _cache: str | None) -> CharacterData:
    """_cache: which cache folder is in use; a part of the key alone, so that another one is looked into."""
    text, origin = (plays(BUILT_IN), "built in") if name == "plays" else _shakespeare(local)
    alphabet = "".join(sorted(set(text)))
    numbers = torch.tensor([alphabet.index(character) for character in text], device=device)
    parts, start = {}, 0
    for part, share in SHARES.items():
        length = int(share * len(numbers)) // LENGTH * LENGTH
        inputs = numbers[start : start + length].view(-1, LENGTH)
        labels = numbers[start + 1 : start + length + 1].view(-1, LENGTH)
        parts[part] = Windows(inputs, labels, name)
        start += length + 1
    return CharacterData(name, alphabet, **parts, origin=origin)


def _shakespeare(local: str | None) -> tuple[str, str]:
    if local and (path := Path(local).expanduser() / "tinyshakespeare" / "input.txt").is_file():
        if sha256(path) == SHAKESPEARE.sha256:
            return path.read_text(encoding="utf-8"), "from the folder in KDCOURSE_DATA"
        print("Tiny Shakespeare in the folder in KDCOURSE_DATA is not the original; looking in the cache.")
    folder = cached("data", "tinyshakespeare")
    if not SHAKESPEARE.is_intact(folder):
        folder = cache_folder() / "data" / "tinyshakespeare"
    origin = "downloaded into the cache" if fetch([SHAKESPEARE], folder) else "from the cache"
    return (folder / SHAKESPEARE.name).read_text(encoding="utf-8"), origin
