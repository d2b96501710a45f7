"""What a step's number says: its learning rate, and which examples this process learns from."""

import math
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from torch import nn

from kdcourse.scale.recipe import Data, Training
from kdcourse.scale.sources import Share, mixed, view_of


def learning_rate(training: Training, step: int, per_epoch: int, steps: int) -> float:
    """Of this step: constant, times `decay` after each milestone, or down a cosine."""
    if training.cosine:
        return training.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
    return training.learning_rate * training.decay ** sum(step >= one * per_epoch for one in training.milestones)


def shares(
    count: int, data: Data, training: Training, seed: int, steps: range, accelerator: Accelerator
) -> Iterator[Share]:
    """This process's examples of each step: an epoch is one order of all, cut into whole batches and those into equal parts."""
    order, known = None, None
    for step in steps:
        epoch, place = divmod(step, count // training.batch_size)
        if epoch != known:
            generator = torch.Generator().manual_seed(mixed(seed, "order", epoch))
            order, known = torch.randperm(count, generator=generator), epoch
        batch = order[place * training.batch_size :][: training.batch_size]
        yield view_of(data, epoch), batch.chunk(accelerator.num_processes)[accelerator.process_index]


def optimizer_of(parameters: list[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    common = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    if training.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **common)
    return torch.optim.SGD(parameters, momentum=training.momentum, nesterov=training.nesterov, **common)
