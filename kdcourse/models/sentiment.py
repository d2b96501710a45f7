"""BERTs that tell praise from blame: texts in, or their tokens, logits out.

The architecture is `transformers`' own BERT, so what is learnt here carries over to `bert-base-uncased` as it is.
"""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdcourse.models.common import evaluating, seeded
from kdcourse.models.transfer import from_hub
from kdcourse.system.generators import seeded_rng
from kdcourse.system.runtime import need

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerBase

VOCABULARY = Path(__file__).parent / "wordpiece.txt"
LONGEST = 64  # tokens, of a BERT of the course's own


class SentimentClassifier(nn.Module):
    """A BERT with a classification head, and the tokenizer it was trained with: texts, or (N, L) int64 tokens -> logits (N, 2).

    bert: a `BertForSequenceClassification`, or another model of that kind. tokenizer: its own; where it has no padding, as
    GPT-2's, what ends a text pads it too.
    """

    def __init__(self, bert: nn.Module, tokenizer: "PreTrainedTokenizerBase"):
        super().__init__()
        self.bert, self.tokenizer = bert, tokenizer
        config = bert.config
        self.label = f"BERT {config.num_hidden_layers} × {config.hidden_size}"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if config.pad_token_id is None:
            config.pad_token_id = tokenizer.pad_token_id

    @property
    def longest(self) -> int:
        """Tokens that a text may have: as many as the model has positions for, and no more than its tokenizer knows of."""
        positions = getattr(self.bert.config, "max_position_embeddings", sys.maxsize)
        for name, part in self.bert.named_modules():
            if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
                positions -= (
                    part.padding_idx + 1
                )  # RoBERTa counts its positions from beyond the padding's: 514 are 512 tokens
        return min(positions, self.tokenizer.model_max_length)

    def is_cut(self, text: str) -> bool:
        """Whether a text has more tokens than `predict` reads of it."""
        return len(self.tokenizer(text, verbose=False)["input_ids"]) > self.longest

    def encode(self, texts: Sequence[str], *, truncate: bool = False) -> list[dict[str, list[int]]]:
        """Token numbers and masks, one dictionary for each text.

        truncate: cut what is longer than the model, rather than refuse it.
        Raises `ValueError` for an empty text, for something that is no text, and for one that is too long.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts must be a list of strings, got one string, {texts[:40]!r}")
        for number, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"texts must all hold words, got {text!r} at position {number}")
        if not len(texts):
            return []
        longest = self.longest  # looked up once: it goes through all of the model's parts
        encoded = self.tokenizer(list(texts), truncation=truncate, max_length=longest if truncate else None)
        for number, tokens in enumerate(encoded["input_ids"]):
            if len(tokens) > longest:
                raise ValueError(
                    f"texts must have at most {longest} tokens each, got {len(tokens)} at position {number}; "
                    "truncate=True cuts them"
                )
        names = [name for name in ("input_ids", "token_type_ids", "attention_mask") if name in encoded]
        return [{name: encoded[name][number] for name in names} for number in range(len(texts))]

    def forward(self, texts: Sequence[str] | Tensor, *, truncate: bool = False) -> Tensor:
        if isinstance(texts, Tensor):
            real = texts != self.tokenizer.pad_token_id
            # As long as the batch's longest: a GPU waits once for that, and most sentences are a fifth as long as the longest.
            length = int(real.sum(dim=1).max())
            return self.bert(input_ids=texts[:, :length], attention_mask=real[:, :length].long()).logits
        return self.bert(**self.padded(self.encode(texts, truncate=truncate))).logits

    def padded(self, encoded: Sequence[Mapping]) -> "BatchEncoding":
        """Encoded texts as one batch of tensors, padded to its longest, on the model's device."""
        return self.tokenizer.pad(list(encoded), return_tensors="pt").to(self.bert.device)

    def predict(self, texts: Sequence[str], *, batch_size: int = 128) -> Tensor:
        """Logits (N, 2) on the CPU, in the order of the texts, which are cut where they are too long; in evaluation mode."""
        return self.predict_with_states(texts, batch_size=batch_size)[0]

    @torch.no_grad()
    def predict_with_states(self, texts: Sequence[str], *, batch_size: int = 128) -> tuple[Tensor, Tensor]:
        """Logits (N, 2) and the last layer's [CLS] states (N, D), as `predict` gives them."""
        encoded = self.encode(texts, truncate=True)
        # Texts of like length together: padding would otherwise double the work.
        order = sorted(range(len(encoded)), key=lambda number: len(encoded[number]["input_ids"]))
        config = self.bert.config
        logits, states = torch.empty(len(encoded), config.num_labels), torch.empty(len(encoded), config.hidden_size)
        with evaluating(self.bert):
            for start in range(0, len(order), batch_size):
                some = order[start : start + batch_size]
                out = self.bert(**self.padded([encoded[number] for number in some]), output_hidden_states=True)
                logits[some], states[some] = out.logits.float().cpu(), out.hidden_states[-1][:, 0].float().cpu()
        return logits, states


