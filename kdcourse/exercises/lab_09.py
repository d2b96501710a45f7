"""The exercises of lab 09, Distil BERT for sentiment."""

import inspect
from collections import UserDict
from types import SimpleNamespace

import torch
from torch import nn
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
        answer,
        [(_draw(0, 6, 2), _draw(1, 6, 2), LABELS, 3.0, 0.8), (_draw(4, 4, 2), _draw(5, 4, 2), LABELS[1:5], 2.0, 0.3)],
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


def _soft(student_logits, teacher_logits, temperature):
    return compute_loss(
        student_logits, teacher_logits, torch.zeros(len(student_logits), dtype=torch.long), temperature, 1.0
    )


def _mixed(change):
    """The loss with its two weighted parts changed."""

    def mixed(student_logits, teacher_logits, labels, temperature, alpha):
        soft, hard = _soft(student_logits, teacher_logits, temperature), F.cross_entropy(student_logits, labels)
        return change(soft, hard, alpha, temperature, student_logits)

    return mixed


_CLASSES, _ADDED = 'It averages over classes as well: reduction="batchmean".', "The two shares are alpha and 1 − alpha."
for _name, _explanation, _change in (
    (
        "the sum over the batch",
        'Average over the batch, as cross-entropy does: reduction="batchmean".',
        lambda soft, hard, alpha, t, logits: alpha * soft * len(logits) + (1 - alpha) * hard,
    ),
    (
        "T in place of T²",
        "The gradient shrinks as 1/T²: multiply by temperature**2.",
        lambda soft, hard, alpha, t, logits: alpha * soft / t + (1 - alpha) * hard,
    ),
    (
        "T² on the labels' part too",
        "Only the soft part carries temperature**2.",
        lambda soft, hard, alpha, t, logits: alpha * soft + (1 - alpha) * hard * t**2,
    ),
    ("no alpha", _ADDED, lambda soft, hard, alpha, t, logits: soft + hard),
    ("alpha on the soft part only", _ADDED, lambda soft, hard, alpha, t, logits: alpha * soft + hard),
    (
        "T² left out, with the default reduction",
        f"Without T² the soft part shrinks as 1/T². {_CLASSES}",
        lambda soft, hard, alpha, t, logits: alpha * soft / t**2 / logits.shape[1] + (1 - alpha) * hard,
    ),
    (
        "alpha on the labels, and T² left out",
        "alpha is the teacher's share, and without T² the soft part shrinks as 1/T².",
        lambda soft, hard, alpha, t, logits: (1 - alpha) * soft / t**2 + alpha * hard,
    ),
    (
        "alpha on the labels, with the default reduction",
        f"alpha is the teacher's share. {_CLASSES}",
        lambda soft, hard, alpha, t, logits: (1 - alpha) * soft / logits.shape[1] + alpha * hard,
    ),
):
    compute_loss.mistake(_name, _explanation)(_mixed(_change))


@compute_loss.mistake("KL the other way round", "KL(teacher ‖ student): the teacher's probabilities are the weights.")
def _swapped(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = (side.div(temperature).log_softmax(1) for side in (teacher_logits.detach(), student_logits))
    soft = temperature**2 * (q.exp() * (q - p)).sum(1).mean()
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@compute_loss.mistake("cross-entropy in place of KL", "Same gradient, but the teacher's entropy is not subtracted.")
def _cross_entropy(student_logits, teacher_logits, labels, temperature, alpha):
    p = F.softmax(teacher_logits.detach() / temperature, dim=1)
    soft = temperature**2 * F.cross_entropy(student_logits / temperature, p)
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@compute_loss.mistake(
    "T² left out, with cross-entropy in place of KL",
    "Without T² the soft part shrinks as 1/T², and the teacher's entropy is not subtracted.",
)
def _cross_entropy_no_t2(student_logits, teacher_logits, labels, temperature, alpha):
    soft = F.cross_entropy(student_logits / temperature, F.softmax(teacher_logits.detach() / temperature, dim=1))
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


def _divergence(student_side, teacher_side):
    """The loss, with something else given to F.kl_div."""

    def mixed(student_logits, teacher_logits, labels, temperature, alpha):
        given, target = student_side(student_logits, temperature), teacher_side(teacher_logits.detach(), temperature)
        soft = F.kl_div(given, target, reduction="batchmean") * temperature**2
        return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)

    return mixed


def _softened_log(logits, temperature):
    return F.log_softmax(logits / temperature, dim=1)


