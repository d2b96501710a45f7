"""Response knowledge: losses on the last layer's logits.

The student comes first, then the teacher if there is one, then the labels. Logits are (N, C): a row of C classes for each of N
examples. A function with a `mask` also takes (N, L, C), a row for each token, with labels and mask (N, L); and (N, C, H, W), a
row for each pixel, with labels and mask (N, H, W). The mask is true or 1 where a row counts, by default everywhere; rows that
do not count are ignored. Each function returns one scalar, the mean over the rows that count. No gradient reaches the teacher.
In a divergence, −∞ as a teacher's logit means that this class is impossible. Half precision is computed in float32.

All raise `ValueError` for other shapes, for NaN and other infinite values, for a mask in which no row counts, for a temperature
outside 1e-6 to 100,000, for a share outside [0, 1], and for a label that is no class.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcourse.losses.checks import (
    as_logits,
    check_labels,
    check_share,
    check_temperature,
    check_weight,
    mean_of_rows,
    trusted,
)

HOT = 100  # a temperature from which on the divergence is too small for a difference of logarithms
LOWEST = -1e30  # for the logarithm of 0: times a probability of 0 it is 0, where minus infinity is NaN


def soft_target(student: Tensor, teacher: Tensor, *, temperature: float = 4.0, mask: Tensor | None = None) -> Tensor:
    """How far the student's softened probabilities are from the teacher's.

    T² · KL(p ‖ q) with p = softmax(teacher / T) and q = softmax(student / T), summed over classes, mean over the batch, in nats.
    Its gradient with respect to the student's logits is T · (q − p) / N. Without the factor T² it would shrink like 1/T².

    student, teacher: logits (N, C), or of tokens or pixels. temperature: T > 0, default 4. mask: what counts, default all.
    Source: Hinton, Vinyals, Dean (2015), §2 and eq. 2; Kullback-Leibler form as in common use.
    """
    student, teacher, share = as_logits(student, teacher, mask, may_rule_out=["teacher"])
    check_temperature(temperature)
    if student.shape[1] < 2:
        raise ValueError(
            "student must have logits of at least 2 classes; of a single yes or no, multi_label compares them"
        )
    return _divergence(student / temperature, teacher / temperature, temperature**2, share)


def distillation(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
    mask: Tensor | None = None,
) -> Tensor:
    """The classic mixture: alpha · soft_target + (1 − alpha) · cross-entropy with the labels, in nats.

    Here alpha is the teacher's share. Some sources (the Transformers cookbook's DistillationTrainer among them) put alpha on the
    hard loss instead: their alpha is our 1 − alpha.

    student, teacher: logits (N, C), or of tokens or pixels. labels: (N,) int64, or one for each token or pixel. temperature:
    T > 0, default 4. alpha: in [0, 1], default 0.9. mask: what counts, in both losses, default all.
    Source: Hinton, Vinyals, Dean (2015), §2.
    """
    check_share("alpha", alpha)
    soft = soft_target(student, teacher, temperature=temperature, mask=mask)
    hard = _cross_entropy(student, labels, mask)
    return hard.lerp(soft, alpha)  # alpha · soft + (1 − alpha) · hard


def multi_label(student: Tensor, teacher: Tensor, *, temperature: float = 4.0, mask: Tensor | None = None) -> Tensor:
    """`soft_target` for examples with several classes at once: each class is a question of its own, yes or no.

    T² · KL between the two outcomes' probabilities, sigmoid(z / T) and 1 − sigmoid(z / T), mean over classes and batch, in
    nats. It is a mean over the same elements as `F.binary_cross_entropy_with_logits`, so the two can be mixed.

    student, teacher: logits (N, C) before the sigmoid, or of tokens or pixels. temperature: T > 0, default 4. mask: what
    counts, default all.
    Source: the one-versus-all divergence of Yang et al. (2023), *Multi-Label Knowledge Distillation*; T² as in `soft_target`.
    """
    student, teacher, share = as_logits(student, teacher, mask, may_rule_out=["teacher"])
    check_temperature(temperature)
    classes = student.shape[1]
    share = None if share is None else share.repeat_interleave(classes) / classes
    # A sigmoid is a softmax over the logit and 0.
    student, teacher = (torch.stack([side, torch.zeros_like(side)], dim=2).flatten(0, 1) for side in (student, teacher))
    return _divergence(student / temperature, teacher / temperature, temperature**2, share)


def label_smoothing(student: Tensor, labels: Tensor, *, smoothing: float = 0.1, mask: Tensor | None = None) -> Tensor:
    """Cross-entropy with smoothed labels, the cheapest rival of a soft target: it needs no teacher.

    −Σ t · log softmax(student) with t = (1 − smoothing) · one-hot + smoothing / C, mean over the batch, in nats. Where
    distillation gains no more than this, less certain targets explain its gain. PyTorch has it as
    `F.cross_entropy(label_smoothing=)`.

    student: logits (N, C), or of tokens or pixels. labels: (N,) int64, or one for each token or pixel. smoothing: the share
    that is given to all C classes, the label's too, in equal parts; in [0, 1], default 0.1. mask: what counts, default all.
    Source: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2016), *Rethinking the Inception Architecture*, §7.
    """
    check_share("smoothing", smoothing)
    rows, _, share = as_logits(student, student, mask)
    labels = check_labels(labels, student, mask)
    log_q = rows.log_softmax(dim=1)
    hard, even = (
        -mean_of_rows(log_q.gather(1, labels.unsqueeze(1)).squeeze(1), share),
        -mean_of_rows(log_q.mean(dim=1), share),
    )
    return hard.lerp(even, smoothing)  # (1 − smoothing) · hard + smoothing · even


def logit_mse(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean squared difference of the logits over all N · C elements.

    As T → ∞, `soft_target` becomes half of this if, row by row, the logits of both networks have the same mean.

    student, teacher: logits (N, C), or of tokens or pixels. mask: what counts, default all.
    Source: Ba, Caruana (2014), *Do Deep Nets Really Need to be Deep?*, eq. 1; the limit: Hinton et al. (2015), §2.1.
    """
    student, teacher, share = as_logits(student, teacher, mask)
    return mean_of_rows((student - teacher).square().mean(dim=1), share)


