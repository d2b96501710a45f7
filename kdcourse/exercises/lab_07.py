"""The exercises of lab 07, Train online."""

import torch
from torch import nn
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import filled, gradients
from kdcourse.exercises.verdicts import Mistake
from kdcourse.system.generators import seeded_rng

LABELS = torch.tensor([0, 3, 2, 1, 4, 0])


def _logits(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@define(
    "07.peer_loss",
    goal="One peer's loss: cross-entropy with the labels plus KL(other ‖ own), batch mean. The other peer is a constant here.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("Each peer moves by its own gradient: the other's logits are detached.",
           "F.kl_div(log_softmax(own), softmax(other), reduction='batchmean') is KL(other ‖ own).",
           "No temperature: the paper has T = 1."),
    probe=lambda answer: gradients(
        answer, [(_logits(0, 6, 5), _logits(1, 6, 5), LABELS), (_logits(2, 3, 5), _logits(3, 3, 5), LABELS[1:4])]
    ),
)  # fmt: skip
def peer_loss(own_logits, other_logits, labels):
    log_q, p = F.log_softmax(own_logits, dim=1), F.softmax(other_logits.detach(), dim=1)
    return F.cross_entropy(own_logits, labels) + F.kl_div(log_q, p, reduction="batchmean")


@peer_loss.mistake(
    "both peers share one gradient",
    "Without .detach() the gradient of this loss also moves the other peer, towards what its pupil says: another method.",
)
def _shared(own_logits, other_logits, labels):
    log_q, p = F.log_softmax(own_logits, 1), F.softmax(other_logits, 1)
    return F.cross_entropy(own_logits, labels) + F.kl_div(log_q, p, reduction="batchmean")


@peer_loss.mistake("KL the other way round", "The other peer is the target: KL(other ‖ own).")
def _swapped(own_logits, other_logits, labels):
    log_p, log_q = F.log_softmax(other_logits.detach(), 1), F.log_softmax(own_logits, 1)
    divergence = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    return F.cross_entropy(own_logits, labels) + divergence


@peer_loss.mistake(
    "the labels are left out", "Without labels two peers may agree on anything: cross-entropy keeps them to the task."
)
def _no_labels(own_logits, other_logits, labels):
    return peer_loss(own_logits, other_logits, labels) - F.cross_entropy(own_logits, labels)


@peer_loss.mistake("the default reduction", 'It averages over classes as well: reduction="batchmean".')
def _over_classes(own_logits, other_logits, labels):
    hard = F.cross_entropy(own_logits, labels)
    return hard + (peer_loss(own_logits, other_logits, labels) - hard) / own_logits.shape[1]


@peer_loss.mistake("the sum over the batch", 'Average over the batch, as cross-entropy does: reduction="batchmean".')
def _sum_over_batch(own_logits, other_logits, labels):
    hard = F.cross_entropy(own_logits, labels)
    return hard + (peer_loss(own_logits, other_logits, labels) - hard) * len(labels)


@peer_loss.mistake("cross-entropy in place of KL", "Same gradient, but the other peer's entropy is not subtracted.")
def _cross_entropies(own_logits, other_logits, labels):
    return F.cross_entropy(own_logits, labels) + F.cross_entropy(own_logits, other_logits.detach().softmax(1))


@peer_loss.mistake("softmax where log_softmax belongs", "F.kl_div takes the own log-probabilities: F.log_softmax.")
def _no_logarithm(own_logits, other_logits, labels):
    q, p = own_logits.softmax(1), other_logits.detach().softmax(1)
    return F.cross_entropy(own_logits, labels) + F.kl_div(q, p, reduction="batchmean")


@peer_loss.mistake("cross-entropy on probabilities", "F.cross_entropy applies the softmax itself: give it logits.")
def _softmax_twice(own_logits, other_logits, labels):
    hard = F.cross_entropy(own_logits, labels)
    return peer_loss(own_logits, other_logits, labels) - hard + F.cross_entropy(own_logits.softmax(1), labels)


def _two_updates(answer) -> dict[str, object]:
    """Two generations on a fixed batch, told apart by the weights that they end with."""
    with seeded_rng(0):
        nets = [nn.Linear(4, 3) for _ in range(3)]
    for place, net in enumerate(nets):
        net.place = place  # a copy of a net keeps it
    before = [net.weight.detach().clone() for net in nets]
    asked, rigid = [], []

    def train(student, teacher):
        rigid.append(not all(parameter.requires_grad for parameter in student.parameters()))
        asked.append((getattr(student, "place", -9), -1 if teacher is None else getattr(teacher, "place", -9)))
        with torch.no_grad():
            student.weight += 1 if teacher is None else teacher.weight
        return student

    final = filled(answer(nets, train))
    return {
        "order of (student, teacher)": torch.tensor(asked or [(-9, -9)]),
        "a network is returned": isinstance(final, nn.Module),
        "the last generation is returned": getattr(final, "place", None) == 2,
        "a net was frozen before it was trained": any(rigid),
        "weights of the first": nets[0].weight - before[0],
    }


