"""The checks behind `kdcourse doctor`: what this machine has, what it lacks, and what to do about it."""

import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version

import torch

from kdcourse.data.glyphs import FONTS, printed_letters
from kdcourse.data.splits import Split
from kdcourse.models import perceptron
from kdcourse.runtime import device, in_colab
from kdcourse.storage import cache_folder, chosen_cache_folder
from kdcourse.training import train


@dataclass(frozen=True)
class Check:
    """One line of `kdcourse doctor`. status: "green", "amber" (works, with less) or "red" (does not work)."""

    name: str
    status: str
    detail: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine() -> list[Check]:
    """Look the machine over; every check says what to do when it is not green."""
    return [
        _python(),
        *_packages(),
        _widgets(),
        _gpu(),
        _disk(),
        _cache(),
        _local_data(),
        _fonts(),
        _training(),
    ]


def _python() -> Check:
    found = platform.python_version()
    if tuple(int(part) for part in found.split(".")[:2]) >= (3, 11):
        return Check("Python", "green", found)
    return Check("Python", "red", found, "Install Python 3.11 or newer and run start.py with it.")


def _packages() -> list[Check]:
    """Compare what is installed with the lower bounds that the project itself declares."""
    from packaging.requirements import Requirement

    checks = []
    for line in requires("kdcourse") or []:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            checks.append(Check(wanted.name, "red", "missing", f"Run: pip install '{wanted.name}{wanted.specifier}'"))
            continue
        if wanted.specifier.contains(found, prereleases=True):
            checks.append(Check(wanted.name, "green", found))
        else:
            advice = f"Run: pip install --upgrade '{wanted.name}{wanted.specifier}'"
            checks.append(Check(wanted.name, "red", f"{found}, needs {wanted.specifier}", advice))
    return checks


def _widgets() -> Check:
    """The kernel's half and the page's half of ipywidgets must be of one generation."""
    kernel = version("ipywidgets")
    if in_colab():
        if kernel.startswith("7."):
            return Check("widgets", "green", f"ipywidgets {kernel} on Colab")
        return Check(
            "widgets", "red", f"ipywidgets {kernel} on Colab", "Colab's page speaks 7.7: factory-reset the runtime."
        )
    try:
        page = version("jupyterlab_widgets")
    except PackageNotFoundError:
        return Check("widgets", "amber", f"ipywidgets {kernel}, no JupyterLab", "Run: pip install 'kdcourse[lab]'")
    if kernel.startswith("8.") and page.startswith("3."):
        return Check("widgets", "green", f"ipywidgets {kernel}, jupyterlab_widgets {page}")
    detail = f"ipywidgets {kernel} with jupyterlab_widgets {page}"
    return Check("widgets", "red", detail, "JupyterLab 4 needs ipywidgets 8: pip install 'ipywidgets>=8.1'")


def _gpu() -> Check:
    if not torch.cuda.is_available():
        return Check("GPU", "amber", "none", "Not needed: every lab runs on the CPU.")
    free, total = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    return Check("GPU", "green", f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free")


def _disk() -> Check:
    free = shutil.disk_usage(cache_folder()).free / 2**30
    if free >= 2:
        return Check("disk", "green", f"{free:.0f} GiB free for the cache")
    return Check("disk", "amber", f"{free:.1f} GiB free for the cache", "Make room, or point KDCOURSE_CACHE elsewhere.")


def _cache() -> Check:
    if cache_folder() == chosen_cache_folder():
        return Check("cache", "green", "writable")
    return Check(
        "cache", "amber", "not writable, a temporary one is used", "Point KDCOURSE_CACHE to a folder of yours."
    )


def _local_data() -> Check:
    folder = os.environ.get("KDCOURSE_DATA")
    if not folder:
        return Check(
            "local data", "green", "KDCOURSE_DATA is not set: data come from the cache, the network or built in"
        )
    if os.path.isdir(folder):
        return Check("local data", "green", "KDCOURSE_DATA is set and there")
    return Check("local data", "amber", "KDCOURSE_DATA names no folder", "Correct it, or unset it.")


def _fonts() -> Check:
    try:
        printed_letters()
    except OSError as error:
        return Check("fonts", "red", f"a font of matplotlib's cannot be read ({error})", "Reinstall matplotlib.")
    return Check("fonts", "green", f"{len(FONTS)} fonts for the built-in data")


def _training() -> Check:
    """A few steps of the real loop, for a second or two."""

    place, started = device(), time.perf_counter()
    split = Split(torch.randn(512, 1, 28, 28), torch.arange(512) % 10).to(place)
    try:
        history = train(perceptron((64,)), split, steps=50, progress=False)
    except RuntimeError as error:
        return Check("training", "red", f"fails on {place}: {error}", "Set KDCOURSE_DEVICE=cpu and try again.")
    seconds = time.perf_counter() - started
    rate = history.examples / history.seconds
    if seconds > 10:
        return Check(
            "training", "amber", f"{rate:,.0f} pictures/s on {place}", "Close other programs: labs will be slow."
        )
    return Check("training", "green", f"{rate:,.0f} pictures/s on {place}")
