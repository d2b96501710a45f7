"""The studies of lab 16, Steal and defend: copies of a model behind an interface, and what its owner can do.

Each seed has an owner of its own, whose model learnt from 10,000 labelled pictures, and a thief, who holds other pictures.

The nasty owner's weight is the largest of 0.05, 0.06, 0.07 on Fashion-MNIST, of 0.06, 0.08, 0.1, 0.13 on glyphs, that costs it at
most a point of validation accuracy with seed 100, which no study uses.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.data.splits import ImageData, Split, balanced_indices
from kdcourse.evaluation import measure
from kdcourse.evaluation.inference import predict
from kdcourse.experiments import interface
from kdcourse.experiments.defences import SelfUndermining, losses_apart, members_found, noisy_votes
from kdcourse.experiments.experiment import Arm, Equipped, NoTraining, Recipe
from kdcourse.experiments.facts import starts_trained
from kdcourse.experiments.interface import Interface
from kdcourse.experiments.schemes import WarmStart
from kdcourse.methods import HardTarget, SoftTarget
from kdcourse.models import perceptron
from kdcourse.studies.engine import define
from kdcourse.training.cache import TeacherCache

OWNED, OWNERS_STEPS = 10_000, 500
COUNTS = (100, 400, 1600, 6400)
FEW = 100  # natural pictures that synthetic ones are made of
ANSWERS = {
    "probabilities": interface.everything,
    "rounded": interface.rounded,
    "top 3": interface.top,
    "label": interface.label_alone,
}
BY_HAND = "labelled by hand"
STEPS, BATCH, TEMPERATURE = 300, 64, 4
ASKED, LABELS = 1600, 300  # queries of the study of defences, and the pictures that its thief labels by hand
LIMIT = 400  # queries that an owner allows who limits them
NOISE = 2.0  # added to the owner's logits
NASTY_WEIGHTS, NASTY_WEIGHT = {"glyphs": 0.1}, 0.05
MARKED = 0.03  # of the queries are answered wrongly
TEACHERS, LEARNT, PUBLIC = 100, 200, 300  # voters, labelled pictures of each, pictures that they vote on
STRANGERS = 10_000  # pictures of which no network of the study has seen one
SPREADS = (10, 20, 40)  # of the noise on their votes
LONGER = 20  # times the steps, where a network is to know its pictures by heart


def asked(queries: str, answer: str, count: int) -> str:
    """The arm of a copy that learnt from so many queries of this kind."""
    return f"{queries}, {answer}, {count:,}"


def network(data: ImageData, hidden: int = 256) -> Callable[..., nn.Module]:
    return partial(perceptron, (hidden,), **data.sizes)


def owned(data: ImageData, seed: int) -> Split:
    """The owner's labelled pictures."""
    return data.train.sample(OWNED, seed)


@lru_cache(maxsize=2)
def others(data: ImageData, seed: int) -> Split:
    """All training pictures that are not the owner's, in an order of the seed's. The thief takes the first."""
    free = torch.ones(len(data.train), dtype=torch.bool)
    free[balanced_indices(data.train.labelled("others").cpu(), OWNED, seed)] = False
    places = free.nonzero()[:, 0]
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))
    return data.train.take(places[order[: max(COUNTS)]])


def natural(data: ImageData, count: int, seed: int) -> Split:
    """The thief's first pictures; their labels are known to those alone who label by hand."""
    return others(data, seed).take(torch.arange(count))


QUERIES = {
    "natural": natural,
    "synthetic": lambda data, count, seed: interface.synthetic_queries(natural(data, FEW, seed), count, seed),
    "random": lambda data, count, seed: interface.random_queries(data.train, count, seed),
}


@lru_cache(maxsize=4)
def owners_model(data: ImageData, seed: int) -> nn.Module:
    """What stands behind the interface: 256 hidden units, trained by labels."""
    recipe = Recipe(network(data), owned(data, seed), steps=OWNERS_STEPS, batch_size=BATCH)
    return recipe.run(seed).eval().requires_grad_(False)


@lru_cache(maxsize=4)
def nasty_model(data: ImageData, seed: int) -> nn.Module:
    """The same network, trained anew on the same pictures to mislead its copies."""
    method, normal = SelfUndermining(NASTY_WEIGHTS.get(data.name, NASTY_WEIGHT)), TeacherCache(owners_model(data, seed))
    recipe = Recipe(network(data), owned(data, seed), method, normal, steps=OWNERS_STEPS, batch_size=BATCH)
    return recipe.run(seed).eval().requires_grad_(False)


def through(data: ImageData, answer: interface.Answer, model=owners_model, **settings) -> Callable[[int], TeacherCache]:
    """What the thief asks, as a function of the seed. settings: of the `Interface`."""

    def teacher(seed: int) -> TeacherCache:
        return TeacherCache(Interface(model(data, seed), answer, key=seed, **settings))

    teacher.untrained = lambda seed: TeacherCache(Interface(network(data)(seed=seed), answer))
    return teacher


