"""Answers to lab 03's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kdcourse import losses

kl = nn.KLDivLoss(reduction="batchmean")


def step(*, student_mode="train", teacher_mode="eval", grad=False, cut=True, zero=True, move=True):
    """Training steps as students write them, with one habit missing."""

    def answer(student, teacher, images, labels, optimizer):
        getattr(student, student_mode)()
        getattr(teacher, teacher_mode)()
        if zero:
            optimizer.zero_grad()
        if grad:
            t = teacher(images)
            t = t.detach() if cut else t
        else:
            with torch.inference_mode():
                t = teacher(images)
            t = t.clone()
        s = student(images)
        loss = 0.9 * 16 * kl(F.log_softmax(s / 4, -1), F.softmax(t / 4, -1)) + 0.1 * F.cross_entropy(s, labels)
        loss.backward()
        if move:
            optimizer.step()
        return loss

    return answer


def others(z, c):
    return torch.cat([z[:, :c], z[:, c + 1 :]], dim=1).amax(1) - z[:, c]


def p(logits, T):
    return F.softmax(logits.detach() / T, dim=1)


def KL(one, other):
    return (other.softmax(0) * (other.log_softmax(0) - one.log_softmax(0))).sum()


def soft(s, t, T):
    return T**2 * kl(F.log_softmax(s / T, 1), p(t, T))


def mix(part, s, t, y, T, a):
    return a * part(s, t, T) + (1 - a) * F.cross_entropy(s, y)


def keras(wanted, given):
    """keras.losses.KLDivergence, which takes probabilities."""
    wanted, given = wanted.clip(1e-7, 1), given.clip(1e-7, 1)
    return (wanted * torch.log(wanted / given)).sum(-1).mean()


def twice(*given):
    step()(*given)
    return step()(*given)


def scaled_in_place(s, t, T):
    s, t = s.clone(), t.detach().clone()
    s /= T
    t /= T
    return T**2 * kl(F.log_softmax(s, 1), F.softmax(t, 1))


def cleared_first(student, teacher, images, labels, optimizer):
    optimizer.zero_grad(set_to_none=False)
    for model, training in ((student, True), (teacher, False)):
        model.train(training)
    s, t = student(images), torch.no_grad()(teacher)(images)
    loss = mix(soft, s, t, labels, 4.0, 0.9)
    loss.backward()
    optimizer.step()
    return loss.item()


def bisection(z, c, q):
    low, high = -50.0, 50.0
    for _ in range(50):
        middle = (low + high) / 2
        won = (others(z, c) < middle).float().mean()
        low, high = (middle, high) if won < q else (low, middle)
    return high


RIGHT = {
    "03.soft_target": [
        lambda s, t, T: sum(KL(a / T, b.detach() / T) for a, b in zip(s, t, strict=True)) * T**2 / len(s),
        lambda s, t, T: T**2 * torch.einsum("nc,nc->n", p(t, T), p(t, T).log() - (s / T).log_softmax(1)).mean(),
        scaled_in_place,
        lambda s, t, T: losses.soft_target(s, t, temperature=T),
        lambda s, t, T: (
            T
            * T
            * F.kl_div((s / T).log_softmax(1), (t.detach() / T).log_softmax(1), log_target=True, reduction="sum")
            / len(s)
        ),
        lambda s, t, T: kl(F.log_softmax(s / T, 1), F.softmax(t.data / T, 1)).mul(T).mul(T),
    ],
    "03.distillation": [
        lambda s, t, y, T, a: torch.lerp(-F.log_softmax(s, 1)[range(len(y)), y].mean(), soft(s, t, T), a),
        lambda s, t, y, T, a: mix(soft, s, t, y, T, a),
        lambda s, t, y, T, a: losses.distillation(s, t, y, temperature=T, alpha=a),
    ],
    "03.training_step": [step(grad=False, cut=False), cleared_first, step()],
    "03.cached_targets": [
        lambda z, i: z.numpy()[i.numpy()],
        lambda z, i: F.one_hot(i, len(z)).float() @ z,
        lambda z, i: torch.stack([z[k] for k in i.tolist()]),
        lambda z, i: z.index_select(0, i),
    ],
    "03.shift_bias": [
        bisection,
        lambda z, c, q: others(z, c).kthvalue(round(q * len(z))).values,
        lambda z, c, q: float(np.sort(others(z, c).numpy())[round(q * len(z))]),
        lambda z, c, q: torch.quantile(others(z, c), q),
    ],
}
WRONG = {
    "03.soft_target": {
        "the sum over the batch": lambda s, t, T: T**2 * F.kl_div(F.log_softmax(s / T, 1), p(t, T), reduction="sum"),
        "T in place of T²": lambda s, t, T: T * kl(F.log_softmax(s / T, 1), p(t, T)),
        "the temperature is ignored": lambda s, t, T: T**2 * kl(F.log_softmax(s, 1), p(t, 1)),
        "KL on raw logits": lambda s, t, T: T**2 * kl(s / T, t.detach() / T),
        "the student's logits are raw": lambda s, t, T: T**2 * kl(s / T, p(t, T)),
        "the teacher's logits are raw": lambda s, t, T: T**2 * kl(F.log_softmax(s / T, 1), t.detach() / T),
        "KL on clipped logits": lambda s, t, T: T**2 * keras(t.detach() / T, s / T),
        "softmax twice": lambda s, t, T: soft(F.softmax(s, 1), F.softmax(t, 1), T),
        "softmax twice on the student": lambda s, t, T: soft(F.softmax(s, -1), t, T),
        "log_softmax of a softmax": lambda s, t, T: T**2 * kl(F.log_softmax(F.softmax(s / T, 1), 1), p(t, T)),
        "squared error of probabilities": lambda s, t, T: T**2 * (F.softmax(s / T, 1) - p(t, T)).square().mean(),

        "T² left out": lambda s, t, T: kl(F.log_softmax(s / T, 1), F.softmax(t.detach() / T, 1)),
        "the default reduction": lambda s, t, T: T * T * kl(F.log_softmax(s / T, 1), F.softmax(t.detach() / T, 1)) / s.shape[1],
        "softmax where log_softmax belongs": lambda s, t, T: T * T * kl(F.softmax(s / T, 1), F.softmax(t.detach() / T, 1)),
        "the arguments of KL are swapped": lambda s, t, T: T * T * kl(F.log_softmax(t.detach() / T, 1), F.softmax(s / T, 1)),
        "cross-entropy in place of KL": lambda s, t, T: T * T * F.cross_entropy(s / T, F.softmax(t.detach() / T, 1)),
        "temperature on the student only": lambda s, t, T: T * T * kl(F.log_softmax(s / T, 1), F.softmax(t.detach(), 1)),
        "temperature on the teacher only": lambda s, t, T: T * T * kl(F.log_softmax(s, 1), F.softmax(t.detach() / T, 1)),
        "the teacher compared with itself": lambda s, t, T: T * T * kl(F.log_softmax(t.detach() / T, 1), F.softmax(t.detach() / T, 1)),
        "the student compared with itself": lambda s, t, T: T * T * kl(F.log_softmax(s / T, 1), F.softmax(s.detach() / T, 1)),
        "the teacher is not detached": lambda s, t, T: T * T * kl(F.log_softmax(s / T, 1), F.softmax(t / T, 1)),
    },
    "03.distillation": {
        "the default reduction": lambda s, t, y, T, a: mix(lambda *g: soft(*g) / s.shape[1], s, t, y, T, a),
        "the sum over the batch": lambda s, t, y, T, a: mix(lambda *g: soft(*g) * len(s), s, t, y, T, a),
        "T in place of T²": lambda s, t, y, T, a: mix(lambda *g: soft(*g) / T, s, t, y, T, a),
        "cross-entropy in place of KL": lambda s, t, y, T, a: mix(lambda *g: T**2 * F.cross_entropy(s / T, p(t, T)), s, t, y, T, a),
        "the arguments of KL are swapped": lambda s, t, y, T, a: mix(lambda *g: T**2 * kl(p(t, T).log(), F.softmax(s / T, 1)), s, t, y, T, a),
        "softmax twice": lambda s, t, y, T, a: a * soft(s.softmax(1), t.softmax(1), T) + (1 - a) * F.cross_entropy(s, y),
        "alpha on the labels' part only": lambda s, t, y, T, a: soft(s, t, T) + (1 - a) * F.cross_entropy(s, y),
        "no alpha": lambda s, t, y, T, a: soft(s, t, T) + F.cross_entropy(s, y),
        "the labels are left out": lambda s, t, y, T, a: a * soft(s, t, T),
        "T² on the labels' part too": lambda s, t, y, T, a: T**2 * mix(lambda *g: soft(*g) / T**2, s, t, y, T, a),
        "T² left out, with the default reduction": lambda s, t, y, T, a: mix(lambda *g: soft(*g) / T**2 / s.shape[1], s, t, y, T, a),
        "T² left out, with cross-entropy in place of KL": lambda s, t, y, T, a: mix(lambda *g: F.cross_entropy(s / T, p(t, T)), s, t, y, T, a),
        "alpha the other way round, and T² left out": lambda s, t, y, T, a: mix(lambda *g: soft(*g) / T**2, s, t, y, T, 1 - a),
        "alpha the other way round, with the default reduction": lambda s, t, y, T, a: mix(lambda *g: soft(*g) / s.shape[1], s, t, y, T, 1 - a),

        "alpha the other way round": lambda s, t, y, T, a: losses.distillation(s, t, y, temperature=T, alpha=1 - a),
        "alpha on the soft part only": lambda s, t, y, T, a: a * losses.soft_target(s, t, temperature=T) + F.cross_entropy(s, y),
        "T² left out": lambda s, t, y, T, a: a * losses.soft_target(s, t, temperature=T) / T**2 + (1 - a) * F.cross_entropy(s, y),
        "temperature on the labels' part too": lambda s, t, y, T, a: a * losses.soft_target(s, t, temperature=T) + (1 - a) * F.cross_entropy(s / T, y),
        "cross-entropy on probabilities": lambda s, t, y, T, a: a * losses.soft_target(s, t, temperature=T) + (1 - a) * F.cross_entropy(F.softmax(s, 1), y),
    },
    "03.training_step": {
        "the teacher is left in training mode": step(teacher_mode="train"),
        "the teacher is not frozen": step(grad=True, cut=False),
        "the teacher's graph is kept": step(grad=True),
        "zero_grad is missing": step(zero=False),
        "the student's weights never move": step(move=False),
        "the student is in evaluation mode": step(student_mode="eval"),
    },
    "03.cached_targets": {
        "the cache out of step with the shuffle": lambda z, i: z.narrow(0, 0, len(i)),
        "the order within the batch is lost": lambda z, i: z[sorted(i.tolist())],
    },
    "03.shift_bias": {
        "the sign": lambda z, c, q: -torch.quantile(others(z, c), q),
        "the class among its own rivals": lambda z, c, q: torch.quantile(z.amax(1) - z[:, c], q),
        "the quantile from the wrong end": lambda z, c, q: torch.quantile(others(z, c), 1 - q),
        "the mean gap": lambda z, c, q: others(z, c).mean(),
    },
}  # fmt: skip
UNKNOWN = {
    "03.soft_target": [lambda s, t, T: 3.5 * soft(s, t, T), lambda s, t, T: soft(s, 2 * t, T)],
    "03.distillation": [lambda s, t, y, T, a: 0.7 * mix(soft, s, t, y, T, a), lambda s, t, y, T, a: mix(soft, s, t, y, 2 * T, a)],
    "03.training_step": [twice, lambda student, teacher, images, labels, optimizer: student(images).sum()],
    "03.cached_targets": [lambda z, i: 2.5 * z[i], lambda z, i: z[i.flip(0)]],
    "03.shift_bias": [lambda z, c, q: torch.quantile(others(z, c), q) / 3, lambda z, c, q: 0.0],
}  # fmt: skip