def _softened_p(logits, temperature):
    return F.softmax(logits / temperature, dim=1)


def _scaled(logits, temperature):
    return logits / temperature


for _name, _explanation, _function in (
    (
        "softmax where log_softmax belongs",
        "F.kl_div takes log-probabilities first.",
        _divergence(_softened_p, _softened_p),
    ),
    ("KL on raw logits", "F.kl_div takes log-probabilities and probabilities.", _divergence(_scaled, _scaled)),
    ("the student's logits are raw", "F.kl_div takes log-probabilities first.", _divergence(_scaled, _softened_p)),
    ("the teacher's logits are raw", "F.kl_div takes probabilities second.", _divergence(_softened_log, _scaled)),
    (
        "softmax twice",
        "What comes out of a softmax are no logits.",
        _divergence(lambda z, t: _softened_log(z.softmax(1), t), lambda z, t: _softened_p(z.softmax(1), t)),
    ),
):
    compute_loss.mistake(_name, _explanation)(_function)


@compute_loss.mistake("temperature on the labels' part too", "The labels are compared at T = 1: give plain logits.")
def _softened(student_logits, teacher_logits, labels, temperature, alpha):
    soft = alpha * _soft(student_logits, teacher_logits, temperature)
    return soft + (1 - alpha) * F.cross_entropy(student_logits / temperature, labels)


@define(
    "09.hidden_cosine",
    goal="1 − cosine of the two networks' hidden states at each token, mean over the real tokens of the batch.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("F.cosine_similarity(student, teacher, dim=2) is (N, L).",
           "Padding is no text: multiply by the mask, and divide by the mask's sum, not by N · L.",
           "The teacher's states are constants."),
    probe=lambda answer: gradients(
        answer, [(_draw(2, 3, 5, 4), _draw(3, 3, 5, 4), MASK), (_draw(6, 2, 4, 3), _draw(7, 2, 4, 3), MASK[:2, :4])]
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
    """A dictionary too, student's layer -> teacher's, as `layers=` takes it."""
    found = {}
    for ours, theirs in ((2, 4), (3, 12), (4, 4)):
        given = filled(answer(ours, theirs))
        if isinstance(given, dict):
            given = (
                [given[layer] for layer in range(ours)] if sorted(given) == list(range(ours)) else list(given.items())
            )
        found[f"{ours} layers from {theirs}"] = torch.as_tensor(
            given if isinstance(given, torch.Tensor) else list(given)
        )
    return found


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


@layer_map.mistake("the teacher's layers first", "A dictionary leads from the student's layer to the teacher's.")
def _upside_down_map(student_layers, teacher_layers):
    return {theirs: ours for ours, theirs in enumerate(layer_map(student_layers, teacher_layers))}


@layer_map.mistake("counted from 1", "Layers are counted from 0 here: subtract 1.")
def _from_one(student_layers, teacher_layers):
    return [(layer + 1) * teacher_layers // student_layers for layer in range(student_layers)]


@layer_map.mistake(
    "layer by layer from the bottom",
    "The student is shallower: it would imitate the teacher's first half and never its conclusions.",
)
def _bottom(student_layers, teacher_layers):
    return list(range(student_layers))


class _Output(UserDict):
    """As transformers' ModelOutput: a dict whose entries are attributes, too."""

    def __getattr__(self, name):
        if name == "data" or name not in self.data:
            raise AttributeError(name)
        return self.data[name]


class _Network(nn.Module):
    """What a Trainer holds: it takes a batch by names, and gives an output with logits. Dropout betrays a wrong mode."""

    def __init__(self, name: str):
        super().__init__()
        generator = torch.Generator().manual_seed(len(name))
        self.weight = nn.Parameter(torch.randn(5, 2, generator=generator))
        self.asked: list[bool] = []

    def forward(self, input_ids, attention_mask, labels=None):
        self.asked.append(torch.is_grad_enabled())
        logits = (input_ids.float() * attention_mask) @ self.weight
        return _Output(logits=logits, loss=None if labels is None else F.cross_entropy(logits, labels))


def _trainer_step(answer) -> dict[str, object]:
    """One batch as the Trainer hands it over, with and without return_outputs, and with the number of items."""
    student, teacher = _Network("student"), _Network("the teacher")
    trainer = SimpleNamespace(teacher=teacher, args=SimpleNamespace(temperature=3.0, alpha=0.8))
    # Made here, and so on the device that is the default now.
    mask, labels = torch.tensor(MASK.tolist()).repeat(2, 1), torch.tensor(LABELS.tolist())
    inputs = {"input_ids": torch.arange(30).view(6, 5) % 7, "attention_mask": mask, "labels": labels}
    counted = {"num_items_in_batch": torch.tensor(6)} if _takes(answer, "num_items_in_batch") else {}
    loss = filled(answer(trainer, student, dict(inputs), **counted))
    loss.backward()
    both = filled(answer(trainer, student, dict(inputs), return_outputs=True))
    pair = isinstance(both, tuple | list) and len(both) == 2
    return {
        "loss": loss.detach(),
        "student's gradient": student.weight.grad,
        "graph built through the teacher": any(teacher.asked),
        "teacher asked": bool(teacher.asked),
        "loss and outputs with return_outputs": pair,
        "logits of the outputs": torch.as_tensor(both[1]["logits"] if pair else 0.0).detach(),
        "num_items_in_batch taken": bool(counted),
    }


def _takes(function, name: str) -> bool:
    """Whether a function can be given an argument of this name."""
    try:
        named = inspect.signature(function).parameters
    except (TypeError, ValueError):  # not every callable of C tells
        return True
    return name in named or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in named.values())


@define(
    "09.trainer_loss",
    goal="Mend the cookbook's compute_loss: the Trainer must be able to call it, and alpha is the teacher's share. Ask both "
    "networks, mix, return the loss, with the outputs if asked.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("What does the Trainer hand over that the cookbook's signature has no name for? And whose share is its alpha?",
           "The batch is a dict: model(**inputs).logits, trainer.teacher(**inputs).logits.",
           "with torch.no_grad(): around the teacher's pass. T and alpha are trainer.args.temperature and trainer.args.alpha.",
           "return (loss, outputs) if return_outputs else loss."),
    probe=_trainer_step,
)  # fmt: skip
def trainer_loss(trainer, model, inputs, return_outputs=False, num_items_in_batch=None):
    outputs = model(**inputs)
    with torch.no_grad():
        teacher_logits = trainer.teacher(**inputs).logits
    settings = trainer.args.temperature, trainer.args.alpha
    loss = compute_loss(outputs.logits, teacher_logits, inputs["labels"], *settings)
    return (loss, outputs) if return_outputs else loss


