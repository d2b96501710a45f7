"""Differences with their intervals, and the words that they allow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
CONSTANT = "the same for every seed"


@dataclass(frozen=True)
class Difference:
    """A paired difference in points: its mean over seeds and the bounds of its 95 % interval.

    Raises `ValueError` for NaN and infinity: no verdict follows from what is no number.
    """

    mean: float
    low: float
    high: float

    def __post_init__(self):
        check_finite("a difference", (self.mean, self.low, self.high))

    @property
    def verdict(self) -> str:
        """ "helps", "hurts", "no clear difference" where the interval holds zero, or "the same for every seed".

        The last is for what trains nothing: it has no luck, and an interval without width would make a point of nothing.
        """
        if self.high - self.low < 1e-9:
            return CONSTANT
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "no clear difference"

    def __str__(self) -> str:
        return f"{self.mean:+.1f} points [{self.low:+.1f}, {self.high:+.1f}]"


def difference(values: Iterable[float]) -> Difference:
    """Mean and 95 % t-interval of one value a seed.

    Raises `ValueError` for fewer than two, because one seed proves nothing, and for NaN or infinity.
    """
    from scipy import stats

    values = np.asarray(list(values), dtype=float)
    if len(values) < 2:
        raise ValueError(f"an interval needs at least two seeds, got {len(values)}")
    check_finite("an interval", values)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Difference(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


def holm(gaps: Mapping[str, Iterable[float]]) -> dict[str, str]:
    """The verdicts of several paired differences, name -> word, corrected for how many there are: by Holm's method at 5 %.

    gaps: name -> one difference a seed. Of m two-sided t-tests the smallest p-value must not exceed 5 % / m, the next not
    5 % / (m − 1), and so on; from the first that does, none is a clear difference. So the chance of a single wrong "helps" or
    "hurts" among all of them is at most 5 %. What is the same for every seed has no test and does not count.
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
    """Raise `ValueError` with the places, counted from 0, of what is NaN or infinite."""
    values = np.asarray(values, dtype=float)
    places = np.flatnonzero(~np.isfinite(values)).tolist()
    if places:
        found = ", ".join(f"{values[place]} at {place}" for place in places)
        raise ValueError(f"{name} must hold finite numbers, got {found}")


def claim(what: str, measured: Difference, at_least: float = 0.0) -> None:
    """Stand by a sentence of the lab: print it with its measurement, or fail.

    Raises `AssertionError` unless the interval is clear of zero and the mean is at least `at_least` points, `ValueError` where
    `at_least` is NaN: no mean would be less than that.
    """
    check_finite("at_least", (at_least,))
    if measured.low <= 0:
        raise AssertionError(f"{what}: not shown, the interval of {measured} is not clear of zero")
    if measured.mean < at_least:
        raise AssertionError(f"{what}: {measured} is less than the {at_least} points that the lab speaks of")
    print(f"✓ {what}: {measured}")