@lru_cache
def tokenizer() -> "PreTrainedTokenizerBase":
    """The course's own WordPiece tokenizer, lower case, trained on SST-2's training sentences and the built-in reviews."""
    need("transformers")
    from transformers import BertTokenizer

    tokens = VOCABULARY.read_text(encoding="utf-8").splitlines()
    return BertTokenizer(vocab={token: number for number, token in enumerate(tokens)}, model_max_length=LONGEST)


@seeded
def bert(
    width: int = 192,
    depth: int = 4,
    *,
    heads: int = 4,
    dropout: float = 0.1,
    class_names: Sequence[str] = ("negative", "positive"),
) -> SentimentClassifier:
    """A BERT with fresh weights and the course's tokenizer; the default is the size of the shipped teacher.

    width: of the hidden states, a multiple of `heads`. depth: layers. heads: of the attention in each layer.
    dropout: while training. class_names: in the order of the logits. seed: fixes the first weights (default 0).
    Raises `ValueError` for a width that is no multiple of `heads` and for a depth below 1.
    """
    need("transformers")
    from transformers import BertConfig, BertForSequenceClassification

    if width < 1 or depth < 1 or heads < 1 or width % heads:
        raise ValueError(f"width must be a multiple of heads, and depth at least 1, got {width}, {heads}, {depth}")
    config = BertConfig(
        vocab_size=len(tokenizer()),
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=LONGEST,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=len(class_names),
        id2label=dict(enumerate(class_names)),
        label2id={name: number for number, name in enumerate(class_names)},
        pad_token_id=tokenizer().pad_token_id,
    )
    return SentimentClassifier(BertForSequenceClassification(config), tokenizer())


@seeded
def pretrained(name_or_folder: str | Path, *, classes: int | None = None) -> SentimentClassifier:
    """A pretrained BERT with its own tokenizer, from a local folder or, by name, from the Hugging Face hub.

    classes: number of logits, by default as many as the checkpoint says. A head that the checkpoint does not have, or has for
    another number of classes, is made anew, by `seed` (default 0), to be trained; a report says so. Raises `ValueError` where
    there is no such model.
    """
    need("transformers")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    head = {} if classes is None else {"num_labels": classes, "ignore_mismatched_sizes": True}
    model = from_hub(AutoModelForSequenceClassification, name_or_folder, **head)
    return SentimentClassifier(model, from_hub(AutoTokenizer, name_or_folder))


def every_second_layer(teacher: SentimentClassifier, *, copy: bool = True, seed: int = 0) -> SentimentClassifier:
    """A student as wide as its teacher and half as deep, as DistilBERT is, with the teacher's tokenizer.

    copy: begin with the teacher's embeddings, head and layers 1, 3, 5, …; False: with fresh weights, by `seed`.
    Source: Sanh, Debut, Chaumond, Wolf (2019), *DistilBERT*, §2. Raises `ValueError` for a teacher without a list of layers.
    """
    config = deepcopy(teacher.bert.config)
    depth = config.num_hidden_layers
    stacks = [
        name for name, part in teacher.bert.named_modules() if isinstance(part, nn.ModuleList) and len(part) == depth
    ]
    if len(stacks) != 1:
        kind = type(teacher.bert).__name__
        raise ValueError(f"teacher must have its {depth} layers in one list, as BERT and RoBERTa have, got {kind}")
    config.num_hidden_layers = math.ceil(depth / 2)
    with seeded_rng(seed):
        student = SentimentClassifier(type(teacher.bert)(config), teacher.tokenizer)
    if copy:
        theirs, layer = teacher.bert.state_dict(), re.compile(rf"(?<=^{re.escape(stacks[0])}\.)\d+")
        origins = {key: layer.sub(lambda number: str(2 * int(number[0])), key) for key in student.bert.state_dict()}
        student.bert.load_state_dict({key: theirs[origin] for key, origin in origins.items()})
    return student
