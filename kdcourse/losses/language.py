"""Language-model knowledge: divergences between two distributions over the next token, at every token of a text."""

import math

import torch
from torch import Tensor

from kdcourse.losses.checks import as_logits, check_share, check_temperature, mean_of_rows
from kdcourse.losses.response import LOWEST


def generalized_jsd(
    student: Tensor, teacher: Tensor, *, beta: float = 0.5, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """How far the student's next-token distributions are from the teacher's, from mode covering to mode seeking.

    beta · KL(teacher ‖ m) + (1 − beta) · KL(student ‖ m) with m = beta · teacher + (1 − beta) · student, summed over the
    vocabulary, mean over the tokens that count, in nats. The two ends are different losses: beta = 0 is the forward KL(teacher ‖
    student), with which the student covers everything that the teacher may say; beta = 1 is the reverse KL(student ‖ teacher),
    with which it keeps to what the teacher finds likely. beta = 0.5 is the Jensen-Shannon divergence. The logits are divided by
    `temperature`; there is no factor T².

    student, teacher: token logits (N, L, V). beta: in [0, 1], default 0.5. temperature: T > 0, default 1. mask: (N, L), true
    or 1 where a token counts, by default all; tokens that do not count are ignored. −∞ means that a token is impossible. Raises
    `ValueError` for other shapes, NaN, +∞, a beta outside [0, 1], a mask of other values, and one in which no token counts.
    Source: Agarwal et al. (2024), *On-Policy Distillation of Language Models (GKD)*, §2 and appendix A.
    """
    check_share("beta", beta)
    check_temperature(temperature)
    options = {"dimensions": [3], "may_rule_out": ["student", "teacher"]}
    student, teacher, share = as_logits(student, teacher, mask, **options)
    # The logarithm of 0 stays finite, or the mixture of two of them would have no gradient.
    ours, theirs = (logits.div(temperature).log_softmax(dim=1).clamp_min(LOWEST) for logits in (student, teacher))
    if beta == 0:
        divergence = _kl(theirs, ours)
    elif beta == 1:
        divergence = _kl(ours, theirs)
    else:
        # log of the mixture by logsumexp: finite where one of the two gives next to nothing.
        mixture = torch.logaddexp(theirs + math.log(beta), ours + math.log1p(-beta))
        divergence = beta * _kl(theirs, mixture) + (1 - beta) * _kl(ours, mixture)
    return mean_of_rows(divergence, share)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) of each row, (M, V) -> (M,); a token that p rules out counts nothing, whatever q says."""
    p = log_p.exp()
    return (p * (log_p - log_q).masked_fill(p == 0, 0.0)).sum(dim=1)
