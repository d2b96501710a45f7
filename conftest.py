"""For unit tests and notebooks alike: nothing is read from or written to the user's own folders."""

import os
import tempfile
from pathlib import Path

from hypothesis import settings

# The same examples in every run, and no time limit: a slow machine is not a failure.
settings.register_profile("course", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("course")

_folder = tempfile.TemporaryDirectory(prefix="kdcourse-tests-", ignore_cleanup_errors=True)
os.environ["KDCOURSE_CACHE"] = str(Path(_folder.name) / "cache")
os.environ["KDCOURSE_PROGRESS"] = str(Path(_folder.name) / "progress.json")
if folder := os.environ.get("KDCOURSE_DATA"):
    os.environ["KDCOURSE_DATA"] = str(Path(folder).resolve())  # kernels start in another folder
