"""For unit tests and notebooks alike: nothing is read from or written to the user's own folders."""

import os
import runpy
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

OFFLINE = Path(__file__).parent / "tests" / "offline"

# Workers of pytest-xdist share the processor: one thread each, in the kernels of their notebooks too.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, and no time limit: a slow machine is not a failure.
settings.register_profile("course", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("course")

_folder = tempfile.TemporaryDirectory(prefix="kdcourse-tests-", ignore_cleanup_errors=True)
os.environ["KDCOURSE_CACHE"] = str(Path(_folder.name) / "cache")
os.environ["KDCOURSE_PROGRESS"] = str(Path(_folder.name) / "progress.sqlite")
if folder := os.environ.get("KDCOURSE_DATA"):
    os.environ["KDCOURSE_DATA"] = str(Path(folder).resolve())  # kernels start in another folder


def pytest_addoption(parser):
    parser.addoption("--offline", action="store_true", help="cut this process and its kernels off from the network")


def begun_again(begin):
    """Kernels that begin at once may draw the same port, and then one of them dies: it begins once more."""

    def begun(*arguments, **settings):
        try:
            return begin(*arguments, **settings)
        except RuntimeError:
            return begin(*arguments, **settings)

    return begun


def pytest_configure(config):
    if config.pluginmanager.has_plugin("nbval"):
        from nbval import plugin

        plugin.RunningKernel = begun_again(plugin.RunningKernel)
    if config.getoption("--offline"):
        # Python runs `sitecustomize` at start, in this process's children too: the kernels of the notebooks.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(OFFLINE), os.environ.get("PYTHONPATH", "")])
        runpy.run_path(str(OFFLINE / "sitecustomize.py"))


@pytest.fixture
def interruptible():
    """Ctrl-C arrives, even where this process was started to ignore it, as a shell's background jobs are."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
