"""The exercises of lab 03, Distil responses."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import as_tensor, filled, gradients, values
from kdcourse.exercises.verdicts import Mistake
from kdcourse.system.generators import seeded_rng


def _pair(seed: int, count: int = 6, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(3 * torch.randn(count, classes, generator=generator) for _ in range(2))


def _same(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    logits, _ = _pair(seed)
    return logits, logits.clone()


@define(
    "03.soft_target",
    goal="T² · KL(teacher ‖ student) between the softened probabilities, mean over the batch; no gradient into the teacher.",
    difficulty="moderate",
    minutes="ten minutes",
    hints=("F.kl_div wants log-probabilities of the student first and the target second.",
           'reduction="batchmean" divides by the batch alone; the default divides by classes too.',
           "Both sides are divided by T; the teacher is detached; the result is multiplied by T²."),
    probe=lambda answer: gradients(answer, [(*_pair(0), 4.0), (*_pair(1), 1.0), (*_same(2), 2.0)]),
)  # fmt: skip
def soft_target(student_logits, teacher_logits, temperature):
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits.detach() / temperature, dim=1)
    return temperature**2 * F.kl_div(log_q, p, reduction="batchmean")


def _kl(student, teacher, student_t, teacher_t, reduction="batchmean"):
    return F.kl_div(
        F.log_softmax(student / student_t, 1), F.softmax(teacher.detach() / teacher_t, 1), reduction=reduction
    )


@soft_target.mistake(
    "T² left out", "The gradient is then T² times too small, 16 times at T = 4: multiply by temperature**2."
)
def _no_square(student_logits, teacher_logits, temperature):
    return _kl(student_logits, teacher_logits, temperature, temperature)


@soft_target.mistake(
    "the default reduction",
    'It averages over classes as well, so the loss is C times too small: reduction="batchmean".',
)
def _default_reduction(student_logits, teacher_logits, temperature):
    log_q, p = F.log_softmax(student_logits / temperature, 1), F.softmax(teacher_logits.detach() / temperature, 1)
    return temperature**2 * (torch.xlogy(p, p) - p * log_q).mean()


@soft_target.mistake("softmax where log_softmax belongs", "F.kl_div takes the student's logarithms: F.log_softmax.")
def _no_logarithm(student_logits, teacher_logits, temperature):
    q, p = F.softmax(student_logits / temperature, 1), F.softmax(teacher_logits.detach() / temperature, 1)
    return temperature**2 * F.kl_div(q, p, reduction="batchmean")


@soft_target.mistake(
    "the arguments of KL are swapped", "KL(teacher ‖ student): the teacher's probabilities are the weights."
)
def _swapped(student_logits, teacher_logits, temperature):
    p, q = F.softmax(teacher_logits.detach() / temperature, 1), F.softmax(student_logits / temperature, 1)
    return temperature**2 * (q * (q.log() - p.log())).sum(1).mean()


@soft_target.mistake(
    "cross-entropy in place of KL", "Same gradient, but not zero where the two agree: the teacher's entropy is missing."
)
def _cross_entropy(student_logits, teacher_logits, temperature):
    log_q, p = F.log_softmax(student_logits / temperature, 1), F.softmax(teacher_logits.detach() / temperature, 1)
    return temperature**2 * -(p * log_q).sum(1).mean()


@soft_target.mistake(
    "temperature on the student only", "Both sides are softened, or they differ even where the logits agree."
)
def _student_only(student_logits, teacher_logits, temperature):
    return temperature**2 * _kl(student_logits, teacher_logits, temperature, 1)


@soft_target.mistake(
    "temperature on the teacher only", "Both sides are softened, or they differ even where the logits agree."
)
def _teacher_only(student_logits, teacher_logits, temperature):
    return temperature**2 * _kl(student_logits, teacher_logits, 1, temperature)


@soft_target.mistake(
    "the teacher compared with itself", "The student appears nowhere: the loss is zero and nothing moves."
)
def _itself(student_logits, teacher_logits, temperature):
    return temperature**2 * _kl(teacher_logits.detach(), teacher_logits, temperature, temperature)


@soft_target.mistake("the student compared with itself", "The teacher appears nowhere: the loss is always zero.")
def _student_itself(student_logits, teacher_logits, temperature):
    return temperature**2 * _kl(student_logits, student_logits, temperature, temperature)


@soft_target.mistake(
    "the teacher is not detached",
    "The gradient flows into the teacher, which is to stay as it is: teacher_logits.detach().",
)
def _undetached(student_logits, teacher_logits, temperature):
    log_q, p = F.log_softmax(student_logits / temperature, 1), F.softmax(teacher_logits / temperature, 1)
    return temperature**2 * F.kl_div(log_q, p, reduction="batchmean")


@soft_target.mistake(
    "the sum over the batch", 'Average over the batch, or the loss grows with it: reduction="batchmean".'
)
def _summed(student_logits, teacher_logits, temperature):
    return soft_target(student_logits, teacher_logits, temperature) * len(student_logits)


@soft_target.mistake("T in place of T²", "The gradient shrinks as 1/T²: multiply by temperature**2.")
def _plain_t(student_logits, teacher_logits, temperature):
    return soft_target(student_logits, teacher_logits, temperature) / temperature


@soft_target.mistake("the temperature is ignored", "Both sides are divided by T before the softmax.")
def _at_one(student_logits, teacher_logits, temperature):
    return temperature**2 * _kl(student_logits, teacher_logits, 1, 1)


@soft_target.mistake("KL on raw logits", "F.kl_div wants log-probabilities and probabilities: logits are neither.")
def _raw(student_logits, teacher_logits, temperature):
    target = teacher_logits.detach() / temperature
    return temperature**2 * F.kl_div(student_logits / temperature, target, reduction="batchmean")


@soft_target.mistake("the student's logits are raw", "F.kl_div wants the student's log-probabilities: F.log_softmax.")
def _raw_student(student_logits, teacher_logits, temperature):
    p = F.softmax(teacher_logits.detach() / temperature, dim=1)
    return temperature**2 * F.kl_div(student_logits / temperature, p, reduction="batchmean")


@soft_target.mistake("the teacher's logits are raw", "F.kl_div wants the teacher's probabilities as target: F.softmax.")
def _raw_teacher(student_logits, teacher_logits, temperature):
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(log_q, teacher_logits.detach() / temperature, reduction="batchmean")


@soft_target.mistake(
    "KL on clipped logits",
    "Keras' KL divergence takes probabilities and clips what it is given to [0, 1], logits too: softmax first.",
)
def _clipped(student_logits, teacher_logits, temperature):
    q, p = ((side / temperature).clamp(1e-7, 1) for side in (student_logits, teacher_logits.detach()))
    return temperature**2 * (p * (p / q).log()).sum(dim=1).mean()


@soft_target.mistake("softmax twice", "What comes out of a softmax are no logits: give both networks' own logits.")
def _twice(student_logits, teacher_logits, temperature):
    return soft_target(student_logits.softmax(dim=1), teacher_logits.softmax(dim=1), temperature)


@soft_target.mistake("softmax twice on the student", "F.log_softmax takes logits: leave the softmax before it out.")
def _student_twice(student_logits, teacher_logits, temperature):
    return soft_target(student_logits.softmax(dim=1), teacher_logits, temperature)


@soft_target.mistake("log_softmax of a softmax", "F.log_softmax is the softmax and its logarithm in one step.")
def _log_of_twice(student_logits, teacher_logits, temperature):
    return temperature**2 * _kl((student_logits / temperature).softmax(dim=1), teacher_logits, 1, temperature)


@soft_target.mistake("squared error of probabilities", "That is another loss: KL(teacher ‖ student) is wanted.")
def _squares(student_logits, teacher_logits, temperature):
    q, p = ((side / temperature).softmax(dim=1) for side in (student_logits, teacher_logits.detach()))
    return temperature**2 * F.mse_loss(q, p)


LABELS = torch.tensor([0, 3, 2, 1, 4, 0])


@define(
    "03.distillation",
    goal="Mix the two: alpha times the soft loss plus (1 − alpha) times cross-entropy with the labels.",
    difficulty="easy",
    minutes="four minutes",
    hints=(
        "Reuse soft_target, which you have just written.",
        "alpha is the teacher's share; F.cross_entropy takes logits.",
    ),
    probe=lambda answer: gradients(answer, [(*_pair(3), LABELS, 4.0, 0.9), (*_pair(4), LABELS, 2.0, 0.3)]),
)
def distillation(student_logits, teacher_logits, labels, temperature, alpha):
    soft = soft_target(student_logits, teacher_logits, temperature)
    hard = F.cross_entropy(student_logits, labels)
    return alpha * soft + (1 - alpha) * hard


def _parts(student_logits, teacher_logits, labels, temperature):
    return soft_target(student_logits, teacher_logits, temperature), F.cross_entropy(student_logits, labels)


@distillation.mistake(
    "alpha the other way round",
    "Here alpha weights the teacher. Other sources put it on the labels: check before you copy.",
)
def _other_way(student_logits, teacher_logits, labels, temperature, alpha):
    soft, hard = _parts(student_logits, teacher_logits, labels, temperature)
    return (1 - alpha) * soft + alpha * hard


@distillation.mistake("alpha on the soft part only", "The labels weigh 1 − alpha, so that the two shares sum to 1.")
def _sum(student_logits, teacher_logits, labels, temperature, alpha):
    soft, hard = _parts(student_logits, teacher_logits, labels, temperature)
    return alpha * soft + hard


@distillation.mistake(
    "T² left out", "The soft part then all but vanishes at high temperature: it carries temperature**2."
)
def _no_square_in_mix(student_logits, teacher_logits, labels, temperature, alpha):
    soft, hard = _parts(student_logits, teacher_logits, labels, temperature)
    return alpha * soft / temperature**2 + (1 - alpha) * hard


@distillation.mistake(
    "temperature on the labels' part too", "The labels are compared at T = 1: give cross-entropy the plain logits."
)
def _softened_labels(student_logits, teacher_logits, labels, temperature, alpha):
    soft, _ = _parts(student_logits, teacher_logits, labels, temperature)
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits / temperature, labels)


@distillation.mistake("cross-entropy on probabilities", "F.cross_entropy applies the softmax itself: give it logits.")
def _twice_softmax(student_logits, teacher_logits, labels, temperature, alpha):
    soft, _ = _parts(student_logits, teacher_logits, labels, temperature)
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits.softmax(1), labels)


def _mixed(soft, weights=lambda alpha: (alpha, 1 - alpha)):
    """The mix with another soft loss, or with other weights."""

    def mixed(student_logits, teacher_logits, labels, temperature, alpha):
        on_soft, on_hard = weights(alpha)
        hard = F.cross_entropy(student_logits, labels)
        return on_soft * soft(student_logits, teacher_logits, temperature) + on_hard * hard

    return mixed


def _default_without_square(student_logits, teacher_logits, temperature):
    return _default_reduction(student_logits, teacher_logits, temperature) / temperature**2


def _entropies_without_square(student_logits, teacher_logits, temperature):
    return _cross_entropy(student_logits, teacher_logits, temperature) / temperature**2


_ADDED, _CLASSES = "The two shares are alpha and 1 − alpha.", 'It averages over classes as well: reduction="batchmean".'
for _name, _explanation, _function in (
    ("the default reduction", _CLASSES, _mixed(_default_reduction)),
    ("the sum over the batch", 'Average over the batch: reduction="batchmean".', _mixed(_summed)),
    ("T in place of T²", "The soft part carries temperature**2.", _mixed(_plain_t)),
    (
        "cross-entropy in place of KL",
        "Same gradient, but the teacher's entropy is not subtracted.",
        _mixed(_cross_entropy),
    ),
    ("the arguments of KL are swapped", "KL(teacher ‖ student): the teacher's are the weights.", _mixed(_swapped)),
    ("softmax twice", "soft_target takes logits: leave the softmax before it out.", _mixed(_twice)),
    ("alpha on the labels' part only", _ADDED, _mixed(soft_target, lambda alpha: (1, 1 - alpha))),
    ("no alpha", _ADDED, _mixed(soft_target, lambda alpha: (1, 1))),
    ("the labels are left out", "Their share is 1 − alpha.", _mixed(soft_target, lambda alpha: (alpha, 0))),
    (
        "T² left out, with the default reduction",
        f"The soft part carries temperature**2. {_CLASSES}",
        _mixed(_default_without_square),
    ),
    (
        "T² left out, with cross-entropy in place of KL",
        "The soft part carries temperature**2, and the teacher's entropy is not subtracted.",
        _mixed(_entropies_without_square),
    ),
    (
        "alpha the other way round, and T² left out",
        "alpha weights the teacher, and the soft part carries temperature**2.",
        _mixed(_no_square, lambda alpha: (1 - alpha, alpha)),
    ),
    (
        "alpha the other way round, with the default reduction",
        f"alpha weights the teacher. {_CLASSES}",
        _mixed(_default_reduction, lambda alpha: (1 - alpha, alpha)),
    ),
):
    distillation.mistake(_name, _explanation)(_function)


@distillation.mistake("T² on the labels' part too", "Only the soft part carries temperature**2.")
def _square_on_both(student_logits, teacher_logits, labels, temperature, alpha):
    soft, hard = _parts(student_logits, teacher_logits, labels, temperature)
    return alpha * soft + (1 - alpha) * hard * temperature**2


def _step(answer) -> dict[str, object]:
    """Two steps with a teacher whose batch norm and dropout betray a wrong mode, and everything they left behind."""
    with seeded_rng(0):
        teacher = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4))
        student = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
        with torch.no_grad():
            teacher.train()(torch.randn(32, 6) * 2 + 1)  # running statistics of its own
        before = copy.deepcopy(teacher.state_dict())
        optimizer = torch.optim.SGD([*student.parameters(), *teacher.parameters()], lr=0.1)
        student.eval()  # a careful step sets both modes itself
        graphs, losses, steps = [], [], []
        optimizer.register_step_post_hook(lambda *_: steps.append(1))
        teacher.register_forward_hook(lambda _, __, output: graphs.append(output.requires_grad))
        batches = [
            (size * torch.randn(16, 6), torch.randint(4, (16,))) for size in (1, 20)
        ]  # the last makes a long gradient
        for images, labels in batches:
            losses.append(filled(answer(student, teacher, images, labels, optimizer)))
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    changed = [key for key, value in teacher.state_dict().items() if not torch.equal(value, before[key])]
    found = {
        "teacher's batch statistics moved": any(key.endswith(statistics) for key in changed),
        "teacher's weights moved": any(not key.endswith(statistics) for key in changed),
        "student's weights": torch.cat([parameter.detach().flatten() for parameter in student.parameters()]),
        "student in training mode": student.training,
        "graph built through the teacher": any(graphs),
        "steps of the given optimiser": torch.tensor(len(steps)),
    }
    for number, loss in enumerate(losses, start=1):
        found[f"loss of step {number}"] = loss.detach() if isinstance(loss, torch.Tensor) else loss
    return found


@define(
    "03.training_step",
    goal="One whole step: modes, teacher without gradient, loss at T = 4 and alpha = 0.9, backward, update. Return the loss.",
    difficulty="harder",
    minutes="twelve minutes",
    hints=("student.train() and teacher.eval(): batch norm and dropout behave differently in each mode.",
           "with torch.no_grad(): around the teacher's pass keeps its graph from being built and its weights from moving.",
           "zero_grad, backward, step, in this order; return the loss."),
    probe=_step,
)  # fmt: skip
def training_step(student, teacher, images, labels, optimizer):
    student.train()
    teacher.eval()
    with torch.no_grad():
        teacher_logits = teacher(images)
    loss = distillation(student(images), teacher_logits, labels, temperature=4.0, alpha=0.9)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def _habits(*, train_student=True, evaluate_teacher=True, graph=False, detach=True, zero=True, update=True):
    """A training step with some of its habits left out."""

    def step(student, teacher, images, labels, optimizer):
        student.train(train_student)
        teacher.train(not evaluate_teacher)
        with torch.set_grad_enabled(graph):
            teacher_logits = teacher(images)
        student_logits = student(images)
        p = F.softmax((teacher_logits.detach() if detach else teacher_logits) / 4, dim=1)
        soft = 16 * F.kl_div(F.log_softmax(student_logits / 4, dim=1), p, reduction="batchmean")
        loss = 0.9 * soft + 0.1 * F.cross_entropy(student_logits, labels)
        if zero:
            optimizer.zero_grad()
        loss.backward()
        if update:
            optimizer.step()
        return loss

    return step


for _name, _explanation, _function in (
    (
        "the teacher is left in training mode",
        "Its batch norm takes in new statistics and its dropout guesses: call teacher.eval().",
        _habits(evaluate_teacher=False),
    ),
    (
        "the teacher is not frozen",
        "Its weights are in this optimiser and its graph is kept, so it learns too: use torch.no_grad().",
        _habits(graph=True, detach=False),
    ),
    (
        "the teacher's graph is kept",
        "The numbers are right, but each step builds a graph that nobody uses, twice as slow: use torch.no_grad().",
        _habits(graph=True),
    ),
    ("zero_grad is missing", "Gradients add up from step to step: clear them before backward.", _habits(zero=False)),
    (
        "the student's weights never move",
        "optimizer.step() uses the gradients of backward: call it after that, and clear none in between.",
        _habits(update=False),
    ),
    (
        "the student is in evaluation mode",
        "Its batch norm learns nothing of the data and dropout does not regularise: call student.train().",
        _habits(train_student=False),
    ),
):
    training_step.mistakes.append(Mistake(_name, _explanation, _function))


def _cached_cases(answer) -> dict[str, object]:
    """The last batch of a shuffled epoch, whose positions are not the examples' own numbers."""
    logits, _ = _pair(5, count=10)
    return values(answer, [(logits, torch.tensor([7, 2, 9])), (logits, torch.tensor([0, 8, 3, 3]))])


