"""The most memory that a call holds."""

import threading
from collections.abc import Callable

import torch

EVERY = 0.002  # seconds


def peak_mebibytes(call: Callable[[], object], device: torch.device) -> float:
    """Run `call` and look: on a GPU the most that tensors took, elsewhere the most that this process held, in MiB."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) / 2**20
    return _most_resident(call) / 2**20


def _most_resident(call: Callable[[], object]) -> int:
    import psutil

    process, ended = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss]

    def look() -> None:
        while not ended.wait(EVERY):
            seen.append(process.memory_info().rss)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        call()
    finally:
        ended.set()
        looking.join()
    return max(seen)
