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
