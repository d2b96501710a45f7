"""Sums with their steps written out: the answer is one digit, and hard to learn without the steps.

Digits from 0 to 4 are added as on a clock of five hours, so that a total is such a digit again. "31402=314443303320" says that 3
and 1 make 4, that 4 and 4 make 3, and so on to the answer, its last character. Each step is one look into a table of 25 pairs; an
answer without steps takes four of them at once.
"""

import torch
from torch import Tensor

from kdcourse.data.characters import CharacterData, Windows
from kdcourse.system import runtime

ALPHABET = "01234=."
EQUALS, DOT = ALPHABET.index("="), ALPHABET.index(".")
HOURS = 5  # of the clock
DIGITS = 5  # that are added
ASKED = DIGITS + 1  # characters of a problem, with the sign "="
SIZES = {"train": 2125, "validation": 500, "test": 500}  # of the 3125 problems that there are


def worked(digits: Tensor) -> Tensor:
    """Digits (N, 5) -> texts (N, 18): the problem, then for each step the total so far, the next digit, the new total."""
    totals = digits.cumsum(dim=1) % HOURS
    steps = torch.stack([totals[:, :-1], digits[:, 1:], totals[:, 1:]], dim=2).flatten(1)
    return torch.cat([digits, torch.full_like(digits[:, :1], EQUALS), steps], dim=1)


def as_windows(texts: Tensor) -> Windows:
    """Texts (N, L) as a language model learns from them."""
    return Windows(texts[:, :-1].contiguous(), texts[:, 1:].contiguous(), "sums")


def load_sums(
    name: str | None = None, *, fallback: bool = True, device: torch.device | str | None = None
) -> CharacterData:
    """Worked sums, made on the spot; no problem stands in two parts.

    name, fallback: as in other loads, though there is one set and nothing to fetch. device: where it goes, default
    `kdcourse.system.runtime.device()`. Raises `ValueError` for a name other than "sums".
    """
    if name not in (None, "sums"):
        raise ValueError(f"name must be sums, got {name!r}")
    device = runtime.device() if device is None else torch.device(device)
    drawn = torch.randperm(HOURS**DIGITS, generator=torch.Generator().manual_seed(0))
    texts = worked((drawn[:, None] // HOURS ** torch.arange(DIGITS) % HOURS).to(device))
    parts = zip(SIZES, texts.split(list(SIZES.values())), strict=True)
    return CharacterData("sums", ALPHABET, **{part: as_windows(rows) for part, rows in parts}, origin="built in")
