"""How good, how alike, how large, how fast: what the labs measure of a model.

Where a function takes `model_or_logits`, logits that are already there, (N, C) in the order of the split, save a pass.
Answers that hold NaN or infinity raise `ValueError`: argmax takes NaN for the largest, and would make a score of it.
"""

import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.data.characters import Windows
from kdcourse.data.splits import Examples, Split, check_split
from kdcourse.data.texts import Sentences
from kdcourse.evaluation.inference import outputs, predict  # noqa: F401 - labs ask `kd.measure` for both
from kdcourse.losses.checks import check_classes
from kdcourse.models.common import evaluating
from kdcourse.system import runtime
from kdcourse.system.arguments import check_model, whole_number

if TYPE_CHECKING:
    import pandas as pd

BINS = 15  # of a reliability diagram, as in Guo et al. (2017)


def accuracy(model_or_logits: nn.Module | Tensor, split: Split) -> float:
    """Right answers in percent."""
    return _share(correct(model_or_logits, split))


def correct(model_or_logits: nn.Module | Tensor, split: Split) -> Tensor:
    """Whether each example is answered rightly, (N,) bool in the order of the split.

    Raises `ValueError` for a model whose logits are not (N, C), such as several peers or a language model.
    """
    logits, labels = _answers(model_or_logits, split)
    return logits.argmax(dim=1) == labels


def per_class_accuracy(model_or_logits: nn.Module | Tensor, split: Split) -> Tensor:
    """Right answers in percent for each class, (C,); NaN for a class that the split does not hold."""
    counts = confusion(model_or_logits, split).float()
    return 100 * counts.diagonal() / counts.sum(dim=1)


def confusion(model_or_logits: nn.Module | Tensor, split: Split) -> Tensor:
    """How often class i (row) was called class j (column): (C, C) int64."""
    logits, labels = _answers(model_or_logits, split)
    classes = logits.shape[1]
    return (labels * classes + logits.argmax(dim=1)).bincount(minlength=classes**2).view(classes, classes)


def agreement(one: nn.Module | Tensor, other: nn.Module | Tensor, split: Split) -> float:
    """How often two models give the same answer, right or wrong, in percent."""
    decisions = [_logits(model, split).argmax(dim=1) for model in (one, other)]
    return _share(decisions[0] == decisions[1])


def centered_kernel_alignment(one: Tensor, other: Tensor) -> float:
    """How alike two layers see the same pictures, from 0 to 1: linear CKA of features (N, …) and (N, …).

    The cosine between the two centred N×N tables of inner products; blind to rotation, scale and the number of channels.
    Source: Kornblith, Norouzi, Lee, Hinton (2019), *Similarity of Neural Network Representations Revisited*, eq. 4.
    """
    one, other = _finite("one", one), _finite("other", other)
    if len(one) != len(other) or len(one) < 2:
        raise ValueError(f"one and other must hold the same pictures, at least 2, got {len(one)} and {len(other)}")
    tables = []
    for features in (one, other):
        centred = features.flatten(1).cpu().double()  # float64, which not every GPU has
        centred = centred - centred.mean(dim=0)
        tables.append((centred @ centred.T).flatten())
    return F.cosine_similarity(*tables, dim=0).item()


