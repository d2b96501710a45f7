"""Whether padding counts: a loss on token logits with a mask, or with labels of −100 where nothing is asked."""

import torch
from torch import Tensor

from kdcourse.review.calling import Calling
from kdcourse.review.probing import Case
from kdcourse.review.report import Finding

IGNORED = -100


def mask_findings(call: Calling, case: Case) -> list[Finding]:
    """What a loss does with padding; nothing for one that knows of none."""
    ignores = not call.masked and call.labelled and (case.length or hasattr(call.loss, "ignore_index"))
    if not ((call.masked and case.length) or ignores):
        return []
    keep = torch.ones(case.labels.shape, dtype=torch.bool)
    if case.length:
        keep[0, case.length // 2 :] = False
    else:
        keep[: case.rows // 3] = False
    try:
        gradient, whole = _gradient(call, case, keep, ignores), _gradient(call, case, torch.ones_like(keep), ignores)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return []
    padded, real = gradient[~keep].abs().max().item(), gradient[keep].abs().max().item()
    if padded > 1e-6 * real:
        return [
            Finding(
                "padding counts",
                padded / real,
                f"Masked tokens get a gradient of {padded / real:.3g} of the real ones'.",
                "Multiply each token's loss by the mask, or take loss[mask], before the sum.",
            )
        ]
    ratios = gradient[keep].norm(dim=-1) / whole[keep].norm(dim=-1)
    wanted = keep.numel() / keep.sum().item()
    if torch.allclose(ratios, torch.tensor(wanted), rtol=1e-2):
        return []
    if torch.allclose(ratios, torch.tensor(1.0), rtol=1e-2):
        return [
            Finding(
                "padding is in the mean",
                wanted,
                f"The sum is divided by all tokens: the loss is 1/{wanted:.3g} of the real ones' mean.",
                "Divide by mask.sum(), or long padding makes a batch count less.",
                "caution",
            )
        ]
    return [
        Finding(
            "each text counts alike",
            ratios.max().item(),
            f"A token of a short text weighs up to {ratios.max():.3g} times as much as before.",
            "The mean is taken within each text first; over all real tokens is the other custom.",
            "note",
        )
    ]


def _gradient(call: Calling, case: Case, keep: Tensor, ignores: bool) -> Tensor:
    student, teacher = case.logits
    student = student.clone().requires_grad_()
    labels = case.labels.masked_fill(~keep, IGNORED) if ignores else case.labels
    loss = call.at(case.temperature, case.alpha)(student, teacher, labels, None if ignores else keep)
    return torch.autograd.grad(loss.sum(), student)[0]
