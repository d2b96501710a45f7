"""The divergence playground: a teacher with two peaks, a student of one bump, and every divergence from forward to reverse.

Which bump is best at which beta is found once, in Python; the loss of the bump that stands there now is computed in the
browser (`divergence.js`) by the same formula.
"""

from dataclasses import dataclass
from functools import cache

import ipywidgets
import numpy as np

from kdcourse import plots
from kdcourse.widgets.arithmetic import kl, log_softmax
from kdcourse.widgets.linked import WIDE, LinkedView, linked
from kdcourse.widgets.live import LiveFigure
from kdcourse.widgets.wording import fixed, short

SUPPORT = np.arange(-100, 101) / 20  # the points on which all distributions live
CENTERS, WIDTHS = np.arange(-40, 41) / 10, np.arange(4, 41) / 10  # where a student may stand
BETAS = [step / 20 for step in range(21)]


def generalized_jsd(log_student, log_teacher, beta: float) -> np.ndarray:
    """`kdcourse.losses.generalized_jsd` of log probabilities (..., V) and (V,) -> (...): one for each student, in nats."""
    if beta == 0:
        return kl(log_teacher, log_student)
    if beta == 1:
        return kl(log_student, log_teacher)
    log_mixture = np.logaddexp(log_teacher + np.log(beta), log_student + np.log1p(-beta))
    return beta * kl(log_teacher, log_mixture) + (1 - beta) * kl(log_student, log_mixture)


def log_gaussian(center, width) -> np.ndarray:
    """Log probabilities (..., 201) of one Gaussian on `SUPPORT`; center and width: numbers or arrays (...)."""
    center, width = np.asarray(center)[..., None], np.asarray(width)[..., None]
    return log_softmax(-0.5 * ((SUPPORT - center) / width) ** 2)


@dataclass(frozen=True)
class TwoPeaks:
    """A teacher on a line from −5 to 5: a mixture of two Gaussians, and the students of one bump that could stand in for it.

    centers: two, from left to right, within (−5, 5). widths: two standard deviations above 0. shares: two above 0, of sum 1.
    Raises `ValueError` for others.
    """

    centers: tuple[float, float] = (-2.0, 2.0)
    widths: tuple[float, float] = (0.5, 0.7)
    shares: tuple[float, float] = (0.6, 0.4)

    def __post_init__(self):
        for name in ("centers", "widths", "shares"):
            given = getattr(self, name)
            if len(given) != 2:
                raise ValueError(f"{name} must be two, one for each peak, got {given}")
        if not SUPPORT[0] < self.centers[0] < self.centers[1] < SUPPORT[-1]:
            raise ValueError(f"centers must go from left to right within (-5, 5), got {self.centers}")
        if not min(self.widths) > 0:
            raise ValueError(f"widths must be above 0, got {self.widths}")
        if not min(self.shares) > 0 or not np.isclose(sum(self.shares), 1):
            raise ValueError(f"shares must be above 0 and add to 1, got {self.shares}")

    @property
    def log_teacher(self) -> np.ndarray:
        """Log probabilities (201,)."""
        one, other = (log_gaussian(*peak) for peak in zip(self.centers, self.widths, strict=True))
        return np.logaddexp(one + np.log(self.shares[0]), other + np.log(self.shares[1]))

    @property
    def gap(self) -> tuple[float, float]:
        """What counts as between the peaks: the middle half of the way from one to the other."""
        left, right = self.centers
        return left + (right - left) / 4, right - (right - left) / 4

    def probability_between(self, log_probabilities) -> float:
        """The share of its probability that a distribution (201,) puts between the peaks."""
        inside = (self.gap[0] < SUPPORT) & (self.gap[1] > SUPPORT)
        return float(np.exp(log_probabilities)[inside].sum())

    def between(self, center: float, width: float) -> float:
        """The share that a student puts between the peaks."""
        return self.probability_between(log_gaussian(center, width))

    def best(self, beta: float) -> tuple[float, float]:
        """Center and width of the bump with the least divergence, of all on a grid with steps of 0.1."""
        places, bumps = _student_grid()
        return tuple(places[generalized_jsd(bumps, self.log_teacher, beta).argmin()].tolist())

    def covers(self, beta: float) -> bool:
        """Whether the best student stands between the peaks, over both, rather than on one of them."""
        return self.gap[0] < self.best(beta)[0] < self.gap[1]

    def jump(self, within: float = 1e-3) -> tuple[float, float]:
        """Two betas no further apart than `within`: at the first the best student covers, at the second it has left the middle.

        Found by halving, from the reverse KL down. Raises `ValueError` where it covers at beta = 1, or does not at beta = 0.
        """
        covering, seeking = 0.0, 1.0
        if not self.covers(covering) or self.covers(seeking):
            raise ValueError(f"the best student must cover at beta = 0 and seek at beta = 1, as it does not for {self}")
        while seeking - covering > within:
            middle = (covering + seeking) / 2
            covering, seeking = (middle, seeking) if self.covers(middle) else (covering, middle)
        return covering, seeking


