"""The exercises of lab 09, Distil BERT for sentiment."""

import torch
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import filled, gradients


def _draw(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 1, 1, 0, 1, 0])
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])


@define(
    "09.compute_loss",
    goal="The trainer's loss: alpha · T² · KL(teacher ‖ student) at temperature T plus (1 − alpha) · cross-entropy. Here alpha "
    "is the teacher's share.",
    difficulty="easy",
    minutes="six minutes",
    hints=("Lab 03's loss, with two classes: nothing about it knows that words went in.",
           "The teacher's logits are constants: detach them.",
           "F.kl_div(log_softmax(student / T), softmax(teacher / T), reduction='batchmean') * T**2"),
    probe=lambda answer: gradients(
        lambda s, t, labels: answer(s, t, labels, 3.0, 0.8), [(_draw(0, 6, 2), _draw(1, 6, 2), LABELS)]
    ),
)  # fmt: skip
def compute_loss(student_logits, teacher_logits, labels, temperature, alpha):
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits.detach() / temperature, dim=1)
    soft = F.kl_div(log_q, p, reduction="batchmean") * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@compute_loss.mistake(
    "alpha on the labels", "Some sources define it so. Here alpha is the teacher's share: alpha = 1 is pure KD."
)
def _other_alpha(student_logits, teacher_logits, labels, temperature, alpha):
    return compute_loss(student_logits, teacher_logits, labels, temperature, 1 - alpha)


@compute_loss.mistake(
    "T² left out", "Without T² the soft part shrinks as 1/T², and alpha no longer says what it should."
)
def _no_t2(student_logits, teacher_logits, labels, temperature, alpha):
    hard = (1 - alpha) * F.cross_entropy(student_logits, labels)
    return (compute_loss(student_logits, teacher_logits, labels, temperature, alpha) - hard) / temperature**2 + hard


@compute_loss.mistake("the default reduction", 'It averages over classes as well: reduction="batchmean".')
def _over_classes(student_logits, teacher_logits, labels, temperature, alpha):
    hard = (1 - alpha) * F.cross_entropy(student_logits, labels)
    soft = compute_loss(student_logits, teacher_logits, labels, temperature, alpha) - hard
    return soft / student_logits.shape[1] + hard


@compute_loss.mistake(
    "the teacher's graph kept", "The teacher would be trained to please its student: detach its logits."
)
def _attached(student_logits, teacher_logits, labels, temperature, alpha):
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = F.kl_div(log_q, F.softmax(teacher_logits / temperature, dim=1), reduction="batchmean") * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@define(
    "09.hidden_cosine",
    goal="1 − cosine of the two networks' hidden states at each token, mean over the real tokens of the batch.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("F.cosine_similarity(student, teacher, dim=2) is (N, L).",
           "Padding is no text: multiply by the mask, and divide by the mask's sum, not by N · L.",
           "The teacher's states are constants."),
    probe=lambda answer: gradients(
        lambda student, teacher: answer(student, teacher, MASK), [(_draw(2, 3, 5, 4), _draw(3, 3, 5, 4))]
    ),
)  # fmt: skip
def hidden_cosine(student_states, teacher_states, mask):
    distance = 1 - F.cosine_similarity(student_states, teacher_states.detach(), dim=2)
    return (distance * mask).sum() / mask.sum()


@hidden_cosine.mistake(
    "padding counts as text", "Half of a short sentence's row is padding: only the mask's tokens count."
)
def _unmasked(student_states, teacher_states, mask):
    return hidden_cosine(student_states, teacher_states, torch.ones_like(mask))


@hidden_cosine.mistake(
    "divided by every position",
    "Zeros at padding are left out of the sum but counted in the mean: divide by mask.sum().",
)
def _all_positions(student_states, teacher_states, mask):
    return hidden_cosine(student_states, teacher_states, mask) * mask.sum() / mask.numel()


@hidden_cosine.mistake("the cosine itself", "Minimising the cosine drives the states apart: the loss is 1 − cosine.")
def _upside_down(student_states, teacher_states, mask):
    return 1 - hidden_cosine(student_states, teacher_states, mask)


@hidden_cosine.mistake("the teacher's graph kept", "The teacher's states are constants: detach them.")
def _moving(student_states, teacher_states, mask):
    distance = 1 - F.cosine_similarity(student_states, teacher_states, dim=2)
    return (distance * mask).sum() / mask.sum()


def _maps(answer) -> dict[str, object]:
    return {
        f"{ours} layers from {theirs}": torch.tensor(list(filled(answer(ours, theirs))))
        for ours, theirs in ((2, 4), (3, 12), (4, 4))
    }


@define(
    "09.layer_map",
    goal="Which teacher's layer does each student's layer learn from? A list, counted from 0: spread evenly, last from last.",
    difficulty="easy",
    minutes="four minutes",
    hints=("Two layers under a teacher of four: [1, 3].",
           "Layer i is the end of its part of the student: the teacher's part ends at (i + 1) · theirs / ours.",
           "[(i + 1) * theirs // ours - 1 for i in range(ours)]"),
    probe=_maps,
)  # fmt: skip
def layer_map(student_layers, teacher_layers):
    return [(layer + 1) * teacher_layers // student_layers - 1 for layer in range(student_layers)]


@layer_map.mistake(
    "the last layer is left out",
    "Spread from 0 the student's last layer imitates a middle one: its end must be the teacher's end.",
)
def _from_zero(student_layers, teacher_layers):
    return [layer * teacher_layers // student_layers for layer in range(student_layers)]


@layer_map.mistake("counted from 1", "Layers are counted from 0 here: subtract 1.")
def _from_one(student_layers, teacher_layers):
    return [(layer + 1) * teacher_layers // student_layers for layer in range(student_layers)]


@layer_map.mistake(
    "layer by layer from the bottom",
    "The student is shallower: it would imitate the teacher's first half and never its conclusions.",
)
def _bottom(student_layers, teacher_layers):
    return list(range(student_layers))