@define(
    "03.cached_targets",
    goal="The teacher answered once for the whole split. For a batch of shuffled example numbers, look up its answers.",
    difficulty="easy, and the source of a famous bug",
    minutes="three minutes",
    hints=(
        "index holds the examples' own numbers within the split.",
        "A tensor can be indexed by a tensor: one row each.",
    ),
    probe=_cached_cases,
)
def cached_targets(all_teacher_logits, index):
    return all_teacher_logits[index]


@cached_targets.mistake(
    "the cache out of step with the shuffle",
    "The first rows belong to the first examples of the split, not of the batch. It trains, and worse than without a teacher.",
)
def _first_rows(all_teacher_logits, index):
    return all_teacher_logits[: len(index)]


@cached_targets.mistake("the order within the batch is lost", "Sorting the numbers parts them from their pictures.")
def _sorted(all_teacher_logits, index):
    return all_teacher_logits[index.sort().values]


def _bias_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(400, 5, generator=generator)
    logits[:, 3] -= 4  # a class that is almost never the answer
    return [(logits, 3, 0.2), (logits, 0, 0.1)]


def _reached(answer) -> dict[str, object]:
    """The share that a bias reaches, and the bias. One that reaches it within a picture is as right as the quantile itself."""
    found: dict[str, object] = {}
    for number, (logits, class_index, share) in enumerate(_bias_cases(), start=1):
        given = filled(answer(logits.clone(), class_index, share))
        bias, quantile = as_tensor(given), shift_bias.reference(logits, class_index, share)
        if bias is None or bias.shape:
            return {f"share reached in case {number}": given}
        shifted = logits.clone()
        shifted[:, class_index] += bias
        reached = (shifted.argmax(dim=1) == class_index).double().mean().item()
        near = abs(reached - share) <= 1.5 / len(logits)  # a picture more or less; at a tie either may win
        found[f"share reached in case {number}"] = share if near else reached
        found[f"bias in case {number}"] = quantile if near else bias
    return found


