"""Differences with their intervals, and the verdicts that follow from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
FEWEST = 5  # seeds that a claim needs: with two or three, one lucky seed moves the interval as much as the method does
CONSTANT = "the same for every seed"
TOGETHER = "\N{NO-BREAK SPACE}"  # in an interval: in a table's narrow column its two ends stay in one line


@dataclass(frozen=True)
class Difference:
    """A paired difference in percentage points.

    mean: over the seeds. low, high: the ends of its 95 % interval. seeds: how many, None where it is not known. Raises
    `ValueError` for NaN and infinity, from which no verdict follows.
    """

    mean: float
    low: float
    high: float
    seeds: int | None = None

    def __post_init__(self):
        check_finite("a difference", (self.mean, self.low, self.high))

    @property
    def verdict(self) -> str:
        """ "helps", "hurts", "no clear difference" where the interval holds zero, or "the same for every seed".

        The last is for a difference without any randomness, such as one in which nothing is trained: its interval has no width,
        so every difference, however small, would seem clear.
        """
        if self.high - self.low < 1e-9:
            return CONSTANT
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "no clear difference"

    def __str__(self) -> str:
        return f"{self.mean:+.1f} points [{self.low:+.1f},{TOGETHER}{self.high:+.1f}]"

    def told(self, words: Mapping[str, str] | None = None, *, bold: bool = True) -> str:
        """The difference with its verdict, as prose says it: `+2.1 points [+1.0, +3.2] (**helps**)`.

        words: verdict -> what stands in its place, such as {"helps": "more often"}; default none. bold: whether the verdict is,
        default True; False for a table's cell, which knows no Markdown.
        """
        word = (words or {}).get(self.verdict, self.verdict)
        return f"{self} (**{word}**)" if bold else f"{self} ({word})"

    def level(self, digits: int = 1, unit: str = "") -> str:
        """The mean of what is no difference, such as one arm's scores, with its interval: `73.2 % [72.7, 73.7]`.

        digits: after the point, default 1. unit: stands behind the mean, such as " %"; default none.
        """
        return f"{self.mean:.{digits}f}{unit} [{self.low:.{digits}f},{TOGETHER}{self.high:.{digits}f}]"


def difference(values: Iterable[float]) -> Difference:
    """Mean and 95 % interval, by Student's t-distribution, of values that hold one number for each seed.

    values: paired differences in points, or the scores of one arm. Raises `ValueError` for fewer than two, because one seed has
    no spread, and for NaN or infinity.
    """
    from scipy import stats

    values = np.asarray(list(values), dtype=float)
    if len(values) < 2:
        raise ValueError(f"an interval needs at least two seeds, got {len(values)}")
    check_finite("an interval", values)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Difference(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))


def crossed(correct_a, correct_b, *, scale: float = 100.0) -> Difference:
    """By how much one method's scores exceed another's, with an interval for new seeds and new test examples.

    The interval of `difference` is about other seeds and the same test examples; this one is about other seeds and other
    examples of the same kind. Each gap is modelled as mean + effect of the seed + effect of the example + rest. From the mean
    squares of a two-way table, MS, the variance of the mean is (MS_seeds + MS_examples − MS_rest) / (S · N), and the t-quantile
    has Satterthwaite's degrees of freedom, S − 1 or N − 1 at least.
    correct_a, correct_b: (S, N), one score for each of S seeds and N examples, 0 or 1, or a loss; both methods have the same
    seeds and examples. scale: what a score of 1 becomes in the answer; default 100, so that shares become points. Take 1 for
    losses.
    Raises `ValueError` for other shapes, fewer than two seeds or examples, and NaN or infinity.
    Sources: Satterthwaite (1946), *An Approximate Distribution of Estimates of Variance Components*; Owen (2007), *The
    pigeonhole bootstrap*, on such tables with two kinds of luck.
    """
    from scipy import stats

    a, b = (np.asarray(side, dtype=float) for side in (correct_a, correct_b))
    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < 2:
        raise ValueError(
            f"correct_a and correct_b must be (S, N), one shape, at least two seeds and examples, got {a.shape} and {b.shape}"
        )
    for name, side in (("correct_a", a), ("correct_b", b)):
        check_finite(name, side.ravel())
    gaps = scale * (a - b)
    seeds, examples = gaps.shape
    mean, by_seed, by_example = gaps.mean(), gaps.mean(axis=1), gaps.mean(axis=0)
    rest = gaps - by_seed[:, None] - by_example + mean
    free = np.array([seeds - 1, examples - 1, (seeds - 1) * (examples - 1)])
    squares = [examples * np.square(by_seed - mean).sum(), seeds * np.square(by_example - mean).sum(), (rest**2).sum()]
    squares = np.array(squares) / free
    # The sum may fall below 0 by luck; neither kind of luck alone gives less than the smaller of the two.
    variance = max(squares[0] + squares[1] - squares[2], squares[:2].min())
    if variance == 0:
        return Difference(float(mean), float(mean), float(mean), seeds)
    freedom = max(variance**2 / (squares**2 / free).sum(), free.min())
    half = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(variance / gaps.size)
    return Difference(float(mean), float(mean - half), float(mean + half), seeds)


def holm(gaps: Mapping[str, Iterable[float]]) -> dict[str, str]:
    """The verdicts of several paired differences, name -> word, corrected for their number by Holm's method at 5 %.

    gaps: name -> one difference for each seed. Of m two-sided t-tests the smallest p-value must not exceed 5 % / m, the next not
    5 % / (m − 1), and so on; from the first that does, none is a clear difference. So the chance of even one wrong "helps" or
    "hurts" among all of them is at most 5 %. A difference that is the same for every seed has no test and is not counted.
    Raises as `difference`. Source: Holm (1979), *A simple sequentially rejective multiple test procedure*.
    """
    from scipy import stats

    gaps = {name: np.asarray(list(values), dtype=float) for name, values in gaps.items()}
    verdicts = {name: difference(values).verdict for name, values in gaps.items()}
    tested = [name for name, verdict in verdicts.items() if verdict != CONSTANT]
    chances = {name: float(stats.ttest_1samp(gaps[name], 0).pvalue) for name in tested}
    clear = True
    for place, name in enumerate(sorted(tested, key=chances.get)):
        clear = clear and chances[name] <= (1 - CONFIDENCE) / (len(tested) - place)
        if not clear:
            verdicts[name] = "no clear difference"
    return verdicts


def check_finite(name: str, values: Iterable[float]) -> None:
    """Raise `ValueError` where a value is NaN or infinite, with its place, counted from 0."""
    values = np.asarray(values, dtype=float)
    places = np.flatnonzero(~np.isfinite(values)).tolist()
    if places:
        found = ", ".join(f"{values[place]} at {place}" for place in places)
        raise ValueError(f"{name} must hold finite numbers, got {found}")


def claim(what: str, measured: Difference, at_least: float = 0.0) -> None:
    """Check a sentence of the lab against its measurement: print both, or fail.

    what: the sentence. measured: the difference that it speaks of. at_least: the smallest mean, in points, default 0. Raises
    `AssertionError` unless there were at least five seeds, the interval lies above zero and the mean is at least `at_least`, and
    `ValueError` where `at_least` is NaN.
    """
    check_finite("at_least", (at_least,))
    if measured.seeds is None or measured.seeds < FEWEST:
        raise AssertionError(
            f"{what}: a claim needs at least {FEWEST} seeds, this is from {measured.seeds or 'an unknown number'}"
        )
    if measured.low <= 0:
        raise AssertionError(f"{what}: not shown, the interval of {measured} is not clear of zero")
    if measured.mean < at_least:
        raise AssertionError(f"{what}: {measured} is less than the {at_least} points that the lab speaks of")
    print(f"✓ {what}: {measured}")
