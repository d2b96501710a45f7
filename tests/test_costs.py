"""What a model costs: read from meters that a test puts up."""

import pytest
import torch
from torch import nn

from kdcourse import costs, models
from kdcourse.data.splits import Split

SPLIT = Split(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 1, 2]))


def test_energy_is_read_where_there_is_a_meter(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "METERS", tmp_path)
    model = models.perceptron((7,), inputs=4, classes=3)
    assert costs.energy(model, SPLIT) is None
    for socket in (0, 1):
        (tmp_path / f"intel-rapl:{socket}").mkdir()
        (tmp_path / f"intel-rapl:{socket}" / "energy_uj").write_text("1000000\n")

    class Hungry(nn.Module):
        """Two sockets that take a joule a call, each."""

        def forward(self, images):
            for meter in tmp_path.glob("*/energy_uj"):
                meter.write_text(str(int(meter.read_text()) + 1_000_000))

    assert costs.energy(Hungry(), SPLIT, repeats=3) == pytest.approx(2000)
    assert costs.energy(model, SPLIT) is None  # a meter that stands still says nothing
    rows = costs.table({"small": model}, SPLIT)
    assert rows.loc["small", "mJ for 1"] == "–" and rows.loc["small", "ms for 64"] > 0
