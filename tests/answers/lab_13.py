"""Answers to lab 13's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import torch
from torch.nn import functional as F


def kl(p, q, dim=2):
    return (p.softmax(dim) * (p.log_softmax(dim) - q.log_softmax(dim))).sum(2)


def on_policy(text, prompt, write, student, teacher, loss, late=0, start=True, own=True):
    new = write(text[:, :prompt], text.shape[1] - prompt)
    read = new if own else text
    first = prompt - 1 + late if start else 0
    return loss(student(read)[:, first:], teacher(read)[:, first:])


def without_the_last(text, prompt, write, student, teacher, loss):
    """TRL's slice: what the last position foretells was never written."""
    new = write(text[:, :prompt], text.shape[1] - prompt)
    return loss(student(new)[:, prompt - 1 : -1], teacher(new)[:, prompt - 1 : -1])


def text_by_text(text, prompt, write, student, teacher, loss):
    losses = []
    for one in text:
        new = write(one[None, :prompt], len(one) - prompt)
        losses.append(loss(student(new)[:, prompt - 1 :], teacher(new)[:, prompt - 1 :]))
    return sum(losses) / len(losses)


def on_new(text, prompt, write, student, teacher, loss, *, first, length, given=None):
    new = write(text[:, :given], length)
    return loss(student(new)[:, first:], teacher(new)[:, first:])


def accept(p, q, token, *, chance=None, rest=None):
    ratio = min(1.0, float(p[token] / q[token]))
    missing = torch.where(p > q, p - q, torch.zeros_like(p))
    return ratio if chance is None else chance, missing / missing.sum() if rest is None else rest


def accept_by_parts(p, q, token):
    """What is kept of each token is min(p, q), and what is missing to p is the rest."""
    kept = torch.minimum(p, q)
    return kept[token] / q[token], (p - kept) / (1 - kept.sum())


def one_by_one(traces, answers, *, best=True, end=-1):
    """Problem by problem, draw by draw."""
    kept = []
    for n, wanted in enumerate(answers.tolist()):
        drawn = [trace for trace in traces[:, n] if (trace[end].item() == wanted) == best]
        kept += drawn[:1]
    return torch.stack(kept) if kept else traces[0, :0]


def kept_blindly(traces, answers):
    right = traces[..., -1].eq(answers)
    return torch.stack([traces[right[:, n].int().argmax(), n] for n in range(len(answers))])


def first_by_order(traces, answers):
    """The first right draw is the one with the smallest number among the right ones."""
    right = traces[:, :, -1] == answers
    number = torch.arange(len(traces))[:, None].where(right, torch.tensor(len(traces))).amin(dim=0)
    return torch.stack([traces[draw, n] for n, draw in enumerate(number.tolist()) if draw < len(traces)])


