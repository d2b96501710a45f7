"""Outcomes: what a comparison found, as a table, a figure and a line in the ledger that can be read again.

The ledger is a folder of small JSON files, one for each comparison and data set. The course ships its own in `results/`;
what a student runs goes to the folder named by KDCOURSE_RESULTS, else to the cache.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.evaluation.intervals import Difference, crossed, difference, holm
from kdcourse.experiments.facts import Facts
from kdcourse.system.storage import cache_folder, shipped, write_safely

if TYPE_CHECKING:
    import pandas as pd

# Whose results are shown for data that the course keeps none for.
STAND_INS = {
    "fashion-mnist": "Fashion-MNIST",
    "sst2": "SST-2",
    "tinyshakespeare": "Tiny Shakespeare",
    "cifar10-pictures": "CIFAR-10 pictures",
}


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`: scores of every arm with every seed, and the questions that they can be asked.

    scores, validation: a row for each seed, a column for each arm; what the metric gave on the test and validation splits.
    baseline: the arm that the others are compared with.
    students: the trained models of each arm, in the order of the seeds; none when read from the ledger.
    budgets: pictures that each arm's gradient steps see; None where all share one.
    facts: what each arm looks at and computes, with the first seed; None in a ledger that was written before there were any.
    measured_on: the name of the data set.
    Raises `ValueError` for a score that is NaN or infinite, with its arm, its seed and its split.
    """

    scores: "pd.DataFrame"
    validation: "pd.DataFrame"
    baseline: str
    students: dict[str, list[nn.Module]] = field(repr=False, default_factory=dict)
    budgets: dict[str, int] | None = None
    facts: dict[str, Facts] | None = None
    measured_on: str = ""

    def __post_init__(self):
        for split, table in (("test", self.scores), ("validation", self.validation)):
            for arm in table:
                for seed, score in table[arm].items():
                    if not math.isfinite(score):
                        raise ValueError(f"scores must be finite numbers, got {score} for {_of(arm, seed, split)}")

    @classmethod
    def evaluate(
        cls,
        students: dict[str, list[nn.Module]],
        data: ImageData,
        metric: Callable[[nn.Module, Split], float],
        seeds: list[int],
        baseline: str,
        budgets: dict[str, int] | None = None,
        facts: dict[str, Facts] | None = None,
    ) -> "Comparison":
        """Score students that are trained already by metric(student, split), on validation and test data.

        students: arm -> one for each of the seeds, in their order. budgets, facts: as above, default None.
        A `ValueError` of the metric's is raised again with the arm, the seed and the split.
        """
        import pandas as pd

        def score(arm: str, number: int, part: str) -> float:
            try:
                return float(metric(students[arm][number], getattr(data, part)))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{_of(arm, seeds[number], part)}: {error}") from error

        index = pd.Index(seeds, name="seed")
        validation, scores = (
            pd.DataFrame({arm: [score(arm, number, part) for number in range(len(seeds))] for arm in students}, index)
            for part in ("validation", "test")
        )
        return cls(scores, validation, baseline, students, budgets, facts, data.name)

    def evaluated_by(self, metric: Callable[[nn.Module, Split], float], data: ImageData) -> "Comparison":
        """The same students, scored by another metric(student, split). Raises `ValueError` where no students are kept."""
        if not self.students:
            raise ValueError("students are not kept in the ledger, so a stored comparison cannot be evaluated anew")
        seeds = list(self.scores.index)
        return self.evaluate(self.students, data, metric, seeds, self.baseline, self.budgets, self.facts)

    def only(self, *arms: str) -> "Comparison":
        """The comparison of these arms alone, after the baseline, which stays. Raises `ValueError` for an arm that is none."""
        for arm in arms:
            self.difference(arm)  # names the arms there are
        kept = list(dict.fromkeys((self.baseline, *arms)))
        students = {arm: self.students[arm] for arm in kept if arm in self.students}
        return replace(self, scores=self.scores[kept], validation=self.validation[kept], students=students)

    def difference(self, arm: str, baseline: str | None = None) -> Difference:
        """By how much the test scores of `arm` differ from those of `baseline`, paired seed by seed, with a 95 % interval.

        baseline: default the comparison's own. In the metric's unit. Raises `ValueError` for an arm that is none.
        """
        return difference(self._gains(arm, baseline))

    def told(self, arm: str, baseline: str | None = None, words: Mapping[str, str] | None = None) -> str:
        """`difference` as one line of a Markdown list: both arms, the difference with its interval, and the verdict.

        baseline: default the comparison's own. words: as in `Difference.told`. Raises `ValueError` for an arm that is none.
        """
        return f"- {arm}, against {baseline or self.baseline}: {self.difference(arm, baseline).told(words)}\n"

    def more_than(self, arm: str, other: str, baseline: str | None = None) -> Difference:
        """Whether what `arm` brings over the baseline is more than what `other` brings: paired seed by seed.

        It is no answer that one gain is clear and the other is not: only the interval of their difference tells.
        baseline: default the comparison's own. Raises `ValueError` for an arm that is none, and for one that is compared with
        itself.
        """
        if arm == other:
            raise ValueError(f"arm and other must be two arms, got {arm!r} twice")
        return difference(self._gains(arm, baseline) - self._gains(other, baseline))

    def gain_beyond(self, other: "Comparison", arm: str, their_arm: str | None = None) -> Difference:
        """By how much an arm's gain here exceeds the gain of an arm there: a difference of differences, seed by seed.

        other: another comparison with the same seeds; each gain is taken over its own baseline. their_arm: default `arm`.
        Raises `ValueError` for other seeds and for arms that are none.
        """
        ours, theirs = self._gains(arm), other._gains(arm if their_arm is None else their_arm)
        if set(ours.index) != set(theirs.index):
            raise ValueError(
                f"both comparisons must have the same seeds, got {sorted(ours.index)} here and {sorted(theirs.index)} there"
            )
        return difference(ours - theirs.loc[ours.index])

    def _gains(self, arm: str, baseline: str | None = None) -> "pd.Series":
        """What `arm` brings over the baseline, one value a seed."""
        baseline = baseline or self.baseline
        for name in (arm, baseline):
            if name not in self.scores:
                raise ValueError(f"arm must be one of {', '.join(self.scores)}, got {name!r}")
        return self.scores[arm] - self.scores[baseline]

    def crossed(self, arm: str, data: ImageData, baseline: str | None = None) -> Difference:
        """By how much `arm` is more often right than `baseline`, with the luck of seeds and of test examples in the interval.

        `difference` holds for these test examples; this one for others of their kind as well, and is wider. In points of test
        accuracy, whatever the comparison's metric is. Raises `ValueError` for an arm that is none, and without students.
        Source: see `evaluation.intervals.crossed`.
        """
        self._gains(arm, baseline)  # names the arms there are
        if not self.students:
            raise ValueError(
                "students are not kept in the ledger, so a stored comparison cannot be asked about examples"
            )
        right = [
            [measure.correct(student, data.test).cpu().numpy() for student in self.students[name]]
            for name in (arm, baseline or self.baseline)
        ]
        return crossed(*right)

    def best(self, on: str = "validation", *, among: Iterable[str] | None = None, lowest: bool = False) -> str:
        """The arm with the highest mean on validation data, the first of several that share it.

        on: "validation", and nothing else: test data report on what has been chosen. among: the arms to choose from, default
        all but the baseline. lowest: where a low score is a good one.
        Raises `ValueError` for another split, for an arm that is none, and where there is no arm to choose.
        """
        if on != "validation":
            why = "the best of several test scores is too good by its luck, and no data are left that would tell by how much"
            raise ValueError(f'on must be "validation", got {on!r}' + (f": {why}" if on == "test" else ""))
        arms = [arm for arm in self.scores if arm != self.baseline] if among is None else list(among)
        if not arms:
            raise ValueError("among must hold at least one arm, got none")
        for arm in arms:
            self.difference(arm)  # names the arms there are
        means = self.validation[arms].mean()
        return means.idxmin() if lowest else means.idxmax()

    def against(self, baseline: str) -> "Comparison":
        """The same outcome with another arm as the baseline. Raises `ValueError` for an arm that is none."""
        self.difference(baseline)  # names the arms there are
        return replace(self, baseline=baseline)

    def beside(self, again: "Comparison", *, within: float | None = None) -> "pd.DataFrame":
        """Stored means and those of a second run, over the seeds and arms that both have.

        within: points by which they may differ, as processors round differently; beyond that an `AssertionError` is raised.
        Default: not looked at. What is stored of another data set is left out: the second run then stands alone.
        """
        import pandas as pd

        seeds = self.scores.index.intersection(again.scores.index)
        arms = [arm for arm in again.scores if arm in self.scores]
        columns = {"stored": self.scores.loc[seeds, arms].mean(), "now": again.scores.loc[seeds, arms].mean()}
        if self.measured_on != again.measured_on:
            del columns["stored"]
        elif within is not None and (apart := (columns["stored"] - columns["now"]).abs()).max() > within:
            raise AssertionError(
                f"{apart.idxmax()} is {apart.max():.2f} points from what is stored, {within:g} are allowed"
            )
        return pd.DataFrame(columns).round(2).rename_axis(f"mean over seeds {', '.join(map(str, seeds))}")

    def differs(self) -> "pd.DataFrame":
        """In what the arms differ besides their scores: a row for each, a column for each of `Facts` that is not one for all.

        Where one column is left, a gain has one cause. None stands for an arm without a temperature.
        Raises `ValueError` where no facts are kept.
        """
        import pandas as pd

        if self.facts is None:
            raise ValueError("this comparison was kept without the facts of its arms; kdcourse results makes them anew")
        rows = {arm: asdict(self.facts[arm]) for arm in self.scores}
        names = [name for name in rows[self.baseline] if len({row[name] for row in rows.values()}) > 1]
        columns = {name.replace("_", " "): [row[name] for row in rows.values()] for name in names}
        return pd.DataFrame(columns, index=list(rows), dtype=object)

    def _effort(self, arm: str) -> dict[str, str]:
        """What an arm took, where budgets differ: pictures seen, and arithmetic as a multiple of the baseline's."""
        if self.budgets is None:
            return {}
        seen = {"pictures seen in training": f"{self.budgets[arm]:,}"}
        if self.facts is None:
            return seen
        own, least = self.facts[arm].multiply_adds, self.facts[self.baseline].multiply_adds
        if least:
            return {**seen, "arithmetic": f"×{own / least:.1f}"}
        return {**seen, "billions of multiply-adds": f"{own / 1e9:,.1f}"}  # of nothing there are no multiples

    def table(self) -> "pd.DataFrame":
        """A row for each arm: mean, half the width of its 95 % interval, paired difference from the baseline, and verdict.

        All in the metric's unit. Where budgets differ it shows them too: pictures seen, and multiply-adds as a multiple of the
        baseline's. Where several arms are compared with the baseline, "Holm" is the verdict that is left once their number is
        allowed for.
        """
        import pandas as pd

        rivals = [arm for arm in self.scores if arm != self.baseline]
        corrected = holm({arm: self._gains(arm) for arm in rivals}) if len(rivals) > 1 else {}
        rows = {}
        for arm in self.scores:
            own, paired = difference(self.scores[arm]), self.difference(arm)
            against = {"difference": "", "verdict": "the baseline"}
            if arm != self.baseline:
                against = {"difference": str(paired), "verdict": paired.verdict}
            if corrected:
                against["Holm"] = corrected.get(arm, "")
            rows[arm] = {**self._effort(arm), "mean": round(own.mean, 2), "±": round(own.high - own.mean, 2), **against}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"{len(self.scores)} seeds")

    def figure(self, **settings):
        """A figure of every seed's scores, and of each arm's paired difference with its interval: `plots.estimation`.

        Where there is only one arm, each seed and the mean: `plots.comparison`. settings: of these two, such as ylabel.
        """
        from kdcourse import plots

        draw = plots.estimation if len(self.scores.columns) > 1 else plots.comparison
        return draw(self.scores, baseline=self.baseline, **settings)


