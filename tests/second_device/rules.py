"""What a GPU refuses, and where its host waits: told of one operator by its name, its arguments and where they lie."""

import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

import kdcourse

NAME = "second"
PACKAGE = Path(kdcourse.__file__).parent
LIBRARIES = (PACKAGE, *(Path(place) for place in find_spec("transformers").submodule_search_locations))
CPU = torch.device("cpu")
COPIES = {"_to_copy", "copy_", "_copy_from", "_has_compatible_shallow_copy_type"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# Where the host waits: for a value, or for a size that depends on values.
READS = {"_local_scalar_dense", "_unique2", "bincount", "equal", "masked_select", "nonzero", "repeat_interleave"}

waits: Counter[str] = Counter()  # the line that made the host wait, as in "kdcourse/training/loop.py:10" -> how often


def check(name: str, args: tuple, tensors: list[Tensor]) -> None:
    """Raise `RuntimeError` as CUDA does where tensors of two devices meet."""
    if name in COPIES:
        return
    if name in INDEXING:
        _check_indices(args[0], args[1])
        tensors = [args[0], *args[2:3]]
    # A single number of the CPU's may join tensors of any device.
    places = {one.device: None for one in tensors if one.dim() or one.device != CPU}
    if len(places) > 1:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(map(str, places))}! ({name})"
        )


def _check_indices(indexed: Tensor, indices: list[Tensor | None]) -> None:
    if any(one is not None and one.device not in (indexed.device, CPU) for one in indices):
        raise RuntimeError(
            f"indices should be either on cpu or on the same device as the indexed tensor ({indexed.device})"
        )


def makes_host_wait(name: str, args: tuple, kwargs: dict, tensors: list[Tensor], place: torch.device) -> bool:
    """Whether the host stands still until the device has done what it was given. place: where the result lies."""
    if name in COPIES:
        crosses = len({one.device for one in tensors} | {place}) > 1 and tensors[-1].numel() > 0
        return crosses and not (kwargs.get("non_blocking") or args[2:3] == (True,))
    if name in INDEXING:
        return any(one is not None and (one.dtype == torch.bool or one.device == CPU) for one in args[1])
    return name in READS


def count_wait() -> None:
    """Under the innermost line of the package, or of transformers where that asks by itself; else under "elsewhere"."""
    frame = sys._getframe(1)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        library = next((one for one in LIBRARIES if one in file.parents), None)
        if library is not None:
            waits[f"{file.relative_to(library.parent)}:{frame.f_lineno}"] += 1
            return
        frame = frame.f_back
    waits["elsewhere"] += 1
