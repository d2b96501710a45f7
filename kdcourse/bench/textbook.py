"""The loop that tutorials show: pictures transformed one by one, the teacher asked at each step, the loss read back."""

from itertools import chain, repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class TransformedImages(Dataset):
    """Raw pictures (N, C, H, W) uint8 as torchvision's data sets give them: an image of PIL's, through transforms."""

    def __init__(self, raw: Tensor, labels: Tensor, mean: float, std: float):
        from torchvision import transforms

        # Height, width, channels; grey pictures have no last dimension there.
        self.arrays = [picture.permute(1, 2, 0).squeeze(2).numpy() for picture in raw]
        self.labels = labels.tolist()
        each = [[number] * raw.shape[1] for number in (mean, std)]
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*each)])

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def loader_of(raw: Tensor, labels: Tensor, mean: float, std: float, batch_size: int) -> DataLoader:
    """Shuffled batches, in this process, as is the default."""
    return DataLoader(TransformedImages(raw, labels, mean, std), batch_size, shuffle=True, drop_last=True)


def textbook(student: nn.Module, teacher: nn.Module, loader: DataLoader, steps: int) -> list[float]:
    """Distil at T = 4 and alpha = 0.9 for so many steps; the loss of each."""
    device = next(student.parameters()).device
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3, weight_decay=1e-2)
    teacher.eval()
    student.train()
    losses = []
    for _, (images, labels) in zip(range(steps), chain.from_iterable(repeat(loader)), strict=False):
        images, labels = images.to(device), labels.to(device)
        with torch.no_grad():
            teacher_logits = teacher(images)
        logits = student(images)
        soft = F.kl_div(F.log_softmax(logits / 4, dim=1), F.softmax(teacher_logits / 4, dim=1), reduction="batchmean")
        loss = 0.9 * 4**2 * soft + 0.1 * F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
