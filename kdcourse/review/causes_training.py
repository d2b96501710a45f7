"""What can be wrong with the training: the loss, the step, the optimiser, the budget."""

import copy
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from kdcourse.exercises import exercise
from kdcourse.losses import soft_target
from kdcourse.methods import Batch
from kdcourse.review.audit import audit
from kdcourse.review.bank import said
from kdcourse.review.look import Look, answers, share
from kdcourse.review.report import Finding

STEPS, BATCH, RATE = 25, 128, 1e-3  # of the training that is tried on a copy
FALL, RISE = 0.2, 2.0  # what these few steps must bring for a budget to be called too small: a share, and points
FOLLOWS = 75.0  # percent of the training pictures on which a student should decide as its teacher


def loss(look: Look) -> Iterator[Finding]:
    """What `audit` says of the loss or the method; of what hangs on the caller only alpha, which the table hangs on."""
    brought = look.told.loss if look.told.loss is not None else look.method
    if brought is None:
        return
    if look.method is not None and not look.method.needs_teacher:
        yield Finding(
            "the method asks no teacher",
            0.0,
            f"{look.method!r} learns from labels alone.",
            "kd.Distillation() asks one.",
        )
        return
    report = _audited(look, brought)
    for finding in report.findings if report else ():
        if finding.kind == "fault" or "alpha" in finding.name or finding.name == "percent for share":
            yield finding
    alpha = look.method.hyperparameters.get("alpha") if look.method is not None else None
    if type(look.method).__name__ == "Distillation" and alpha is not None and alpha < 0.5:
        yield Finding(
            "the labels weigh more than the teacher",
            alpha,
            f"alpha = {alpha:g} is the teacher's share here.",
            "Where your source puts alpha on the labels, take 1 − alpha.",
            "fault" if alpha == 0 else "caution",
        )


def _audited(look: Look, brought: object):
    try:
        return audit(brought, temperature=look.told.temperature, alpha=look.told.alpha)
    except ValueError:
        if look.told.loss is not None:
            raise
        return None  # a method that asks the models themselves is no loss of logits


def step(look: Look) -> Iterator[Finding]:
    """A training step that was brought, tried on the small models of lab 03's card."""
    brought = look.told.step
    if brought is None:
        return
    card = exercise("03.training_step")
    found = card.probe(brought)
    still = card.probe(lambda *given: torch.zeros(()))["student's weights"]

    def cleared(student, teacher, images, labels, optimizer):
        optimizer.zero_grad()
        return brought(student, teacher, images, labels, optimizer)

    weights = found["student's weights"]
    signs = {
        "the teacher is left in training mode": found["teacher's batch statistics moved"],
        "the teacher is not frozen": found["teacher's weights moved"],
        "the teacher's graph is kept": found["graph built through the teacher"],
        "the student's weights never move": torch.equal(weights, still),
        "zero_grad is missing": not torch.allclose(weights, card.probe(cleared)["student's weights"], atol=1e-6),
        "the student is in evaluation mode": not found["student in training mode"],
    }
    for name, there in signs.items():
        # A teacher that learns has a graph anyhow; it is said once.
        if there and not (name == "the teacher's graph is kept" and signs["the teacher is not frozen"]):
            measured = f"Two steps moved the student's weights by {(weights - still).norm():.3g} in all."
            yield Finding(name, (weights - still).norm().item(), measured, said("03.training_step", name).explanation)


def optimizer(look: Look) -> Iterator[Finding]:
    """Whose weights the optimiser holds, and whether it can move them."""
    given = look.told.optimizer
    if given is None:
        return
    held = {id(weight) for group in given.param_groups for weight in group["params"]}
    ours, theirs = ({id(weight) for weight in look.given[who].parameters()} for who in ("student", "teacher"))
    if missing := len(ours - held):
        yield Finding(
            "the optimiser lacks the student's weights",
            float(missing),
            f"It holds {len(ours) - missing} of {len(ours)} tensors.",
            "Make it from student.parameters(), after the student was made, moved and given its head.",
        )
    if both := len(held & theirs - ours):
        yield Finding(
            "the optimiser holds the teacher's weights",
            float(both),
            f"It holds {both} of the teacher's tensors.",
            "Give it student.parameters() alone; the teacher stays as it is.",
        )
    rate = max(group["lr"] for group in given.param_groups)
    if rate == 0:
        yield Finding(
            "the learning rate is 0",
            0.0,
            "All groups of the optimiser have lr = 0.",
            "Look at the schedule's last step.",
        )


