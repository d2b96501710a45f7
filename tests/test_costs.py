"""What a model costs: read from meters that a test puts up."""

import pytest
import torch
from torch import nn

from kdcourse import models
from kdcourse.data.splits import Split
from kdcourse.deployment import compression
from kdcourse.evaluation import costs

SPLIT = Split(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 1, 2]))


@pytest.fixture
def meters(tmp_path, monkeypatch):
    """A folder without meters; called with folders and names, it puts meters up that have counted a joule."""
    monkeypatch.setattr(costs, "METERS", tmp_path)

    def put_up(**names):
        for number, name in names.items():
            folder = tmp_path / f"intel-rapl:{number.removeprefix('m').replace('_', ':')}"
            folder.mkdir()
            (folder / "name").write_text(f"{name}\n")
            (folder / "energy_uj").write_text("1000000\n")

    put_up.folder = tmp_path
    return put_up


class Hungry(nn.Module):
    """Each meter in the folder counts so many joules a call."""

    def __init__(self, folder, joules=1):
        super().__init__()
        self.folder, self.joules = folder, joules

    def forward(self, images):
        for meter in self.folder.glob("*/energy_uj"):
            meter.write_text(str(int(meter.read_text()) + 1_000_000 * self.joules))
        return torch.zeros(len(images), 3)


def test_energy_is_what_the_processors_took(meters):
    model = models.perceptron((7,), inputs=4, classes=3)
    assert costs.energy(Hungry(meters.folder), SPLIT) is None  # no meter
    meters(m0="package-0", m1="package-1")
    assert costs.energy(Hungry(meters.folder), SPLIT, repeats=3) == pytest.approx(2000)
    assert costs.energy(model, SPLIT) is None  # a meter that stands still says nothing
    assert costs.energy(Hungry(meters.folder, -1), SPLIT, repeats=3) is None  # nor does one that ran over


def test_parts_of_a_processor_are_not_counted_twice(meters):
    meters(m0="package-0", m0_0="core", m0_1="dram", m1="psys")
    assert costs.energy(Hungry(meters.folder), SPLIT, repeats=3) == pytest.approx(1000)


def test_a_meter_that_may_not_be_read_is_none(meters):
    meters(m0="package-0")
    (meters.folder / "intel-rapl:0" / "energy_uj").unlink()
    (meters.folder / "intel-rapl:0" / "energy_uj").mkdir()  # an OSError, for the administrator too
    assert costs.energy(Hungry(meters.folder / "none"), SPLIT, repeats=1) is None


def test_what_cannot_be_read_is_a_dash(meters):
    model = models.perceptron((5000,), inputs=4, classes=3)
    both = {"8 bits": compression.quantize(model, activations=True), "32 bits": model}
    rows = costs.table(both, SPLIT)
    assert rows.loc["32 bits", "MFLOPs"] == 0.07 and rows.loc["8 bits", "MFLOPs"] == "–"
    assert (rows["mJ for 1"] == "–").all() and (rows["ms for 64"] > 0).all()
    meters(m0="package-0")
    assert costs.table({"hungry": Hungry(meters.folder)}, SPLIT).loc["hungry", "mJ for 1"] == 1000


def test_models_are_timed_in_turn_and_a_slow_moment_is_left_out(monkeypatch):
    asked = []

    def latency(model, split, batch_size, repeats):
        asked.append((model.label, batch_size))
        slow = len(asked) in (1, 2, 4)  # of the first model one round in five, of the second two
        return 9.0 if slow else batch_size / 100

    monkeypatch.setattr(costs.measure, "latency", latency)
    pair = {name: models.perceptron((width,), inputs=4, classes=3) for name, width in (("a", 7), ("b", 8))}
    rows = costs.table(pair, SPLIT)
    assert rows["ms for 1"].tolist() == [0.01, 0.01] and rows["ms for 64"].tolist() == [0.64, 0.64]
    assert asked[:3] == [("perceptron 4-7-3", 1), ("perceptron 4-8-3", 1), ("perceptron 4-7-3", 1)]
    assert list(rows) == ["accuracy, %", "kB", "MFLOPs", "ms for 1", "ms for 64", "mJ for 1"]