def recall_at_1(embeddings: Tensor, labels: Tensor) -> float:
    """How often a picture's nearest neighbour, itself left out, is of its class, in percent. embeddings: (N, D), by cosine."""
    labels = torch.as_tensor(labels, device=embeddings.device)
    if embeddings.ndim != 2 or embeddings.shape[:1] != labels.shape or len(labels) < 2:
        raise ValueError(
            f"embeddings and labels must be (N, D) and (N,) with N at least 2, got {tuple(embeddings.shape)} and "
            f"{tuple(labels.shape)}"
        )
    directions = F.normalize(_finite("embeddings", embeddings), dim=1)
    similarity = directions @ directions.T
    similarity.fill_diagonal_(-torch.inf)
    return _share(labels[similarity.argmax(dim=1)] == labels)


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: for each bin of confidence its mean confidence, accuracy (shares) and number of pictures."""

    confidence: Tensor
    accuracy: Tensor
    count: Tensor


def reliability(model_or_logits: nn.Module | Tensor, split: Split, bins: int = BINS) -> Reliability:
    """Confidence against accuracy in equal bins of confidence; empty bins hold NaN. Source: Guo et al. (2017), §2."""
    bins = whole_number("bins", bins)
    logits, labels = _answers(model_or_logits, split)
    confidence, decision = logits.softmax(dim=1).max(dim=1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = place.bincount(minlength=bins)
    sums = [
        torch.zeros(bins, device=logits.device).index_add(0, place, values)
        for values in (confidence, (decision == labels).float())
    ]
    return Reliability(sums[0] / count, sums[1] / count, count)


def calibration_error(model_or_logits: nn.Module | Tensor, split: Split, bins: int = BINS) -> float:
    """Expected calibration error in points: |accuracy − confidence| over the bins, weighted by how many pictures each holds.

    The bins are of equal width, from 0 to 1, not of equal number: `bins` of them, default 15; a confidence on an edge belongs to
    the bin below. Another binning gives another number, so compare only what one binning gave. Source: Guo et al. (2017), eq. 5.
    """
    diagram = reliability(model_or_logits, split, bins)
    gaps = (diagram.accuracy - diagram.confidence).abs().nan_to_num()
    return 100 * ((gaps * diagram.count).sum() / diagram.count.sum()).item()


def negative_log_likelihood(model_or_logits: nn.Module | Tensor, split: Split) -> float:
    """−log of the probability that a model gave the right class, mean over the examples, in nats; 0 is foreknowledge."""
    logits, labels = _answers(model_or_logits, split)
    return F.cross_entropy(logits.cpu().double(), labels.cpu()).item()


def brier(model_or_logits: nn.Module | Tensor, split: Split) -> float:
    """Squared distance between probabilities and the right answer, summed over classes, mean over the examples: 0 to 2.

    Lower is better. Unlike the calibration error it has no bins, and no model gets it down by knowing less.
    Source: Brier (1950), *Verification of Forecasts Expressed in Terms of Probability*.
    """
    logits, labels = _answers(model_or_logits, split)
    p = logits.cpu().double().softmax(dim=1)
    return (p - F.one_hot(labels.cpu(), p.shape[1])).square().sum(dim=1).mean().item()


def temperature_scaling(model_or_logits: nn.Module | Tensor, split: Split) -> float:
    """The temperature that logits are divided by to make their probabilities fit: the one of least negative log-likelihood.

    split: the validation split, not the one that is reported on. No decision changes, so this is what better calibration costs
    without a teacher. It is looked for between 0.01 and 100, by its logarithm; where every answer is right there is no
    best one, and it ends near 0.01.
    Source: Guo, Pleiss, Sun, Weinberger (2017), *On Calibration of Modern Neural Networks*, §4.2.
    """
    from scipy.optimize import minimize_scalar

    logits, labels = _answers(model_or_logits, split)
    logits, labels = logits.cpu().double(), labels.cpu()
    found = minimize_scalar(
        lambda log_temperature: F.cross_entropy(logits / math.exp(log_temperature), labels).item(),
        bounds=(math.log(0.01), math.log(100)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


@torch.no_grad()
def next_token_loss(model: nn.Module, tokens: Tensor, following: Tensor, batch_size: int = 256) -> Tensor:
    """−log of the probability that a language model gave each token that came next, in nats: (N, L), (N, L) -> (N, L)."""
    with evaluating(model, tokens.device):
        parts = zip(tokens.split(batch_size), following.split(batch_size), strict=True)
        losses = [F.cross_entropy(model(one).transpose(1, 2), other, reduction="none") for one, other in parts]
    return _finite("the losses", torch.cat(losses))


def bits_per_character(model: nn.Module, windows: Windows) -> float:
    """How many bits a language model leaves to be told of each next character; 0 is foreknowledge."""
    return next_token_loss(model, windows.inputs, windows.labels).cpu().double().mean().item() / math.log(2)


def free_running_loss(model: nn.Module, judge: nn.Module, prompts: Tensor, length: int, *, seed: int = 0) -> Tensor:
    """How unlikely a judge finds what a model writes after prompts (N, P): nats for each character written, (N, length).

    A rise along the text is exposure bias: mistakes lead the model where it was never taught. Source: Ranzato et al. (2016),
    *Sequence Level Training with Recurrent Neural Networks*, §1.
    """
    written = model.to(prompts.device).write(prompts, length, seed=seed)
    return next_token_loss(judge, written[:, :-1], written[:, 1:])[:, prompts.shape[1] - 1 :]


def parameters(model: nn.Module) -> int:
    """How many numbers training could change."""
    check_model("model", model)
    return sum(parameter.numel() for parameter in model.parameters())


def size_in_bytes(model: nn.Module) -> int:
    """Bytes of the model's saved state, or of the file that it was read from."""
    check_model("model", model)
    if (file := getattr(model, "file", None)) is not None:
        return file.stat().st_size
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getbuffer().nbytes


@torch.no_grad()
def flops(model: nn.Module, split: Examples | Sentences) -> int:
    """Floating-point operations for one example, a multiplication and an addition counted as two.

    An example is a picture or a window of text. Sentences have many lengths: the mean of the first 32, padded to their longest.
    """
    from torch.utils.flop_counter import FlopCounterMode

    check_model("model", model)
    check_split(split, Examples | Sentences)
    if isinstance(split, Sentences):
        some = split.texts[:32]
        ask, place = partial(model, some, truncate=True), None  # a model's device says where sentences are read
    else:
        some = split.inputs[:1]
        ask, place = partial(model, some), split.device
    with evaluating(model, place), FlopCounterMode(display=False) as counter:
        ask()
    return counter.get_total_flops() // len(some)


