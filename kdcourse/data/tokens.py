"""Sentences as numbers of tokens, all of one length: for loops whose examples lie in memory as tensors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdcourse.data.splits import Examples
from kdcourse.data.texts import Sentences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST = 128  # tokens; what a sentence has beyond them is cut off


@dataclass(frozen=True, eq=False)
class Tokens(Examples):
    """Numbers of tokens, all rows of one length.

    inputs: (N, L) int64, each row filled up with the tokenizer's padding. labels: (N,) int64, or None.
    """

    inputs: Tensor
    labels: Tensor | None = None


def as_tokens(sentences: Sentences, tokenizer: "PreTrainedTokenizerBase", device: torch.device | str = "cpu") -> Tokens:
    """N sentences as numbers of tokens (N, L), L at most 128 (`LONGEST`) or what the tokenizer's model can read.

    tokenizer: of the transformers library. device: where the tensors go, default the CPU.
    """
    longest = min(LONGEST, tokenizer.model_max_length)
    found = tokenizer(
        list(sentences.texts),
        padding=True,
        truncation=True,
        max_length=longest,
        padding_side="right",
        return_tensors="pt",
    )
    labels = None if sentences.labels is None else sentences.labels.to(device)
    return Tokens(found["input_ids"].to(device), labels)
