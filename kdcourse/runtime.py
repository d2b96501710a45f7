"""The machine the course runs on: its device, the first cell of each lab, and the checks behind `kdcourse doctor`."""

import os
import platform
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version

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
    import kdcourse

    place = device()
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")
    machine = torch.cuda.get_device_name(place) if place.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"kdcourse {kdcourse.__version__}, torch {torch.__version__.split('+')[0]}, on {machine}.")
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


@dataclass(frozen=True)
class Check:
    """One line of `kdcourse doctor`. status: "green", "amber" (works, with less) or "red" (does not work)."""

    name: str
    status: str
    detail: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def doctor() -> list[Check]:
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
    from kdcourse.storage import cache_folder

    free = shutil.disk_usage(cache_folder()).free / 2**30
    if free >= 2:
        return Check("disk", "green", f"{free:.0f} GiB free for the cache")
    return Check("disk", "amber", f"{free:.1f} GiB free for the cache", "Make room, or point KDCOURSE_CACHE elsewhere.")


def _cache() -> Check:
    from kdcourse.storage import cache_folder, chosen_cache_folder

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
    from kdcourse.data.glyphs import FONTS, printed_letters

    try:
        printed_letters()
    except OSError as error:
        return Check("fonts", "red", f"a font of matplotlib's cannot be read ({error})", "Reinstall matplotlib.")
    return Check("fonts", "green", f"{len(FONTS)} fonts for the built-in data")


def _training() -> Check:
    """A few steps of the real loop, for a second or two."""
    from kdcourse.data.splits import Split
    from kdcourse.models import perceptron
    from kdcourse.training import train

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
