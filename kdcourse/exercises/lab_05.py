"""The exercises of lab 05, Distil relations."""

import torch
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import gradients, values


def _points(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _pairs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(_points(0, 5, 3), 4 * _points(1, 5, 6)), (_points(2, 4, 2), _points(3, 4, 2))]


@define(
    "05.relative_distances",
    goal="All pairwise Euclidean distances of a batch, (N, D) -> (N, N), divided by the mean of the positive ones.",
    difficulty="easy",
    minutes="six minutes",
    hints=("torch.cdist(e, e) gives all distances at once.",
           "The diagonal is zero: every picture is its own neighbour. Leave it out of the mean.",
           "d[d > 0].mean() is the mean of the positive entries."),
    probe=lambda answer: values(answer, [(_points(4, 5, 3),), (10 * _points(5, 6, 2),)], learns=True),
)  # fmt: skip
def relative_distances(embeddings):
    d = torch.cdist(embeddings, embeddings)
    return d / d[d > 0].mean()


@relative_distances.mistake(
    "not normalised",
    "Networks differ in scale: without the mean, the student must match the teacher's unit, too.",
)
def _unnormalised(embeddings):
    return torch.cdist(embeddings, embeddings)


@relative_distances.mistake("the zeros are in the mean", "N of the N² entries are zero by nature: leave them out.")
def _zeros_in(embeddings):
    d = torch.cdist(embeddings, embeddings)
    return d / d.mean()


@relative_distances.mistake("squared distances", "The distance is the root of the sum of squares: cdist takes it.")
def _squared(embeddings):
    d = torch.cdist(embeddings, embeddings).pow(2)
    return d / d[d > 0].mean()


@relative_distances.mistake("the largest distance as unit", "One outlier would set the scale: RKD takes the mean.")
def _by_the_largest(embeddings):
    d = torch.cdist(embeddings, embeddings)
    return d / d.max()


@relative_distances.mistake(
    "the gradient is NaN",
    "The diagonal's zeros are roots, and the root of zero has an infinite slope: torch.cdist and .norm() take care of it.",
)
def _root_of_zero(embeddings):
    d = (embeddings[None] - embeddings[:, None]).pow(2).sum(dim=2).sqrt()
    return d / d[d > 0].mean()


@relative_distances.mistake(
    "no gradient", "The result left PyTorch, or was detached: a loss of it would teach nothing."
)
def _no_way_back(embeddings):
    return relative_distances(embeddings).detach()


@relative_distances.mistake(
    "the mean is detached", "The student's mean depends on its embeddings, so the gradient goes through the mean, too."
)
def _constant_mean(embeddings):
    d = torch.cdist(embeddings, embeddings)
    return d / d[d > 0].mean().detach()


@define(
    "05.rkd_distance",
    goal="RKD distance: the smooth-L1 (Huber) loss between the student's and the teacher's relative distances, mean over all N² "
         "entries; no gradient into the teacher.",
    difficulty="easy",
    minutes="four minutes",
    hints=("Reuse relative_distances on both sides; the widths D may differ.",
           "F.smooth_l1_loss takes the mean over all N² entries; detach the teacher's table."),
    probe=lambda answer: gradients(answer, _pairs()),
)  # fmt: skip
def rkd_distance(student, teacher):
    return F.smooth_l1_loss(relative_distances(student), relative_distances(teacher).detach())


@rkd_distance.mistake("unnormalised distances", "Divide each table by its own mean first: use relative_distances.")
def _raw_distances(student, teacher):
    return F.smooth_l1_loss(_unnormalised(student), _unnormalised(teacher).detach())


@rkd_distance.mistake("plain squared error", "The paper's loss is smooth-L1, which is half the square for small gaps.")
def _mean_square(student, teacher):
    return F.mse_loss(relative_distances(student), relative_distances(teacher).detach())


