"""Answers to lab 08's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np


def down(teacher, assistants, student, distil, *, freeze=True, order=1):
    pupils = [*list(assistants)[::order], student]
    master = teacher
    for pupil in pupils:
        distil(pupil, master)
        if freeze:
            for parameter in pupil.parameters():
                parameter.requires_grad = False
        master = pupil
    return student


def everybody(teacher, assistants, student, distil):
    for assistant in assistants:
        distil(assistant, teacher)
    return distil(student, teacher)


def recursively(teacher, assistants, student, distil):
    if not assistants:
        return distil(student, teacher)
    first, *rest = assistants
    distil(first, teacher)
    return recursively(first.requires_grad_(False), rest, student, distil)


RIGHT = {
    "08.teach_through_assistants": [recursively, down],
    "08.capacity_gap": [
        lambda n, a: [n[a == a.max()][0], a.max() - a[-1]],
        lambda n, a: np.array([n.numpy()[np.argmax(a)], np.max(a.numpy()) - a.numpy()[-1]]),
        lambda n, a: (int(n[max(range(len(a)), key=a.tolist().__getitem__)]), float(max(a) - a[-1])),
    ],
}
WRONG = {
    "08.teach_through_assistants": {
        "the large teacher teaches everybody": everybody,
        "the assistants are skipped": lambda t, a, s, d: (d(s, t), s)[1],
        "the assistants are not frozen": lambda t, a, s, d: down(t, a, s, d, freeze=False),
        "from small to large": lambda t, a, s, d: down(t, a, s, d, order=-1),
    },
    "08.capacity_gap": {
        "the place, not the size": lambda n, a: (int(a.argmax()), a.amax() - a[-1]),
        "against the smallest teacher": lambda n, a: (n[a.argmax()], a.amax() - a[0]),
        "the spread": lambda n, a: (n[a.argmax()], a.amax() - a.amin()),
        "the sign": lambda n, a: (n[a.argmax()], a[-1] - a.amax()),
    },
}  # fmt: skip
UNKNOWN = {
    "08.teach_through_assistants": [lambda t, a, s, d: a[-1], lambda t, a, s, d: (down(t, a, s, d), down(t, a, s, d))[1]],
    "08.capacity_gap": [lambda n, a: n[a.argmax()], lambda n, a: (n[-1], a.max() - a[-1])],
}  # fmt: skip
