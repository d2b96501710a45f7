"""From a seed to the tasks of one assignment: every choice is drawn from the seed and the task's own name."""

import inspect
import random
from collections.abc import Iterable
from dataclasses import dataclass

from kdcourse.assignments.drawing import KINDS
from kdcourse.assignments.measurement import HIDDEN, SEEDS, STEPS, Setting
from kdcourse.assignments.tasks import FunctionTask, ReportTask, Task, WrittenTask
from kdcourse.data.glyphs import CHARACTERS
from kdcourse.exercises import engine
from kdcourse.system.arguments import whole_number

TEMPERATURES = (1.5, 2.0, 2.5, 3.0, 5.0, 6.0, 8.0)
SHARES = (0.2, 0.3, 0.4, 0.6, 0.7, 0.8)
CLASSES, LABELLED = 6, (60, 120)
LOGITS = ("student_logits", "teacher_logits")


def assignment(seed: int, names: Iterable[str] | None = None) -> tuple[Task, ...]:
    """The variant that `seed` draws, the same on every machine; leaving a task out changes no other.

    seed: a whole number of at least 0. names: of `TASKS`; default `GRADED`, a sheet on labs 02 and 03.
    Raises `ValueError` for other arguments.
    """
    seed = whole_number("seed", seed, least=0)
    names = list(names or GRADED)
    if unknown := [name for name in names if name not in TASKS]:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {unknown[0]!r}")
    return tuple(TASKS[name](name, random.Random(f"kdcourse {seed} {name}")) for name in TASKS if name in names)


def _softened(name: str, draw: random.Random) -> FunctionTask:
    temperature = draw.choice(TEMPERATURES)
    text = f"Write `softmax_with_temperature`: the softmax of logits (N, C) at T = {temperature}, safe from overflow."
    exercise = "02.softmax_with_temperature"
    return FunctionTask(name, "Soften", text, exercise, ("logits",), (temperature,), "values", spread=2000.0)


def _gradient(name: str, draw: random.Random) -> FunctionTask:
    temperature = draw.choice(TEMPERATURES)
    text = (
        f"Write `soft_gradient`: the gradient of T² · KL(teacher ‖ student) at T = {temperature}, mean over the batch, with "
        "respect to the student's logits, (N, C), by the formula and without autograd."
    )
    return FunctionTask(name, "Differentiate", text, "02.soft_gradient", LOGITS, (temperature,), "values")


def _soft_target(name: str, draw: random.Random) -> FunctionTask:
    temperature = draw.choice(TEMPERATURES)
    text = (
        f"Write `soft_target`: T² · KL(teacher ‖ student) between probabilities softened at T = {temperature}, mean over the "
        "batch; no gradient into the teacher."
    )
    return FunctionTask(name, "Compare", text, "03.soft_target", LOGITS, (temperature,), "gradients")


def _mixture(name: str, draw: random.Random) -> FunctionTask:
    temperature, share, of_teacher = draw.choice(TEMPERATURES), draw.choice(SHARES), draw.random() < 0.5
    side = "the teacher's part" if of_teacher else "the labels' part, as some sources have it,"
    text = (
        f"Write `distillation`: the mixture of soft target (T = {temperature}, with its T²) and cross-entropy with the "
        f"labels, where alpha = {share} is the weight of {side} and 1 − alpha that of the other."
    )
    settings = (temperature, share if of_teacher else 1 - share)
    return FunctionTask(name, "Mix", text, "03.distillation", (*LOGITS, "labels"), settings, "gradients")


def _experiment(name: str, draw: random.Random) -> ReportTask:
    letters = "".join(sorted(draw.sample(CHARACTERS, CLASSES), key=CHARACTERS.index))
    setting = Setting(draw.randrange(1000), letters, draw.choice(LABELLED), draw.choice(TEMPERATURES))
    text = (
        f"Pictures of {', '.join(letters)} are plenty, but only {setting.labelled} of them have labels: "
        f"`data.train.sample({setting.labelled})`. Train `kd.models.perceptron(({HIDDEN},))` on these labels alone; and on "
        f"all of `data.train` without a label, from the teacher's soft targets at T = {setting.temperature} alone. Take "
        f"{STEPS} steps each, else what `kd.Recipe` does by default, and the seeds 0 to {SEEDS - 1}. Report the mean "
        "accuracy on the test pictures, in percent, of the students taught by labels; by how many percentage points the "
        f"distilled ones are above them, mean over the seeds; the entropy of the teacher's answers softened at T = "
        f"{setting.temperature}, mean over the test pictures, in nats; and the place in `data.test` of the picture whose "
        "answer has the largest entropy. "
        "The marker trains the same students."
    )
    return ReportTask(name, "Distil", text, setting)