def history(look: Look) -> Iterator[Finding]:
    """Losses that a run left behind, one a step."""
    given = look.told.history
    losses = list(getattr(given, "losses", given) or [])
    if not losses:
        return
    bad = next((number for number, value in enumerate(losses, start=1) if not math.isfinite(value)), None)
    if bad:
        yield Finding(
            "training diverged", float(bad), f"The loss of step {bad} is {losses[bad - 1]}.", "Lower the learning rate."
        )
        return
    tenth = max(len(losses) // 10, 1)
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    if len(losses) >= 20 and last > 0.97 * first:
        yield Finding(
            "the loss does not fall",
            last / first,
            f"It begins at {first:.4g} and ends at {last:.4g}.",
            "Raise or lower the learning rate tenfold; see that the optimiser holds the student.",
        )


def budget(look: Look) -> Iterator[Finding]:
    """A few steps more, on a copy: what they bring says how far from its end the training stopped."""
    student = copy.deepcopy(look.student).requires_grad_(True)
    drawn = torch.randperm(len(look.whole), generator=torch.Generator().manual_seed(look.seed))[: STEPS * BATCH]
    pictures = look.whole.take(drawn)
    targets = answers(look.teacher, look.prepared("teacher", pictures.inputs))
    objective, goal = _objective(look), look.logits["teacher", "validation"]

    def far(model: nn.Module) -> tuple[float, float]:
        ours = answers(model.eval(), look.prepared("student", look.validation.inputs))
        agreement = share(ours.argmax(1) == goal.argmax(1))
        return objective(ours, goal, look.validation.labels).item(), agreement

    before = far(student)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(look.seed)
        _learn(student, look.prepared("student", pictures.inputs), targets, pictures.labels, objective)
    after = far(student)
    fall = 1 - after[0] / max(before[0], 1e-12)
    if fall > FALL and after[1] - before[1] > RISE:
        yield Finding(
            "budget too small",
            100 * fall,
            f"{STEPS} more steps on a copy lower the validation loss by {100 * fall:.0f} % ({before[0]:.3g} to {after[0]:.3g}), "
            f"and agreement with the teacher goes from {before[1]:.1f} to {after[1]:.1f} %.",
            "More steps, until this stays below a few percent; the same number for every arm.",
        )
        return
    followed = share(look.logits["student", "train"].argmax(1) == look.logits["teacher", "train"].argmax(1))
    if followed < FOLLOWS:
        yield Finding(
            "the student does not follow on its own training pictures",
            followed,
            f"It decides as the teacher does on {followed:.1f} % of them, and {STEPS} more steps change little.",
            "A larger student, a higher learning rate, or far more steps; then ask again.",
            "caution",
        )


def _objective(look: Look) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """The method, where logits and labels are all it asks for; else soft targets."""
    method, temperature = look.method, look.temperature or 4.0
    alone = method is not None and not (method.features or method.needs_gradients or any(method.extra_passes))
    labelled = look.whole.labels is not None and look.validation.labels is not None
    if alone and (labelled or not method.needs_labels):
        return lambda ours, theirs, labels: method(Batch(ours, theirs, labels))
    return lambda ours, theirs, labels: soft_target(ours, theirs, temperature=temperature)


def _learn(student: nn.Module, pictures: Tensor, targets: Tensor, labels: Tensor | None, objective: Callable) -> None:
    student.train()
    learner = torch.optim.AdamW(student.parameters(), RATE)
    for index in torch.arange(len(pictures), device=pictures.device).split(BATCH):
        if len(index) < 2:  # batch norm wants two
            continue
        value = objective(student(pictures[index]), targets[index], None if labels is None else labels[index])
        learner.zero_grad()
        value.backward()
        learner.step()
