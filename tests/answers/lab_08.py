"""Answers to lab 08's exercises as students write them: right ones, and wrong ones by the name that the check must give."""


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


def gap(n, v, t, *, of=-1, sign=1, shared=False, mean=False, place=False):
    """One teacher after the other, in plain loops."""
    score, column = [], []
    for k in range(len(n)):
        of_all = [float(v[:, :, j].mean() if shared else v[:, k, j].mean()) for j in range(v.shape[2])]
        j = of_all.index(max(of_all))
        score.append(v[:, k, j].mean())
        column.append(t[:, k, j])
    best = max(range(len(n)), key=score.__getitem__)
    lost = sign * (column[of] - column[best])
    return best if place else n[best].item(), lost.mean() if mean else lost


RIGHT = {
    "08.teach_through_assistants": [recursively, down],
    "08.capacity_gap": [
        gap,
        lambda n, v, t: (
            n[(m := v.mean(0)).amax(1).argmax()],
            (s := t.gather(2, m.argmax(1).expand(len(t), -1)[..., None])[..., 0])[:, -1] - s[:, m.amax(1).argmax()],
        ),
    ],
}
WRONG = {
    "08.teach_through_assistants": {
        "the large teacher teaches everybody": everybody,
        "frozen before they are taught": lambda t, a, s, d: down(t, [one.requires_grad_(False) for one in a], s.requires_grad_(False), d),
        "the assistants are skipped": lambda t, a, s, d: (d(s, t), s)[1],
        "the assistants are not frozen": lambda t, a, s, d: down(t, a, s, d, freeze=False),
        "from small to large": lambda t, a, s, d: down(t, a, s, d, order=-1),
    },
    "08.capacity_gap": {
        "the place, not the size": lambda n, v, t: gap(n, v, t, place=True),
        "chosen on the test data": lambda n, v, t: gap(n, t, t),
        "the validation gap is reported": lambda n, v, t: gap(n, v, v),
        "one temperature for all": lambda n, v, t: gap(n, v, t, shared=True),
        "against the smallest teacher": lambda n, v, t: gap(n, v, t, of=0),
        "the sign": lambda n, v, t: gap(n, v, t, sign=-1),
        "the mean over seeds": lambda n, v, t: gap(n, v, t, mean=True),
    },
}  # fmt: skip
UNKNOWN = {
    "08.teach_through_assistants": [lambda t, a, s, d: a[-1], lambda t, a, s, d: (down(t, a, s, d), down(t, a, s, d))[1]],
    "08.capacity_gap": [lambda n, v, t: n[v.mean((0, 2)).argmax()], lambda n, v, t: (gap(n, v, t)[0], 2 * gap(n, v, t)[1].abs())],
}  # fmt: skip