@rkd_distance.mistake("the teacher is not detached", "The teacher's table is the target: .detach() it.")
def _teacher_moves(student, teacher):
    return F.smooth_l1_loss(relative_distances(student), relative_distances(teacher))


@rkd_distance.mistake("one unit for both", "Each network has a scale of its own: divide each table by its own mean.")
def _one_unit(student, teacher):
    theirs = torch.cdist(teacher, teacher).detach()
    unit = theirs[theirs > 0].mean()
    return F.smooth_l1_loss(torch.cdist(student, student) / unit, theirs / unit)


def _angle_cases() -> list[tuple[torch.Tensor]]:
    twice = _points(7, 4, 3)
    twice[2] = twice[0]  # the student gives two pictures one embedding
    return [(_points(6, 4, 3) + 2,), (twice,)]


def _angles(answer) -> dict[str, object]:
    """Values, and the gradient where the student gives two pictures one embedding and the teacher does not."""
    found = values(answer, _angle_cases())
    embeddings = _angle_cases()[1][0].requires_grad_()
    result, target = answer(embeddings), angles(_points(8, 4, 5))
    if isinstance(result, torch.Tensor) and result.requires_grad and result.shape == target.shape:
        (gradient,) = torch.autograd.grad(F.smooth_l1_loss(result, target), embeddings)
        here = "where the student collapses two pictures"
        found[f"gradient is finite {here}"] = bool(gradient.isfinite().all())
        found[f"gradient is as large as elsewhere {here}"] = bool(gradient.nan_to_num().abs().max() < 10)
    found["the result can be differentiated"] = isinstance(result, torch.Tensor) and result.requires_grad
    return found


@define(
    "05.angles",
    goal="The cosines of all triplets' angles, (N, D) -> (N, N, N): [j, i, k] is the angle at j between i and k. Where a way has "
         "no length, as from a picture to itself, the cosine is 0.",
    difficulty="harder",
    minutes="twelve minutes",
    hints=("embeddings[None] - embeddings[:, None] holds at [j, i] the way from j to i: (N, N, D).",
           "Divide each way by its length; unit @ unit.transpose(1, 2) multiplies every two ways that start at j.",
           "A way of length zero has no direction, and the way from j to itself is one. With "
           "torch.where(squared > 0, squared, 1) it is divided by 1 and stays zero. Take the root after that, because the root "
           "of zero has an infinite slope."),
    probe=_angles,
)  # fmt: skip
def angles(embeddings):
    way = embeddings[None] - embeddings[:, None]
    squared = way.pow(2).sum(dim=2, keepdim=True)
    length = torch.where(squared > 0, squared, 1).sqrt()
    unit = way / length
    return unit @ unit.transpose(1, 2)


@angles.mistake(
    "cosines of the embeddings", "Those are angles at the origin; the vertex is picture j: subtract it first."
)
def _from_the_origin(embeddings):
    unit = F.normalize(embeddings, dim=1)
    return (unit @ unit.T).expand(len(unit), -1, -1).clone()


@angles.mistake("inner products, not cosines", "Divide each way by its length before you multiply.")
def _inner_products(embeddings):
    way = embeddings[None] - embeddings[:, None]
    return way @ way.transpose(1, 2)


@angles.mistake(
    "equal embeddings give NaN",
    "Zero over zero, on the diagonal of every batch: give a way of length zero a length of 1.",
)
def _zero_over_zero(embeddings):
    way = embeddings[None] - embeddings[:, None]
    unit = way / way.norm(dim=2, keepdim=True)
    return unit @ unit.transpose(1, 2)


@angles.mistake(
    "equal embeddings blow the gradient up",
    "A small constant stands for the length zero: 10⁻¹² in F.normalize, 10⁻⁸ in F.cosine_similarity, or one of your own. The "
    "values are right, but where the student collapses two pictures that the teacher tells apart, the gradient is like one over "
    "that constant. Use torch.where.",
)
def _tiny_constant(embeddings):
    unit = F.normalize(embeddings[None] - embeddings[:, None], dim=2)
    return unit @ unit.transpose(1, 2)