@trainer_loss.mistake("alpha on the labels", "The cookbook's class has it so. Here alpha is the teacher's share.")
def _cookbook(trainer, model, inputs, return_outputs=False, num_items_in_batch=None):
    args = SimpleNamespace(temperature=trainer.args.temperature, alpha=1 - trainer.args.alpha)
    return trainer_loss(SimpleNamespace(teacher=trainer.teacher, args=args), model, inputs, return_outputs)


_UNCOUNTED = (
    "The Trainer says how many items a step has: without that name in the signature the first step is an error."
)


@trainer_loss.mistake("num_items_in_batch is missing", _UNCOUNTED)
def _uncounted(trainer, model, inputs, return_outputs=False):
    return trainer_loss(trainer, model, inputs, return_outputs)


@trainer_loss.mistake(
    "the cookbook's method as it stands", f"{_UNCOUNTED} And its alpha is the labels' share: here it is the teacher's."
)
def _as_it_stands(trainer, model, inputs, return_outputs=False):
    return _cookbook(trainer, model, inputs, return_outputs)


@trainer_loss.mistake(
    "the outputs are forgotten", "Evaluation asks for them: return (loss, outputs) if return_outputs."
)
def _loss_alone(trainer, model, inputs, return_outputs=False, num_items_in_batch=None):
    return trainer_loss(trainer, model, inputs)


@trainer_loss.mistake(
    "the model's own loss", "outputs.loss is the cross-entropy with the labels: the teacher is not in it."
)
def _own_loss(trainer, model, inputs, return_outputs=False, num_items_in_batch=None):
    outputs = model(**inputs)
    return (outputs["loss"], outputs) if return_outputs else outputs["loss"]


@trainer_loss.mistake(
    "the teacher's graph is kept", "The numbers are right, and each step builds a graph that nobody uses."
)
def _graph(trainer, model, inputs, return_outputs=False, num_items_in_batch=None):
    outputs, told = model(**inputs), trainer.teacher(**inputs).logits
    loss = compute_loss(outputs.logits, told, inputs["labels"], trainer.args.temperature, trainer.args.alpha)
    return (loss, outputs) if return_outputs else loss
