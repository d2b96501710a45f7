"""A model behind an interface: what its users see of an answer, what they can ask, and what the owner can hide in it.

Probabilities are (N, C): a row of C classes for each of N pictures.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kdcourse.data.augment import random_shift_flip
from kdcourse.data.splits import Split
from kdcourse.losses.checks import check_share
from kdcourse.system.arguments import check_model, whole_number

LEAST = 1e-30  # stands for a probability of 0, so that its logarithm is a number
Answer = Callable[[Tensor], Tensor]


def everything(probabilities: Tensor) -> Tensor:
    """The probabilities as they are."""
    return probabilities


def rounded(probabilities: Tensor, decimals: int = 1) -> Tensor:
    """Each rounded to so many decimals and divided by the row's sum. A row in which all would be 0 keeps its winner.

    decimals: at least 1, default 1. Raises `ValueError` for fewer.
    """
    decimals = whole_number("decimals", decimals)
    kept = probabilities.round(decimals=decimals)
    kept = torch.where(kept.sum(dim=1, keepdim=True) > 0, kept, label_alone(probabilities))
    return kept / kept.sum(dim=1, keepdim=True)


def top(probabilities: Tensor, k: int = 3) -> Tensor:
    """The k largest as they are; what they leave of 1 is given to the other classes in equal parts, as a reader would.

    k: from 1 to C, default 3. Raises `ValueError` for another.
    """
    classes = probabilities.shape[1]
    k = whole_number("k", k, most=classes)
    values, places = probabilities.topk(k, dim=1)
    rest = (1 - values.sum(dim=1, keepdim=True)).clamp_min(0) / max(1, classes - k)
    return rest.expand_as(probabilities).scatter(1, places, values)


def label_alone(probabilities: Tensor) -> Tensor:
    """1 for the winner and 0 for all others: the interface names a class and nothing else."""
    return torch.zeros_like(probabilities).scatter(1, probabilities.argmax(dim=1, keepdim=True), 1.0)


class Interface(nn.Module):
    """A model as its users see it: (N, C, H, W) -> (N, C), the logarithms of the probabilities that it answers.

    A softmax of them gives the probabilities back, so whoever takes them for logits can learn from them at any temperature;
    a probability of 0 counts as 1e-30. model: gives logits (N, C). answer: probabilities (N, C) -> what is shown of them,
    default `everything`. noise: the spread of normal noise that is added to the logits, default 0; the same for the same
    picture and `key`, so that asking twice does not average it away. marked: the share of pictures, chosen by `key`, that are
    answered wrongly on purpose: the probabilities move on by one class; default 0. key: the owner's secret, default 0.
    Raises `ValueError` for a model that is none, negative noise and a share outside [0, 1].
    Sources: noise, Lee, Edwards, Molloy, Su (2019), *Defending Against Neural Network Model Stealing Attacks Using Deceptive
    Perturbations*; marks, Szyller, Atli, Marchal, Asokan (2021), *DAWN: Dynamic Adversarial Watermarking of Neural Networks*.
    """

    def __init__(
        self, model: nn.Module, answer: Answer = everything, *, noise: float = 0.0, marked: float = 0.0, key: int = 0
    ):
        super().__init__()
        check_model("model", model)
        check_share("marked", marked)
        if not noise >= 0:
            raise ValueError(f"noise must be 0 or more, got {noise}")
        self.model, self.answer = model, answer
        self.noise, self.marked, self.key = float(noise), float(marked), whole_number("key", key, least=0)
        self.label = f"interface to {getattr(model, 'label', type(model).__name__)}"

    def forward(self, images: Tensor) -> Tensor:
        logits = self.model(images)
        if self.noise:
            drawn = self._drawn(images, logits.shape[1]).clamp(1e-9, 1 - 1e-9)
            logits = logits + self.noise * (2 * drawn - 1).erfinv().to(logits) * 2**0.5  # uniform to normal
        probabilities = logits.softmax(dim=1)
        if self.marked:
            wrong = self.marks(images).to(images.device).unsqueeze(1)
            probabilities = torch.where(wrong, probabilities.roll(1, dims=1), probabilities)
        return self.answer(probabilities).clamp_min(LEAST).log()

    def marks(self, images: Tensor) -> Tensor:
        """Which of the pictures (N, C, H, W) are answered wrongly on purpose: (N,) bool, on the CPU."""
        return self._drawn(images, 1)[:, 0] < self.marked

    def evidence(self, split: Split) -> Split:
        """The marked pictures of a split with the wrong classes that were answered: what the owner asks a suspect later."""
        chosen = split.take(self.marks(split.images).to(split.device))
        with torch.no_grad():
            return Split(chosen.images, self(chosen.images).argmax(dim=1))

    def _drawn(self, images: Tensor, count: int) -> Tensor:
        """Numbers within [0, 1), (N, count) float64 on the CPU, fixed by each picture and the key: a hash, no generator."""
        whole = {"dtype": torch.int64, "generator": torch.Generator().manual_seed(self.key)}
        mixed = Split(images).rows.unsqueeze(1) ^ torch.randint(-(2**63), 2**63 - 1, (count,), **whole)
        for _ in range(2):
            mixed = (mixed ^ (mixed >> 31)) * -7046029254386353131  # overflow wraps, which is what stirs
        return (mixed ^ (mixed >> 29)).bitwise_and(2**53 - 1).double() / 2**53

    def extra_repr(self) -> str:
        name = getattr(self.answer, "__name__", repr(self.answer))
        return f"answer={name}, noise={self.noise}, marked={self.marked}"


def random_queries(like: Split, count: int, seed: int = 0) -> Split:
    """Pictures without any sense: each pixel drawn alone, uniformly between the least and the largest of `like`."""
    low, high = like.images.min().item(), like.images.max().item()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand((whole_number("count", count), *like.images.shape[1:]), generator=generator)
    return Split((low + (high - low) * drawn).to(like.device))


def synthetic_queries(few: Split, count: int, seed: int = 0) -> Split:
    """`count` pictures (N, C, H, W) made of a few: two of them, each shifted by up to two pixels, blended by a random share.

    Source of the blends: Zhang, Cisse, Dauphin, Lopez-Paz (2018), *mixup*.
    """
    count, generator = whole_number("count", count), torch.Generator().manual_seed(seed)
    pairs = torch.randint(len(few), (2, count), generator=generator)
    one, other = (
        random_shift_flip(few.images[places.to(few.device)].cpu(), flip=False, generator=generator) for places in pairs
    )
    share = torch.rand((count, 1, 1, 1), generator=generator)
    return Split(other.lerp(one, share).to(few.device))
