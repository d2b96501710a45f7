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
    "07.peer_loss": [lambda s, o, y: ce(s, y) + kl(ls(o.detach()), ls(s))],
    "07.born_again": [generations],
}
WRONG = {
    "07.peer_loss": {
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
}


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
