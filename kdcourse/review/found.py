"""Five losses and loops, each with a mistake that was published, written anew for lab 03: find it, then ask `kd.audit` or
`kd.diagnose`. None is to be used.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.data.splits import Split


def from_a_framework(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 3.0) -> Tensor:
    """Seen in Keras 3.15.1: what `LogitsDistillation(temperature)` computes with its default loss. Logits (N, C) -> a scalar."""
    p = (teacher_logits / temperature).clamp(1e-7, 1)
    q = (student_logits / temperature).clamp(1e-7, 1)
    return (p * (p / q).log()).sum(dim=1).mean()


def from_a_default(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """Seen wherever `nn.KLDivLoss()` stands without arguments; two mistakes at once. Logits (N, C) -> a scalar."""
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits.detach() / temperature, dim=1)
    return (p * (p.log() - log_q)).mean()


def from_a_recipe(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float = 4.0, alpha: float = 0.9
) -> Tensor:
    """Seen as a convention in torchdistill 1.1.5, and a trap for who copies a table's alpha from elsewhere. -> a scalar."""
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits.detach() / temperature, dim=1)
    soft = temperature**2 * F.kl_div(log_q, p, reduction="batchmean")
    return alpha * F.cross_entropy(student_logits, labels) + (1 - alpha) * soft


def from_a_loop(student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor, optimizer) -> Tensor:
    """Asked about in vrvlive/knowlege-distillation, issue 2: a training step. Returns its loss, a scalar."""
    student.train()
    with torch.no_grad():
        teacher_logits = teacher(images)
    student_logits = student(images)
    soft = 16 * F.kl_div(F.log_softmax(student_logits / 4, 1), F.softmax(teacher_logits / 4, 1), reduction="batchmean")
    loss = 0.9 * soft + 0.1 * F.cross_entropy(student_logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@torch.no_grad()
def from_a_cache(teacher: nn.Module, split: Split, seed: int = 0) -> Tensor:
    """Reported in haitongli/knowledge-distillation-pytorch, issue 4: the teacher's answers (N, C), kept for later epochs."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    return torch.cat([teacher(split.inputs[index]) for index in order.split(128)])
