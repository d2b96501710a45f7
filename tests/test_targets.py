"""Targets worked out once are the losses that they stand for: value, gradient and errors."""

import pytest
import torch

import kdcourse as kd
from kdcourse.methods import Batch, FixedTargets, HardTarget, Target, targets

SOME = torch.Generator().manual_seed(0)
TEACHER, LABELS = 3 * torch.randn(40, 5, generator=SOME), torch.randint(5, (40,), generator=SOME)
ORDER = torch.stack([torch.randperm(40, generator=SOME)[:16] for _ in range(5)])
STUDENT = torch.randn(16, 5, generator=SOME)

FIXED = [
    *(HardTarget(), *(kd.SoftTarget(temperature=temperature) for temperature in (0.5, 1.0, 4.0, 20.0))),
    *(kd.Distillation(temperature=3, alpha=alpha) for alpha in (0.0, 0.3, 1.0)),
    kd.SoftTarget(temperature=2) * 0.7 + HardTarget() * 0.2 + kd.SoftTarget(temperature=8),
]


def value_and_gradient(loss_of, student: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    student = student.clone().requires_grad_()
    loss = loss_of(student)
    return loss.detach(), torch.autograd.grad(loss, student)[0]


@pytest.mark.parametrize("method", FIXED, ids=repr)
@pytest.mark.parametrize("scale", [1.0, 300.0])  # far logits: probabilities underflow, logarithms must not
def test_looked_up_targets_are_the_loss(method, scale, monkeypatch):
    monkeypatch.setattr(targets, "TOGETHER", 2 * ORDER[0].numel() * TEACHER.shape[1])  # one or two batches at a time
    fixed = FixedTargets.of(method, scale * TEACHER, LABELS, ORDER)
    for number in (0, 1, 2, 4, 3, 0):  # a run that begins anew, too
        batch = {"teacher_logits": scale * TEACHER[ORDER[number]], "labels": LABELS[ORDER[number]]}
        found = value_and_gradient(lambda student: fixed(student, number), scale * STUDENT)  # noqa: B023 - called here
        wanted = value_and_gradient(lambda student: method(Batch(student, **batch)), scale * STUDENT)  # noqa: B023
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 20.0, 1000.0])
def test_a_student_that_agrees_has_no_loss(temperature):
    fixed = FixedTargets.of(kd.SoftTarget(temperature), TEACHER, None, ORDER)
    assert abs(float(fixed(TEACHER[ORDER[0]], 0))) < 1e-7 * temperature**2


def test_half_precision_is_computed_in_float32():
    fixed = FixedTargets.of(kd.Distillation(), TEACHER.bfloat16(), LABELS, ORDER)
    assert fixed(STUDENT.bfloat16(), 0).dtype == torch.float32


def test_a_student_in_double_precision_keeps_it():
    fixed = FixedTargets.of(kd.Distillation(), TEACHER, LABELS, ORDER)
    assert fixed(STUDENT.double(), 0).dtype == torch.float64


def test_a_batch_too_large_to_be_looked_up_with_others_comes_alone(monkeypatch):
    monkeypatch.setattr(targets, "TOGETHER", 1)
    fixed = FixedTargets.of(kd.SoftTarget(), TEACHER, None, ORDER)
    assert torch.equal(fixed(STUDENT, 4), FixedTargets.of(kd.SoftTarget(), TEACHER, None, ORDER[4:])(STUDENT, 0))


@pytest.mark.parametrize(
    "method",
    [kd.LogitMSE(), kd.Decoupled(), kd.StandardizedSoftTarget(), kd.SoftTarget() + kd.methods.Hint({"a": "b"})],
    ids=repr,
)
def test_other_losses_have_none(method):
    assert FixedTargets.of(method, TEACHER, LABELS, ORDER) is None


def test_answers_that_are_not_in_memory_are_read_batch_by_batch():
    assert FixedTargets.of(kd.SoftTarget(), object(), LABELS, ORDER) is None
    assert FixedTargets.of(kd.SoftTarget(), None, LABELS, ORDER) is None


def test_a_table_that_might_not_fit_is_not_made(monkeypatch):
    monkeypatch.setattr(targets, "LARGEST", TEACHER.numel() - 1)
    assert FixedTargets.of(kd.SoftTarget(), TEACHER, LABELS, ORDER) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kd.SoftTarget(temperature=0).targets(TEACHER, None), "temperature must be above 0, got 0"),
        (lambda: kd.Distillation(alpha=1.5).targets(TEACHER, LABELS), "alpha must be within"),
        (lambda: kd.SoftTarget().targets(TEACHER * float("nan"), None), "must not hold NaN"),
        (lambda: HardTarget().targets(TEACHER, LABELS + 5), "labels must be from 0 to 4"),
        (lambda: Target.hard(LABELS[:3], TEACHER), "labels must be int64 of shape"),
        (
            lambda: FixedTargets.of(kd.SoftTarget(), TEACHER, None, ORDER)(STUDENT[:, :4], 0),
            "for 5 classes, got logits",
        ),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
