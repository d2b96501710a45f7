"""The exercises of lab 08, Distil progressively."""

import torch
from torch import nn

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import filled, values


def _chain(answer) -> dict[str, object]:
    """Who was taught by whom, whether the teacher could still move, and whether the pupil could."""
    teacher, assistants, student = nn.Linear(2, 2), [nn.Linear(2, 2) for _ in range(2)], nn.Linear(2, 2)
    for place, model in enumerate([teacher, *assistants, student]):
        model.place = place  # a copy of a model keeps it
    asked, movable, rigid = [], [], []

    def distil(pupil, master):
        asked.append((getattr(pupil, "place", -9), getattr(master, "place", -9)))
        movable.append(any(parameter.requires_grad for parameter in master.parameters()))
        rigid.append(not all(parameter.requires_grad for parameter in pupil.parameters()))
        return pupil

    teacher.requires_grad_(False)
    final = filled(answer(teacher, assistants, student, distil))
    return {
        "order of (pupil, teacher)": torch.tensor(asked or [(-9, -9)]),
        "a teacher could still move": any(movable),
        "a pupil was frozen before it was taught": any(rigid),
        "the student is returned": getattr(final, "place", None) == 3,
    }


@define(
    "08.teach_through_assistants",
    goal="The teacher teaches the first assistant, each assistant the next, the last one the student. A teacher is frozen.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("distil(pupil, teacher) trains the pupil and returns it.",
           "Go through [*assistants, student] and remember who taught last.",
           "model.requires_grad_(False) freezes a pupil before it becomes a teacher."),
    probe=_chain,
)  # fmt: skip
def teach_through_assistants(teacher, assistants, student, distil):
    for pupil in [*assistants, student]:
        teacher = distil(pupil, teacher).requires_grad_(False)
    return teacher


@teach_through_assistants.mistake(
    "the large teacher teaches everybody", "No assistant teaches anybody then, so the gap is as wide as before."
)
def _one_teacher(teacher, assistants, student, distil):
    for pupil in [*assistants, student]:
        distil(pupil, teacher)
    return student


@teach_through_assistants.mistake(
    "the assistants are skipped", "The student then learns from the large teacher at once."
)
def _skipped(teacher, assistants, student, distil):
    return distil(student, teacher)


@teach_through_assistants.mistake(
    "the assistants are not frozen", "A trained pupil becomes a teacher: freeze it first."
)
def _not_frozen(teacher, assistants, student, distil):
    for pupil in [*assistants, student]:
        teacher = distil(pupil, teacher)
    return teacher


@teach_through_assistants.mistake(
    "frozen before they are taught", "A frozen pupil learns nothing: freeze it when distil has given it back."
)
def _frozen_first(teacher, assistants, student, distil):
    for pupil in [*assistants, student]:
        teacher = distil(pupil.requires_grad_(False), teacher)
    return teacher


@teach_through_assistants.mistake("from small to large", "The chain goes down: the largest assistant learns first.")
def _reversed(teacher, assistants, student, distil):
    for pupil in [*reversed(assistants), student]:
        teacher = distil(pupil, teacher).requires_grad_(False)
    return teacher


def _students() -> list[tuple]:
    """Three teachers' students at four temperatures: the best temperature is another one for each teacher."""
    true = torch.tensor([[80.0, 82, 81, 79], [83, 82, 80, 80], [79, 81, 84, 82], [82, 80, 78, 79]], dtype=torch.float64)
    sizes, cases = torch.tensor([8, 32, 128, 512]), []
    for seed, spread in ((0, 0.5), (1, 2.0), (2, 3.0)):
        generator = torch.Generator().manual_seed(seed)
        luck = torch.randn(2, 5, *true.shape, generator=generator, dtype=torch.float64)
        cases.append((sizes, *(true + spread * luck)))
    return cases


def _size_and_gaps(answer) -> dict[str, object]:
    """The two parts of what comes back, apart."""
    found: dict[str, object] = {}
    for key, returned in values(answer, _students()).items():
        if isinstance(returned, tuple | list) and len(returned) == 2:
            found[f"size in {key}"], found[f"gaps in {key}"] = returned
        else:
            found[key] = returned
    return found


@define(
    "08.capacity_gap",
    goal="On validation, choose each teacher's temperature and the best teacher. On test, seed by seed: largest minus best.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("validation.mean(dim=0) is (teachers, temperatures); its max(dim=1) has values and indices, a temperature each.",
           "The best teacher is the argmax of those values.",
           "test[:, torch.arange(len(sizes)), indices] is (seeds, teachers): the last column minus the best one's."),
    probe=_size_and_gaps,
)  # fmt: skip
def capacity_gap(sizes, validation, test):
    chosen = validation.mean(dim=0).max(dim=1)
    students = test[:, torch.arange(len(sizes)), chosen.indices]
    best = chosen.values.argmax()
    return sizes[best], students[:, -1] - students[:, best]


def _gap(validation, test):
    """Of the best place and the gaps that belong to it, chosen on `validation`."""
    chosen = validation.mean(dim=0).max(dim=1)
    return chosen.values.argmax(), test[:, torch.arange(test.shape[1]), chosen.indices]


@capacity_gap.mistake("the place, not the size", "argmax gives a position: look the size up there.")
def _place(sizes, validation, test):
    best, students = _gap(validation, test)
    return best, students[:, -1] - students[:, best]


@capacity_gap.mistake(
    "chosen on the test data", "The best of many test scores is partly luck: choose on validation, report on test."
)
def _on_test(sizes, validation, test):
    return capacity_gap(sizes, test, test)


@capacity_gap.mistake(
    "the validation gap is reported",
    "Validation scores were used to choose, so those of the choice are too high: report test.",
)
def _on_validation(sizes, validation, test):
    return capacity_gap(sizes, validation, validation)


@capacity_gap.mistake(
    "one temperature for all", "Each teacher has a temperature of its own: the maximum is over temperatures, dim=1."
)
def _one_for_all(sizes, validation, test):
    shared = validation.mean(dim=(0, 1)).argmax()
    return capacity_gap(sizes, validation[:, :, [shared]], test[:, :, [shared]])


@capacity_gap.mistake("against the smallest teacher", "The gap is about the largest teacher, which is the last one.")
def _smallest(sizes, validation, test):
    best, students = _gap(validation, test)
    return sizes[best], students[:, 0] - students[:, best]


@capacity_gap.mistake("the sign", "Largest minus best: where the large teacher costs points, the gap is negative.")
def _sign(sizes, validation, test):
    best, students = _gap(validation, test)
    return sizes[best], students[:, best] - students[:, -1]


@capacity_gap.mistake("the mean over seeds", "One number has no interval: return the gap of every seed, (seeds,).")
def _mean(sizes, validation, test):
    best, students = _gap(validation, test)
    return sizes[best], (students[:, -1] - students[:, best]).mean()
