"""What the labs measure of a model: how good, how similar, how large, how fast.

`model_or_logits` is a model, or logits (N, C) that were computed before, in the order of the split. `split` holds N labelled
examples with C classes. All functions raise `ValueError` for something that is no model, no logits of this shape or no split, for
labels that are missing or outside the classes, and for answers with NaN or infinity, of which argmax would make a wrong score.
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
    """The share of right answers, in percent from 0 to 100."""
    return _share(correct(model_or_logits, split))


def correct(model_or_logits: nn.Module | Tensor, split: Split) -> Tensor:
    """Whether each example is answered rightly, (N,) bool in the order of the split.

    Raises `ValueError` for a model whose logits are not (N, C), such as several peers or a language model.
    """
    logits, labels = _answers(model_or_logits, split)
    return logits.argmax(dim=1) == labels


def per_class_accuracy(model_or_logits: nn.Module | Tensor, split: Split) -> Tensor:
    """The share of right answers in each class, in percent, (C,); NaN for a class without examples in the split."""
    counts = confusion(model_or_logits, split).float()
    return 100 * counts.diagonal() / counts.sum(dim=1)


def confusion(model_or_logits: nn.Module | Tensor, split: Split) -> Tensor:
    """The confusion matrix: how many examples of class i (row) were taken for class j (column), (C, C) int64."""
    logits, labels = _answers(model_or_logits, split)
    classes = logits.shape[1]
    return (labels * classes + logits.argmax(dim=1)).bincount(minlength=classes**2).view(classes, classes)


def agreement(one: nn.Module | Tensor, other: nn.Module | Tensor, split: Split) -> float:
    """How often two models decide for the same class, right or wrong, in percent. The split needs no labels."""
    decisions = [_logits(model, split).argmax(dim=1) for model in (one, other)]
    return _share(decisions[0] == decisions[1])


def centered_kernel_alignment(one: Tensor, other: Tensor) -> float:
    """How similar two layers' features of the same pictures are, from 0 to 1: linear CKA.

    The cosine between the two centred N×N tables of inner products. Rotation, scale and the number of channels do not matter.
    one, other: features (N, …) of the same N pictures, N ≥ 2. Raises `ValueError` for other numbers of pictures, and for NaN.
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
    """How often a picture's nearest neighbour, by cosine and other than itself, is of the same class, in percent.

    embeddings: (N, D), N ≥ 2. labels: (N,). Raises `ValueError` for other shapes, and for NaN.
    """
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
    """A reliability diagram: for each bin of confidence the mean confidence, the accuracy and the number of pictures, (bins,)
    each.

    confidence, accuracy: shares from 0 to 1, NaN for a bin without pictures.
    """

    confidence: Tensor
    accuracy: Tensor
    count: Tensor


def reliability(model_or_logits: nn.Module | Tensor, split: Split, bins: int = BINS) -> Reliability:
    """Accuracy against confidence (the largest probability), in bins of equal width from 0 to 1; empty bins hold NaN.

    bins: how many, default 15. Source: Guo et al. (2017), *On Calibration of Modern Neural Networks*, §2.
    """
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
    """Expected calibration error in percentage points: mean |accuracy − confidence| of the bins, weighted by their pictures.

    The bins are of equal width, from 0 to 1: `bins` of them, default 15; a confidence on an edge belongs to the bin below.
    Another binning gives another number, so compare only numbers with the same bins. Source: Guo et al. (2017), eq. 5.
    """
    diagram = reliability(model_or_logits, split, bins)
    gaps = (diagram.accuracy - diagram.confidence).abs().nan_to_num()
    return 100 * ((gaps * diagram.count).sum() / diagram.count.sum()).item()


def negative_log_likelihood(model_or_logits: nn.Module | Tensor, split: Split) -> float:
    """−log of the probability that a model gave the right class, mean over the examples, in nats.

    Lower is better; 0 means that every right class had probability 1.
    """
    logits, labels = _answers(model_or_logits, split)
    return F.cross_entropy(logits.cpu().double(), labels.cpu()).item()


def brier(model_or_logits: nn.Module | Tensor, split: Split) -> float:
    """Squared distance between the probabilities and the one-hot label, summed over classes, mean over the examples: 0 to 2.

    Lower is better. Unlike the calibration error it needs no bins, and a model that only knows how often each class occurs does
    not score well.
    Source: Brier (1950), *Verification of Forecasts Expressed in Terms of Probability*.
    """
    logits, labels = _answers(model_or_logits, split)
    p = logits.cpu().double().softmax(dim=1)
    return (p - F.one_hot(labels.cpu(), p.shape[1])).square().sum(dim=1).mean().item()


