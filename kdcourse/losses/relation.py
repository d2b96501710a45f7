"""Relation knowledge: losses on how the pictures of a batch, or two layers, stand to each other.

The student comes first, then the teacher. Embeddings are (N, D): D numbers for each of N pictures. A feature map in their place
is flattened. D may differ between the two unless stated, because only relations between pictures are compared. Each loss is one
scalar, and no gradient reaches the teacher. All losses raise `ValueError` for shapes that do not fit, for NaN, and
for fewer pictures than a relation needs.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcourse.losses.checks import as_embeddings, as_features, check_positive
from kdcourse.losses.vectors import unit


def distances(embeddings: Tensor) -> Tensor:
    """All pairwise Euclidean distances, divided by the mean of those above 0: (N, D) -> (N, N).

    Source: Park, Kim, Lu, Cho (2019), *Relational Knowledge Distillation*, eq. 5 and 6.
    """
    # The exact form: the faster one by inner products is unsafe between near neighbours.
    apart = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    mean = apart.sum() / (apart > 0).sum().clamp(min=1)
    return apart / mean.clamp(min=torch.finfo(apart.dtype).tiny)


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-D: pairs that are far apart for the teacher should be far apart for the student.

    Smooth-L1 loss between the two tables of relative `distances`, mean over all N² entries.
    student, teacher: embeddings (N, D), N ≥ 2.
    Source: Park et al. (2019), eq. 7.
    """
    student, teacher = as_embeddings(student, teacher)
    return F.smooth_l1_loss(distances(student), distances(teacher))