@angles.mistake(
    "the gradient is NaN",
    "NaN was replaced after the division, by nan_to_num or torch.where. The backward pass still goes through zero over zero: "
    "divide by 1 there.",
)
def _mended(embeddings):
    way = embeddings[None] - embeddings[:, None]
    unit = torch.nan_to_num(way / way.norm(dim=2, keepdim=True))
    return unit @ unit.transpose(1, 2)


@angles.mistake("no gradient", "The result left PyTorch, or was detached: a loss of it would teach nothing.")
def _cut_off(embeddings):
    return angles(embeddings).detach()


@define(
    "05.similarity_preserving",
    goal="SP: Gram matrices (N, N) of both networks, each row divided by its Euclidean length; their mean squared difference.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("The Gram matrix is e @ e.T.", "F.normalize(gram, dim=1) works on rows; detach the teacher's side."),
    probe=lambda answer: gradients(answer, _pairs()),
)
def similarity_preserving(student, teacher):
    ours, theirs = F.normalize(student @ student.T, dim=1), F.normalize(teacher @ teacher.T, dim=1)
    return F.mse_loss(ours, theirs.detach())


@similarity_preserving.mistake(
    "rows that add to 1", "Those are rows of l1 norm 1; SP's rows have Euclidean length 1, p=2."
)
def _l1_rows(student, teacher):
    ours, theirs = (F.normalize(side @ side.T, p=1, dim=1) for side in (student, teacher))
    return F.mse_loss(ours, theirs.detach())


@similarity_preserving.mistake("not normalised", "Gram matrices grow with the square of the features: normalise rows.")
def _raw_gram(student, teacher):
    return F.mse_loss(student @ student.T, (teacher @ teacher.T).detach())


@similarity_preserving.mistake(
    "cosines of the embeddings", "That normalises before the product; SP normalises the rows of the product."
)
def _cosines(student, teacher):
    ours, theirs = (F.normalize(side, dim=1) for side in (student, teacher))
    return F.mse_loss(ours @ ours.T, (theirs @ theirs.T).detach())


@similarity_preserving.mistake(
    "channels for pictures", "e.T @ e relates channels (D, D); pictures are related by e @ e.T."
)
def _channels(student, teacher):
    width = min(student.shape[1], teacher.shape[1])
    ours, theirs = (F.normalize((side.T @ side)[:width, :width], dim=1) for side in (student, teacher))
    return F.mse_loss(ours, theirs.detach())


@similarity_preserving.mistake("the teacher is not detached", "The teacher's table is the target: .detach() it.")
def _not_detached(student, teacher):
    return F.mse_loss(F.normalize(student @ student.T, dim=1), F.normalize(teacher @ teacher.T, dim=1))


def _retrieval_cases() -> list[tuple[torch.Tensor, torch.Tensor]]:
    labels = torch.tensor([0, 1, 2]).repeat(8)
    centres = 2 * _points(9, 3, 4)
    return [
        (centres[labels] + _points(10, 24, 4), labels),
        ((centres[labels] + 2 * _points(11, 24, 4)) * torch.linspace(0.1, 5, 24)[:, None], labels),
    ]


@define(
    "05.recall_at_1",
    goal="In percent: for how many pictures is the nearest other picture, by cosine, of the same class?",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("F.normalize the embeddings; unit @ unit.T holds all cosines.",
           "A picture is its own nearest neighbour: fill the diagonal with minus infinity.",
           "labels[cosines.argmax(dim=1)] == labels, its mean times 100."),
    cases=_retrieval_cases,
)  # fmt: skip
def recall_at_1(embeddings, labels):
    unit = F.normalize(embeddings, dim=1)
    cosines = (unit @ unit.T).fill_diagonal_(-torch.inf)
    return 100 * (labels[cosines.argmax(dim=1)] == labels).float().mean()