def temperature_scaling(model_or_logits: nn.Module | Tensor, split: Split) -> float:
    """The temperature to divide a trained model's logits by, so that its confidence fits its accuracy: one number, no teacher.

    It is the temperature with the lowest negative log-likelihood, searched between 0.01 and 100 on a logarithmic scale. No
    decision changes. Where every answer is right, lower is always better, and it ends near 0.01.
    split: the validation split, not the one that is reported on.
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
    """−log of the probability that a language model gave the token that came next, in nats, for each token: (N, L).

    tokens: (N, L) int64, what the model reads. following: (N, L) int64, the next token at each place. batch_size: texts at once,
    default 256.
    """
    with evaluating(model, tokens.device):
        parts = zip(tokens.split(batch_size), following.split(batch_size), strict=True)
        losses = [F.cross_entropy(model(one).transpose(1, 2), other, reduction="none") for one, other in parts]
    return _finite("the losses", torch.cat(losses))


def bits_per_character(model: nn.Module, windows: Windows) -> float:
    """The mean of −log₂ of the probability of the next character, in bits; lower is better, 0 would be a perfect forecast."""
    return next_token_loss(model, windows.inputs, windows.labels).cpu().double().mean().item() / math.log(2)


def free_running_loss(model: nn.Module, judge: nn.Module, prompts: Tensor, length: int, *, seed: int = 0) -> Tensor:
    """How unlikely a second model, the judge, finds what a model writes: nats for each character written, (N, length).

    A rise along the text is exposure bias: after its own mistakes the model reads text of a kind that it was not trained on.
    prompts: (N, P) int64. length: characters to write. seed: of what is drawn, default 0.
    Source: Ranzato et al. (2016), *Sequence Level Training with Recurrent Neural Networks*, §1.
    """
    written = model.to(prompts.device).write(prompts, length, seed=seed)
    return next_token_loss(judge, written[:, :-1], written[:, 1:])[:, prompts.shape[1] - 1 :]


def parameters(model: nn.Module) -> int:
    """How many parameters (numbers that training could change) a model has."""
    check_model("model", model)
    return sum(parameter.numel() for parameter in model.parameters())


def size_in_bytes(model: nn.Module) -> int:
    """Bytes of the model's saved state, or of the file that an exported model was read from."""
    check_model("model", model)
    if (file := getattr(model, "file", None)) is not None:
        return file.stat().st_size
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getbuffer().nbytes


@torch.no_grad()
def flops(model: nn.Module, split: Examples | Sentences) -> int:
    """Floating-point operations for one example; a multiplication and an addition count as two.

    An example is a picture or a window of text. Sentences differ in length: for them it is the mean of the first 32, padded to
    the longest of them.
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
    """Median seconds of `repeats` calls, after `warm_up` calls (default 5) that are not counted."""
    taken = []
    for turn in range(warm_up + repeats):
        started = time.perf_counter()
        run()
        if turn >= warm_up:
            taken.append(time.perf_counter() - started)
    return torch.tensor(taken, dtype=torch.float64).median().item()


def answer(model: nn.Module, images: Tensor) -> None:
    """Run one batch and wait until it is done, on a GPU too."""
    model(images)
    runtime.synchronize(images.device)


def latency(model: nn.Module, split: Split, batch_size: int = 1, repeats: int = 50) -> float:
    """Median milliseconds for one batch, after five calls that are not counted.

    batch_size: default 1; where the split is smaller, its pictures are repeated. repeats: calls, default 50.
    """
    check_model("model", model)
    check_split(split)
    images = split.take(torch.arange(whole_number("batch_size", batch_size)) % len(split)).images
    with torch.inference_mode(), evaluating(model, split.device):
        return 1000 * seconds(partial(answer, model, images), whole_number("repeats", repeats))


def sentences_per_second(model: nn.Module, split: Sentences, batch_size: int = 32, repeats: int = 5) -> float:
    """How many sentences are classified in a second, splitting them into tokens included: median of `repeats` batches.

    batch_size: default 32. repeats: default 5, after two batches that are not counted.
    """
    texts = split.texts[:batch_size]
    return len(texts) / seconds(partial(model.predict, texts, batch_size=batch_size), repeats, warm_up=2)


def summary(models: dict[str, nn.Module], split: Split | Sentences) -> "pd.DataFrame":
    """A row for each model: accuracy in percent, parameters, kilobytes, and its speed.

    models: name -> model, at least one. split: pictures, for MFLOPs and milliseconds a picture; or sentences, for sentences a
    second.
    """
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
