"""Starts a kernel as Colab does: its own package is imported before the first cell."""

import google.colab  # noqa: F401 - the stand-in beside this file
from ipykernel.kernelapp import launch_new_instance

launch_new_instance()
