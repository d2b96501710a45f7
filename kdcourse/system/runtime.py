"""The machine a lab runs on: its device, and the first cell of each lab."""

import ctypes
import logging
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kdcourse.system.markup import plain

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# What single labs need besides: an extra of the package, and the labs.
LABS_OF_EXTRA = {"text": ("09", "13"), "tuning": ("10",), "export": ("12", "14")}
SWITCH_ON_A_GPU = "Runtime > Change runtime type > T4 GPU"
_asked_by_setup = False  # for full size


def device() -> torch.device:
    """Where data and models go: `KDCOURSE_DEVICE` if set, else a CUDA GPU, else the CPU."""
    chosen = os.environ.get("KDCOURSE_DEVICE")
    if chosen:
        try:
            return torch.empty(0, device=chosen).device
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"KDCOURSE_DEVICE must name a device of this machine, got {chosen!r}") from error
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(device: torch.device) -> bool:
    """Whether layers may be computed in bfloat16 there: on a GPU that does it itself. A T4 only imitates it, slowly."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given: nothing that is timed ends before that."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def in_colab() -> bool:
    return "google.colab" in sys.modules


def on_kaggle() -> bool:
    return "KAGGLE_KERNEL_RUN_TYPE" in os.environ


def release_cores() -> None:
    """End the threads that PyTorch's last work on this thread has left waiting, for another thread that is about to compute.

    With more threads than cores OpenMP sends each to sleep at every small step, and a small network takes twice the time. The
    next work on this thread starts them again. Does nothing where PyTorch brings no libgomp, as on macOS and Windows.
    """
    folder = Path(torch.__file__).parent
    for library in (*folder.glob("lib/libgomp*"), *folder.parent.glob("torch.libs/libgomp*")):
        with suppress(OSError, AttributeError):  # a copy that cannot be loaded, or from before OpenMP 5
            ctypes.CDLL(str(library)).omp_pause_resource_all(1)  # 1: settings stay, such as the number of threads


def requirements(extra: str = "") -> "list[Requirement]":
    """What the course declares that it needs, or what one of its extras adds."""
    from packaging.requirements import Requirement

    def belongs(one: Requirement) -> bool:
        if one.marker is None:
            return not extra
        return one.marker.evaluate({"extra": extra}) and not (extra and one.marker.evaluate({"extra": ""}))

    return [one for one in map(Requirement, requires("kdcourse") or []) if belongs(one)]


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def need(*packages: str) -> None:
    """Raise `ModuleNotFoundError` that says how to get those of these packages that are missing."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        wanted = dict.fromkeys(_asked_as(package) for package in missing)
        raise ModuleNotFoundError(f"this needs {' and '.join(missing)}; run: pip install {' '.join(wanted)}")


def _asked_as(package: str) -> str:
    """What pip is asked for to have a package: the course's extra, where one brings it."""
    for extra in ("lab", *LABS_OF_EXTRA):
        if any(one.name.replace("-", "_") == package for one in requirements(extra)):
            return f"'kdcourse[{extra}]'"
    return package


def what_labs_lack() -> str:
    """A line about the labs whose extra is not all installed here, and how to get it; empty where nothing is missing."""
    extras = [one for one in LABS_OF_EXTRA if any(version_of(package.name) is None for package in requirements(one))]
    numbers = sorted(number for extra in extras for number in LABS_OF_EXTRA[extra])
    if not extras:
        return ""
    return f"To run lab{'s' * (len(numbers) > 1)} {', '.join(numbers)} too: pip install 'kdcourse[{','.join(extras)}]'"


def full_size() -> bool:
    """Whether labs run their last experiment at full size: `setup` or KDCOURSE_SIZE asks for it, and the device is no CPU.

    Raises `ValueError` for a KDCOURSE_SIZE that is neither full nor lab.
    """
    return _full_size_is_asked_for() and device().type != "cpu"


