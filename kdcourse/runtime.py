"""The machine a lab runs on: its device, and the first cell of each lab."""

import os
import sys
from importlib.metadata import version

import torch


def device() -> torch.device:
    """Where data and models go: `KDCOURSE_DEVICE` if set, else a CUDA GPU, else the CPU."""
    chosen = os.environ.get("KDCOURSE_DEVICE")
    if chosen:
        try:
            return torch.empty(0, device=chosen).device
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"KDCOURSE_DEVICE must name a device of this machine, got {chosen!r}") from error
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_colab() -> bool:
    return "google.colab" in sys.modules


def setup() -> None:
    """The first cell of each lab: choose the device and say in one line what the lab runs on."""
    place = device()
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")
    machine = torch.cuda.get_device_name(place) if place.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"kdcourse {version('kdcourse')}, torch {version('torch')}, on {machine}.")
    if in_colab() and place.type == "cpu":
        print(
            "For a GPU: Runtime > Change runtime type > T4 GPU, then run this cell again. The lab runs without one too."
        )


def say(markdown: str) -> None:
    """Show Markdown whose numbers were computed; plain text outside a notebook."""
    from IPython import get_ipython

    if get_ipython() is None:
        print(markdown)
        return
    from IPython.display import Markdown, display

    display(Markdown(markdown))