def decoupled(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    mask: Tensor | None = None,
) -> Tensor:
    """DKD: two parts of what the teacher says, weighted separately: how likely the target class is, and how the others compare.

    alpha · TCKD + beta · NCKD, each a KL divergence times T², mean over the batch, in nats. TCKD compares the target class with
    all others together (two outcomes). NCKD compares the other classes among themselves, without the target.

    student, teacher: logits (N, C), or of tokens or pixels, C ≥ 2. labels: (N,) int64, or one for each token or pixel. alpha,
    beta ≥ 0, defaults 1 and 8. temperature: T > 0, default 4. mask: what counts, default all.
    Source: Zhao, Cui, Song, Qiu, Liang (2022), *Decoupled Knowledge Distillation*, eq. 7.
    """
    ours, theirs, share = as_logits(student, teacher, mask, may_rule_out=["teacher"])
    labels = check_labels(labels, student, mask).unsqueeze(1)
    check_temperature(temperature)
    check_weight("alpha", alpha)
    check_weight("beta", beta)
    if ours.shape[1] < 2:
        raise ValueError(f"student must have at least 2 classes for a target and the others, got {ours.shape[1]}")
    others = torch.arange(ours.shape[1] - 1, device=labels.device)
    others = others + (others >= labels)  # (N, C − 1): the classes that are not the label. By masks a GPU would wait.

    def split(logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of target against rest (N, 2), and of the rest alone (N, C − 1)."""
        target, rest = logits.gather(1, labels), logits.gather(1, others)
        # The rest as one outcome has the logit logsumexp: no probability is formed, so nothing underflows.
        return torch.cat([target, rest.logsumexp(dim=1, keepdim=True)], dim=1), rest

    (student_pair, student_rest), (teacher_pair, teacher_rest) = (
        split(ours / temperature),
        split(theirs / temperature),
    )
    target_class = _divergence(student_pair, teacher_pair, temperature**2, share)
    other_classes = _divergence(student_rest, teacher_rest, temperature**2, share)
    return alpha * target_class + beta * other_classes


def correlation(
    student: Tensor, teacher: Tensor, *, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """DIST: the student's probabilities need only correlate with the teacher's, not equal them.

    T² · (beta · (1 − mean Pearson correlation of rows) + gamma · (1 − mean Pearson correlation of columns)) of the softened
    probabilities (N, C). A row compares the classes of one picture, a column compares the pictures in one class.

    A row or column of equal values, such as any column of a single picture, counts as uncorrelated.

    student, teacher: logits (N, C). beta, gamma ≥ 0, default 1. temperature: T > 0, default 1.
    Source: Huang, You, Wang, Qian, Xu (2022), *Knowledge Distillation from A Stronger Teacher*, eq. 8–10.
    """
    student, teacher, _ = as_logits(student, teacher, dimensions=[2])
    check_temperature(temperature)
    check_weight("beta", beta)
    check_weight("gamma", gamma)
    q, p = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)
    between_classes = 1 - _pearson(q, p).mean()
    between_pictures = 1 - _pearson(q.T, p.T).mean()
    return (beta * between_classes + gamma * between_pictures) * temperature**2


def standardized_soft_target(
    student: Tensor, teacher: Tensor, *, temperature: float = 2.0, mask: Tensor | None = None
) -> Tensor:
    """`soft_target` on standardised logits: the student learns the order and spacing of the logits, its own scale is free.

    Each row becomes (z − mean) / (std + 1e-7) with the unbiased standard deviation.

    student, teacher: logits (N, C), or of tokens or pixels, C ≥ 2. temperature: T > 0, default 2. mask: what counts, default
    all.
    Source: Sun, Ren, Li, Wang, Cao (2024), *Logit Standardization in Knowledge Distillation*, eq. 11 and algorithm 1.
    """
    student, teacher, _ = as_logits(student, teacher, mask)
    if student.shape[1] < 2:
        raise ValueError(f"student must have at least 2 classes to be standardised, got {student.shape[1]}")
    rows = None if mask is None else mask.flatten()
    return soft_target(_standardize(student), _standardize(teacher), temperature=temperature, mask=rows)


def ensemble_target(
    list_of_logits: Sequence[Tensor], *, temperature: float = 4.0, mean: str = "probabilities"
) -> Tensor:
    """The softened target distribution of several teachers: (N, C), rows sum to 1, without gradient.

    list_of_logits: one (N, C) tensor for each teacher. temperature: T > 0, default 4.
    mean: "probabilities" (default) averages the softened probabilities; "logits" averages the logits first, which is the
    geometric mean of the probabilities.
    Source: Hinton, Vinyals, Dean (2015), §1 and §2: "arithmetic or geometric mean".
    """
    if not len(list_of_logits):
        raise ValueError("list_of_logits must hold at least one teacher's logits, got none")
    check_temperature(temperature)
    if mean not in ("probabilities", "logits"):
        raise ValueError(f'mean must be "probabilities" or "logits", got {mean!r}')
    options = {"dimensions": [2], "may_rule_out": ["student", "teacher"]}
    stacked = torch.stack([as_logits(list_of_logits[0], logits, **options)[1] for logits in list_of_logits])
    if mean == "logits":
        return (stacked.mean(dim=0) / temperature).softmax(dim=1)
    return (stacked / temperature).softmax(dim=2).mean(dim=0)


def _cross_entropy(student: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
    """The labels' loss, mean over the rows that count, of logits that were looked at."""
    labels = check_labels(labels, student, mask)
    with trusted():
        student, _, share = as_logits(student, student, mask)
    if share is None:
        return F.cross_entropy(student, labels)
    return mean_of_rows(F.cross_entropy(student, labels, reduction="none"), share)


def _divergence(student: Tensor, teacher: Tensor, weight: float, share: Tensor | None) -> Tensor:
    """weight · KL(softmax(teacher) ‖ softmax(student)), mean over rows. What the teacher rules out counts nothing."""
    if weight > HOT**2:
        return weight * mean_of_rows(_small_divergence(student, teacher), share)
    log_q, log_p = student.log_softmax(dim=1), teacher.log_softmax(dim=1).clamp_min(LOWEST)
    weight = weight / len(student) if share is None else weight * share.unsqueeze(1)
    return (log_p.exp() * weight * (log_p - log_q)).sum()


def _small_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """The same KL for each row where logits hardly differ: log(1 + Σ p (eᵃ − 1 − a)), a the gap of the logits less its mean by p.

    The logarithms of p and q would agree in nearly all their digits, and little but rounding would be left of their difference.
    """
    p = teacher.softmax(dim=1)
    gap = (student - teacher).masked_fill(p == 0, 0.0)
    gap = gap - (p * gap).sum(dim=1, keepdim=True)
    return (p * (gap.expm1() - gap)).sum(dim=1).log1p()


def _pearson(left: Tensor, right: Tensor) -> Tensor:
    """Correlation of each row of `left` with the same row of `right`: (rows,)."""
    left, right = (side - side.mean(dim=1, keepdim=True) for side in (left, right))
    return F.cosine_similarity(left, right, dim=1, eps=1e-8)


def _standardize(logits: Tensor) -> Tensor:
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + 1e-7)
