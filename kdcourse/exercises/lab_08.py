"""The exercises of lab 08, Distil progressively."""

import torch
from torch import nn

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import filled, values


def _chain(answer) -> dict[str, object]:
    """Who was taught by whom, and whether the teacher could still move."""
    teacher, assistants, student = nn.Linear(2, 2), [nn.Linear(2, 2) for _ in range(2)], nn.Linear(2, 2)
    models = [teacher, *assistants, student]
    asked, movable = [], []

    def distil(pupil, master):
        asked.append((models.index(pupil), models.index(master)))
        movable.append(any(parameter.requires_grad for parameter in master.parameters()))
        return pupil

    teacher.requires_grad_(False)
    final = filled(answer(teacher, assistants, student, distil))
    return {
        "order of (pupil, teacher)": torch.tensor(asked or [(-9, -9)]),
        "a teacher could still move": any(movable),
        "the student is returned": final is student,
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
    "the large teacher teaches everybody", "The gap that an assistant was to bridge is then as wide as before."
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


@teach_through_assistants.mistake("from small to large", "The chain goes down: the largest assistant learns first.")
def _reversed(teacher, assistants, student, distil):
    for pupil in [*reversed(assistants), student]:
        teacher = distil(pupil, teacher).requires_grad_(False)
    return teacher


def _curves() -> list[tuple]:
    sizes = torch.tensor([8, 32, 128, 512, 2048])
    return [
        (sizes, torch.tensor([79.0, 80.5, 82.0, 81.5, 81.0])),
        (sizes, torch.tensor([70.0, 71.0, 72.0, 73.0, 74.0])),
        (sizes, torch.tensor([75.0, 74.0, 73.5, 73.0, 74.5])),
    ]


@define(
    "08.capacity_gap",
    goal="From teacher sizes and the student's accuracy under each: the best size, and the points lost to the largest.",
    difficulty="easy",
    minutes="four minutes",
    hints=("accuracies.argmax() is where the student learnt best.",
           "The loss is the best accuracy minus that under the last, largest teacher; 0 when there is no gap."),
    probe=lambda answer: {
        key: torch.stack([torch.as_tensor(part, dtype=torch.float64) for part in pair]) if isinstance(pair, tuple) else pair
        for key, pair in values(answer, _curves()).items()
    },
)  # fmt: skip
def capacity_gap(sizes, accuracies):
    best = accuracies.argmax()
    return sizes[best], accuracies[best] - accuracies[-1]


@capacity_gap.mistake("the place, not the size", "argmax gives a position: look the size up there.")
def _place(sizes, accuracies):
    return accuracies.argmax(), accuracies.max() - accuracies[-1]


@capacity_gap.mistake("against the smallest teacher", "The gap is what the largest teacher costs: the last entry.")
def _smallest(sizes, accuracies):
    return sizes[accuracies.argmax()], accuracies.max() - accuracies[0]


@capacity_gap.mistake("the spread", "Best minus worst; the gap is best minus largest teacher.")
def _spread(sizes, accuracies):
    return sizes[accuracies.argmax()], accuracies.max() - accuracies.min()


@capacity_gap.mistake("the sign", "Points lost are counted as positive: best minus largest.")
def _sign(sizes, accuracies):
    return sizes[accuracies.argmax()], accuracies[-1] - accuracies.max()
