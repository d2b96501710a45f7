"""How good a student is, judged by all processes, each on its part of the test examples."""

import math

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.models.common import evaluating
from kdcourse.scale.datasets import ImageFolderDataset, InMemoryDataset

BATCH_SIZE = 64  # pictures of 224 pixels: with eight workers ahead, half a gigabyte


@torch.no_grad()
def evaluate(model: nn.Module, dataset: InMemoryDataset | ImageFolderDataset, accelerator: Accelerator) -> list[float]:
    """Right answers in percent, one number for each of several peers; of text, bits a character. The same on all processes."""
    local = torch.arange(accelerator.process_index, len(dataset), accelerator.num_processes)
    total, count = torch.zeros(1, dtype=torch.float64), 0
    with evaluating(model):
        for batch in dataset.batches((None, index) for index in local.split(BATCH_SIZE)):
            total = total + _score(model(batch.inputs), batch.labels).double().cpu()
            count += batch.labels.numel()
    sums = torch.cat([total, torch.tensor([count], dtype=torch.float64)]).float().to(accelerator.device)
    *totals, count = accelerator.reduce(sums, "sum").tolist()
    return [one / count for one in totals]


@torch.no_grad()
def predictions(model: nn.Module, dataset: InMemoryDataset | ImageFolderDataset) -> Tensor:
    """Logits (N, C) of every example as it is, on the host; this process asks for all of them."""
    with evaluating(model):
        batches = dataset.batches((None, index) for index in torch.arange(len(dataset)).split(BATCH_SIZE))
        return torch.cat([model(batch.inputs).float().cpu() for batch in batches])


def _score(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over a batch: bits for text, labels (N, L) and logits (N, L, V); else 100 for each right answer.

    labels (N,): logits are (N, C), or (N, P, C) of P peers, each with a sum of its own.
    """
    if labels.ndim == 2:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / math.log(2)
    peers = logits if logits.ndim == 3 else logits.unsqueeze(1)
    return 100 * (peers.argmax(-1) == labels.unsqueeze(1)).sum(0)
