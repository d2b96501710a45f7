"""Answers to lab 05's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np
import torch
from torch.nn import functional as F

from kdcourse import losses
from kdcourse.evaluation import measure


def d(e):
    return (e[:, None] - e[None]).square().sum(-1).clamp(min=1e-20).sqrt() * (1 - torch.eye(len(e)))


def relative(e):
    return d(e) * (len(e) ** 2 - len(e)) / d(e).sum()


def between(e):
    return e.unsqueeze(0) - e.unsqueeze(1)


def gram(e, p=2):
    g = torch.einsum("id,jd->ij", e, e)
    return g / g.norm(p=p, dim=1, keepdim=True)


def nearest(scores, y):
    return 100 * (y[(scores - 1e9 * torch.eye(len(y))).max(1).indices] == y).double().mean()


def cosines(e):
    return F.cosine_similarity(e[:, None], e[None], dim=2)


def vertex_by_vertex(e):
    planes = []
    for vertex in e:
        way = e - vertex
        squared = way.square().sum(1, keepdim=True)
        unit = way / torch.where(squared > 0, squared, torch.ones_like(squared)).sqrt()
        planes.append(unit @ unit.T)
    return torch.stack(planes)


def table(w):
    return w @ w.mT


RIGHT = {
    "05.relative_distances": [
        lambda e: (way := between(e).norm(dim=2)) * (len(e) ** 2 - len(e)) / way.sum(),
        relative,
        losses.distances,
    ],
    "05.rkd_distance": [
        losses.rkd_distance,
        lambda s, t: F.huber_loss(relative(s), relative(t.detach())),
    ],
    "05.angles": [
        vertex_by_vertex,
        losses.angles,
        lambda e: torch.einsum(
            "jid,jkd->jik",
            *[
                between(e)
                / (between(e).square().sum(2, keepdim=True) + (between(e).square().sum(2, keepdim=True) == 0)).sqrt()
            ]
            * 2,
        ),
    ],
    "05.similarity_preserving": [
        losses.similarity_preserving,
        lambda s, t: (gram(s) - gram(t.detach())).square().sum() / len(s) ** 2,
    ],
    "05.recall_at_1": [
        lambda e, y: (
            100
            * np.mean(
                [
                    float(y[others[cosines(e)[i, others].argmax()]] == y[i])
                    for i in range(len(e))
                    for others in [[j for j in range(len(e)) if j != i]]
                ]
            )
        ),
        lambda e, y: measure.recall_at_1(e, y),
        lambda e, y: nearest(cosines(e), y),
    ],
}
WRONG = {
    "05.relative_distances": {
        "not normalised": d,
        "the zeros are in the mean": lambda e: d(e) / torch.mean(d(e)),
        "squared distances": lambda e: d(e) ** 2 * (len(e) ** 2 - len(e)) / (d(e) ** 2).sum(),
        "the largest distance as unit": lambda e: d(e) / d(e).amax(),
        "the gradient is NaN": lambda e: (way := between(e).square().sum(2) ** 0.5) / way[way != 0].mean(),
        "no gradient": lambda e: np.asarray(d(e)) / np.asarray(d(e))[np.asarray(d(e)) > 0].mean(),
        "the mean is detached": lambda e: d(e) * (len(e) ** 2 - len(e)) / d(e).sum().item(),
    },
    "05.rkd_distance": {
        "unnormalised distances": lambda s, t: F.huber_loss(d(s), d(t.detach())),
        "plain squared error": lambda s, t: (relative(s) - relative(t.detach())).square().mean(),
        "the teacher is not detached": lambda s, t: F.huber_loss(relative(s), relative(t)),
        "one unit for both": lambda s, t: F.huber_loss(d(s) / (u := d(t.detach()).sum() / (len(t) ** 2 - len(t))), d(t.detach()) / u),
    },
    "05.angles": {
        "the gradient is NaN": lambda e: torch.nan_to_num(table(between(e) / between(e).norm(dim=-1, keepdim=True))),
        "no gradient": lambda e: torch.tensor(np.nan_to_num(table(between(e.detach()) / between(e.detach()).norm(dim=-1, keepdim=True)).numpy())),

        "cosines of the embeddings": lambda e: torch.stack([cosines(e)] * len(e)),
        "inner products, not cosines": lambda e: torch.einsum("jid,jkd->jik", between(e), between(e)),
        "equal embeddings give NaN": lambda e: (w := between(e) / between(e).square().sum(2, keepdim=True).sqrt()) @ w.mT,
        "equal embeddings blow the gradient up": lambda e: (w := F.normalize(between(e), p=2, dim=-1)) @ w.mT,
    },
    "05.similarity_preserving": {
        "rows that add to 1": lambda s, t: (gram(s, 1) - gram(t.detach(), 1)).square().mean(),
        "not normalised": lambda s, t: (s @ s.T - t.detach() @ t.detach().T).square().mean(),
        "cosines of the embeddings": lambda s, t: (cosines(s) - cosines(t.detach())).square().mean(),
        "channels for pictures": lambda s, t: (lambda k: (F.normalize((s.T @ s)[:k, :k]) - F.normalize((t.T @ t)[:k, :k]).detach()).square().mean())(min(s.shape[1], t.shape[1])),
        "the teacher is not detached": lambda s, t: (gram(s) - gram(t)).square().mean(),
    },
    "05.recall_at_1": {
        "each picture finds itself": lambda e, y: 100 * (y[cosines(e).argmax(1)] == y).float().mean(),
        "inner products, not cosines": lambda e, y: nearest(e @ e.T, y),
        "the farthest picture": lambda e, y: 100 * (y[cosines(e).min(1).indices] == y).float().mean(),
        "a share, not percent": lambda e, y: nearest(cosines(e), y) / 100,
    },
}  # fmt: skip
UNKNOWN = {
    "05.relative_distances": [lambda e: relative(e) * 0.4, lambda e: relative(e).sqrt()],
    "05.rkd_distance": [lambda s, t: F.l1_loss(relative(s), relative(t.detach())), lambda s, t: 0.4 * F.huber_loss(relative(s), relative(t.detach()))],
    "05.angles": [lambda e: vertex_by_vertex(e).acos(), lambda e: 0.4 * vertex_by_vertex(e)],
    "05.similarity_preserving": [lambda s, t: F.l1_loss(gram(s), gram(t.detach())), lambda s, t: 0.4 * F.mse_loss(gram(s), gram(t.detach()))],
    "05.recall_at_1": [lambda e, y: nearest(-torch.cdist(e, e) ** 0.5, y.flip(0)), lambda e, y: 100 - nearest(cosines(e), y)],
}  # fmt: skip


def logits(s, t, temperature):
    return F.cosine_similarity(s[:, None], t[None], dim=2) / temperature


def diagonal(z, dim=1):
    return -z.log_softmax(dim).diagonal().sum() / len(z)


RIGHT |= {
    "05.info_nce": [
        lambda s, t, T: losses.contrastive(s, t, temperature=T),
        lambda s, t, T: diagonal(logits(s, t.detach(), T)),
        lambda s, t, T: ((z := logits(s, t.data, T)).exp().sum(1).log() - z.diag()).mean(),
    ],
}
WRONG |= {
    "05.info_nce": {
        "not normalised": lambda s, t, T: diagonal(s @ t.detach().T / T),
        "multiplied by the temperature": lambda s, t, T: diagonal(logits(s, t.detach(), 1 / T)),
        "the positives left out of the denominator": lambda s, t, T: ((z := logits(s, t.detach(), T)) * -torch.eye(len(z))).sum(1).add((z.exp() * (1 - torch.eye(len(z)))).sum(1).log()).mean(),
        "the softmax over the wrong side": lambda s, t, T: diagonal(logits(s, t.detach(), T), dim=0),
        "softmax before cross-entropy": lambda s, t, T: diagonal(logits(s, t.detach(), T).softmax(1)),
        "the teacher is not detached": lambda s, t, T: diagonal(logits(s, t, T)),
    },
}  # fmt: skip
UNKNOWN |= {
    "05.info_nce": [
        lambda s, t, T: 0.4 * losses.contrastive(s, t, temperature=T),
        lambda s, t, T: losses.contrastive(s, t, temperature=3 * T),
    ],
}  # fmt: skip