def seconds(run: Callable[[], object], repeats: int, warm_up: int = 5) -> float:
    """Median seconds of `repeats` calls, after a warm-up that is not counted."""
    taken = []
    for turn in range(warm_up + repeats):
        started = time.perf_counter()
        run()
        if turn >= warm_up:
            taken.append(time.perf_counter() - started)
    return torch.tensor(taken, dtype=torch.float64).median().item()


def answer(model: nn.Module, images: Tensor) -> None:
    """Look at one batch, and come back when it is done, on a GPU too."""
    model(images)
    runtime.synchronize(images.device)


def latency(model: nn.Module, split: Split, batch_size: int = 1, repeats: int = 50) -> float:
    """Median milliseconds for one batch, after a warm-up of five; a split that is smaller is gone through again."""
    check_model("model", model)
    check_split(split)
    images = split.take(torch.arange(whole_number("batch_size", batch_size)) % len(split)).images
    with torch.inference_mode(), evaluating(model, split.device):
        return 1000 * seconds(partial(answer, model, images), whole_number("repeats", repeats))


def sentences_per_second(model: nn.Module, split: Sentences, batch_size: int = 32, repeats: int = 5) -> float:
    """How many sentences are read and judged in a second, tokens and all: median of `repeats` batches after a warm-up."""
    texts = split.texts[:batch_size]
    return len(texts) / seconds(partial(model.predict, texts, batch_size=batch_size), repeats, warm_up=2)


def summary(models: dict[str, nn.Module], split: Split | Sentences) -> "pd.DataFrame":
    """A row for each model: accuracy, parameters, kilobytes, and how fast it is."""
    import pandas as pd

    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models must be a dict, name -> model, of at least one, got {type(models).__name__}")

    def speed(model: nn.Module) -> dict[str, object]:
        if isinstance(split, Sentences):
            return {"sentences a second": f"{sentences_per_second(model, split):,.0f}"}
        return {
            "MFLOPs a picture": round(flops(model, split) / 1e6, 2),
            "ms a picture": round(latency(model, split), 2),
        }

    rows = {
        name: {
            "accuracy, %": round(accuracy(model, split), 1),
            "parameters": f"{parameters(model):,}",
            "kB": f"{size_in_bytes(model) / 1000:,.0f}",
            **speed(model),
        }
        for name, model in models.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _share(right: Tensor) -> float:
    """How many of (N,) truths are true, in percent."""
    return 100 * (right.sum().item() / len(right))


def _logits(model_or_logits: nn.Module | Tensor, split: Split) -> Tensor:
    check_split(split, Examples | Sentences)
    accepted = f"a model or logits ({len(split)}, C)"
    if not hasattr(model_or_logits, "ndim"):
        check_model("model_or_logits", model_or_logits, accepted)
        return _finite("logits", predict(model_or_logits, split))
    if model_or_logits.ndim != 2 or len(model_or_logits) != len(split):
        raise ValueError(f"model_or_logits must be {accepted}, got shape {tuple(model_or_logits.shape)}")
    if not isinstance(model_or_logits, Tensor):  # an array, or answers of a TeacherCache that stay in a file
        model_or_logits = torch.as_tensor(model_or_logits[torch.arange(len(split))])
    if not model_or_logits.is_floating_point():
        raise ValueError(f"model_or_logits must be {accepted} in floating point, got {model_or_logits.dtype}")
    return _finite("logits", model_or_logits.to(split.device))


def _finite(name: str, answers: Tensor) -> Tensor:
    """Answers (N, …) as they came. One look at all of them, when they are there."""
    if not answers.isfinite().all():
        broken = (~answers.isfinite()).flatten(1).any(dim=1).sum().item()
        raise ValueError(f"{name} must be finite numbers, got NaN or infinity for {broken} of {len(answers)} examples")
    return answers


def _answers(model_or_logits: nn.Module | Tensor, split: Split) -> tuple[Tensor, Tensor]:
    """Logits (N, C) and the labels (N,) that they are held against, all within the C classes."""
    check_split(split, Examples | Sentences)
    if split.labels is None:
        raise ValueError("split has no labels, so there is nothing to compare answers with")
    logits = _logits(model_or_logits, split)
    if logits.ndim != 2:
        raise ValueError(
            f"model must give logits (N, C), one decision for each example, got shape {tuple(logits.shape)}"
        )
    check_classes(split.labels, logits.shape[1])
    return logits, split.labels
