"""Answers to lab 09's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import math

import numpy as np
import torch
from torch.nn import functional as F


def soft(s, t, T):
    p, q = torch.softmax(t / T, 1), torch.softmax(s / T, 1)
    return (p * (p.log() - q.log())).sum(1).mean() * T * T


def hard(s, y):
    return -torch.log_softmax(s, 1).gather(1, y[:, None]).mean()


def by_loop(s, t, m):
    total, count = 0.0, 0
    for n in range(s.shape[0]):
        for position in range(s.shape[1]):
            if m[n, position]:
                a, b = s[n, position], t[n, position].detach()
                total = total + 1 - a @ b / (a.norm() * b.norm())
                count += 1
    return total / count


def mix(s, t, y, T, a, *, on_soft=1.0, on_hard=1.0):
    return a * on_soft * soft(s, t.detach(), T) + (1 - a) * on_hard * hard(s, y)


def batchmean(s, t):
    return F.kl_div(s, t.detach(), reduction="sum") / len(s)


def reverse(s, t, T):
    return soft(t.detach(), s, T)


def entropies(s, t, T):
    return -(F.softmax(t.detach() / T, 1) * F.log_softmax(s / T, 1)).sum(1).mean() * T * T


RIGHT = {
    "09.compute_loss": [
        lambda s, t, y, T, a: (
            a * T**2 * F.kl_div(F.log_softmax(s / T, 1), F.softmax(t.detach() / T, 1), reduction="batchmean")
            + (1 - a) * F.cross_entropy(s, y)
        ),
        lambda s, t, y, T, a: (
            sum(
                a * soft(s[i : i + 1], t[i : i + 1].detach(), T) + (1 - a) * hard(s[i : i + 1], y[i : i + 1])
                for i in range(len(y))
            )
            / len(y)
        ),
        lambda s, t, y, T, a: a * soft(s, t.detach(), T) + (1 - a) * hard(s, y),
    ],
    "09.hidden_cosine": [
        lambda s, t, m: (
            1 - (torch.einsum("nld,nld->nl", F.normalize(s, dim=2), F.normalize(t.detach(), dim=2)) * m).sum() / m.sum()
        ),
        by_loop,
        lambda s, t, m: (1 - F.cosine_similarity(s, t.detach(), dim=-1))[m.bool()].mean(),
    ],
    "09.layer_map": [
        lambda ours, theirs: {n: (n + 1) * theirs // ours - 1 for n in range(ours)},
        lambda ours, theirs: np.arange(1, ours + 1) * theirs // ours - 1,
        lambda ours, theirs: [math.floor((n + 1) * theirs / ours) - 1 for n in range(ours)],
        lambda ours, theirs: list(range(theirs // ours - 1, theirs, theirs // ours)),
    ],
}
WRONG = {
    "09.compute_loss": {
        "T² left out, with the default reduction": lambda s, t, y, T, a: mix(s, t, y, T, a, on_soft=1 / T**2 / 2),
        "alpha on the labels, and T² left out": lambda s, t, y, T, a: mix(s, t, y, T, 1 - a, on_soft=1 / T**2),
        "alpha on the labels, with the default reduction": lambda s, t, y, T, a: mix(s, t, y, T, 1 - a, on_soft=1 / 2),
        "the sum over the batch": lambda s, t, y, T, a: mix(s, t, y, T, a, on_soft=len(y)),
        "T in place of T²": lambda s, t, y, T, a: mix(s, t, y, T, a, on_soft=1 / T),
        "T² on the labels' part too": lambda s, t, y, T, a: mix(s, t, y, T, a, on_hard=T * T),
        "no alpha": lambda s, t, y, T, a: soft(s, t.detach(), T) + hard(s, y),
        "alpha on the soft part only": lambda s, t, y, T, a: a * soft(s, t.detach(), T) + hard(s, y),
        "KL the other way round": lambda s, t, y, T, a: a * reverse(s, t, T) + (1 - a) * hard(s, y),
        "cross-entropy in place of KL": lambda s, t, y, T, a: a * entropies(s, t, T) + (1 - a) * hard(s, y),
        "T² left out, with cross-entropy in place of KL": lambda s, t, y, T, a: a * entropies(s, t, T) / T**2 + (1 - a) * hard(s, y),
        "softmax where log_softmax belongs": lambda s, t, y, T, a: a * T**2 * batchmean(F.softmax(s / T, 1), F.softmax(t / T, 1)) + (1 - a) * hard(s, y),
        "KL on raw logits": lambda s, t, y, T, a: a * T**2 * batchmean(s / T, t / T) + (1 - a) * hard(s, y),
        "the student's logits are raw": lambda s, t, y, T, a: a * T**2 * batchmean(s / T, F.softmax(t / T, 1)) + (1 - a) * hard(s, y),
        "the teacher's logits are raw": lambda s, t, y, T, a: a * T**2 * batchmean(F.log_softmax(s / T, 1), t / T) + (1 - a) * hard(s, y),
        "softmax twice": lambda s, t, y, T, a: a * soft(F.softmax(s, 1), F.softmax(t.detach(), 1), T) + (1 - a) * hard(s, y),
        "temperature on the labels' part too": lambda s, t, y, T, a: a * soft(s, t.detach(), T) + (1 - a) * hard(s / T, y),

        "alpha on the labels": lambda s, t, y, T, a: (1 - a) * soft(s, t.detach(), T) + a * hard(s, y),
        "T² left out": lambda s, t, y, T, a: a * soft(s, t.detach(), T) / T**2 + (1 - a) * hard(s, y),
        "the default reduction": lambda s, t, y, T, a: a * soft(s, t.detach(), T) / 2 + (1 - a) * hard(s, y),
        "the teacher's graph kept": lambda s, t, y, T, a: a * soft(s, t, T) + (1 - a) * hard(s, y),
    },
    "09.hidden_cosine": {
        "padding counts as text": lambda s, t, m: 1 - F.cosine_similarity(s, t.detach(), dim=-1).mean(),
        "divided by every position": lambda s, t, m: ((1 - F.cosine_similarity(s, t.detach(), dim=-1)) * m).mean(),
        "the cosine itself": lambda s, t, m: F.cosine_similarity(s, t.detach(), dim=-1)[m.bool()].mean(),
        "the teacher's graph kept": lambda s, t, m: (1 - F.cosine_similarity(s, t, dim=-1))[m.bool()].mean(),
    },
    "09.layer_map": {
        "the teacher's layers first": lambda ours, theirs: {(n + 1) * theirs // ours - 1: n for n in range(ours)},

        "the last layer is left out": lambda ours, theirs: list(range(0, theirs, theirs // ours)),
        "counted from 1": lambda ours, theirs: [(n + 1) * theirs // ours for n in range(ours)],
        "layer by layer from the bottom": lambda ours, theirs: [*range(ours)],
    },
}  # fmt: skip
UNKNOWN = {
    "09.compute_loss": [lambda s, t, y, T, a: 0.4 * mix(s, t, y, T, a), lambda s, t, y, T, a: mix(s, t, y, 2 * T, a)],
    "09.hidden_cosine": [lambda s, t, m: 0.4 * by_loop(s, t, m), lambda s, t, m: F.mse_loss(s, t.detach())],
    "09.layer_map": [lambda ours, theirs: np.linspace(0, theirs - 1, ours).round(), lambda ours, theirs: 7],
}  # fmt: skip


def handed_over(
    trainer, model, inputs, return_outputs=False, num_items_in_batch=None, *, share=None, own=False, graph=False
):
    """As the Trainer's own: labels taken out of the batch first."""
    inputs = dict(inputs)
    y = inputs.pop("labels")
    outputs = model(**inputs, labels=y)
    t = trainer.teacher(**inputs)["logits"]
    a = trainer.args.alpha if share is None else share
    loss = outputs.loss if own else mix(outputs["logits"], t if graph else t.detach(), y, trainer.args.temperature, a)
    return (loss, outputs) if return_outputs else loss


