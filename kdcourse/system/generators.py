"""torch's global generators of random numbers, seeded for a while: the CPU's and that of one device, and no other's."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

CPU = torch.device("cpu")


@contextmanager
def fork_rng(device: torch.device = CPU) -> Iterator[None]:
    """Within the block the generators of the CPU and of `device` may be seeded; afterwards they are as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        kept = torch.mps.get_rng_state() if device.type == "mps" else None
        try:
            yield
        finally:
            if kept is not None:
                torch.mps.set_rng_state(kept)


@contextmanager
def seeded_rng(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """`fork_rng`, begun from a seed. `torch.manual_seed` would seed every GPU of the machine, and leave them so."""
    with fork_rng(device):
        torch.default_generator.manual_seed(seed)
        if device.type in ("cuda", "mps"):
            with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
                getattr(torch, device.type).manual_seed(seed)
        yield
