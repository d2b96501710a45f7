"""Answers to lab 07's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import torch
from torch.nn import functional as F


def ce(s, y):
    return -F.log_softmax(s, 1)[torch.arange(len(y)), y].mean()


def kl(p, q):
    return (p.exp() * (p - q)).sum(1).mean()


def ls(z):
    return z - z.logsumexp(1, keepdim=True)


def generations(nets, train):
    train(nets[0], None)
    for n in range(1, len(nets)):
        train(nets[n], nets[n - 1])
    return nets[-1]


def as_train_returns(nets, train):
    teacher = None
    for net in nets:
        teacher = train(net, teacher)
    return teacher


def one_teacher(nets, train):
    for n, net in enumerate(nets):
        train(net, None if n == 0 else nets[0])
    return nets[-1]


def untrained(nets, train):
    for n in range(1, len(nets)):
        train(nets[n], nets[n - 1])
    return nets[-1]


def itself(nets, train):
    train(nets[0], None)
    for net in nets[1:]:
        train(net, net)
    return nets[-1]


def first(nets, train):
    generations(nets, train)
    return nets[0]


RIGHT = {
    "07.peer_loss": [
        lambda s, o, y: (
            F.cross_entropy(s, y)
            + F.kl_div(s.log_softmax(1), o.data.log_softmax(1), reduction="sum", log_target=True) / len(s)
        ),
        lambda s, o, y: (
            sum(ce(a[None], b[None]) + kl(ls(c[None].detach()), ls(a[None])) for a, b, c in zip(s, y, o, strict=True))
            / len(y)
        ),
        lambda s, o, y: ce(s, y) + kl(ls(o.detach()), ls(s)),
    ],
    "07.born_again": [
        lambda nets, train: [train(net, nets[n - 1] if n else None) for n, net in enumerate(nets)] and nets[-1],
        generations,
        as_train_returns,
    ],
}
WRONG = {
    "07.peer_loss": {
        "the sum over the batch": lambda s, o, y: ce(s, y) + F.kl_div(ls(s), ls(o.detach()).exp(), reduction="sum"),
        "cross-entropy in place of KL": lambda s, o, y: ce(s, y) - (ls(o.detach()).exp() * ls(s)).sum(1).mean(),
        "softmax where log_softmax belongs": lambda s, o, y: ce(s, y) + F.kl_div(ls(s).exp(), ls(o.detach()).exp(), reduction="batchmean"),
        "cross-entropy on probabilities": lambda s, o, y: ce(s.softmax(1), y) + kl(ls(o.detach()), ls(s)),

        "both peers share one gradient": lambda s, o, y: ce(s, y) + kl(ls(o), ls(s)),
        "KL the other way round": lambda s, o, y: ce(s, y) + kl(ls(s), ls(o.detach())),
        "the labels are left out": lambda s, o, y: kl(ls(o.detach()), ls(s)),
        "the default reduction": lambda s, o, y: ce(s, y) + kl(ls(o.detach()), ls(s)) / 5,
    },
    "07.born_again": {
        "one teacher for all": one_teacher,
        "the first generation is not trained": untrained,
        "a net teaches itself": itself,
        "the first is returned": first,
    },
}  # fmt: skip
UNKNOWN = {
    "07.peer_loss": [lambda s, o, y: 0.4 * (ce(s, y) + kl(ls(o.detach()), ls(s))), lambda s, o, y: ce(s, y) + kl(ls(o.detach() / 3), ls(s / 3))],
    "07.born_again": [lambda nets, train: generations(nets[::-1], train), lambda nets, train: [train(net, last) for net, last in zip(nets, [None, *nets], strict=False)]],
}  # fmt: skip


def mutual(own, said, y):
    """Of one peer, given what the other has said: probabilities."""
    log_q = F.log_softmax(own, -1)
    return F.nll_loss(log_q, y) + F.kl_div(log_q, said, reduction="batchmean")


def taken(first, second, x, y, optimizers):
    """Twice backward, each graph its own, and what was said is kept without a graph."""
    with torch.no_grad():
        said = [F.softmax(net(x), -1) for net in (second, first)]
    losses = []
    for net, heard, optimizer in zip((first, second), said, optimizers, strict=True):
        optimizer.zero_grad(set_to_none=False)
        loss = mutual(net(x), heard, y)
        loss.backward()
        losses.append(loss.item())
    [optimizer.step() for optimizer in optimizers]
    return losses


def at_once(first, second, x, y, optimizers, *, cut=True, clear=True, steps=(0, 1), talk=1.0):
    a, b = first(x), second(x)
    p, q = a.softmax(1), b.softmax(1)
    if cut:
        p, q = p.detach(), q.detach()
    la = ce(a, y) + talk * (q * (q.log() - ls(a))).sum(1).mean()
    lb = ce(b, y) + talk * (p * (p.log() - ls(b))).sum(1).mean()
    if clear:
        for net in (first, second):
            net.zero_grad()
    torch.autograd.backward([la, lb])
    for n in steps:
        optimizers[n].step()
    return la, lb


def in_turn(first, second, x, y, optimizers):
    losses = ()
    for nets, optimizer in zip(((first, second), (second, first)), optimizers, strict=True):
        optimizer.zero_grad()
        loss = mutual(nets[0](x), nets[1](x).softmax(1).detach(), y)
        loss.backward()
        optimizer.step()
        losses += (loss,)
    return losses


RIGHT["07.online_step"] = [taken, at_once]
WRONG["07.online_step"] = {
    "the second peer hears the updated first": in_turn,
    "the other peer is not detached": lambda *given: at_once(*given, cut=False),
    "only one peer is updated": lambda *given: at_once(*given, steps=(0,)),
    "zero_grad is missing": lambda *given: at_once(*given, clear=False),
    "no optimiser steps": lambda *given: at_once(*given, steps=()),
    "the peers do not talk": lambda *given: at_once(*given, talk=0.0),
}
UNKNOWN["07.online_step"] = [
    lambda *given: at_once(*given, talk=0.3),
    lambda *given: at_once(*given)[0],
]