@define(
    "07.born_again",
    goal="Generations: train the first net without a teacher, each next one with the net before it. Return the last.",
    difficulty="easy",
    minutes="five minutes",
    hints=("train(student, teacher) is given; teacher None means labels only.",
           "Loop over the nets and remember the one before.",
           "for student in nets: train(student, teacher); teacher = student"),
    probe=_two_updates,
)  # fmt: skip
def born_again(nets, train):
    teacher = None
    for student in nets:
        train(student, teacher)
        teacher = student
    return teacher


@born_again.mistake(
    "one teacher for all", "Every generation then learns from the first: the teacher is the net before."
)
def _first_teaches_all(nets, train):
    train(nets[0], None)
    for student in nets[1:]:
        train(student, nets[0])
    return nets[-1]


@born_again.mistake(
    "the first generation is not trained", "An untrained net has nothing to teach: train it on labels first."
)
def _untrained(nets, train):
    for student, teacher in zip(nets[1:], nets, strict=False):
        train(student, teacher)
    return nets[-1]


@born_again.mistake(
    "a net teaches itself", "The teacher would change while it teaches: it is the generation before, frozen."
)
def _itself(nets, train):
    for student in nets:
        train(student, None if student is nets[0] else student)
    return nets[-1]


@born_again.mistake("the first is returned", "The last generation is what the chain was for.")
def _wrong_one(nets, train):
    born_again(nets, train)
    return nets[0]


def _two_steps(answer) -> dict[str, object]:
    """Two steps of two small peers: the losses that come back, and the weights that are left behind."""
    with seeded_rng(0):
        peers = [nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)) for _ in range(2)]
        optimizers = [torch.optim.SGD(peer.parameters(), lr=0.5) for peer in peers]
        batches = [(2 * torch.randn(16, 6), torch.randint(4, (16,))) for _ in range(2)]
    found: dict[str, object] = {}
    for number, batch in enumerate(batches, start=1):
        losses = filled(answer(*peers, *batch, optimizers))
        pair = isinstance(losses, tuple | list) and len(losses) == 2
        losses = torch.stack([torch.as_tensor(loss).detach() for loss in losses]) if pair else losses
        found[f"losses of step {number}"] = losses
        for name, peer in zip(("first", "second"), peers, strict=True):
            weights = torch.cat([parameter.detach().flatten() for parameter in peer.parameters()])
            found[f"weights of the {name} peer after step {number}"] = weights
    return found


@define(
    "07.online_step",
    goal="One step of two peers: both answer the same pictures, each has its peer_loss, and both are updated once.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("Ask both peers first, once each; both losses come from these two answers.",
           "peer_loss holds the other peer constant, so the sum of both losses gives each peer its own gradient.",
           "zero_grad for both optimisers, backward, step for both, in this order; return (first loss, second loss)."),
    probe=_two_steps,
)  # fmt: skip
def online_step(first, second, images, labels, optimizers):
    one, other = first(images), second(images)
    losses = peer_loss(one, other, labels), peer_loss(other, one, labels)
    for optimizer in optimizers:
        optimizer.zero_grad()
    sum(losses).backward()
    for optimizer in optimizers:
        optimizer.step()
    return losses


def _online(*, loss=_shared, detach=True, zero=True, moved=2):
    """A step with some of its habits left out: `moved` of the two optimisers update their peer."""

    def step(first, second, images, labels, optimizers):
        one, other = first(images), second(images)
        heard = (other.detach(), one.detach()) if detach else (other, one)
        losses = loss(one, heard[0], labels), loss(other, heard[1], labels)
        if zero:
            for optimizer in optimizers:
                optimizer.zero_grad()
        sum(losses).backward()
        for optimizer in optimizers[:moved]:
            optimizer.step()
        return losses

    return step


def _one_after_the_other(first, second, images, labels, optimizers):
    losses = []
    for own, other, optimizer in ((first, second, optimizers[0]), (second, first, optimizers[1])):
        losses.append(_shared(own(images), other(images).detach(), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    return tuple(losses)


def _labels_alone(own_logits, other_logits, labels):
    return F.cross_entropy(own_logits, labels)


for _name, _explanation, _function in (
    (
        "the second peer hears the updated first",
        "The first was updated before the second asked it: get both answers first, then update both.",
        _one_after_the_other,
    ),
    (
        "the other peer is not detached",
        "Each loss then moves both peers, towards what the pupil says: use peer_loss, or .detach() the other's logits.",
        _online(detach=False),
    ),
    (
        "only one peer is updated",
        "Both optimisers must step: a peer that is never updated learns nothing.",
        _online(moved=1),
    ),
    (
        "zero_grad is missing",
        "Gradients add up from step to step: call zero_grad of both optimisers before backward.",
        _online(zero=False),
    ),
    ("no optimiser steps", "backward computes gradients; step() uses them, once for each peer.", _online(moved=0)),
    (
        "the peers do not talk",
        "These are strangers, which learn from labels alone: each loss needs the other's answer.",
        _online(loss=_labels_alone),
    ),
):
    online_step.mistakes.append(Mistake(_name, _explanation, _function))
