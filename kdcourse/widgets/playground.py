"""The playground: small students of a teacher in the plane, trained where they are looked at.

The browser trains (`playground.js`, by hand: forward, backward, Adam); here is the same arithmetic on numpy arrays, for the
still figure and for tests that hold both against PyTorch. Points lie on three spiral arms that overlap. The teacher, a
perceptron with two hidden layers of 24, has seen 900 labelled points; a student with one hidden layer sees a few.

Two arms are trained side by side by five students each. In a pair both have the same labelled points, the same first weights,
the same optimizer and as many steps on all their points at once; what differs is the targets alone. Only "soft labels,
unlabelled points too" has more to learn from: the teacher's answers on the rest of the pool, which no label is needed for.
"""

import json
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import ipywidgets
import numpy as np

from kdcourse import plots
from kdcourse.evaluation.intervals import CONFIDENCE, difference
from kdcourse.plots import softened
from kdcourse.widgets.arithmetic import kl, log_softmax
from kdcourse.widgets.linked import WIDE, LinkedView, linked
from kdcourse.widgets.live import LiveFigure
from kdcourse.widgets.wording import fixed, short, signed

KINDS = ("hard labels", "smoothed labels", "soft labels", "soft labels, unlabelled points too")
CLASSES, SEEN, POOL, TEST = 3, 900, 150, 300  # points: the teacher's, those that students may get, those that judge
TEACHER = [2, 24, 24, CLASSES]
STORED = Path(__file__).with_name("playground.json")  # the teacher's weights, what `train_teacher` gives, rounded
STUDENTS, STEPS, EVERY = 5, 400, 10  # accuracies are taken every tenth step
SMOOTHING = 0.1  # the share that all classes have in equal parts
RATE, DECAYS, TINY = 0.03, (0.9, 0.999), 1e-8  # Adam's


@dataclass(frozen=True)
class Setting:
    """What the controls say. targets: one of `KINDS`. alpha: the teacher's share. labels: a student's labelled points of each
    class. width: its hidden units."""

    targets: str = KINDS[2]
    temperature: float = 4.0
    alpha: float = 0.9
    labels: int = 10
    width: int = 16
    seed: int = 0

    @property
    def labelled(self) -> int:
        """A student's labelled points of all classes."""
        return CLASSES * self.labels

    @property
    def sizes(self) -> list[int]:
        """Of the student's layers, as `first_weights` takes them."""
        return [2, self.width, CLASSES]


@dataclass(frozen=True)
class Lesson:
    """What S students learn from N points each: hard · cross-entropy + soft · T² · KL(teacher ‖ student), summed over points.

    points: (S, N, 2). targets: distributions (S, N, C), of weight hard (N,). answers: the teacher's log probabilities at the
    temperature, (S, N, C), each of weight soft.
    """

    points: np.ndarray
    targets: np.ndarray
    hard: np.ndarray
    answers: np.ndarray
    soft: float
    temperature: float


@dataclass(frozen=True)
class Race:
    """Both arms at the end, hard labels first. accuracies: percent (K, 2, S), from the first weights on every tenth step.

    parameters: (2, S, P). points and labels: (N, 2) and (n,), what the first student has; its first n points are labelled.
    """

    accuracies: np.ndarray
    parameters: np.ndarray
    points: np.ndarray
    labels: np.ndarray


def spirals(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (count, 2) on three arms, each half a turn long, with noise across them; their classes in turn, (count,)."""
    labels, along = np.arange(count) % CLASSES, random.random(count)
    angle = 2 * np.pi * (labels / CLASSES + along / 2)
    arms = (0.3 + 1.9 * along)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (arms + random.normal(0, 0.25, (count, 2))).round(3), labels


@cache
def samples() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The teacher's points, the pool and the test points, the same at every call."""
    random = np.random.default_rng(0)
    return tuple(spirals(count, random) for count in (SEEN, POOL, TEST))


def generator(seed: int):
    """Mulberry32: a function that gives the next number in [0, 1), the same in Python and in JavaScript."""
    state = seed

    def draw() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) % 2**32
        mixed = (state ^ state >> 15) * (state | 1) % 2**32
        mixed ^= (mixed + (mixed ^ mixed >> 7) * (mixed | 61)) % 2**32
        return (mixed ^ mixed >> 14) / 2**32

    return draw


def first_weights(sizes: list[int], draw) -> np.ndarray:
    """Parameters (P,) as PyTorch's linear layers begin: within 1 / √inputs of 0; each layer's weights, then its biases."""
    layers = pairwise(sizes)
    return np.array([(2 * draw() - 1) / np.sqrt(ins) for ins, outs in layers for _ in range((ins + 1) * outs)])