@define(
    "03.shift_bias",
    goal="Find the number to add to one class's logits so that it wins for a given share of the pictures.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("For one picture the class wins as soon as the bias exceeds (best other logit − its own logit).",
           "Sort those gaps: a bias at their 20 % quantile makes the class win for 20 % of the pictures.",
           "gaps.quantile(share) is that bias."),
    probe=_reached,
)  # fmt: skip
def shift_bias(logits, class_index, share):
    others = logits.clone()
    others[:, class_index] = -torch.inf
    gaps = others.max(dim=1).values - logits[:, class_index]
    return gaps.quantile(share)


@shift_bias.mistake("the sign", "The bias must make up for the gap: best other logit minus the class's own.")
def _bias_sign(logits, class_index, share):
    return -shift_bias(logits, class_index, share)


@shift_bias.mistake("the class among its own rivals", "Leave the class out of the maximum, or its gap to itself is 0.")
def _own_rival(logits, class_index, share):
    return (logits.max(dim=1).values - logits[:, class_index]).quantile(share)


@shift_bias.mistake(
    "the quantile from the wrong end", "At the quantile 1 − share the class would win nearly everywhere."
)
def _wrong_end(logits, class_index, share):
    return shift_bias(logits, class_index, 1 - share)


@shift_bias.mistake("the mean gap", "The mean knows nothing of the share: take its quantile of the gaps.")
def _mean_gap(logits, class_index, share):
    others = logits.clone()
    others[:, class_index] = -torch.inf
    return (others.max(dim=1).values - logits[:, class_index]).mean()