def keep(
    name: str,
    comparison: Comparison,
    descriptions: Mapping[str, dict],
    data: ImageData,
    *,
    folder: Path | None = None,
) -> Path:
    """Keep a comparison as `<name>-<data>.json`: scores, seeds, device, commit, versions, and each arm's description.

    descriptions: arm -> what its `describe` gives. folder: default the one named by KDCOURSE_RESULTS, else `results` in the
    cache. Returns the file's path.
    """
    folder = folder or Path(os.environ.get("KDCOURSE_RESULTS") or cache_folder() / "results")
    entry = {
        "experiment": name,
        "data": {"name": data.name, "fingerprint": data.train.fingerprint},
        "seeds": [int(seed) for seed in comparison.scores.index],
        "baseline": comparison.baseline,
        "budgets": comparison.budgets,
        "facts": comparison.facts and {arm: asdict(known) for arm, known in comparison.facts.items()},
        "arms": {
            arm: {
                **description,
                "test": comparison.scores[arm].tolist(),
                "validation": comparison.validation[arm].tolist(),
            }
            for arm, description in descriptions.items()
        },
        "device": str(data.train.device),
        "machine": platform.machine(),
        "commit": _commit(),
        "versions": {package: version(package) for package in ("kdcourse", "torch", "torchvision", "numpy")},
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(entry, indent=1, ensure_ascii=False) + "\n"
    return write_safely(folder / f"{name}-{data.name}.json", lambda path: path.write_text(text, encoding="utf-8"))


def stored(name: str, data: ImageData | str) -> Comparison:
    """A comparison that the course ships, read from its ledger. It holds scores and no students.

    name: such as "05-relations". data: a data set, or its name. Where nothing is kept for it, a public set's outcome is given,
    and a printed line says so. Raises `ValueError` for a name under which nothing is kept.
    """
    import pandas as pd

    wanted = data if isinstance(data, str) else data.name
    path = shipped("results") / f"{name}-{wanted}.json"
    if not path.is_file():
        instead = [one for one in STAND_INS if (shipped("results") / f"{name}-{one}.json").is_file()]
        if not instead:
            raise ValueError(f"name must be that of a stored comparison, got {name!r}; kdcourse results makes them")
        path = shipped("results") / f"{name}-{instead[0]}.json"
        print(f"No results of {name} are kept for {wanted}; these are {STAND_INS[instead[0]]}'s.")
    entry = json.loads(path.read_text(encoding="utf-8"))
    index = pd.Index(entry["seeds"], name="seed")
    validation, scores = (
        pd.DataFrame({arm: kept[part] for arm, kept in entry["arms"].items()}, index) for part in ("validation", "test")
    )
    facts = entry.get("facts") and {arm: Facts(**known) for arm, known in entry["facts"].items()}
    kept = {"budgets": entry.get("budgets"), "facts": facts, "measured_on": entry["data"]["name"]}
    return Comparison(scores, validation, entry["baseline"], **kept)


def _of(arm: str, seed: int, split: str) -> str:
    return f"arm {arm!r}, seed {seed}, on the {split} split"


def _commit() -> str | None:
    """The commit of the checkout that this package lies in; None where there is none."""
    if shipped("results").is_relative_to(
        Path(__file__).parents[1]
    ):  # installed, perhaps within somebody else's checkout
        return None
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