def unpacked(parameters: np.ndarray, sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """(…, P) -> weights (…, outputs, inputs) and biases (…, 1, outputs) of each layer."""
    layers, start = [], 0
    for ins, outs in pairwise(sizes):
        middle, end = start + ins * outs, start + (ins + 1) * outs
        weights = parameters[..., start:middle].reshape(*parameters.shape[:-1], outs, ins)
        layers.append((weights, parameters[..., None, middle:end]))
        start = end
    return layers


def forward(parameters: np.ndarray, sizes: list[int], points: np.ndarray) -> list[np.ndarray]:
    """Points (…, N, 2) -> what each layer gives for them: the points, hidden units (tanh), and at last the logits (…, N, C)."""
    states, layers = [points], unpacked(parameters, sizes)
    for number, (weights, biases) in enumerate(layers, start=1):
        sums = states[-1] @ weights.swapaxes(-1, -2) + biases
        states.append(sums if number == len(layers) else np.tanh(sums))
    return states


def loss(logits: np.ndarray, lesson: Lesson) -> np.ndarray:
    """In nats, of logits (S, N, C) -> (S,)."""
    hard = -(lesson.targets * log_softmax(logits)).sum(axis=-1)
    soft = lesson.temperature**2 * kl(lesson.answers, log_softmax(logits / lesson.temperature))
    return (lesson.hard * hard + lesson.soft * soft).sum(axis=-1)


def gradient(parameters: np.ndarray, sizes: list[int], lesson: Lesson) -> np.ndarray:
    """Of the loss with respect to the parameters, (S, P) -> (S, P)."""
    *states, logits = forward(parameters, sizes, lesson.points)
    slope = lesson.hard[:, None] * (softened(logits, 1) - lesson.targets)
    if lesson.soft:
        gap = softened(logits, lesson.temperature) - np.exp(lesson.answers)
        slope = slope + lesson.soft * lesson.temperature * gap
    parts = []
    for (weights, _), state in zip(reversed(unpacked(parameters, sizes)), reversed(states), strict=True):
        own = (slope.swapaxes(-1, -2) @ state).reshape(len(parameters), -1)
        parts = [own, slope.sum(axis=-2), *parts]
        slope = (slope @ weights) * (1 - state**2)  # of tanh; for the points themselves nobody asks
    return np.concatenate(parts, axis=-1)


def descent(parameters: np.ndarray, sizes: list[int], lesson: Lesson, steps: int):
    """The parameters (S, P) before the first step of Adam and after each."""
    mean, square = np.zeros_like(parameters), np.zeros_like(parameters)
    yield parameters
    for step in range(1, steps + 1):
        slope = gradient(parameters, sizes, lesson)
        mean = DECAYS[0] * mean + (1 - DECAYS[0]) * slope
        square = DECAYS[1] * square + (1 - DECAYS[1]) * slope**2
        size = np.sqrt(square / (1 - DECAYS[1] ** step)) + TINY
        parameters = parameters - RATE * mean / (1 - DECAYS[0] ** step) / size
        yield parameters


def train_teacher() -> np.ndarray:
    """The teacher's parameters (P,), after 600 steps on its own labelled points. What it gave once is stored, rounded."""
    points, labels = samples()[0]
    even = np.full(SEEN, 1 / SEEN)
    lesson = Lesson(points[None], np.eye(CLASSES)[labels][None], even, np.zeros((1, SEEN, CLASSES)), 0.0, 1.0)
    *_, last = descent(first_weights(TEACHER, generator(1))[None], TEACHER, lesson, 600)
    return last[0].round(3)


@cache
def teacher() -> np.ndarray:
    """The stored teacher's parameters, (P,)."""
    return np.array(json.loads(STORED.read_text(encoding="utf-8")))


def pairs(setting: Setting) -> tuple[list[np.ndarray], np.ndarray]:
    """For each of S students the places of its labelled points in the pool and then of the others, and its first weights."""
    orders, weights = [], []
    labels = samples()[1][1]
    for student in range(STUDENTS):
        draw = generator(100 * setting.seed + student)
        order = np.argsort([-draw() for _ in range(POOL)], kind="stable")
        chosen = np.concatenate([order[labels[order] == k][: setting.labels] for k in range(CLASSES)])
        orders.append(np.concatenate([chosen, order[~np.isin(order, chosen)]]))
        weights.append(first_weights(setting.sizes, draw))
    return orders, np.stack(weights)


def lesson_of(targets: str, setting: Setting, orders: list[np.ndarray]) -> Lesson:
    """What the students of one arm learn from."""
    number = POOL if targets == KINDS[3] else setting.labelled
    places = np.stack(orders)[:, :number]
    points, labels = (values[places] for values in samples()[1])
    even = SMOOTHING if targets == KINDS[1] else 0.0
    alpha = setting.alpha if targets in KINDS[2:] else 0.0
    return Lesson(
        points,
        (1 - even) * np.eye(CLASSES)[labels] + even / CLASSES,
        np.where(np.arange(number) < setting.labelled, (1 - alpha) / setting.labelled, 0.0),
        log_softmax(forward(teacher(), TEACHER, points)[-1] / setting.temperature),
        alpha / number,
        setting.temperature,
    )


def accuracy(parameters: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Percent of the test points, (…, P) -> (…)."""
    points, labels = samples()[2]
    return 100 * (forward(parameters, sizes, points)[-1].argmax(axis=-1) == labels).sum(axis=-1) / TEST


@lru_cache(maxsize=64)
def race(setting: Setting) -> Race:
    """Train both arms to the end."""
    orders, weights = pairs(setting)
    ends, traces = [], []
    for targets in (KINDS[0], setting.targets):
        lesson = lesson_of(targets, setting, orders)
        way = list(descent(weights, setting.sizes, lesson, STEPS))
        ends.append(way[-1])
        traces.append([accuracy(parameters, setting.sizes) for parameters in way[::EVERY]])
    labels = samples()[1][1][orders[0][: setting.labelled]]
    return Race(np.stack(traces, axis=1), np.stack(ends), lesson.points[0], labels)


def describe(setting: Setting, accuracies: np.ndarray, step: int = STEPS) -> str:
    """What both arms reach, percent (2, S), and their paired difference."""
    hard, chosen, gap = (difference(values) for values in (*accuracies, accuracies[1] - accuracies[0]))
    own = {KINDS[1]: f" ({short(SMOOTHING)})"}
    mixed = f" (T = {short(setting.temperature)}, alpha = {short(setting.alpha)})"
    points, low, high = (signed(value, 1) for value in (gap.mean, gap.low, gap.high))
    chosen, hard = (f"{fixed(one.mean, 1)} % ± {fixed(one.high - one.mean, 1)}" for one in (chosen, hard))
    return (
        f"Step {step} of {STEPS}, {STUDENTS} students of {setting.width} units, {setting.labelled} labels: "
        f"{setting.targets}{mixed if setting.targets in KINDS[2:] else own.get(setting.targets, '')} {chosen}, "
        f"hard labels {hard}; {points} points [{low}, {high}], {gap.verdict}. "
        f"Teacher {fixed(accuracy(teacher(), TEACHER), 1)} %."
    )


def playground() -> LinkedView | LiveFigure:
    """Train small students on points of a plane, in the browser: on hard labels, and beside them on targets of your choice.

    Controls: targets (one of `KINDS`), temperature and alpha, which only soft labels know, labels (points of each class, 2
    to 30), width (hidden units, 2 to 32), seed (other points and first weights), train (unticked: a pause). A student's points
    and weights are drawn anew with each seed, so the interval speaks of both kinds of luck; it holds for the last step, not
    for one that was waited for. Smoothed labels give all classes together a tenth. The still figure shows the last step.
    """

    def draw(train: bool, **chosen) -> plots.Figure:
        setting = Setting(**chosen)
        found = race(setting)
        models = [(teacher(), TEACHER), *((parameters[0], setting.sizes) for parameters in found.parameters)]
        figure = plots.regions(
            [lambda points, model=model: softened(forward(*model, points)[-1], 1) for model in models],
            found.points,
            found.labels,
            names=("teacher", KINDS[0], setting.targets),
            steps=np.arange(0, STEPS + 1, EVERY),
            scores=found.accuracies,
            level=accuracy(teacher(), TEACHER),
        )
        figure.description = describe(setting, found.accuracies[-1])
        return figure

    return linked("playground", _content(), draw, **_controls())


def _content() -> dict:
    """What the browser needs: the same points, the same teacher, the same numbers."""
    from scipy import stats

    pool, test = ({"points": points.tolist(), "labels": labels.tolist()} for points, labels in samples()[1:])
    return {
        "kinds": list(KINDS),
        "classes": CLASSES,
        "teacher": {"sizes": TEACHER, "parameters": teacher().tolist()},
        "pool": pool,
        "test": test,
        "students": STUDENTS,
        "steps": STEPS,
        "every": EVERY,
        "smoothing": SMOOTHING,
        "adam": [RATE, *DECAYS, TINY],
        "quantile": float(stats.t.ppf((1 + CONFIDENCE) / 2, STUDENTS - 1)),
    }


def _controls() -> dict[str, ipywidgets.Widget]:
    start = asdict(Setting())

    def slider(kind: type, name: str, description: str, low: float, high: float, step: float) -> ipywidgets.Widget:
        return kind(value=start[name], min=low, max=high, step=step, description=description, **WIDE)

    floats, whole = ipywidgets.FloatSlider, ipywidgets.IntSlider
    return {
        "train": ipywidgets.Checkbox(value=True, description="train", **WIDE),
        "targets": ipywidgets.Dropdown(options=KINDS, value=start["targets"], description="targets", **WIDE),
        "temperature": slider(floats, "temperature", "temperature", 1.0, 10.0, 0.5),
        "alpha": slider(floats, "alpha", "alpha (teacher)", 0.0, 1.0, 0.05),
        "labels": slider(whole, "labels", "labels a class", 2, 30, 1),
        "width": slider(whole, "width", "student's units", 2, 32, 1),
        "seed": slider(whole, "seed", "seed", 0, 99, 1),
    }