def by_hand(data: ImageData, count: int) -> Recipe:
    """The thief's cheapest rival: no queries, the same pictures labelled by hand."""
    return Recipe(network(data, 64), natural_first(data, count), HardTarget(), steps=STEPS, batch_size=BATCH)


def natural_first(data: ImageData, count: int) -> Callable[[int], Split]:
    return lambda seed: natural(data, count, seed)


def copying(
    data: ImageData, answer: str = "probabilities", count: int | None = None, queries: str = "natural", **settings
) -> Recipe:
    """A thief with so many queries, by default `ASKED`: soft targets of the answers, at T = 4. settings: of `through`.

    A label alone has nothing that a temperature could bring out, and is learnt at T = 1.
    """
    pictures, count = QUERIES[queries], count or ASKED
    return replace(
        by_hand(data, count),
        train=lambda seed: pictures(data, count, seed).unlabelled(),
        method=SoftTarget(1 if answer == "label" else TEMPERATURE),
        teacher=through(data, ANSWERS[answer], **settings),
    )


@define("16-queries")
def queries(data: ImageData) -> dict[str, Recipe]:
    """The copy's accuracy by the number of queries, by what is shown of an answer, and by what is asked."""
    arms = {}
    for count in COUNTS:
        arms[asked("natural", BY_HAND, count)] = by_hand(data, count)
        for answer in ANSWERS:
            arms[asked("natural", answer, count)] = copying(data, answer, count)
        for source in ("synthetic", "random"):
            arms[asked(source, "probabilities", count)] = copying(data, count=count, queries=source)
    return arms


def served(data: ImageData, model=owners_model, **settings) -> NoTraining:
    """An arm: what honest users get. settings: of the `Interface`."""
    return NoTraining(starts_trained(lambda seed: Interface(model(data, seed), key=seed, **settings)))


def repaired(data: ImageData, copy: Recipe) -> Recipe:
    """The copy learns on from a few pictures that the thief labels by hand, some of those that were asked."""
    few = {"train": natural_first(data, LABELS), "method": HardTarget(), "teacher": None}
    return replace(copy, student=WarmStart(copy), steps=60, learning_rate=1e-4, **few)


@define("16-defences", equal_budgets=False)
def defences(data: ImageData) -> dict[str, Arm]:
    """What each defence takes from honest users and from the thief, and what the thief can do about it."""
    plain, gentle = copying(data), SoftTarget(1)
    noisy, nasty = copying(data, noise=NOISE), copying(data, model=nasty_model)
    label, limited = copying(data, "label"), copying(data, "label", LIMIT)
    return {
        "copy": plain,
        "owner": served(data),
        "owner, noise": served(data, noise=NOISE),
        "owner, nasty": served(data, nasty_model),
        "copy, T = 1": replace(plain, method=gentle),
        "copy, label": label,
        "limit: copy, label": limited,
        "limit: copy, probabilities": copying(data, count=LIMIT),
        "noise: copy": noisy,
        "noise: copy, T = 1": replace(noisy, method=gentle),
        "nasty: copy": nasty,
        "nasty: copy, T = 1": replace(nasty, method=gentle),
        "nasty: copy, label": copying(data, "label", model=nasty_model),
        "labels by hand": by_hand(data, LABELS),
        "copy, then labels by hand": repaired(data, plain),
        "label: copy, then labels by hand": repaired(data, label),
        "limit: copy, then labels by hand": repaired(data, limited),
        "nasty: copy, then labels by hand": repaired(data, nasty),
        "noise: copy, then labels by hand": repaired(data, noisy),
    }


def suspect(arm: Arm, evidence: Callable[[int], Split]) -> Equipped:
    """An arm whose students carry the evidence of their seed, so that a metric can ask them for it."""
    return Equipped(arm, lambda student, seed: setattr(student, "evidence", evidence(seed)))


def marks_found(student: nn.Module, split: Split) -> float:
    """Percent of the owner's marks that a suspect repeats. split: not looked at, the marks are among the queries."""
    return measure.accuracy(student, student.evidence)


def marked_interface(data: ImageData, seed: int) -> Interface:
    return Interface(owners_model(data, seed), marked=MARKED, key=seed)


