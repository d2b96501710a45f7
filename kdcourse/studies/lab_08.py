"""The studies of lab 08, Distil progressively: teachers of growing size, bridges across the gap, and what teaching costs."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product

from torch import nn

from kdcourse import zoo
from kdcourse.data.splits import ImageData
from kdcourse.experiments.experiment import Arm, Recipe
from kdcourse.experiments.ledger import Comparison
from kdcourse.experiments.schemes import Chain
from kdcourse.methods import HardTarget, SoftTarget
from kdcourse.models import perceptron
from kdcourse.studies.engine import define
from kdcourse.studies.lab_04 import PICTURES
from kdcourse.training.cache import TeacherCache

STUDENT = 8  # hidden units
SIZES = (16, 64, 256, 1024)  # hidden units of the teachers
LARGEST = SIZES[-1]
TEMPERATURE = 4  # of the bridges, and of the gap as it was first measured
TEMPERATURES = (1, 2, 4, 8)

# Of the price: students, their teachers (hidden units), pictures (None: all of them), and steps.
STUDENTS = (8, 32)
TEACHERS = (64, 128)
AMOUNTS = (500, 5_000, None)
BUDGETS = (100, 400, 1_600)
LONGER = (6_400, 25_600)  # of plain students: the second for the smaller one with all pictures, whose steps cost least
SCHOOLING = 1_000  # steps of a teacher: with its student the dearest one still costs less than the longest plain run
RATES = (1e-2, 3e-3)  # the first is used; what the second would change for plain students is kept with the choice


def setting(hidden: int, temperature: float) -> str:
    """The arm of a student under the teacher of so many hidden units."""
    return f"{hidden} units, T = {temperature:g}"


def of_size(data: ImageData, hidden: int) -> Callable[..., nn.Module]:
    return partial(perceptron, (hidden,), **data.sizes)


def teacher_recipe(data: ImageData, hidden: int, steps: int = 1500) -> Recipe:
    """A teacher learns from all labelled pictures."""
    return Recipe(of_size(data, hidden), data.train, HardTarget(), steps=steps)


@lru_cache(maxsize=64)
def taught_by(data: ImageData, hidden: int, seed: int, steps: int = 1500) -> TeacherCache:
    """One teacher for each seed, trained once and used by every arm."""
    return TeacherCache(teacher_recipe(data, hidden, steps).run(seed).eval().requires_grad_(False))


def asked(data: ImageData, hidden: int, **settings: int) -> Callable[[int], TeacherCache]:
    """`taught_by` as a function of the seed; for a recipe's facts a network of that size will do, untrained."""
    teacher = partial(taught_by, data, hidden, **settings)
    teacher.untrained = lambda seed: TeacherCache(of_size(data, hidden)(seed=seed))
    return teacher


def student_recipe(data: ImageData) -> Recipe:
    """The student has 1,000 pictures, and the same budget under every teacher."""
    return Recipe(of_size(data, STUDENT), lambda seed: data.train.sample(PICTURES, seed), steps=600, learning_rate=1e-2)


@define("08-teachers")
def teachers(data: ImageData) -> dict[str, Arm]:
    """How good the teachers are."""
    return {f"{hidden} units": _Trained(data, hidden) for hidden in SIZES}


@define("08-capacity-gap")
def capacity_gap(data: ImageData) -> dict[str, Arm]:
    """The same tiny student under each of them, at each temperature; and under the two shipped teachers."""
    alone = student_recipe(data)
    by_size = {
        setting(hidden, t): replace(alone, method=SoftTarget(t), teacher=asked(data, hidden))
        for hidden in SIZES
        for t in TEMPERATURES
    }
    listening = replace(alone, method=SoftTarget(TEMPERATURE))
    shipped = {
        f"shipped {name}": replace(listening, teacher=partial(_shipped, data, name))
        for name in ("perceptron", "convnet")
    }
    return {"labels only": alone, **by_size, **shipped}


@define("08-assistants", equal_budgets=False)
def assistants(data: ImageData) -> dict[str, Arm]:
    """From the largest teacher, directly and through assistants that it taught on all pictures, without labels.

    The cheapest rivals of an assistant: another temperature, and more steps of the student's own.
    """
    alone = student_recipe(data)
    listening = replace(alone, method=SoftTarget(TEMPERATURE))
    direct = replace(listening, teacher=asked(data, LARGEST))

    def through(*sizes: int) -> Chain:
        bridges = [
            replace(direct, student=of_size(data, hidden), train=data.train.unlabelled(), learning_rate=3e-3)
            for hidden in sizes
        ]
        return Chain([*bridges, listening])

    return {
        "direct": direct,
        "labels only": alone,
        "through 256": through(256),
        "through 64": through(64),
        "through 16": through(16),
        "through 256, 64, 16": through(256, 64, 16),
        "stopped early": replace(listening, teacher=asked(data, LARGEST, steps=100)),
        **{f"direct, T = {t}": replace(direct, method=SoftTarget(t)) for t in TEMPERATURES if t != TEMPERATURE},
        "direct, twice the steps": replace(direct, steps=2 * direct.steps),
    }


def of_pictures(amount: int | None) -> str:
    return "all pictures" if amount is None else f"{amount:,} pictures"


def alone(student: int, amount: int | None, steps: int) -> str:
    """The arm of a plain student: it has the labels, and no teacher."""
    return f"{student} units, {of_pictures(amount)}, {steps:,} steps"


def under(teacher: int, student: int, amount: int | None, steps: int) -> str:
    """The arm of a student under the teacher of so many hidden units."""
    return f"{alone(student, amount, steps)}, under {teacher}"


