"""Losses that are known by their gradient: the right ones, the other ones, and the mistakes that the exercises know.

Each is a sum of parts. A part is a function (student, teacher, labels, temperature) -> scalar of logits (M, C), a mean over
rows, so that what a reader's loss adds to it (T², 1/C, a share) shows as a factor.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from torch import Tensor
from torch.nn import functional as F

from kdcourse.exercises import exercise
from kdcourse.exercises.verdicts import Mistake
from kdcourse.losses import language, response

Part = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Known:
    """A loss that can be recognised.

    what: what it is called in a report. parts: what its gradient is a sum of. kind: "right" for KL(teacher ‖ student),
    "other" for another loss that people choose on purpose, "mistake" else. mend: the line that helps. softened: whether a
    factor T² belongs to it. hard: the name of its last part where that is one on the labels.
    """

    what: str
    parts: tuple[Part, ...]
    kind: str = "mistake"
    mend: str = ""
    softened: bool = True
    hard: str = ""


def said(identity: str, name: str) -> Mistake:
    """The mistake called `name` of the exercise `identity`. Raises `ValueError` where there is none."""
    found = next((mistake for mistake in exercise(identity).mistakes if mistake.name == name), None)
    if found is None:
        raise ValueError(f"exercise {identity} knows no mistake {name!r}")
    return found


def _from_card(name: str) -> Known:
    mistake = said("03.soft_target", name)
    return Known(name, (_plain(mistake.function),), "mistake", mistake.explanation)


def _plain(function: Callable) -> Part:
    """A function of (student, teacher, temperature) as a part."""
    return lambda s, t, labels, temperature: function(s, t, temperature)


def _cross(p: Tensor, log_q: Tensor) -> Tensor:
    return -(p * log_q).sum(1).mean()


def _twice(student: bool, teacher: bool) -> Part:
    def part(s, t, labels, T):
        s, t = s / T, t / T
        s, t = s.softmax(1) if student else s, t.softmax(1) if teacher else t
        return T**2 * _cross(t.softmax(1), s.log_softmax(1))

    return part


def _clipped(s, t, labels, T):
    """KL of logits that were taken for probabilities, cut off at 1e-7 and 1 as Keras does."""
    p, q = (t / T).clamp(1e-7, 1), (s / T).clamp(1e-7, 1)
    return T**2 * (p * (p / q).log()).sum(1).mean()


def _js(s, t, labels, T):
    return language.generalized_jsd(s.unsqueeze(1), t.unsqueeze(1), temperature=T)


def _decoupled(alpha: float, beta: float) -> Part:
    return lambda s, t, labels, T: response.decoupled(s, t, labels, alpha=alpha, beta=beta, temperature=T)


forward: Part = lambda s, t, labels, T: response.soft_target(s, t, temperature=T)  # noqa: E731
reverse = _plain(said("03.soft_target", "the arguments of KL are swapped").function)

_LOG = "F.kl_div(log_q, p): the student's F.log_softmax first, the teacher's F.softmax second, both of logits / T."
_ONCE = "The model ends in a softmax, or the loss takes it twice: give log_softmax the logits themselves."


@cache
def soft() -> tuple[Known, ...]:
    """Losses on two sets of logits, the likeliest first."""
    right = Known("KL(teacher ‖ student)", (forward,), "right")
    mse = Known("mean squared error of the logits", (lambda s, t, y, T: F.mse_loss(s, t),), "other", softened=False)
    squares = (lambda s, t, y, T: F.mse_loss((s / T).softmax(1), (t / T).softmax(1)),)
    detached = said("13.reverse_kl", "the student's weights detached")
    wanted = "MSE compares like with like: logits with logits."
    return (
        right,
        Known("KL(student ‖ teacher), the reverse KL", (reverse,), "reverse"),
        Known("Jensen-Shannon divergence", (_js,), "other", softened=False),
        mse,
        Known("mean squared error of the probabilities", squares, "other", softened=False),
        Known(
            "KL of standardised logits",
            (lambda s, t, y, T: response.standardized_soft_target(s, t, temperature=T),),
            "other",
        ),
        Known("KL in both directions", (forward, reverse), "other"),
        Known(
            "DIST, correlations of the probabilities",
            (lambda s, t, y, T: response.correlation(s, t, temperature=T),),
            "other",
        ),
        Known(
            "cross-entropy with the teacher's decisions",
            (lambda s, t, y, T: F.cross_entropy(s, t.argmax(1)),),
            "other",
            softened=False,
        ),
        *(_from_card(name) for name in ("temperature on the student only", "temperature on the teacher only")),
        _from_card("softmax where log_softmax belongs"),
        Known(
            detached.name,
            (lambda s, t, y, T: T**2 * detached.function(s.unsqueeze(1) / T, t.unsqueeze(1) / T),),
            mend=detached.explanation,
        ),
        *_mistakes(wanted),
    )


def _mistakes(wanted: str) -> Iterator[Known]:
    """What no exercise has a card for, and issue threads do."""
    yield Known(
        "temperature on neither side",
        (lambda s, t, y, T: T**2 * response.soft_target(s, t, temperature=1.0),),
        mend="Divide both sides' logits by T before the softmax.",
    )
    yield Known(
        "logits times T",
        (lambda s, t, y, T: T**2 * response.soft_target(s * T, t * T, temperature=1.0),),
        mend="Divide the logits by T; times T makes both sides harder, not softer.",
    )
    yield Known(
        "softmax over the batch",
        (lambda s, t, y, T: T**2 * _cross((t / T).softmax(0).T, (s / T).log_softmax(0).T),),
        mend="The classes are the last dimension: dim=-1.",
    )
    yield Known("softmax twice on the student", (_twice(True, False),), mend=_ONCE)
    yield Known("softmax twice on the teacher", (_twice(False, True),), mend=_ONCE)
    yield Known("softmax twice", (_twice(True, True),), mend=_ONCE)
    yield Known("KL on raw logits", (_clipped,), mend=f"No softmax was taken: logits are no probabilities. {_LOG}")
    yield Known("no softmax on the student", (lambda s, t, y, T: T**2 * _cross((t / T).softmax(1), s / T),), mend=_LOG)
    yield Known(
        "no softmax on the teacher", (lambda s, t, y, T: T**2 * _cross(t / T, (s / T).log_softmax(1)),), mend=_LOG
    )
    yield Known(
        "KL on raw logits",
        (lambda s, t, y, T: T**2 * _cross(t / T, s / T),),
        mend=f"No softmax was taken: logits are no probabilities. {_LOG}",
    )
    yield Known(
        "log-probabilities as target",
        (lambda s, t, y, T: T**2 * _cross((t / T).log_softmax(1), (s / T).log_softmax(1)),),
        mend="F.kl_div(..., log_target=True), or give it the teacher's F.softmax.",
    )
    yield Known(
        "temperature after the softmax",
        (lambda s, t, y, T: T * _cross(t.softmax(1), s.log_softmax(1)),),
        mend="Divide logits by T, not probabilities: softmax(logits / T).",
        softened=False,
    )
    yield Known(
        "logits against probabilities",
        (lambda s, t, y, T: F.mse_loss(s, (t / T).softmax(1)),),
        mend=wanted,
        softened=False,
    )


HARD: dict[str, Part] = {
    "labels": lambda s, t, labels, T: F.cross_entropy(s, labels),
    "smoothed labels": lambda s, t, labels, T: F.cross_entropy(s, labels, label_smoothing=0.1),
    "temperature on the labels' part too": lambda s, t, labels, T: F.cross_entropy(s / T, labels),
    "cross-entropy on probabilities": lambda s, t, labels, T: F.cross_entropy(s.softmax(1), labels),
}


def with_labels() -> Iterator[Known]:
    """Losses that are given labels: the soft ones alone, mixed with the labels, and those that know classes apart."""
    yield from soft()
    for hard, part in HARD.items():
        for known in soft():
            yield Known(known.what, (*known.parts, part), known.kind, known.mend, known.softened, hard)
    target, rest = _decoupled(1.0, 0.0), _decoupled(0.0, 1.0)
    yield Known("DKD, target and other classes apart", (target, rest), "other")
    yield Known("DKD, target and other classes apart", (target, rest, HARD["labels"]), "other", hard="labels")
    for hard, part in HARD.items():
        yield Known("cross-entropy with the labels alone", (part,), "labels", softened=False, hard=hard)
