"""What training costs: a plain student, and distillation in three ways; on made-up pictures.

Every number stands beside others of the same run: the ways take turns, and ratios are taken within a turn, so that what else
the machine does falls on all of them.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kdcourse.bench.memory import peak_mebibytes
from kdcourse.bench.textbook import loader_of, textbook
from kdcourse.data.splits import Split, standardised
from kdcourse.losses.checks import trusted
from kdcourse.methods import Distillation
from kdcourse.models import convnet, perceptron, resnet8x4, resnet32x4
from kdcourse.system.runtime import synchronize
from kdcourse.training.cache import TeacherCache
from kdcourse.training.loop import train
from kdcourse.training.objective import frozen

PLAIN, CACHED, LIVE, TEXTBOOK = "plain student", "KD through the cache", "KD, teacher at each step", "KD, textbook loop"
UNCHECKED = "the same, with no look at values"
PRODUCT = "matrix product"
MEAN, STD = 0.5, 0.25


@dataclass(frozen=True)
class Workload:
    """A pair of networks at work. shape: of a picture, (C, H, W). steps: of a measured run, over so many `pictures`.

    turns: how often each way is measured; short runs, which are mostly calls, vary the most.
    """

    name: str
    teacher: Callable[[], nn.Module]
    student: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    pictures: int
    steps: int
    batch_size: int = 128
    turns: int = 5


@dataclass(frozen=True)
class Cost:
    """One way to train, measured.

    images_per_second: median over the turns. times_plain: seconds as a multiple of the plain student's, median of the turns'
    ratios. share: floating-point operations a second, the teacher's included where it answers, as a share of the device's
    best rate in a matrix product, which takes its turns too. mebibytes: peak memory, a GPU's allocations, or on a CPU all
    that the process holds.
    """

    workload: str
    way: str
    images_per_second: float
    times_plain: float
    share: float
    mebibytes: float


def workloads(device: torch.device) -> list[Workload]:
    """The course's pairs and the literature's. A GPU gets longer runs, being faster."""
    long = 10 if device.type == "cuda" else 1
    grey, colour = (1, 28, 28), (3, 32, 32)
    return [
        Workload(
            "perceptrons 1200-1200 → 64, lab 03", perceptron, partial(perceptron, (64,)), grey, 1000, 500, turns=15
        ),
        Workload(
            "perceptrons 1200-1200 → 800-800", perceptron, partial(perceptron, (800, 800)), grey, 5120, 120 * long
        ),
        Workload("CNNs 32-64-128-256 → 8-16-32-32", convnet, partial(convnet, (8, 16, 32, 32)), grey, 3840, 30 * long),
        Workload("resnet32x4 → resnet8x4", resnet32x4, resnet8x4, colour, 256, 4 * long, 64),
    ]


def measure_ways(workload: Workload, device: torch.device) -> list[Cost]:
    """Train a student in each way by turns, after one run of each to warm up. Raises `ValueError` for fewer than one turn."""
    if workload.turns < 1:
        raise ValueError(f"turns must be at least 1, got {workload.turns}")
    ways, operations = _ways(workload, device)
    memory = {way: peak_mebibytes(run, device) for way, run in ways.items()}
    rates: list[float] = []
    taken = by_turns(ways | {PRODUCT: lambda: rates.append(matmul_rate(device))}, workload.turns)
    rate, seen = max(rates), workload.steps * workload.batch_size
    return [
        Cost(
            *(workload.name, way, seen / statistics.median(taken[way]), ratio(taken[way], taken[PLAIN])),
            share=operations[way] * seen / statistics.median(taken[way]) / rate,
            mebibytes=memory[way],
        )
        for way in ways
    ]


def matmul_rate(device: torch.device, repeats: int = 5) -> float:
    """Floating-point operations a second in a product of square matrices, the best of a few: bf16 on a GPU, else float32."""
    # A fast GPU is done with 2048 rows before the call that asks for them is.
    side, kind = (8192, torch.bfloat16) if device.type == "cuda" else (2048, torch.float32)
    left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        left @ right
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


def _ways(workload: Workload, device: torch.device) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """Each way as a call that trains a fresh student, and its operations for one picture."""
    split, raw = _pictures(workload, device)
    teacher = workload.teacher().to(device).eval()
    settings = {"steps": workload.steps, "batch_size": workload.batch_size, "progress": False}
    loader = loader_of(raw, split.labels, MEAN, STD, workload.batch_size)

    def run(*method, **given) -> None:
        train(workload.student(), split, *method, **given, **settings)

    cache = TeacherCache(teacher)
    ways = {
        PLAIN: run,
        CACHED: partial(run, Distillation(), teacher=cache),
        UNCHECKED: trusted()(partial(run, Distillation(), teacher=cache)),
        LIVE: partial(run, Distillation(), teacher=teacher),
        TEXTBOOK: lambda: textbook(workload.student().to(device), teacher, loader, workload.steps),
    }
    student, answer = _operations(workload, teacher, split)
    return ways, {way: student + answer * (way in (LIVE, TEXTBOOK)) for way in ways}


def _pictures(workload: Workload, device: torch.device) -> tuple[Split, torch.Tensor]:
    """Random pictures, as a split and raw, (N, C, H, W) uint8 on the CPU."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(256, (workload.pictures, *workload.shape), generator=generator, dtype=torch.uint8)
    channels = workload.shape[0]
    labels = torch.randint(10, (workload.pictures,), generator=generator)
    return standardised(raw, labels, (MEAN,) * channels, (STD,) * channels, device), raw


def _operations(workload: Workload, teacher: nn.Module, split: Split) -> tuple[float, float]:
    """For one picture: the student's, forward and backward, and the teacher's forward."""
    few = split.images[:2]
    with FlopCounterMode(display=False) as learning:
        workload.student().to(split.device).train()(few).sum().backward()
    with frozen(teacher), torch.no_grad(), FlopCounterMode(display=False) as answering:
        teacher(few)
    return learning.get_total_flops() / len(few), answering.get_total_flops() / len(few)


def by_turns(ways: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each way in each turn; who goes first changes from turn to turn."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    names = list(ways)
    for turn in range(turns):
        first = turn % len(names)
        for way in names[first:] + names[:first]:
            started = time.perf_counter()
            ways[way]()
            taken[way].append(time.perf_counter() - started)
    return taken


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