def politely(trainer, model, inputs, return_outputs=False, num_items_in_batch=None, **more):
    teacher = trainer.teacher

    def quietly(**batch):
        with torch.inference_mode():
            out = teacher(**batch)
        return {"logits": out["logits"].clone()}

    class Mine:
        args = trainer.args

    Mine.teacher = staticmethod(quietly)
    return handed_over(Mine, model, inputs, return_outputs, **more)


RIGHT["09.trainer_loss"] = [
    politely,
    lambda trainer, model, inputs, return_outputs=False, num_items_in_batch=None: (
        lambda pair: pair if return_outputs else pair[0]
    )(politely(trainer, model, inputs, True)),
]
WRONG["09.trainer_loss"] = {
    "alpha on the labels": lambda *given, **more: politely(*given, **more, share=1 - given[0].args.alpha),
    "the outputs are forgotten": lambda *given, return_outputs=False, **more: politely(*given, **more),
    "the model's own loss": lambda trainer, model, inputs, return_outputs=False, num_items_in_batch=None: (
        (model(**inputs).loss, model(**inputs)) if return_outputs else model(**inputs).loss
    ),
    "the teacher's graph is kept": handed_over,
    "num_items_in_batch is missing": lambda trainer, model, inputs, return_outputs=False: politely(
        trainer, model, inputs, return_outputs
    ),
    "the cookbook's method as it stands": lambda trainer, model, inputs, return_outputs=False: politely(
        trainer, model, inputs, return_outputs, share=1 - trainer.args.alpha
    ),
}
UNKNOWN["09.trainer_loss"] = [
    lambda *given, **more: politely(*given, **more, share=0.35),
    lambda *given, return_outputs=False, **more: (lambda loss: (loss, None, 1) if return_outputs else 0.4 * loss)(
        politely(*given)
    ),
]
