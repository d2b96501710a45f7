"""A built-in table: 20 numbers a row, three classes. Distillation is not about pictures only.

A row is, to the loop and to a perceptron, a picture of one pixel with 20 channels.
"""

import torch
from torch import Tensor

from kdcourse.data.splits import ImageData, Split
from kdcourse.system.arguments import whole_number

FEATURES, CLASSES = 20, ("low", "middle", "high")
UNITS = 8  # bends of the rule that the table follows
DOUBT = 0.5  # standard deviation of what the columns do not tell, where the rule itself has 1


def table(rows: int = 20_000, seed: int = 0) -> ImageData:
    """A table of random numbers whose classes follow a hidden rule: three classes, equal in number.

    rows: to learn from, default 20,000; validation and test have a quarter as many each. seed: fixes rule and rows, default 0.
    Split.images: (rows, 20, 1, 1), standard normal. A hidden rule gives each row a score, in which all columns count and none
    alone; noise is added; the lowest third of the scores is the first class, the highest the last.
    Raises `ValueError` for fewer than 12 rows.
    """
    rows = whole_number("rows", rows, least=12)
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(FEATURES, UNITS, generator=generator)
    second = torch.randn(UNITS, generator=generator)
    count = rows + 2 * (rows // 4)
    columns = torch.randn(count, FEATURES, generator=generator)
    scores = _standard((columns @ first / 2).tanh() @ second) + DOUBT * torch.randn(count, generator=generator)
    labels = (scores.argsort().argsort() * len(CLASSES)) // count
    parts = (
        Split(columns[start:end, :, None, None].contiguous(), labels[start:end])
        for start, end in ((0, rows), (rows, rows + rows // 4), (rows + rows // 4, count))
    )
    return ImageData("table", CLASSES, *parts, mean=(0.0,) * FEATURES, std=(1.0,) * FEATURES, origin="built in")


def _standard(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std()
