"""The loss landscape of one example: every answer over three classes is a point of a triangle, and each loss pulls on it.

The student's answer is moved by its logits, or dragged in the triangle; the browser computes losses, pulls and the shading
(`simplex.js`). Python knows the same formulas, for the still figure and for the tests that hold them against autograd.
"""

from collections.abc import Sequence

import ipywidgets
import numpy as np

from kdcourse import plots
from kdcourse.plots import softened
from kdcourse.plots.palette import check_vector
from kdcourse.widgets.arithmetic import kl, log_softmax
from kdcourse.widgets.linked import WIDE, LinkedView, linked
from kdcourse.widgets.live import LiveFigure
from kdcourse.widgets.wording import as_label, fixed, short

MAX_LOGIT = 6.0  # the largest logit that a slider gives the student; the third class's is always 0
STEPS = 200  # of gradient descent, at a learning rate of 1
ROWS = 60  # of the shading: the triangle is cut into 60² small ones
NAMES = ("hard", "soft", "mix")


def losses(student, teacher, label: int, temperature: float, alpha: float) -> np.ndarray:
    """The hard, the soft and the mixed loss in nats, as `kdcourse.losses.distillation` computes them for one example.

    student: logits (..., C). teacher: logits (C,). Returns (..., 3).
    """
    student, teacher = np.asarray(student, dtype=float), np.asarray(teacher, dtype=float)
    hard = -log_softmax(student)[..., label]
    soft = temperature**2 * kl(log_softmax(teacher / temperature), log_softmax(student / temperature))
    return np.stack([hard, soft, alpha * soft + (1 - alpha) * hard], axis=-1)


def gradients(student, teacher, label: int, temperature: float, alpha: float) -> np.ndarray:
    """Of the three losses with respect to the student's logits: (C,) -> (3, C)."""
    hard = softened(student, 1) - np.eye(len(student))[label]
    soft = temperature * (softened(student, temperature) - softened(teacher, temperature))
    return np.stack([hard, soft, alpha * soft + (1 - alpha) * hard])


def pulls(student, gradient) -> np.ndarray:
    """Where the student's probabilities go, per unit of learning rate, when its logits go against the gradient.

    student: logits (C,). gradient: (..., C). Returns (..., C): minus the gradient, times the Jacobian of the softmax. Linear
    in the gradient, so the pull of the mixture is the mixture of the pulls.
    """
    p = softened(student, 1)
    return -p * (gradient - (gradient * p).sum(axis=-1, keepdims=True))


def arrows(student, slopes) -> np.ndarray:
    """The pulls of several gradients (K, C) on one scale: the longest a quarter of the triangle's side, none leaves it."""
    moves = pulls(student, slopes)
    longest = np.linalg.norm(moves, axis=1).max() / np.sqrt(2)
    soonest = (-moves / softened(student, 1)).max()  # one over the scale at which a probability reaches 0
    return moves / max(4 * longest, soonest, 1e-6)


def gradient_descent(student, teacher, label: int, temperature: float, alpha: float) -> np.ndarray:
    """The student's logits on its way down the mixed loss: (C,) -> (201, C), the first being the student itself."""
    path = [np.asarray(student, dtype=float)]
    for _ in range(STEPS):
        path.append(path[-1] - gradients(path[-1], teacher, label, temperature, alpha)[2])
    return np.stack(path)


def lattice() -> np.ndarray:
    """The middles of the small triangles, (3600, 3): probabilities, none of them 0."""
    corners = [(i, j) for i in range(ROWS) for j in range(ROWS - i)]
    upright = [(i + 1 / 3, j + 1 / 3) for i, j in corners]
    hanging = [(i + 2 / 3, j + 2 / 3) for i, j in corners if i + j < ROWS - 1]
    first, second = np.array(upright + hanging).T / ROWS
    return np.stack([first, second, 1 - first - second], axis=1)


def describe(student, teacher, classes: Sequence[str], label: int, temperature: float, alpha: float) -> str:
    """Two sentences: what the student says and what each loss makes of it; where gradient descent on the mixture leads."""
    nats = losses(student, teacher, label, temperature, alpha)
    named = ", ".join(f"{name} {fixed(value, 2)}" for name, value in zip(NAMES, nats, strict=True))
    end = gradient_descent(student, teacher, label, temperature, alpha)[-1]
    here, there = (_shares(softened(logits, 1), classes) for logits in (student, end))
    settings = f"T = {short(temperature)}, alpha = {short(alpha)}"
    return f"The student says {here}. At {settings} its loss in nats is {named}; descent leads to {there}."


def loss_landscape(teacher_logits, classes: Sequence[str], label: int) -> LinkedView | LiveFigure:
    """A live triangle in which every point is an answer over three classes; arrows show where each loss moves the student's.

    teacher_logits: of one example, (3,). classes: three names. label: its class, 0, 1 or 2. Controls: first and second, the
    student's logits of these classes (from −6 to 6, the third's is 0), temperature, alpha (the teacher's share).
    Raises `ValueError` for other shapes and labels.
    """
    if len(classes) != 3:
        raise ValueError(f"classes must be three names, got {len(classes)}")
    teacher = check_vector("teacher_logits", teacher_logits, 3).astype(float)
    if label not in range(3):
        raise ValueError(f"label must be 0, 1 or 2, the number of a class, got {label}")

    def draw(first: float, second: float, temperature: float, alpha: float) -> plots.Figure:
        student, setting = np.array([first, second, 0.0]), (teacher, label, temperature, alpha)
        points = lattice()
        student_marks, teacher_marks = (
            [softened(logits, t) for t in (1, temperature)] for logits in (student, teacher)
        )
        figure = plots.landscape(
            points,
            losses(np.log(points), *setting)[:, 2],
            [f"{name} (label)" if number == label else name for number, name in enumerate(classes)],
            marks={"student": student_marks, "label": [np.eye(3)[label]], "teacher": teacher_marks},
            arrows=dict(zip(NAMES, arrows(student, gradients(student, *setting)), strict=True)),
            path=softened(gradient_descent(student, *setting), 1),
        )
        figure.description = describe(student, teacher, classes, label, temperature, alpha)
        return figure

    content = {"classes": list(classes), "teacher": teacher.tolist(), "label": int(label), "reach": MAX_LOGIT}
    return linked("simplex", content, draw, **_controls(classes))


def _shares(probabilities: np.ndarray, classes: Sequence[str]) -> str:
    return ", ".join(f"{name} {fixed(100 * p, 0)} %" for name, p in zip(classes, probabilities, strict=True))


def _controls(classes: Sequence[str]) -> dict[str, ipywidgets.Widget]:
    logit = {"value": 0.0, "min": -MAX_LOGIT, "max": MAX_LOGIT, "step": 0.05, **WIDE}
    return {
        "first": ipywidgets.FloatSlider(description=f"logit of {as_label(classes[0])}", **logit),
        "second": ipywidgets.FloatSlider(description=f"logit of {as_label(classes[1])}", **logit),
        "temperature": ipywidgets.FloatSlider(
            value=4.0, min=1.0, max=20.0, step=0.5, description="temperature", **WIDE
        ),
        "alpha": ipywidgets.FloatSlider(value=0.5, min=0.0, max=1.0, step=0.05, description="alpha (teacher)", **WIDE),
    }