def plain_budgets(student: int, amount: int | None) -> tuple[int, ...]:
    """The steps of the plain students of this size with so many pictures, growing."""
    longest = student == STUDENTS[0] and amount is None
    return (*BUDGETS, *(LONGER if longest else LONGER[:1]))


@define("08-scaling-choice", seeds=(100, 101, 102), equal_budgets=False)
def scaling_choice(data: ImageData) -> dict[str, Arm]:
    """The temperature of each size and amount, chosen on validation data (`CHOSEN`); and plain students at both rates."""
    arms = {
        f"{alone(STUDENTS[0], amount, steps)}, rate {rate:g}": replace(
            _of_amount(data, STUDENTS[0], amount, steps), learning_rate=rate
        )
        for amount, steps, rate in product(AMOUNTS, BUDGETS[1:], RATES)
    }
    for student, amount, t in product(STUDENTS, AMOUNTS, TEMPERATURES):
        taught = _taught(_of_amount(data, student, amount, BUDGETS[1]), data, TEACHERS[0], t)
        arms[at_temperature(student, amount, t)] = taught
    return arms


def at_temperature(student: int, amount: int | None, temperature: float) -> str:
    """The arm of `scaling_choice` at this temperature."""
    return f"{student} units, {of_pictures(amount)}, T = {temperature:g}"


# (student, pictures) -> temperature, by the validation data of 08-scaling-choice.
CHOSEN = {
    name: dict(zip(product(STUDENTS, AMOUNTS), temperatures, strict=True))
    for name, temperatures in (("fashion-mnist", (2, 1, 1, 8, 1, 1)), ("glyphs", (8, 4, 2, 8, 4, 4)))
}


@define("08-scaling", equal_budgets=False)
def scaling(data: ImageData) -> dict[str, Arm]:
    """Plain students and taught ones over size, pictures and steps; and the teachers, for what their training costs.

    Plain students go on for longer, so that each taught student meets a plain one of at least its price: see `bill`.
    """
    arms = {}
    chosen = CHOSEN.get(data.name, CHOSEN["fashion-mnist"])
    for student, amount in product(STUDENTS, AMOUNTS):
        for steps in plain_budgets(student, amount):
            arms[alone(student, amount, steps)] = _of_amount(data, student, amount, steps)
        for teacher, steps in product(TEACHERS, BUDGETS):
            plain = _of_amount(data, student, amount, steps)
            arms[under(teacher, student, amount, steps)] = _taught(plain, data, teacher, chosen[student, amount])
    return arms | {the_teacher(hidden): _Trained(data, hidden, SCHOOLING) for hidden in TEACHERS}


def the_teacher(hidden: int) -> str:
    """The arm of a teacher itself."""
    return f"teacher of {hidden} units"


@dataclass(frozen=True)
class Bill:
    """What a taught student costs. arm: its own. price: in multiply-adds. rival: the plain student that this price buys."""

    arm: str
    price: int
    rival: str


def bill(
    outcome: Comparison, teacher: int, student: int, amount: int | None, steps: int, *, paid: bool = False
) -> Bill:
    """The bill of one taught student of `scaling`; the sizes are hidden units.

    paid: whether the teacher was trained for this student alone. Then its training is on the bill; and as its labels are at
    hand, the rival has them all. Default: the teacher is given, and the rival has the labels of the student's own pictures.
    """
    arm = under(teacher, student, amount, steps)
    price = sum(outcome.facts[one].multiply_adds for one in ((arm, the_teacher(teacher)) if paid else (arm,)))
    return Bill(arm, price, rival(outcome, student, None if paid else amount, price))


def rival(outcome: Comparison, student: int, amount: int | None, price: int) -> str:
    """The plain student that a price buys: the best on validation data of all budgets up to the first that costs as much.

    So it may have cost more than the price, and it may have stopped early. Raises `ValueError` where even the longest plain run
    costs less than the price.
    """
    arms = [alone(student, amount, steps) for steps in plain_budgets(student, amount)]
    costs = [outcome.facts[arm].multiply_adds for arm in arms]
    if price > costs[-1]:
        raise ValueError(f"price must be at most {costs[-1]:,}, what the longest plain run costs, got {price:,}")
    return outcome.best(among=arms[: bisect_left(costs, price) + 1])


def _of_amount(data: ImageData, student: int, amount: int | None, steps: int) -> Recipe:
    """A plain student with so many labelled pictures."""
    train = data.train if amount is None else lambda seed: data.train.sample(amount, seed)
    return Recipe(of_size(data, student), train, steps=steps, learning_rate=RATES[0])


def _taught(plain: Recipe, data: ImageData, teacher: int, temperature: float) -> Recipe:
    """The same student with the teacher's answers in place of the labels."""
    return replace(plain, method=SoftTarget(temperature), teacher=asked(data, teacher, steps=SCHOOLING))


class _Trained:
    """An arm whose students are the cached teachers themselves."""

    def __init__(self, data: ImageData, hidden: int, steps: int = 1500):
        self.data, self.hidden, self.steps = data, hidden, steps
        self.recipe = teacher_recipe(data, hidden, steps)
        self.budget, self.describe, self.facts = self.recipe.budget, self.recipe.describe, self.recipe.facts

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        return taught_by(self.data, self.hidden, seed, self.steps).teacher


def _shipped(data: ImageData, name: str, seed: int) -> TeacherCache:
    """The same for every seed."""
    return _cached(data, name)


@lru_cache(maxsize=4)
def _cached(data: ImageData, name: str) -> TeacherCache:
    return TeacherCache(zoo.teacher(name, data, announce=False))
