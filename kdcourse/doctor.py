"""The checks behind `kdcourse doctor`: what this machine has, what it lacks, and what to do about it."""

import json
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from kdcourse.data import sources
from kdcourse.data.characters import SHAKESPEARE
from kdcourse.data.glyphs import FONTS, printed_letters
from kdcourse.data.splits import Split
from kdcourse.data.texts import SST2
from kdcourse.models import perceptron
from kdcourse.system.download import RemoteFile, answering, host_of
from kdcourse.system.runtime import LABS_OF_EXTRA, SWITCH_ON_A_GPU, device, in_colab, requirements, version_of
from kdcourse.system.storage import cache_folder, chosen_cache_folder
from kdcourse.training.loop import train

SECONDS = 3.0  # that the training check takes
FEWEST_STEPS = 100  # in these seconds; below, a lab takes several times what README's table says


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
    """Look the machine over, in about ten seconds; every check says what to do when it is not green."""
    return [
        _python(),
        *_packages(),
        _widgets(),
        _live_views(),
        _gpu(),
        _memory(),
        _disk(),
        _cache(),
        _local_data(),
        *_downloads(),
        _fonts(),
        _training(),
    ]


def _python() -> Check:
    found = platform.python_version()
    if tuple(int(part) for part in found.split(".")[:2]) >= (3, 11):
        return Check("Python", "green", found)
    return Check("Python", "red", found, "Install Python 3.11 or newer and run start.py with it.")


def _packages() -> list[Check]:
    """What is installed against the lower bounds that the project declares; what JupyterLab needs is not needed on Colab."""
    checks = [_package(one, "red") for one in requirements()]
    named = {check.name for check in checks}
    extras = (*LABS_OF_EXTRA,) if in_colab() else ("lab", *LABS_OF_EXTRA)
    more = [one for extra in extras for one in requirements(extra) if one.name not in named]
    return checks + [_package(one, "amber") for one in more]


def _package(wanted, otherwise: str) -> Check:
    found, bounded = version_of(wanted.name), f"{wanted.name}{wanted.specifier}"
    if found is None:
        return Check(wanted.name, otherwise, "missing", f"Run: pip install '{bounded}'")
    if wanted.specifier.contains(found, prereleases=True):
        return Check(wanted.name, "green", found)
    return Check(
        wanted.name, otherwise, f"{found}, needs {wanted.specifier}", f"Run: pip install --upgrade '{bounded}'"
    )


def _widgets() -> Check:
    """The kernel's half and the page's half of ipywidgets must be of one generation."""
    kernel = version_of("ipywidgets")
    if kernel is None:
        return Check("widgets", "red", "ipywidgets is missing", "Run: pip install 'kdcourse[lab]'")
    if in_colab():
        if kernel.startswith("7."):
            return Check("widgets", "green", f"ipywidgets {kernel} on Colab")
        advice = "Colab's page speaks 7.7: Runtime > Disconnect and delete runtime, and do not upgrade ipywidgets."
        return Check("widgets", "red", f"ipywidgets {kernel} on Colab", advice)
    page = _extension("@jupyter-widgets/jupyterlab-manager")
    if page is None:
        return Check("widgets", "amber", f"ipywidgets {kernel}, no JupyterLab", "Run: pip install 'kdcourse[lab]'")
    detail = f"ipywidgets {kernel}, JupyterLab's widget manager {page}"
    if (kernel.split(".")[0], page.split(".")[0]) == ("8", "5"):
        return Check("widgets", "green", detail)
    advice = (
        "JupyterLab 4 needs both anew: pip install --upgrade --force-reinstall 'ipywidgets>=8.1' jupyterlab_widgets"
    )
    return Check("widgets", "red", detail, advice)


def _live_views() -> Check:
    """anywidget's two halves come in one package; an old one in another folder of Jupyter's may be in the way."""
    kernel = version_of("anywidget")
    if kernel is None:
        return Check("live views", "amber", "no anywidget: Python draws them", "Run: pip install 'anywidget>=0.9'")
    page = None if in_colab() else _extension("anywidget")
    if page in (None, kernel):
        return Check("live views", "green", f"anywidget {kernel}")
    detail = f"anywidget {kernel} in Python, {page} in JupyterLab"
    return Check("live views", "amber", detail, "Run: jupyter labextension list, and remove the older one.")


