"""What a model costs where it runs: bytes, operations, time, and energy where the processor has a meter."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from kdcourse import measure
from kdcourse.data.splits import Split
from kdcourse.models.common import evaluating

if TYPE_CHECKING:
    import pandas as pd

METERS = Path("/sys/class/powercap")  # where Linux shows the energy meters of processors


def table(models: dict[str, nn.Module], split: Split) -> "pd.DataFrame":
    """A row for each model: accuracy, kilobytes, operations, milliseconds for one picture and for 64, and millijoules for one.

    A dash stands for what cannot be read: operations outside PyTorch or on numbers that are no floats, energy without a meter.
    """
    import pandas as pd

    return pd.DataFrame.from_dict({name: _row(model, split) for name, model in models.items()}, orient="index")


def _row(model: nn.Module, split: Split) -> dict[str, object]:
    operations, millijoules = measure.flops(model, split), energy(model, split)
    return {
        "accuracy, %": round(measure.accuracy(model, split), 1),
        "kB": round(measure.size_in_bytes(model) / 1000),
        "MFLOPs": round(operations / 1e6, 2) if operations else "–",
        "ms for 1": round(measure.latency(model, split), 3),
        "ms for 64": round(measure.latency(model, split, batch_size=64), 3),
        "mJ for 1": "–" if millijoules is None else round(millijoules, 3),
    }


@torch.inference_mode()
def energy(model: nn.Module, split: Split, batch_size: int = 1, repeats: int = 500) -> float | None:
    """Millijoules for one batch; None where the processor has no meter, or none that may be read.

    The meters (RAPL, on Linux) count the whole processor, other programs included: measure on an idle machine.
    """
    if (before := _joules()) is None:
        return None
    images = split.images[:batch_size]
    with evaluating(model):
        for _ in range(repeats):
            measure.answer(model, images)
    taken = _joules() - before
    return 1000 * taken / repeats if taken > 0 else None  # a counter that ran over begins at 0 again


def _joules() -> float | None:
    """What the processors have taken since they were started. Of the meters only a package's: the others count parts or more."""
    try:
        meters = [meter for meter in METERS.glob("intel-rapl:*") if (meter / "name").read_text().startswith("package")]
        counts = [int((meter / "energy_uj").read_text()) for meter in meters]
    except OSError:
        return None
    return sum(counts) / 1e6 if counts else None