@define("16-watermark", {"": measure.accuracy, "-marks": marks_found}, equal_budgets=False)
def watermark(data: ImageData) -> dict[str, Arm]:
    """Copies of a marked interface and a network that never asked it, all of the same pictures; "-marks": marks repeated."""
    copy, label = copying(data, marked=MARKED), copying(data, "label", marked=MARKED)
    suspects = {
        "innocent": by_hand(data, ASKED),
        "copy": copy,
        "copy, T = 1": replace(copy, method=SoftTarget(1)),
        "copy, label": label,
        "copy, a third of the steps": replace(copy, steps=STEPS // 3),
        "copy, then labels by hand": repaired(data, copy),
    }
    suspects |= {"owner, unmarked": served(data), "owner": served(data, marked=MARKED)}
    return {name: suspect(arm, partial(evidence, data)) for name, arm in suspects.items()}


def evidence(data: ImageData, seed: int) -> Split:
    """The thief's queries that the interface marked, with its wrong answers."""
    return marked_interface(data, seed).evidence(natural(data, ASKED, seed))


@dataclass(frozen=True)
class Voted:
    """Teachers of disjoint sensitive pictures, and what they say of public ones.

    votes: (K, N) int64. public: N pictures with their true labels. sensitive: all K teachers' pictures. strangers: others, drawn
    as all these were, that nobody learns from.
    """

    votes: Tensor
    public: Split
    sensitive: Split
    strangers: Split


@lru_cache(maxsize=2)
def voted(data: ImageData, seed: int) -> Voted:
    """Each teacher is small and quickly trained: there are a hundred."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    places, public, rest = order.tensor_split([TEACHERS * LEARNT, TEACHERS * LEARNT + PUBLIC])
    public, strangers = data.train.take(public), data.train.take(rest[:STRANGERS])
    votes = []
    for number, part in enumerate(places.split(LEARNT)):
        teacher = voter(data, data.train.take(part)).run(1000 * seed + number)
        votes.append(predict(teacher, public).argmax(dim=1))
    return Voted(torch.stack(votes), public, data.train.take(places), strangers)


def voter(data: ImageData, pictures: Split | Callable[[int], Split]) -> Recipe:
    """One of the hundred."""
    return Recipe(network(data, 32), pictures, steps=60, batch_size=32)


def labelled_by_vote(data: ImageData, spread: float) -> Callable[[int], Split]:
    def split(seed: int) -> Split:
        found = voted(data, seed)
        return Split(found.public.images, noisy_votes(found.votes, len(data.classes), spread, seed))

    return split


@define("16-votes")
def votes(data: ImageData) -> dict[str, Recipe]:
    """Students that may be published, by the noise on the votes; and two that cost privacy, or labels."""
    alone = replace(by_hand(data, PUBLIC), train=lambda seed: voted(data, seed).public)
    by_vote = {f"spread {spread}": replace(alone, train=labelled_by_vote(data, spread)) for spread in SPREADS}
    return {
        "public pictures by hand": alone,
        "votes without noise": replace(alone, train=labelled_by_vote(data, 0)),
        **by_vote,
        "on the sensitive pictures": replace(alone, train=lambda seed: voted(data, seed).sensitive),
    }


def losses(student: nn.Module, split: Split) -> Tensor:
    """The cross-entropy of each example, (N,) float64: in float32 those of a network that is very sure would all be 0."""
    return F.cross_entropy(predict(student, split).double(), split.labels, reduction="none")


def members_apart(student: nn.Module, split: Split) -> float:
    """`losses_apart` of the secret pictures and the strangers that a student carries. split: not looked at."""
    return losses_apart(*(losses(student, side) for side in student.sides))


def members_known(student: nn.Module, split: Split) -> float:
    """`members_found` among the same. split: not looked at."""
    return members_found(*(losses(student, side) for side in student.sides))


MEMBERSHIP = {"": members_apart, "-found": members_known, "-accuracy": measure.accuracy}


@define("16-members", MEMBERSHIP, equal_budgets=False)
def members(data: ImageData) -> dict[str, Equipped]:
    """Can somebody tell from a published network which secret pictures it comes from? Asked by the size of its losses.

    Each network is asked about the secret pictures that it, or its teachers, learnt from; the baseline has seen none of them.
    """
    published = votes(data)
    whole, number = published["on the sensitive pictures"], TEACHERS * LEARNT

    def first(count: int) -> Callable[[int], Split]:
        return lambda seed: voted(data, seed).sensitive.take(torch.arange(count))

    def about(arm: Recipe, count: int) -> Equipped:
        def equip(student: nn.Module, seed: int) -> None:
            student.sides = first(count)(seed), voted(data, seed).strangers

        return Equipped(arm, equip)

    by_vote = (f"spread {SPREADS[len(SPREADS) // 2]}", "votes without noise")
    names = ("public pictures by hand", *by_vote, "on the sensitive pictures")
    return {
        **{name: about(published[name], number) for name in names},
        f"on the sensitive pictures, {LONGER} × the steps": about(replace(whole, steps=LONGER * STEPS), number),
        f"on {PUBLIC} of the sensitive pictures": about(replace(whole, train=first(PUBLIC)), PUBLIC),
        "one teacher": about(voter(data, first(LEARNT)), LEARNT),
    }