def describe(peaks: TwoPeaks, beta: float, best: bool, center: float, width: float) -> str:
    """Two sentences on a student, by hand or the best: how far it is from the teacher, and what it says between the peaks."""
    least = fixed(generalized_jsd(log_gaussian(*peaks.best(beta)), peaks.log_teacher, beta), 3)
    if best:
        name, against = "The best student", ""
        center, width = peaks.best(beta)
    else:
        name, against = "A student", f" (best {least})"
    log_student = log_gaussian(center, width)
    nats = fixed(generalized_jsd(log_student, peaks.log_teacher, beta), 3)
    ours, theirs = (fixed(100 * peaks.probability_between(one), 1) for one in (log_student, peaks.log_teacher))
    return (
        f"{name} at beta = {short(beta)}: center {short(center)}, width {short(width)}, {nats} nats from the teacher{against}. "
        f"It puts {ours} % of its probability between the peaks, the teacher {theirs} %."
    )


def divergence_playground(peaks: TwoPeaks | None = None) -> LinkedView | LiveFigure:
    """Fit a student with one peak to a teacher with two, under divergences from forward to reverse KL.

    peaks: the teacher, default `TwoPeaks()`. Controls: beta (0 forward KL, 1 reverse KL, in steps of 0.05), best (on: the
    student is the best for beta; off: it is moved by hand), center and width, which count while `best` is off.
    """
    peaks = peaks or TwoPeaks()

    def draw(beta: float, best: bool, center: float, width: float) -> plots.Figure:
        log_student = log_gaussian(*peaks.best(beta)) if best else log_gaussian(center, width)
        step = SUPPORT[1] - SUPPORT[0]
        shapes = {"teacher": np.exp(peaks.log_teacher) / step, "student": np.exp(log_student) / step}
        figure = plots.profiles(
            SUPPORT, shapes, xlabel="what is said", ylabel="density", band=(*peaks.gap, "between the peaks")
        )
        figure.description = describe(peaks, beta, best, center, width)
        return figure

    content = {
        "line": SUPPORT.tolist(),
        "teacher": peaks.log_teacher.tolist(),
        "gap": list(peaks.gap),
        "betas": BETAS,
        "best": [peaks.best(beta) for beta in BETAS],
    }
    rests = {"center": "best", "width": "best"}
    return linked("divergence", content, draw, rests=rests, **_controls(*peaks.best(0.5)))


@cache
def _student_grid() -> tuple[np.ndarray, np.ndarray]:
    """Every student on the grid: center and width (K, 2), log probabilities (K, 201)."""
    places = np.stack(np.meshgrid(CENTERS, WIDTHS, indexing="ij"), axis=-1).reshape(-1, 2)
    return places, log_gaussian(places[:, 0], places[:, 1])


def _controls(center: float, width: float) -> dict[str, ipywidgets.Widget]:
    by_hand = {"step": 0.1, "readout_format": ".1f", **WIDE}
    betas = [(f"{beta:.2f}", beta) for beta in BETAS]
    return {
        "beta": ipywidgets.SelectionSlider(options=betas, value=0.5, description="beta", **WIDE),
        "best": ipywidgets.Checkbox(value=True, description="the best for this beta", **WIDE),
        "center": ipywidgets.FloatSlider(center, min=CENTERS[0], max=CENTERS[-1], description="center", **by_hand),
        "width": ipywidgets.FloatSlider(width, min=WIDTHS[0], max=WIDTHS[-1], description="width", **by_hand),
    }
