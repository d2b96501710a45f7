"""How good a student is, judged by all processes, each on its part of the test examples."""

import math

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F

from kdcourse.models.common import evaluating
from kdcourse.scale.sources import FromFolder, InMemory


@torch.no_grad()
def score(model: nn.Module, source: InMemory | FromFolder, accelerator: Accelerator) -> list[float]:
    """Right answers in percent, one number for each of several peers; of text, bits a character. Each process judges its part."""
    mine = torch.arange(accelerator.process_index, len(source), accelerator.num_processes)
    total, count = torch.zeros(1, dtype=torch.float64), 0
    with evaluating(model):
        for part in source.stream((None, index) for index in mine.split(256)):
            logits, labels = model(part.images), part.labels
            if labels.ndim == 2:
                found = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / math.log(2)
            else:
                found = 100 * (logits.argmax(-1) == labels.view(-1, *[1] * (logits.ndim - 2))).sum(0)
            total, count = total + found.double().cpu(), count + labels.numel()
    sums = torch.cat([total, torch.tensor([count], dtype=torch.float64)]).float().to(accelerator.device)
    *totals, count = accelerator.reduce(sums, "sum").tolist()
    return [one / count for one in totals]
