"""What `kdcourse bench` measured: kept in results/, a file for the CPU and one for a GPU, and shown in README."""

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from kdcourse.bench.training import TEXTBOOK, matmul_rate, measure_ways, workloads
from kdcourse.system.storage import shipped, write_safely

KEPT = shipped("results") / "bench.json"
KEPT_OF_GPU = KEPT.with_name("bench-gpu.json")
HEADER = ("networks", "way", "images/s", "seconds × plain", "speed × textbook", "% of matmul", "MiB")


def measured(
    device: torch.device, *, quick: bool = False, turns: int | None = None, say: Callable[[str], object] = print
) -> dict:
    """All measurements on this device, as they are kept. quick: one turn of a few small steps, to see that it works.

    turns: how often each way is measured; default each workload's own.
    """
    pairs, ways = workloads(device), []
    if turns:
        pairs = [replace(pair, turns=turns) for pair in pairs]
    if quick:
        pairs = [replace(pair, steps=2, batch_size=8, pictures=16, turns=1) for pair in pairs]
    for pair in pairs:
        say(f"{pair.name}: {pair.turns} × {pair.steps} steps in each way …")
        ways += measure_ways(pair, device)
    return {
        "machine": machine(device),
        "date": datetime.now(UTC).date().isoformat(),
        "torch": version("torch"),
        "matmul_gflops": matmul_rate(device) / 1e9,
        "turns": min(pair.turns for pair in pairs),
        "ways": [asdict(cost) for cost in ways],
    }


def machine(device: torch.device) -> str:
    """The GPU's name, or the processor's with the number of threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    named = Path("/proc/cpuinfo")
    lines = named.read_text(encoding="utf-8").splitlines() if named.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    count = torch.get_num_threads()
    return f"{models[0] if models else platform.processor() or platform.machine()}, {count} thread{'s' * (count > 1)}"


def keep(found: dict, device: torch.device, path: Path | None = None) -> None:
    """Keep what this kind of device has measured, in place of what it had. path: default in results/."""
    path = path or (KEPT if device.type == "cpu" else KEPT_OF_GPU)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    write_safely(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def known() -> list[dict]:
    """What is kept, the CPU's first."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in (KEPT, KEPT_OF_GPU) if path.is_file()]


def rows(found: dict) -> list[tuple[str, ...]]:
    """A line for each way, under `HEADER`."""
    slowest = {way["workload"]: way["times_plain"] for way in found["ways"] if way["way"] == TEXTBOOK}
    return [
        (
            *(way["workload"], way["way"], f"{way['images_per_second']:,.0f}", f"{way['times_plain']:.2f}"),
            *(f"{slowest[way['workload']] / way['times_plain']:.1f}", f"{100 * way['share']:.1f}"),
            f"{way['mebibytes']:,.0f}",
        )
        for way in found["ways"]
    ]


def in_words(found: dict) -> str:
    """What the table does not say: the machine it was measured on."""
    return (
        f"{found['machine']}; a matrix product reaches {found['matmul_gflops']:,.0f} GFLOP/s; torch {found['torch']}; "
        f"{found['date']}; medians of {found['turns']} turns or more."
    )


def as_markdown(measurements: Iterable[dict]) -> str:
    """README's part: a table and its sentence for each device."""
    parts = []
    for found in measurements:
        lines = [HEADER, ("---",) * 2 + ("---:",) * (len(HEADER) - 2), *rows(found)]
        parts += ["\n".join(f"| {' | '.join(line)} |" for line in lines), in_words(found)]
    return "\n\n".join(parts)
