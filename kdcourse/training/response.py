"""The loss on the logits of a batch within a `Trainer`: the teacher's share and the labels', for every kind of answer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from kdcourse import losses
from kdcourse.losses.checks import at_least_float32, check_labels, check_same_shape
from kdcourse.training.gate import is_multi_label

IGNORED = -100  # the label of what does not count, as everywhere in transformers


@dataclass(frozen=True)
class Response:
    """The soft and the hard loss of a batch, for alpha · soft + (1 − alpha) · hard.

    student: a model of `transformers`, which says how its answers are to be read. own: takes the place of the hard loss, called
    as `Trainer`'s compute_loss_func is; default None. smoothing: the labels' smoothing, from 0 to 1, default 0.
    """

    student: nn.Module
    own: Callable | None = None
    smoothing: float = 0.0

    def __call__(
        self, outputs, taught: Tensor | None, labels: Tensor | None, mask: Tensor | None, items, *, alpha, temperature
    ) -> tuple[dict[str, Tensor], float | Tensor]:
        """The losses "soft" and "hard", where alpha asks for them, and this batch's share in `items`, which is in them.

        outputs: the student's, with logits (N, C) of classes or (N, L, V) of tokens. taught: the teacher's logits, of one shape
        with these, needed where alpha > 0. labels: (N,) or (N, L), or None. mask: (N, L), 1 where a token is real, or None.
        items: the labels of all batches of a step; None where none are counted, and then the share is 1.
        """
        logits = logits_of("model", outputs)
        if taught is not None:
            check_same_shape(logits, taught)
        targets, counted = self.targets(logits, labels, mask)
        count = counted.sum() if counted is not None else 1 if targets is None else targets.numel()
        share = 1.0 if items is None or labels is None else count / items
        parts = {}
        if alpha and counted is None:
            soft = losses.multi_label if is_multi_label(self.student) else losses.soft_target
            parts["soft"] = share * soft(logits, taught, temperature=temperature)
        elif alpha:  # where no position counts, all do, times 0: to look first would make a GPU wait
            some = counted.any()
            parts["soft"] = (
                share * some * losses.soft_target(logits, taught, temperature=temperature, mask=counted | ~some)
            )
        if alpha < 1 and self.own is not None:
            parts["hard"] = self.own(outputs, labels, num_items_in_batch=items)
        elif alpha < 1:
            parts["hard"] = share * self.hard(logits, targets, count)
        return parts, share

    def targets(
        self, logits: Tensor, labels: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """The target of each answer, and which answers count: None where all do.

        Of token logits (N, L, V) those positions count whose label is not −100, or without labels all but padding; both are
        (N, L). A causal language model says at each position what comes next.
        """
        if logits.ndim != 3:
            return labels, None
        known = labels
        if labels is None:
            real = logits.new_ones(logits.shape[:2]) if mask is None else mask
            known = torch.where(real > 0, 0, IGNORED)
        if known.shape != logits.shape[:2]:
            raise ValueError(f"labels must be {tuple(logits.shape[:2])}, one a token, got {tuple(known.shape)}")
        if is_causal(self.student):
            known = F.pad(known, (0, 1), value=IGNORED)[:, 1:]
        return known, known != IGNORED

    def hard(self, logits: Tensor, targets: Tensor, count: int | Tensor) -> Tensor:
        """The loss with the labels, mean over the `count` answers that have one: cross-entropy, or a binary one for each class.

        Raises `ValueError` for labels of another kind than the student's answers.
        """
        rows = at_least_float32(logits)
        if is_multi_label(self.student):
            _check_each(targets, rows)
            return F.binary_cross_entropy_with_logits(rows, targets.to(rows.dtype))
        if targets.is_floating_point():
            raise ValueError(
                f"labels must be whole numbers (N,), got {targets.dtype} {tuple(targets.shape)}; where several classes may hold, "
                'give the configs of both models problem_type="multi_label_classification"'
            )
        rows, targets = rows.flatten(0, -2), targets.flatten()
        check_labels(targets if logits.ndim == 2 else targets.where(targets != IGNORED, 0), rows)
        summed = F.cross_entropy(rows, targets, label_smoothing=self.smoothing, reduction="sum", ignore_index=IGNORED)
        return summed / (count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1))


def logits_of(name: str, outputs) -> Tensor:
    """The logits that a model answered with, (N, C) or (N, L, V); `ValueError` for answers of another kind."""
    logits = getattr(outputs, "logits", None)
    if logits is None or logits.ndim not in (2, 3):
        found = list(outputs) if logits is None else f"shape {tuple(logits.shape)}"
        raise ValueError(f"{name} must answer with logits (N, C) of classes or (N, L, V) of tokens, got {found}")
    return logits


def is_causal(model: nn.Module) -> bool:
    """Whether a model of `transformers` answers at each token with the next one, and shifts its labels for that."""
    causal = type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    shifts = causal or LOSS_MAPPING.get(getattr(model, "loss_type", None)) is ForCausalLMLoss
    return shifts and not getattr(model.config, "is_encoder_decoder", False)


def _check_each(labels: Tensor, logits: Tensor) -> None:
    if labels.shape != logits.shape:
        raise ValueError(
            f"labels must be {tuple(logits.shape)}, 0 or 1 for each class of an example, got {tuple(labels.shape)}"
        )
    if labels.device.type == "cpu" and not ((labels >= 0) & (labels <= 1)).all():
        raise ValueError(f"labels must be from 0 to 1 for each class, got values from {labels.min()} to {labels.max()}")