def angles(embeddings: Tensor) -> Tensor:
    """Cosines of all triplets' angles: (N, D) -> (N, N, N), where [j, i, k] is the angle at picture j between i and k.

    Between two equal embeddings there is no direction: their cosines are 0 and have no gradient.
    Source: Park et al. (2019), eq. 8.
    """
    between = embeddings.unsqueeze(0) - embeddings.unsqueeze(1)  # (N, N, D): from j to i
    # The same picture twice may differ by rounding, which is as large as the embeddings are, not as their distance is.
    rounding = 10 * torch.finfo(embeddings.dtype).eps * embeddings.detach().norm(dim=1).max()
    directions = unit(between, shortest=rounding)
    return directions @ directions.transpose(1, 2)


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-A: every three pictures should span the same angle in both embeddings.

    Smooth-L1 loss between the two tables of `angles`, mean over all N³ entries (memory grows with the cube of the batch).
    student, teacher: embeddings (N, D), N ≥ 3.
    Source: Park et al. (2019), eq. 9.
    """
    student, teacher = as_embeddings(student, teacher, least=3)
    return F.smooth_l1_loss(angles(student), angles(teacher))


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """SP: pictures with similar activations in the teacher should have similar activations in the student.

    The tables of all inner products (Gram matrices, (N, N)), each row l2-normalised; mean of squared differences.
    student, teacher: embeddings (N, D), N ≥ 2.
    Source: Tung, Mori (2019), *Similarity-Preserving Knowledge Distillation*, eq. 1–4.
    """
    student, teacher = as_embeddings(student, teacher)
    return F.mse_loss(*(unit(side @ side.T) for side in (student, teacher)))


def probabilistic_transfer(student: Tensor, teacher: Tensor, *, eps: float = 1e-7) -> Tensor:
    """PKT: each picture's distribution over its neighbours should be the teacher's.

    Cosine similarities mapped to [0, 1] by (c + 1) / 2, each row normalised to a distribution; mean over all N² entries of
    p_t · log((p_t + eps) / (p_s + eps)).
    student, teacher: embeddings (N, D), N ≥ 2. eps: keeps the logarithm finite, above 0, default 1e-7.
    Source: Passalis, Tefas (2018), *Learning Deep Representations with Probabilistic Knowledge Transfer*, eq. 4–6.
    """
    student, teacher = as_embeddings(student, teacher)
    check_positive("eps", eps)

    def neighbours(embeddings: Tensor) -> Tensor:
        directions = unit(embeddings)
        similarity = (directions @ directions.T + 1) / 2
        return similarity / similarity.sum(dim=1, keepdim=True).clamp(min=eps)

    p, q = neighbours(teacher), neighbours(student)
    return (p * ((p + eps).log() - (q + eps).log())).mean()


def correlation_congruence(student: Tensor, teacher: Tensor, *, gamma: float = 0.4, order: int = 2) -> Tensor:
    """CC: the correlations between pictures under a Gaussian kernel should agree.

    On l2-normalised embeddings the kernel exp(−gamma · ‖x − y‖²) is exp(−2·gamma) · Σ_p (2·gamma)^p / p! · (x·y)^p, the
    sum cut off after p = order; mean squared difference of the two (N, N) tables.
    student, teacher: embeddings (N, D), N ≥ 2. gamma: above 0, default 0.4. order: a whole number of at least 1, default 2.
    Source: Peng et al. (2019), *Correlation Congruence for Knowledge Distillation*, eq. 8–11.
    """
    student, teacher = as_embeddings(student, teacher)
    check_positive("gamma", gamma)
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"order must be a whole number of at least 1, got {order!r}")

    def kernel(embeddings: Tensor) -> Tensor:
        directions = unit(embeddings)
        cosine = directions @ directions.T
        terms = ((2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(order + 1))
        return math.exp(-2 * gamma) * sum(terms)

    return F.mse_loss(kernel(student), kernel(teacher))


def flow(student_pair: tuple[Tensor, Tensor], teacher_pair: tuple[Tensor, Tensor]) -> Tensor:
    """FSP: how one layer's channels go together with the next layer's should be the same in both networks.

    student_pair, teacher_pair: maps of two layers of one network, (N, Ca, H, W) and (N, Cb, H', W'); the larger is
    average-pooled to the smaller. Their Gram matrix (N, Ca, Cb) holds the inner products of all pairs of channels, as means over
    positions; then the mean squared difference of the two networks' matrices. Both must have the same Ca and Cb; where they have
    not, use a `Regressor`.
    Source: Yim, Joo, Bae, Kim (2017), *A Gift from Knowledge Distillation*, eq. 1 and 2.
    """
    solutions = []
    for name, pair in (("student_pair", student_pair), ("teacher_pair", teacher_pair)):
        if len(pair) != 2:
            raise ValueError(f"{name} must be the maps of two layers, got {len(pair)}")
        first, second = (as_features(name, maps, maps=True) for maps in pair)
        if len(first) != len(second):
            raise ValueError(f"{name} must hold the same pictures twice, got {len(first)} and {len(second)}")
        size = min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3])
        first, second = (F.adaptive_avg_pool2d(maps, size).flatten(2) for maps in (first, second))
        solutions.append(first @ second.transpose(1, 2) / first.shape[2])
    student, teacher = solutions
    if student.shape != teacher.shape:
        raise ValueError(
            f"student_pair and teacher_pair must have the same pictures and channels, got Gram matrices of shapes "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    return F.mse_loss(student, teacher.detach())


def contrastive(student: Tensor, teacher: Tensor, *, temperature: float = 0.1) -> Tensor:
    """InfoNCE: a picture's student embedding should be nearer to its own teacher embedding than to those of other pictures.

    Cross-entropy of the cosine similarities (N, N) divided by `temperature`, with the diagonal as the right answer, in nats.
    CRD, the method of the paper, takes its negatives (the other pictures) from a memory bank of thousands, excludes pictures of
    the same class, and learns a linear head on both sides. Here the negatives are the rest of the batch.
    student, teacher: embeddings (N, D) of one D, N ≥ 2. temperature: above 0, default 0.1.
    Source: Tian, Krishnan, Isola (2020), *Contrastive Representation Distillation*, §3.1; van den Oord et al. (2018), eq. 4.
    """
    student, teacher = as_embeddings(student, teacher, same_width=True)
    check_positive("temperature", temperature)
    similarity = unit(student) @ unit(teacher).T
    return F.cross_entropy(similarity / temperature, torch.arange(len(student), device=student.device))