RIGHT = {
    "13.forward_kl": [
        lambda s, t: kl(t.detach(), s).mean(),
        lambda s, t: F.kl_div(
            s.log_softmax(2).flatten(0, 1), t.detach().softmax(2).flatten(0, 1), reduction="batchmean"
        ),
    ],
    "13.reverse_kl": [
        lambda s, t: torch.stack(
            [
                kl(a[None, None], b[None, None]).mean()
                for a, b in zip(s.flatten(0, 1), t.detach().flatten(0, 1), strict=True)
            ]
        ).mean(),
        lambda s, t: (
            F.kl_div(t.detach().log_softmax(2), s.log_softmax(2), reduction="sum", log_target=True) / s[..., 0].numel()
        ),
        lambda s, t: kl(s, t.detach()).mean(),
    ],
    "13.on_policy_loss": [without_the_last, text_by_text, on_policy],
    "13.accept": [accept, accept_by_parts],
    "13.right_traces": [one_by_one, first_by_order],
}
WRONG = {
    "13.forward_kl": {
        "the teacher is not detached": lambda s, t: kl(t, s).mean(),
        "KL on raw logits": lambda s, t: F.kl_div(s.flatten(0, 1), t.detach().flatten(0, 1), reduction="batchmean"),
        "the student's logits are raw": lambda s, t: (t.detach().softmax(2) * (t.detach().log_softmax(2) - s)).sum(2).mean(),
        "softmax twice": lambda s, t: kl(t.detach().softmax(2), s.softmax(2)).mean(),
        "cross-entropy in place of KL": lambda s, t: F.cross_entropy(s.flatten(0, 1), t.detach().softmax(2).flatten(0, 1)),
        "the sum over tokens": lambda s, t: F.kl_div(s.log_softmax(2), t.detach().softmax(2), reduction="sum"),
        "not averaged": lambda s, t: kl(t.detach(), s),

        "KL the other way round": lambda s, t: kl(s, t.detach()).mean(),
        "a mean over the vocabulary": lambda s, t: F.kl_div(s.log_softmax(2), t.detach().softmax(2)),
        "divided by the texts": lambda s, t: F.kl_div(s.log_softmax(2), t.detach().softmax(2), reduction="batchmean"),
        "softmax over the wrong dimension": lambda s, t: kl(t.detach(), s, dim=1).mean(),
    },
    "13.reverse_kl": {
        "the teacher is not detached": lambda s, t: kl(s, t).mean(),
        "the sum over tokens": lambda s, t: kl(s, t.detach()).sum(),
        "not averaged": lambda s, t: kl(s, t.detach()),

        "the forward KL": lambda s, t: kl(t.detach(), s).mean(),
        "the student's weights detached": lambda s, t: (
            (s.detach().softmax(2) * (s.log_softmax(2) - t.detach().log_softmax(2))).sum(2).mean()
        ),
        "a mean over the vocabulary": lambda s, t: (
            s.softmax(2) * (s.log_softmax(2) - t.detach().log_softmax(2))
        ).mean(),
    },
    "13.on_policy_loss": {
        "one position early": lambda *given: on_policy(*given, late=-1),
        "the last position only": lambda *given: on_policy(*given, late=4),
        "the teacher reads the given text": lambda x, p, w, s, t, loss: loss(s(w(x[:, :p], 4))[:, p - 1 :], t(x)[:, p - 1 :]),
        "the student writes too much": lambda x, p, *rest: on_new(x, p, *rest, first=p - 1, length=len(x[0]), given=p),
        "the whole text is given": lambda x, p, *rest: on_new(x, p, *rest, first=p - 1, length=len(x[0]) - p),

        "the given text is compared": lambda *given: on_policy(*given, own=False),
        "the prompt counts too": lambda *given: on_policy(*given, start=False),
        "one position late": lambda *given: on_policy(*given, late=1),
    },
    "13.accept": {
        "p and q swapped": lambda p, q, x: accept(p, q, x, chance=torch.clamp(q[x] / p[x], max=1)),
        "the teacher's probability is the chance": lambda p, q, x: accept(p, q, x, chance=p[x]),
        "a chance above 1": lambda p, q, x: accept(p, q, x, chance=p[x] / q[x]),
        "kept or refused outright": lambda p, q, x: accept(p, q, x, chance=1.0 if p[x] >= q[x] else 0.0),
        "another is drawn from the teacher": lambda p, q, x: accept(p, q, x, rest=p),
        "the rest is no distribution": lambda p, q, x: accept(p, q, x, rest=F.relu(p - q)),
        "the rest without a clamp": lambda p, q, x: accept(p, q, x, rest=F.normalize(p - q, p=1, dim=0).abs()),
        "the rest of the draft": lambda p, q, x: accept(p, q, x, rest=F.normalize(F.relu(q - p), p=1, dim=0)),
    },
    "13.right_traces": {
        "a problem without a right one is kept": kept_blindly,
        "all that end right": lambda t, a: torch.stack([one for draw in t for one, w in zip(draw, a, strict=True) if one[-1] == w]),
        "the first draw only": lambda t, a: t[0][t[0, :, -1] == a],
        "the last that ends right": lambda t, a: one_by_one(t.flip(0), a),
        "those that end wrong": lambda t, a: one_by_one(t, a, best=False),
        "the first character is compared": lambda t, a: one_by_one(t, a, end=0),
    },
}  # fmt: skip
UNKNOWN = {
    "13.forward_kl": [lambda s, t: 0.4 * kl(t.detach(), s).mean(), lambda s, t: kl(t.detach() / 2, s / 2).mean()],
    "13.reverse_kl": [lambda s, t: 0.4 * kl(s, t.detach()).mean(), lambda s, t: kl(s / 2, t.detach() / 2).mean()],
    "13.on_policy_loss": [lambda *given: on_policy(*given, late=2), lambda *given: 3 * on_policy(*given)],
    "13.accept": [
        lambda p, q, x: accept(p, q, x, chance=0.5 * min(1.0, float(p[x] / q[x]))),
        lambda p, q, x: accept(p, q, x, rest=torch.full_like(p, 1 / len(p))),
    ],
    "13.right_traces": [lambda t, a: one_by_one(t, a).flip(0), lambda t, a: one_by_one(t[1:], a)],
}  # fmt: skip
