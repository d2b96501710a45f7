"""Language-model knowledge: divergences between two distributions over the next token, at every token of a text.

The whole of the teacher's distribution (`generalized_jsd`), the part of it that a file has room for (`top_k_kl`), and what is
left of it where the two have no vocabulary in common (`universal_logit`).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcourse.losses.checks import as_logits, check_classes, check_share, check_temperature, mean_of_rows
from kdcourse.losses.response import LOWEST
from kdcourse.system.arguments import whole_number


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


def top_k(teacher: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What a file keeps of a teacher's logits (N, L, V): its k largest log probabilities (N, L, k), and whose they are, int64."""
    return tuple(teacher.detach().log_softmax(dim=-1).topk(whole_number("k", k, most=teacher.shape[-1]), dim=-1))


def top_k_kl(
    student: Tensor, log_chances: Tensor, tokens: Tensor, *, others: bool = True, mask: Tensor | None = None
) -> Tensor:
    """KL(teacher ‖ student) where only the teacher's k most likely tokens were kept, as `top_k` gives them.

    others: the tokens that were not kept are one more, "others", with what is missing from the sum 1 in both, default. False:
    the teacher's k probabilities are divided by their sum, and the student is told to give all other tokens nothing. Summed
    over the k (+ 1) tokens, mean over those of the text that count, in nats. With k = V both are the forward KL.

    student: token logits (N, L, V). log_chances: (N, L, k) log probabilities, half precision too. tokens: (N, L, k) int64, whose
    they are. mask: as in `generalized_jsd`. Raises `ValueError` for other shapes, NaN, tokens beyond V, and positive log_chances.
    """
    _check_kept(student, log_chances, tokens)
    # There are no teacher's logits to look at: the student's stand in for them.
    log_q, _, share = as_logits(student, student, mask, dimensions=[3], may_rule_out=["student", "teacher"])
    log_q = log_q.log_softmax(dim=1).clamp_min(LOWEST)
    theirs, tokens = log_chances.detach().flatten(0, 1).to(log_q.dtype), tokens.flatten(0, 1)
    ours = log_q.gather(1, tokens)
    if not others:
        theirs = theirs.log_softmax(dim=1)  # of log probabilities: divided by their sum
    elif tokens.shape[1] < log_q.shape[1]:
        missing = (1 - theirs.exp().sum(dim=1, keepdim=True)).clamp_min(0).log().clamp_min(LOWEST)
        ours = torch.cat([ours, log_q.scatter(1, tokens, LOWEST).logsumexp(dim=1, keepdim=True)], dim=1)
        theirs = torch.cat([theirs, missing], dim=1)
    return mean_of_rows(_kl(theirs, ours), share)


def universal_logit(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """How differently two vocabularies spread their probability: the sorted ones are compared, whoever they belong to.

    sum of |sorted student's − sorted teacher's probability|, largest first, the shorter filled up with 0; mean over the tokens
    that count, from 0 to 2. It is the Wasserstein distance of the two when moving from any token to any other costs the same. A
    renumbered vocabulary changes nothing, so it does not say which token is likely: it is added to the text's cross-entropy.
    student, teacher: token logits (N, L, V) and (N, L, W). mask: as in `generalized_jsd`. Raises `ValueError` as that.
    Source: Boizard et al. (2024), *Towards Cross-Tokenizer Distillation: the Universal Logit Distillation Loss*, eq. 5.
    """
    width = max(student.shape[-1], teacher.shape[-1])
    # A token that a vocabulary lacks is one that it rules out.
    padded = (F.pad(logits, (0, width - logits.shape[-1]), value=-math.inf) for logits in (student, teacher))
    student, teacher, share = as_logits(*padded, mask, dimensions=[3], may_rule_out=["student", "teacher"])
    ours, theirs = (logits.softmax(dim=1).sort(dim=1, descending=True).values for logits in (student, teacher))
    return mean_of_rows((ours - theirs).abs().sum(dim=1), share)


def _check_kept(student: Tensor, log_chances: Tensor, tokens: Tensor) -> None:
    if log_chances.ndim != 3 or log_chances.shape != tokens.shape or student.shape[:2] != tokens.shape[:2]:
        shapes = f"{tuple(log_chances.shape)} and {tuple(tokens.shape)} beside student {tuple(student.shape)}"
        raise ValueError(f"log_chances and tokens must be (N, L, k) for a student (N, L, V), got {shapes}")
    if tokens.device.type == "cpu":
        check_classes(tokens, student.shape[2])
        if not bool((log_chances <= 1e-3).all()):
            raise ValueError(
                f"log_chances must be log probabilities, 0 or below, got {log_chances.max().item():.3g}: take `top_k` of logits"
            )


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) of each row, (M, V) -> (M,); a token that p rules out counts nothing, whatever q says."""
    p = log_p.exp()
    return (p * (log_p - log_q).masked_fill(p == 0, 0.0)).sum(dim=1)