def _full_size_is_asked_for() -> bool:
    size = os.environ.get("KDCOURSE_SIZE") or "lab"
    if size not in ("lab", "full"):
        raise ValueError(f"KDCOURSE_SIZE must be full or lab, got {size!r}")
    return size == "full" or _asked_by_setup


def setup(full_size: bool = False) -> None:
    """The first cell of each lab: on Colab and Kaggle add what is missing; choose the device; say what the lab runs on.

    full_size: let `at_full_size` train on a GPU with more pictures and steps than a lab's minute allows; default False,
        unless KDCOURSE_SIZE is full. Raises `ValueError` for a KDCOURSE_SIZE that is neither full nor lab.
    """
    global _asked_by_setup
    import pandas as pd

    pd.set_option("display.html.use_mathjax", False)  # a class or a sentence with dollars is no formula
    logging.getLogger("torch.utils._pytree").addFilter(_concerns_us)
    if in_colab() or on_kaggle():
        _add_what_is_missing()
    _asked_by_setup = full_size
    place = device()
    print(f"kdcourse {version('kdcourse')}, torch {version('torch')}, on {_machine(place)}{_size(place)}.")
    if not in_colab() and (lacking := what_labs_lack()):
        print(lacking)
    if place.type == "cuda":
        if place.index is not None:
            torch.cuda.set_device(place)  # the one that transformers' Trainer takes too
        torch.set_float32_matmul_precision("high")
    elif in_colab():
        print(f"The lab runs without a GPU too. To have one: {SWITCH_ON_A_GPU}, then run this cell again.")


def _concerns_us(record: logging.LogRecord) -> bool:
    """Not what torch tells whoever imports torchao, or transformers beside it: only torchao's authors can mend that."""
    return "is an Enum subclass" not in str(record.msg)


def _size(place: torch.device) -> str:
    if not _full_size_is_asked_for():
        return ""
    return "; full size needs a GPU, so the labs keep their own size" if place.type == "cpu" else ", at full size"


def _machine(place: torch.device) -> str:
    if place.type == "cpu":
        threads = torch.get_num_threads()
        return f"{threads} CPU thread{'' if threads == 1 else 's'}"
    if place.type != "cuda":
        return f"the GPU that PyTorch calls {place.type}"
    return f"{torch.cuda.get_device_name(place)} with {torch.cuda.get_device_properties(place).total_memory / 2**30:.0f} GiB"


def _add_what_is_missing() -> None:
    """Install what the course needs and is not there. Whatever is there keeps its version: it belongs to the machine."""
    wanted = [one for extra in ("", *LABS_OF_EXTRA) for one in requirements(extra)]
    missing = [f"{one.name}{one.specifier}" for one in wanted if version_of(one.name) is None]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.txt"
        kept.write_text("\n".join(_installed()), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(kept), *missing]
        done = subprocess.run(command, capture_output=True)
    if done.returncode:
        print(f"{', '.join(missing)} could not be installed; only the labs that use it need it.")


def _installed() -> list[str]:
    """A pin for every package of this machine, as it is imported: of two versions the first on the path."""
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    pins: dict[str, str] = {}
    for one in distributions():
        name = one.metadata.get("Name")
        if name and one.version:  # what an interrupted installation leaves behind has neither
            with suppress(InvalidVersion):
                pins.setdefault(canonicalize_name(name), str(Version(one.version)))
    return [f"{name}=={number}" for name, number in pins.items()]


def say(markdown: str) -> None:
    """Show Markdown whose numbers were computed; plain text outside a notebook. Names in it: as `kd.verbatim` gives them."""
    from IPython import get_ipython

    if get_ipython() is None:
        print(plain(markdown))
        return
    from IPython.display import display

    # Not as IPython's `Markdown`, which would fetch a text that begins with an address.
    display({"text/markdown": markdown, "text/plain": plain(markdown)}, raw=True)
