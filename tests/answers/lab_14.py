"""Answers to lab 14's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np
import torch
from torch import nn
from torchvision.transforms.v2 import functional as pictures


def head(model, classes, *, body=True, learning=True, fresh=True):
    model.classifier = nn.Linear(model.body.out_features, classes).requires_grad_(fresh)
    if not body:
        model.body = nn.Linear(model.body.in_features, model.body.out_features)
    for parameter in model.body.parameters():
        parameter.requires_grad = learning
    return model


def on_top(model, classes):
    model.classifier = nn.Sequential(model.classifier, nn.ReLU(), nn.Linear(5, classes))
    return model


def cut(model, classes):
    old = model.classifier
    model.classifier = nn.Linear(4, classes)
    model.classifier.load_state_dict({"weight": old.weight[:classes], "bias": old.bias[:classes]})
    return model


def views(p, y, augment, n, *, first=None, nested=False, interleave=False):
    rounds, last = [], p
    for number in range(n):
        last = augment(last if nested else p) if first is None or number else first(p)
        rounds.append(last)
    found = torch.stack(rounds).flatten(0, 1)
    return found, torch.stack([y] * n, dim=1 if interleave else 0).flatten()


def asked(p, teacher, augment):
    one = augment(p)
    return one, teacher(one).detach()


def one_by_one(p, teacher, augment):
    found = torch.stack([augment(one[None])[0] for one in p])
    with torch.inference_mode():
        answers = [teacher(one[None])[0] for one in found]
    return found, torch.stack(answers)


def picture_by_picture(p, y, augment, n):
    rounds = [torch.stack([augment(one[None])[0] for one in p]) for _ in range(n)]
    return torch.cat(rounds), torch.cat([y for _ in range(n)])


def by_loop(confidence, right, error, asking, *, told_only=True, free=False):
    """One candidate after another, in Python's own numbers."""
    sure, good = confidence.tolist(), right.tolist()

    def cost(threshold):
        wrong = sum((c >= threshold or not told_only) and not r for c, r in zip(sure, good, strict=True))
        return error * wrong + (0 if free else asking) * sum(c < threshold for c in sure)

    return min(sorted([0.0, *sure, 1.1]), key=cost)


def by_sorting(confidence, right, error, asking):
    sure, order = confidence.sort(descending=True)
    wrong = torch.cat([torch.zeros(1), (~right[order]).cumsum(0)])
    costs = error * wrong + asking * torch.arange(len(sure), -1, -1)
    return torch.cat([torch.tensor([1.5]), sure])[costs.argmin()].item()


RIGHT = {
    "14.cheapest_threshold": [by_loop, by_sorting, lambda c, r, e, a: by_loop(c, r, e, a) - 0.01],
    "14.new_head": [
        lambda model, classes: (
            setattr(model, "classifier", nn.LazyLinear(classes)) or (model(torch.zeros(1, 3)), model)[1]
        ),
        head,
    ],
    "14.same_view": [one_by_one, asked],
    "14.fixed_views": [
        picture_by_picture,
        lambda p, y, augment, n: (
            torch.stack([augment(p) for _ in range(n)]).flatten(0, 1),
            torch.tensor(y.tolist() * n),
        ),
        views,
    ],
    "14.from_pixels": [
        lambda x, m, s: np.transpose((x.numpy() / 255 - m.numpy()) / s.numpy(), (0, 3, 1, 2)),
        lambda x, m, s: [torch.stack([(one[..., c] / 255 - m[c]) / s[c] for c in range(3)]) for one in x],
        lambda x, m, s: pictures.normalize(
            pictures.to_dtype(x.permute(0, 3, 1, 2), scale=True), m.tolist(), s.tolist()
        ),
    ],
}
WRONG = {
    "14.cheapest_threshold": {
        "asking is free": lambda *given: by_loop(*given, free=True),
        "the most accurate answers": lambda c, r, e, a: max(sorted(c.tolist()), key=lambda t: r[c >= t].float().mean().item()),
        "mistakes that nobody is told are paid for": lambda *given: by_loop(*given, told_only=False),
        "answered below the threshold": lambda c, r, e, a: min(
            [0.0, *c.tolist(), 1.1], key=lambda t: e * (~r[c < t]).sum().item() + a * (c >= t).sum().item()
        ),
        "the two costs exchanged": lambda c, r, e, a: by_loop(c, r, a, e),
        "Chow's rule": lambda c, r, e, a: max(1 - a / e, 0.0),
    },
    "14.new_head": {
        "a layer on top of the old head": on_top,
        "the old head, cut down": cut,
        "a softmax behind the head": lambda model, classes: (
            setattr(model, "classifier", nn.Sequential(nn.LazyLinear(classes), nn.Softmax(-1))), model(torch.zeros(1, 3)), model
        )[2],
        "the head is frozen": lambda model, classes: head(model, classes, fresh=False),
        "the body is made anew": lambda model, classes: head(model, classes, body=False),
        "the body is frozen": lambda model, classes: head(model, classes, learning=False),
    },
    "14.same_view": {
        "the teacher sees the whole picture": lambda p, t, a: (a(p), t(p).detach()),
        "two draws": lambda p, t, a: (a(p), t(a(p)).detach()),
        "the student sees the whole picture": lambda p, t, a: (p, t(a(p)).detach()),
        "the teacher's graph is kept": lambda p, t, a: (lambda v: (v, t(v)))(a(p)),
    },
    "14.fixed_views": {
        "labels out of step with the views": lambda *given: views(*given, interleave=True),
        "one view, copied": lambda p, y, a, n: (torch.cat([a(p)] * n), torch.cat([y] * n)),
        "views of views": lambda *given: views(*given, nested=True),
        "the pictures among their views": lambda *given: views(*given, first=lambda p: p),
    },
    "14.from_pixels": {
        "not divided by 255": lambda x, m, s: x.permute(0, 3, 1, 2).float().sub(m.view(3, 1, 1)).div(s.view(3, 1, 1)),
        "divided by 255 at the end": lambda x, m, s: ((x.float() - m) / s).movedim(3, 1) / 255,
        "the batch's own mean and deviation": lambda x, m, s: (lambda f: (f - f.mean((0, 1, 2))) / f.std((0, 1, 2)))(x / 255).movedim(3, 1),
        "reshaped, not permuted": lambda x, m, s: ((x / 255 - m) / s).reshape(len(x), 3, x.shape[1], x.shape[2]),
    },
}  # fmt: skip
UNKNOWN = {
    "14.cheapest_threshold": [lambda c, r, e, a: 0.5, lambda c, r, e, a: c >= by_loop(c, r, e, a)],
    "14.new_head": [lambda model, classes: nn.Linear(4, classes), lambda model, classes: head(model, classes + 1)],
    "14.same_view": [lambda p, t, a: t(a(p)).detach(), lambda p, t, a: (v := a(p), 2 * t(v).detach())],
    "14.fixed_views": [lambda p, y, a, n: torch.cat([a(p) for _ in range(n)]), lambda p, y, a, n: views(p, y, a, n - 1)],
    "14.from_pixels": [lambda x, m, s: (x / 255 - m) / s, lambda x, m, s: ((x / 255 - m) / s).permute(0, 3, 2, 1)],
}  # fmt: skip
