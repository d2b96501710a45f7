"""What a step's number says: its learning rate, and which examples this process learns from."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kdcourse.scale.datasets import ViewIndex, derive_seed, view_of
from kdcourse.scale.recipe import Data, Training


def learning_rate(training: Training, step: int, per_epoch: int, steps: int) -> float:
    """Of this step: constant, times `decay` after each milestone, or down a cosine."""
    if training.cosine:
        return training.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
    return training.learning_rate * training.decay ** sum(step >= one * per_epoch for one in training.milestones)


def batch_sampler(
    count: int, data: Data, training: Training, seed: int, steps: range, accelerator: Accelerator
) -> Iterator[ViewIndex]:
    """This process's examples of each step: an epoch is one order of all, cut into whole batches and those into equal parts."""

    @lru_cache(maxsize=1)
    def permutation(epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
        return torch.randperm(count, generator=generator)

    for step in steps:
        epoch, number = divmod(step, count // training.batch_size)
        batch = permutation(epoch)[number * training.batch_size :][: training.batch_size]
        yield view_of(data, epoch), batch.chunk(accelerator.num_processes)[accelerator.process_index]


def build_optimizer(parameters: Iterable[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    common = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    if training.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **common)
    return torch.optim.SGD(parameters, momentum=training.momentum, nesterov=training.nesterov, **common)