def _extension(name: str) -> str | None:
    """The version of the JupyterLab extension that a page here is given; None where there is none."""
    from jupyter_core.paths import jupyter_path

    for folder in jupyter_path("labextensions"):
        declared = Path(folder, name, "package.json")
        if declared.is_file():
            return json.loads(declared.read_text(encoding="utf-8"))["version"]
    return None


def _gpu() -> Check:
    if not torch.cuda.is_available():
        if in_colab():
            return Check("GPU", "amber", "none", f"Not needed. To have one: {SWITCH_ON_A_GPU}.")
        if shutil.which("nvidia-smi"):
            advice = "Not needed. To use it, match driver and torch: nvidia-smi names the driver's CUDA."
            return Check("GPU", "amber", f"one is there that torch {torch.__version__} cannot use", advice)
        return Check("GPU", "amber", "none", "Not needed: every lab runs on the CPU.")
    free, total = (number / 2**30 for number in torch.cuda.mem_get_info())
    detail = f"{torch.cuda.get_device_name()}, {free:.0f} of {total:.0f} GiB free"
    if free >= 1:
        return Check("GPU", "green", detail)
    return Check("GPU", "amber", detail, "Close what fills it (nvidia-smi lists it), or set KDCOURSE_DEVICE=cpu.")


def _memory() -> Check:
    import psutil

    found = psutil.virtual_memory()
    detail = f"{found.available / 2**30:.1f} of {found.total / 2**30:.0f} GiB free"
    if found.available >= 2 * 2**30:
        return Check("memory", "green", detail)
    return Check(
        "memory", "amber", detail, "Close other programs and other notebooks' kernels: a lab takes up to 2 GiB."
    )


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


def _downloads() -> list[Check]:
    """Whether the hosts of each data set answer, all asked at once: a few seconds, also where none does."""
    data = {one.title: one.files for one in sources.SOURCES.values()}
    data |= {"SST-2": (SST2,), "Tiny Shakespeare": (SHAKESPEARE,)}
    heard = answering(address for files in data.values() for file in files for address in file.addresses)
    return [_download(title, files, heard) for title, files in data.items()]


def _download(title: str, files: tuple[RemoteFile, ...], heard: set[str]) -> Check:
    hosts = dict.fromkeys(host_of(address) for file in files for address in file.addresses)
    silent = [host for host in hosts if host not in heard]
    detail = f"{len(hosts) - len(silent)} of {len(hosts)} hosts answer"
    if silent:
        detail += f"; silent: {', '.join(silent)}"
    if len(silent) < len(hosts):
        return Check(f"download of {title}", "green", detail)
    advice = "Nothing to do: where neither KDCOURSE_DATA nor the cache has it, the built-in data will be used."
    return Check(f"download of {title}", "amber", detail, advice)


def _fonts() -> Check:
    """Those of the built-in data come with the course; those of its figures with matplotlib."""
    from matplotlib.font_manager import findfont

    try:
        findfont("DejaVu Sans", fallback_to_default=False)
        printed_letters()
    except (OSError, ValueError) as error:
        return Check("fonts", "red", str(error), "Reinstall matplotlib and kdcourse.")
    return Check("fonts", "green", f"DejaVu Sans for figures, {len(FONTS)} for the built-in data")


def _training() -> Check:
    """The real loop, for three seconds."""
    place = device()
    split = Split(torch.randn(512, 1, 28, 28), torch.arange(512) % 10).to(place)
    student, done, spent = perceptron((64,)), 0, 0.0
    try:
        train(student, split, steps=10, progress=False)  # the first call loads what the loop needs
        started = time.perf_counter()
        while spent < SECONDS:
            done += train(student, split, steps=10, progress=False).examples
            spent = time.perf_counter() - started
    except RuntimeError as error:
        return Check("training", "red", f"fails on {place}: {error}", "Set KDCOURSE_DEVICE=cpu and try again.")
    detail = f"{done / spent:,.0f} pictures/s on {place}"
    if done >= FEWEST_STEPS * 128:
        return Check("training", "green", detail)
    return Check("training", "amber", detail, "Close other programs: labs will be slow.")
