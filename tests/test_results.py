"""The kept results are whole, and one of them is run again and gives its numbers again."""

import json
from functools import partial

import pytest

import kdcourse as kd
from kdcourse import studies
from kdcourse.authoring import notebooks
from kdcourse.studies.engine import all_studies

RESULTS = notebooks.ROOT / "results"


def ledgers() -> dict[str, str]:
    """Every comparison that is kept -> the study it belongs to, "" for those that labs make themselves."""
    import re

    sources = "".join(lab.source.read_text(encoding="utf-8") for lab in notebooks.labs())
    names = set(re.findall(r'ledger="([\w-]+)"', sources))
    names |= {f"02-temperature-{hidden}" for hidden in re.findall(r"sweep\((\d+)\)", sources)}
    studied = {name + suffix: name for name in all_studies() for suffix in studies.engine.metrics_of(name)}
    return dict.fromkeys(names, "") | studied


def read(name: str, dataset: str) -> dict:
    return json.loads((RESULTS / f"{name}-{dataset}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("name", "study"), sorted(ledgers().items()))
def test_every_comparison_is_kept_for_both_data_sets(name, study, which):
    sets = studies.family_of(study).sets
    dataset = sets[which % len(sets)]
    entry = read(name, dataset)
    assert entry["data"]["name"] == dataset
    if study:
        assert entry["seeds"] == list(studies.seeds_of(study))
        assert set(entry["arms"]) >= set(entry["budgets"] or ())
    assert len(entry["seeds"]) >= (
        3 if name.endswith(("weights", "choice")) else 5
    )  # these are chosen, methods are ranked
    assert {"baseline", "device", "commit", "versions", "written"} <= set(entry)
    for arm in entry["arms"].values():
        assert len(arm["test"]) == len(arm["validation"]) == len(entry["seeds"])
        least = (
            -400 if study == "14-decide" else 0
        )  # what answers save may be a loss: five questions for each wrong one
        assert all(least <= score <= 100 for score in arm["test"])


@pytest.mark.parametrize("arm", ["hard", "soft"])
def test_a_kept_result_is_got_again(arm):
    entry = read("01-hard-and-soft", "glyphs")
    kept = entry["arms"][arm]
    data = kd.load_images("glyphs")
    recipe = kd.Recipe(
        partial(kd.models.perceptron, (64,)),
        lambda seed: data.train.sample(1000, seed),
        method={"hard": kd.HardTarget(), "soft": kd.SoftTarget(temperature=2)}[arm],
        teacher=kd.TeacherCache(kd.zoo.teacher("perceptron", data)),
        steps=kept["steps"],
        batch_size=kept["batch_size"],
        learning_rate=kept["learning_rate"],
    )
    assert repr(recipe.method) == kept["method"]
    student = recipe.run(entry["seeds"][0])
    assert student.label == kept["student"]
    # Arithmetic differs a little between processors; a point is far less than what separates the arms.
    assert kd.measure.accuracy(student, data.test) == pytest.approx(kept["test"][0], abs=1.0)