@recall_at_1.mistake("each picture finds itself", "Then recall is always 100 %: take the diagonal out.")
def _finds_itself(embeddings, labels):
    return torch.tensor(100.0)


@recall_at_1.mistake(
    "inner products, not cosines", "A long embedding then has large products with all others: normalise first."
)
def _long_ones(embeddings, labels):
    products = (embeddings @ embeddings.T).fill_diagonal_(-torch.inf)
    return 100 * (labels[products.argmax(dim=1)] == labels).float().mean()


@recall_at_1.mistake("the farthest picture", "argmin of cosines is the least similar picture; take argmax.")
def _farthest(embeddings, labels):
    unit = F.normalize(embeddings, dim=1)
    return 100 * (labels[(unit @ unit.T).argmin(dim=1)] == labels).float().mean()


@recall_at_1.mistake("a share, not percent", "Multiply by 100.")
def _share(embeddings, labels):
    return recall_at_1(embeddings, labels) / 100


def _embedding_pairs() -> list[tuple]:
    return [(_points(12, 5, 3), 4 * _points(13, 5, 3), 0.5), (_points(14, 4, 6), _points(15, 4, 6), 0.2)]


@define(
    "05.info_nce",
    goal="InfoNCE: the cross-entropy of cosines / temperature, in which each student embedding looks for the teacher's embedding "
         "of its own picture among those of the batch; no gradient into the teacher.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("F.normalize both sides; ours @ theirs.T is (N, N): row i holds student i's cosines with every teacher embedding.",
           "Divide by the temperature: these are logits, and the right class of row i is i.",
           "F.cross_entropy(logits, torch.arange(N)); detach the teacher's side."),
    probe=lambda answer: gradients(answer, _embedding_pairs()),
)  # fmt: skip
def info_nce(student, teacher, temperature):
    cosines = F.normalize(student, dim=1) @ F.normalize(teacher.detach(), dim=1).T
    return F.cross_entropy(cosines / temperature, torch.arange(len(student), device=student.device))


def _own_picture(logits: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, torch.arange(len(logits)))


@info_nce.mistake(
    "not normalised", "Inner products grow with the embeddings' length: cosines need F.normalize on both sides."
)
def _inner_product_logits(student, teacher, temperature):
    return _own_picture(student @ teacher.detach().T / temperature)


@info_nce.mistake(
    "multiplied by the temperature", "A low temperature makes the choice sharper: divide the cosines by it."
)
def _times_temperature(student, teacher, temperature):
    return info_nce(student, teacher, 1 / temperature)


@info_nce.mistake(
    "the positives left out of the denominator",
    "The softmax is over all N pictures, your own among them; without it the loss can fall below zero.",
)
def _without_positives(student, teacher, temperature):
    logits = F.normalize(student, dim=1) @ F.normalize(teacher.detach(), dim=1).T / temperature
    own = torch.eye(len(logits), dtype=torch.bool)
    return (logits.masked_fill(own, -torch.inf).logsumexp(dim=1) - logits.diagonal()).mean()


@info_nce.mistake(
    "the softmax over the wrong side",
    "Then a teacher embedding looks for its student: rows are the student's, and the softmax runs along a row, dim=1.",
)
def _wrong_side(student, teacher, temperature):
    return _own_picture(F.normalize(teacher.detach(), dim=1) @ F.normalize(student, dim=1).T / temperature)


@info_nce.mistake(
    "softmax before cross-entropy",
    "F.cross_entropy takes logits and has the softmax within: yours would be taken twice.",
)
def _softmax_twice(student, teacher, temperature):
    cosines = F.normalize(student, dim=1) @ F.normalize(teacher.detach(), dim=1).T
    return _own_picture((cosines / temperature).softmax(dim=1))


@info_nce.mistake("the teacher is not detached", "The teacher's embeddings are the target: .detach() them.")
def _embeddings_not_detached(student, teacher, temperature):
    return _own_picture(F.normalize(student, dim=1) @ F.normalize(teacher, dim=1).T / temperature)
