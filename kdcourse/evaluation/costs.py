"""What a model costs where it runs: bytes, operations, time, and energy where the processor has a meter."""

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from kdcourse.data.splits import Split
from kdcourse.evaluation import measure
from kdcourse.models.common import evaluating

if TYPE_CHECKING:
    import pandas as pd

METERS = Path("/sys/class/powercap")  # where Linux shows the energy meters of processors
ROUNDS, CALLS = 5, 20  # in which models are timed in turn, and calls of each that a round times


def table(models: dict[str, nn.Module], split: Split) -> "pd.DataFrame":
    """A row for each model: accuracy in percent, kilobytes, millions of operations (MFLOPs, for one picture), milliseconds for
    one picture and for a batch of 64, and millijoules for one picture.

    models: name -> model. split: labelled pictures. A dash stands for what cannot be measured: operations outside PyTorch or on
    numbers that are no floats, and energy without a meter.
    """
    import pandas as pd

    rows = pd.DataFrame.from_dict({name: _row(model, split) for name, model in models.items()}, orient="index")
    for place, batch_size in ((3, 1), (4, 64)):
        rows.insert(place, f"ms for {batch_size}", list(milliseconds(models, split, batch_size).values()))
    return rows


def milliseconds(models: dict[Hashable, nn.Module], split: Split, batch_size: int = 1) -> dict[Hashable, float]:
    """Each model's latency for one batch, name -> milliseconds: the median of five rounds.

    The models take turns, so that a slow moment of the machine affects all of them. batch_size: default 1.
    """
    rounds = [
        [measure.latency(model, split, batch_size, repeats=CALLS) for model in models.values()] for _ in range(ROUNDS)
    ]
    medians = torch.tensor(rounds, dtype=torch.float64).median(dim=0).values.tolist()
    return {name: round(median, 3) for name, median in zip(models, medians, strict=True)}


def _row(model: nn.Module, split: Split) -> dict[str, object]:
    operations, millijoules = measure.flops(model, split), energy(model, split)
    return {
        "accuracy, %": round(measure.accuracy(model, split), 1),
        "kB": round(measure.size_in_bytes(model) / 1000),
        "MFLOPs": round(operations / 1e6, 2) if operations else "–",
        "mJ for 1": "–" if millijoules is None else round(millijoules, 3),
    }


@torch.inference_mode()
def energy(model: nn.Module, split: Split, batch_size: int = 1, repeats: int = 500) -> float | None:
    """Millijoules for one batch, mean of `repeats` runs; None where the processor has no meter, or none that may be read.

    The meters (RAPL, on Linux) count the whole processor, other programs included: measure on an idle machine. batch_size:
    default 1. repeats: default 500.
    """
    if (before := _joules()) is None:
        return None
    images = split.images[:batch_size]
    with evaluating(model, split.device):
        for _ in range(repeats):
            measure.answer(model, images)
    taken = _joules() - before
    return 1000 * taken / repeats if taken > 0 else None  # a counter that ran over begins at 0 again


def _joules() -> float | None:
    """What the processors have taken since they were started. Of the meters only a package's: the others count parts or more."""
    try:
        meters = [
            meter
            for meter in METERS.glob("intel-rapl:*")
            if (meter / "name").read_text(encoding="utf-8").startswith("package")
        ]
        counts = [int((meter / "energy_uj").read_text(encoding="utf-8")) for meter in meters]
    except OSError:
        return None
    return sum(counts) / 1e6 if counts else None
