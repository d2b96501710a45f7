"""A real GPU for the tests that take one, or the second device in its place.

`pytest -m gpu` runs them; without a GPU each is skipped, and says so. KDCOURSE_PRETEND=1 puts the second device in its place:
that is how the suite tries `tests/gpu/run` on a machine without one.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch

from tests.second_device import device, rules


def pretended() -> bool:
    return os.environ.get("KDCOURSE_PRETEND") == "1"


@contextmanager
def gpu() -> Iterator[torch.device]:
    """The GPU at hand, which the course takes for its own within the block. Skips the test where there is none."""
    if pretended():
        with device.present(index=1) as place:
            yield place
        return
    if not torch.cuda.is_available():
        pytest.skip("no GPU at hand")
    place = torch.device("cuda", 0)
    # The CPU's numbers are what is compared with: no TF32.
    with (
        mock.patch.dict(os.environ, KDCOURSE_DEVICE=str(place)),
        mock.patch.object(torch.backends.cudnn, "allow_tf32", False),
        waits_counted(),
    ):
        yield place


@contextmanager
def waits_counted() -> Iterator[None]:
    """CUDA says where its host waits, as a warning; counted in `rules.waits` under the line of the course that it stands in."""
    shown = warnings.showwarning

    def count(message, category, filename, lineno, file=None, line=None) -> None:
        if "synchronizing CUDA operation" in str(message):
            rules.count_wait()
        else:
            shown(message, category, filename, lineno, file, line)

    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", ".*synchronizing CUDA operation.*")
        warnings.showwarning = count
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