def _explanation(name: str, draw: random.Random) -> WrittenTask:
    low, high = sorted(draw.sample(TEMPERATURES, 2))
    questions = (
        f"Why does the loss carry T², and what would change between T = {low} and T = {high} without it?",
        f"What does a student learn from the teacher at T = {high} that it hardly sees at T = {low}?",
        "How can pictures without labels teach a student, and what bounds what it learns from them?",
    )
    return WrittenTask(name, "Explain", f"{draw.choice(questions)} Three to five sentences; a person marks them.")


@dataclass(frozen=True)
class Card:
    """An exercise as a task: where a result says all that is marked, on arguments that can be sent.

    kinds: of its first arguments. fixed: for the others, what a seed may draw. words: what else the task says. The rest: as
    a `FunctionTask` has it.
    """

    exercise: str
    kinds: tuple[str, ...]
    probe: str = "values"
    fixed: tuple[tuple[float, ...], ...] = ()
    spread: float = 3.0
    part: int | None = None
    words: str = ""


CARDS = {
    "00": [Card("00.accuracy", ("logits", "labels"))],
    "01": [Card("01.soft_cross_entropy", ("logits", "distributions"), spread=200.0)],
    "02": [Card("02.entropy", ("distributions",))],
    "04": [
        Card("04.attention_map", ("maps",)),
        Card("04.activation_boundary", ("maps", "maps"), "gradients", ((0.5, 1.0, 1.5, 2.0),)),
    ],
    "05": [
        Card("05.similarity_preserving", ("points", "points"), "gradients"),
        Card("05.info_nce", ("points", "points"), "gradients", ((0.1, 0.2, 0.4),)),
    ],
    "06": [Card("06.ensemble_target", ("ensembles",), fixed=(TEMPERATURES,)), Card("06.disagreement", ("ensembles",))],
    "07": [Card("07.peer_loss", ("logits", "logits", "labels"), "gradients")],
    "08": [Card("08.capacity_gap", ("sizes", "scores", "scores"), part=1, words="Return the gaps alone, (runs,).")],
    "09": [
        Card("09.hidden_cosine", ("states", "states", "masks"), "gradients"),
        Card("09.compute_loss", ("logits", "logits", "labels"), "gradients", (TEMPERATURES, SHARES)),
    ],
    "10": [
        Card("10.worth_their_cost", ("sizes", "sizes")),
        Card("10.choose_setting", ("points", "points"), part=1, words="Return the mean test score alone."),
    ],
    "11": [Card("11.sampling_chances", ("labels of all classes",))],
    "12": [Card("12.magnitude_mask", ("weights",), fixed=((0.25, 0.5, 0.75),)), Card("12.two_of_four", ("weights",))],
    "13": [
        Card("13.forward_kl", ("states", "states"), "gradients"),
        Card("13.reverse_kl", ("states", "states"), "gradients"),
    ],
    "14": [Card("14.from_pixels", ("pixels", "channels", "channels"))],
    "15": [Card("15.between_weights", ("weights", "weights"), fixed=((0.2, 0.4, 0.6, 0.8),))],
    "16": [
        Card("16.top_answers", ("distributions",), fixed=((1, 2),)),
        Card("16.nasty_loss", ("logits", "logits", "labels"), fixed=(SHARES, TEMPERATURES)),
    ],
}  # fmt: skip


def _function(name: str, draw: random.Random) -> FunctionTask:
    """One of a lab's cards, with what it fixes drawn too."""
    card = draw.choice(CARDS[name[:2]])
    exercise = engine.exercise(card.exercise)
    names = list(inspect.signature(exercise.reference).parameters)
    arguments, others = tuple(names[: len(card.kinds)]), names[len(card.kinds) :]
    settings = tuple(draw.choice(choices) for choices in card.fixed)
    shapes = "; ".join(f"`{one}`: {KINDS[kind][0]}" for one, kind in zip(arguments, card.kinds, strict=True))
    fixed = "".join(f" {one} is {value}." for one, value in zip(others, settings, strict=True))
    text = f"Write `{exercise.name}`. {exercise.goal} It takes {shapes}.{fixed} {card.words}".strip()
    rest = {"spread": card.spread, "kinds": card.kinds, "part": card.part}
    return FunctionTask(name, f"Lab {name[:2]}", text, card.exercise, arguments, settings, card.probe, **rest)


GRADED = ("02-softmax", "02-gradient", "03-soft-target", "03-mixture", "03-experiment", "03-explanation")
TASKS = {
    "02-softmax": _softened,
    "02-gradient": _gradient,
    "03-soft-target": _soft_target,
    "03-mixture": _mixture,
    "03-experiment": _experiment,
    "03-explanation": _explanation,
    **{f"{lab}-function": _function for lab in CARDS},
}
