"""The response losses against their formulas: gradients, identities, limits, extremes, errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from torch.nn import functional as F

from kdcourse import losses

NEEDS_LABELS = {"distillation", "decoupled", "label_smoothing"}
TAUGHT = ["soft_target", "distillation", "logit_mse", "decoupled", "correlation", "standardized_soft_target"]
LOSSES = [*TAUGHT, "label_smoothing"]  # the last has no teacher
DIVERGENCES = [name for name in TAUGHT if name not in ("distillation", "correlation")]


def call(name, student, teacher, labels=None, **settings):
    if name in NEEDS_LABELS:
        labels = torch.zeros(len(student), dtype=torch.int64) if labels is None else labels
        logits = (student, teacher) if name in TAUGHT else (student,)
        return getattr(losses, name)(*logits, labels, **settings)
    return getattr(losses, name)(student, teacher, **settings)


@st.composite
def logits(draw, least_classes=2, most=20.0):
    """Student and teacher logits (N, C) float64 and labels."""
    count, classes = draw(st.integers(1, 6)), draw(st.integers(least_classes, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    scale = draw(st.floats(0.1, most))
    student, teacher = scale * torch.randn(2, count, classes, generator=generator, dtype=torch.float64)
    return student, teacher, torch.randint(classes, (count,), generator=generator)


temperatures = st.floats(0.5, 20)


@given(logits(), temperatures)
def test_the_gradient_of_soft_target_is_t_times_q_minus_p_over_n(given_logits, temperature):
    student, teacher, _ = given_logits
    student.requires_grad_()
    losses.soft_target(student, teacher, temperature=temperature).backward()
    q, p = (student.detach() / temperature).softmax(1), (teacher / temperature).softmax(1)
    torch.testing.assert_close(student.grad, temperature * (q - p) / len(student))


@given(logits(), temperatures)
def test_soft_target_agrees_with_explicit_loops(given_logits, temperature):
    student, teacher, _ = given_logits
    total = 0.0
    for s, t in zip(student.numpy() / temperature, teacher.numpy() / temperature, strict=True):
        total += sum(softmax(t)[c] * (log_softmax(t)[c] - log_softmax(s)[c]) for c in range(len(s)))
    expected = temperature**2 * total / len(student)
    assert losses.soft_target(student, teacher, temperature=temperature).item() == pytest.approx(expected, abs=1e-9)


@given(logits(), temperatures, st.floats(0, 1))
def test_distillation_mixes_by_alpha(given_logits, temperature, alpha):
    student, teacher, labels = given_logits
    mixed = losses.distillation(student, teacher, labels, temperature=temperature, alpha=alpha)
    soft = losses.soft_target(student, teacher, temperature=temperature)
    torch.testing.assert_close(mixed, alpha * soft + (1 - alpha) * F.cross_entropy(student, labels))


def test_alpha_weights_the_teacher():
    student, teacher = torch.randn(2, 4, 5)
    labels = torch.tensor([0, 1, 2, 3])
    only_labels = losses.distillation(student, teacher, labels, alpha=0.0)
    only_teacher = losses.distillation(student, teacher, labels, alpha=1.0)
    torch.testing.assert_close(only_labels, F.cross_entropy(student, labels))
    torch.testing.assert_close(only_teacher, losses.soft_target(student, teacher))


@pytest.mark.parametrize("name", DIVERGENCES)
@settings(max_examples=25)
@given(logits(least_classes=3))
def test_zero_at_identity_and_never_below(name, given_logits):
    student, teacher, labels = given_logits
    assert call(name, student, student.clone(), labels).item() == pytest.approx(0, abs=1e-6)
    assert call(name, student, teacher, labels).item() > -1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_no_gradient_reaches_the_teacher(name):
    student, teacher = torch.randn(2, 4, 5)
    student.requires_grad_(), teacher.requires_grad_()
    call(name, student, teacher).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0
    assert not losses.ensemble_target([teacher]).requires_grad


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_for_logits_of_plus_and_minus_60(name, dtype):
    student = torch.tensor(
        [[60.0, -60, 0], [-60, 60, 60], [-60, -60, -60], [60, 60, 60]], dtype=dtype, requires_grad=True
    )
    teacher = torch.tensor([[-60.0, 60, 0], [60, -60, -60], [60, 60, 60], [60, 0, -60]], dtype=dtype)
    settings = {} if name in ("logit_mse", "label_smoothing") else {"temperature": 1.0}
    loss = call(name, student, teacher, torch.tensor([0, 1, 2, 0]), **settings)
    loss.backward()
    assert loss.dtype == dtype and loss.isfinite() and student.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_full(name):
    student, teacher = torch.randn(2, 4, 5).half()
    whole = call(name, student.float(), teacher.float())
    narrow = call(name, student, teacher)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, whole)


@pytest.mark.parametrize(
    "name", ["soft_target", "decoupled", "correlation", "standardized_soft_target", "label_smoothing"]
)
@given(logits(least_classes=3), st.floats(-50, 50))
def test_a_constant_added_to_a_row_changes_nothing(name, given_logits, constant):
    student, teacher, labels = given_logits
    before = call(name, student, teacher, labels)
    torch.testing.assert_close(call(name, student + constant, teacher - constant, labels), before, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
@given(logits(least_classes=3), st.randoms())
def test_neither_the_order_of_pictures_nor_of_classes_matters(name, given_logits, random):
    student, teacher, labels = given_logits
    before = call(name, student, teacher, labels)
    rows, columns = list(range(student.shape[0])), list(range(student.shape[1]))
    random.shuffle(rows), random.shuffle(columns)
    renamed = torch.tensor([columns.index(label) for label in labels.tolist()])
    shuffled = call(name, student[rows][:, columns], teacher[rows][:, columns], renamed[rows])
    torch.testing.assert_close(shuffled, before, rtol=1e-6, atol=1e-8)


@given(logits(most=5.0), temperatures)
def test_decoupled_parts_add_up_to_the_whole(given_logits, temperature):
    """KL = TCKD + (1 − p_target) · NCKD (Zhao et al. 2022, eq. 6), picture by picture."""
    for student, teacher, label in zip(*given_logits, strict=True):
        one = (student[None], teacher[None], label[None])
        rest = 1 - (teacher / temperature).softmax(0)[label].item()
        parts = losses.decoupled(*one, alpha=1.0, beta=rest, temperature=temperature)
        torch.testing.assert_close(parts, losses.soft_target(*one[:2], temperature=temperature), rtol=1e-6, atol=1e-9)


@given(logits(), st.floats(0, 1))
def test_label_smoothing_is_the_cross_entropy_with_softened_labels(given_logits, smoothing):
    student, _, labels = given_logits
    student.requires_grad_()
    loss = losses.label_smoothing(student, labels, smoothing=smoothing)
    torch.testing.assert_close(loss, F.cross_entropy(student, labels, label_smoothing=smoothing))
    classes = student.shape[1]
    targets = (1 - smoothing) * F.one_hot(labels, classes) + smoothing / classes
    torch.testing.assert_close(loss, -(targets * student.log_softmax(1)).sum(1).mean())
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, (student.detach().softmax(1) - targets) / len(student))


def test_label_smoothing_takes_a_tenth_by_default_and_logits_alone():
    labels = torch.tensor([0, 1, 2, 3])
    expected = F.cross_entropy(GOOD, labels, label_smoothing=0.1)
    torch.testing.assert_close(losses.label_smoothing(GOOD, labels), expected)
    for student, message in ((GOOD[0], r"student must be logits \(N, C\)"), (GOOD * float("nan"), "must not hold NaN")):
        with pytest.raises(ValueError, match=message):
            losses.label_smoothing(student, labels)


def test_decoupled_stays_finite_for_a_certain_teacher():
    student = torch.randn(2, 4, requires_grad=True)
    teacher = torch.tensor([[200.0, 0, 0, 0], [0, 0, 0, 300.0]])
    losses.decoupled(student, teacher, torch.tensor([0, 3]), temperature=1.0).backward()
    assert student.grad.isfinite().all()


@given(logits(least_classes=3, most=5.0), st.floats(0.1, 10), st.floats(-5, 5))
def test_standardizing_takes_out_scale_and_shift(given_logits, scale, shift):
    student, teacher, _ = given_logits
    before = losses.standardized_soft_target(student, teacher)
    torch.testing.assert_close(
        losses.standardized_soft_target(scale * student + shift, teacher), before, rtol=1e-3, atol=1e-4
    )


def test_correlation_agrees_with_numpy():
    student, teacher = torch.randn(2, 6, 4, dtype=torch.float64)
    q, p = softmax(student.numpy() / 2, axis=1), softmax(teacher.numpy() / 2, axis=1)
    rows = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    columns = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    expected = 4 * (3 * (1 - rows) + 5 * (1 - columns))
    assert losses.correlation(student, teacher, beta=3, gamma=5, temperature=2).item() == pytest.approx(expected)


def test_correlation_is_zero_for_any_teacher_that_correlates():
    student = torch.randn(6, 4, dtype=torch.float64)
    assert losses.correlation(student, student.clone()).item() == pytest.approx(0, abs=1e-9)
    assert losses.correlation(student, -student).item() > 1
    # A single picture has no spread over pictures: that part counts as uncorrelated and moves nothing.
    alone = student[:1].clone().requires_grad_()
    losses.correlation(alone, student[1:2], beta=0.0).backward()
    assert alone.grad.abs().max() == 0


def test_at_high_temperature_soft_target_matches_logits():
    """T → ∞: the loss becomes the squared difference of centred logits over 2C (Hinton et al. 2015, §2.1)."""
    student, teacher = torch.randn(2, 5, 8, dtype=torch.float64)
    centred = [side - side.mean(1, keepdim=True) for side in (student, teacher)]
    limit = (centred[0] - centred[1]).square().sum(1).mean() / (2 * 8)
    torch.testing.assert_close(losses.soft_target(student, teacher, temperature=1e4), limit, rtol=1e-3, atol=1e-6)


@given(logits(), temperatures)
def test_an_ensemble_of_one_is_its_softmax_and_rows_sum_to_one(given_logits, temperature):
    one, other, _ = given_logits
    for mean in ("probabilities", "logits"):
        torch.testing.assert_close(
            losses.ensemble_target([one], temperature=temperature, mean=mean), (one / temperature).softmax(1)
        )
        both = losses.ensemble_target([one, other], temperature=temperature, mean=mean)
        torch.testing.assert_close(both.sum(1), torch.ones(len(one), dtype=torch.float64))
    expected = ((one / temperature).softmax(1) + (other / temperature).softmax(1)) / 2
    torch.testing.assert_close(losses.ensemble_target([one, other], temperature=temperature), expected)
    geometric = ((one + other) / 2 / temperature).softmax(1)
    torch.testing.assert_close(losses.ensemble_target([one, other], temperature=temperature, mean="logits"), geometric)


GOOD = torch.randn(4, 5)


@pytest.mark.parametrize("name", TAUGHT)
@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (GOOD, GOOD[:3], "student and teacher must have one shape"),
        (GOOD[0], GOOD[0], r"student must be logits \(N, C\).*, got shape \(5,\)"),
        (GOOD, GOOD.long(), "teacher must be a floating-point tensor, got a int64"),
        (GOOD * float("nan"), GOOD, "student must not hold NaN"),
        (GOOD[:0], GOOD[:0], "student must be logits"),
        (GOOD.numpy(), GOOD, "student must be a floating-point tensor, got ndarray"),
    ],
)
def test_wrong_logits_are_named(name, student, teacher, message):
    labels = torch.zeros(len(student), dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        call(name, student, teacher, labels)


@pytest.mark.parametrize("name", [name for name in TAUGHT if name != "logit_mse"])
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_impossible_temperatures_are_named(name, temperature):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        call(name, GOOD, GOOD, temperature=temperature)


@pytest.mark.parametrize("name", sorted(NEEDS_LABELS))
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 2, 5]), "labels must be from 0 to 4, got values from 0 to 5"),
        (torch.tensor([0, 1, 2, -1]), "labels must be from 0 to 4"),
        (torch.tensor([0, 1, 2]), r"labels must be int64 of shape \(4,\)"),
        (torch.tensor([0.0, 1, 2, 3]), "labels must be int64"),
    ],
)
def test_wrong_labels_are_named(name, labels, message):
    with pytest.raises(ValueError, match=message):
        call(name, GOOD, GOOD, labels)


@pytest.mark.parametrize(
    ("function", "settings", "message"),
    [
        ("distillation", {"alpha": 1.1}, r"alpha must be within \[0, 1\], got 1.1"),
        ("distillation", {"alpha": -0.1}, "alpha must be within"),
        ("label_smoothing", {"smoothing": 1.1}, r"smoothing must be within \[0, 1\], got 1.1"),
        ("label_smoothing", {"smoothing": float("nan")}, "smoothing must be within"),
        ("decoupled", {"beta": -1.0}, "beta must be 0 or more"),
        ("correlation", {"gamma": -1.0}, "gamma must be 0 or more"),
    ],
)
def test_impossible_weights_are_named(function, settings, message):
    with pytest.raises(ValueError, match=message):
        call(function, GOOD, GOOD, **settings)


def test_impossible_ensembles_are_named():
    with pytest.raises(ValueError, match="at least one teacher"):
        losses.ensemble_target([])
    with pytest.raises(ValueError, match="mean must be"):
        losses.ensemble_target([GOOD], mean="median")
    with pytest.raises(ValueError, match="one shape"):
        losses.ensemble_target([GOOD, GOOD[:2]])


def test_one_class_cannot_be_decoupled_or_standardized():
    one = torch.randn(3, 1)
    with pytest.raises(ValueError, match="at least 2 classes"):
        losses.decoupled(one, one, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 2 classes"):
        losses.standardized_soft_target(one, one)


RULED_OUT = torch.tensor([[1.0, -1.0, 2.0, -torch.inf], [0.5, 0.0, -torch.inf, 1.0]])
RULING = {
    "soft_target": lambda s, t: losses.soft_target(s, t, temperature=2.0),
    "hot soft_target": lambda s, t: losses.soft_target(s, t, temperature=500.0),
    "distillation": lambda s, t: losses.distillation(s, t, torch.tensor([0, 1])),
    "decoupled": lambda s, t: losses.decoupled(s, t, torch.tensor([0, 1])),
}


@pytest.mark.parametrize("name", RULING)
def test_a_class_that_the_teacher_rules_out_counts_nothing(name):
    """Its logit is minus infinity; one of −1,000 says the same in numbers."""
    student = torch.tensor([[0.3, 0.1, -0.2, 0.7], [0.0, 1.0, 0.4, -1.0]], requires_grad=True)
    found = RULING[name](student, RULED_OUT)
    (gradient,) = torch.autograd.grad(found, student)
    far = RULED_OUT.clamp(min=-1e6)
    wanted = RULING[name](student, far)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, student)[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: losses.logit_mse(torch.zeros(2, 4), RULED_OUT),
            "teacher must be finite here, got 2 infinite of 8 values",
        ),
        (lambda: losses.standardized_soft_target(torch.zeros(2, 4), RULED_OUT), "teacher must be finite here"),
        (lambda: losses.soft_target(RULED_OUT, torch.zeros(2, 4)), "student must be finite here"),
        (lambda: losses.soft_target(torch.zeros(2, 4), -RULED_OUT), r"teacher must not hold \+infinity, got 2 of 8"),
        (
            lambda: losses.soft_target(torch.zeros(2, 4), torch.zeros(2, 4), temperature="4"),
            "temperature must be a number above 0",
        ),
        (
            lambda: losses.soft_target(torch.zeros(2, 4), torch.zeros(2, 4), temperature=math.inf),
            "temperature must be above 0",
        ),
        (
            lambda: losses.soft_target(torch.zeros(2, 4), torch.zeros(2, 4), temperature=1e-38),
            "temperature must be from 1e-06",
        ),
        (
            lambda: losses.distillation(torch.zeros(2, 4), torch.zeros(2, 4), torch.zeros(2).long(), alpha=None),
            "alpha must be a",
        ),
    ],
)
def test_infinities_and_other_numbers_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("temperature", [20.0, 99.0, 101.0, 1e3, 1e4, 1e5])
def test_hot_divergences_keep_their_digits_in_float32(temperature):
    student, teacher = 5 * torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(1))
    exact = losses.soft_target(student.double(), teacher.double(), temperature=temperature)
    assert float(losses.soft_target(student, teacher, temperature=temperature)) == pytest.approx(float(exact), rel=0.01)


MASKED = [
    "soft_target",
    "distillation",
    "logit_mse",
    "decoupled",
    "standardized_soft_target",
    "multi_label",
    "label_smoothing",
]
SHAPES = {"tokens": (2, 5, 4), "pixels": (2, 4, 3, 5)}


def as_examples(tensor, kind):
    """Logits of tokens or pixels, their labels or their mask as those of examples."""
    rows = tensor.movedim(1, -1) if kind == "pixels" and tensor.ndim == 4 else tensor
    return rows.reshape(-1, 4) if tensor.ndim == len(SHAPES[kind]) else tensor.flatten()


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", MASKED)
def test_each_token_or_pixel_is_an_example_of_its_own(name, kind):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *SHAPES[kind], generator=generator)
    places = student[..., 0].shape if kind == "tokens" else student[:, 0].shape
    labels, mask = torch.randint(4, places, generator=generator), torch.rand(places, generator=generator) < 0.6
    kept = as_examples(mask, kind)
    examples = [as_examples(each, kind) for each in (student, teacher, labels)]
    torch.testing.assert_close(call(name, student, teacher, labels), call(name, *examples))
    counted = call(name, *(each[kept] for each in examples))
    torch.testing.assert_close(call(name, student, teacher, labels, mask=mask), counted)
    torch.testing.assert_close(call(name, *examples, mask=kept.int()), counted)


@pytest.mark.parametrize("name", MASKED)
def test_what_does_not_count_is_never_looked_at(name):
    student, teacher = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, -100, 2], [0, 3, -100]])
    mask = labels != -100
    broken = [side.masked_fill(~mask[..., None], torch.nan).requires_grad_() for side in (student, teacher)]
    found = call(name, *broken, labels, mask=mask)
    torch.testing.assert_close(found, call(name, student, teacher, labels, mask=mask))
    gradient = torch.autograd.grad(found, broken[0])[0]
    assert gradient.isfinite().all() and (gradient[~mask] == 0).all() and (gradient[mask] != 0).any()


def test_a_label_of_minus_100_is_told_of_the_mask():
    logits, labels = torch.zeros(2, 3, 4), torch.tensor([[1, -100, 2], [0, 3, -100]])
    with pytest.raises(ValueError, match=r"labels must be from 0 to 3, got values from -100 to 3.*mask=labels >= 0"):
        losses.distillation(logits, logits, labels)
    with pytest.raises(ValueError, match=r"labels must be int64 of shape \(2, 3\), got a int64 tensor of shape \(6,\)"):
        losses.distillation(logits, logits, labels.flatten())
    for name in ("correlation", "ensemble_target"):
        with pytest.raises(ValueError, match=r"must be logits \(N, C\), got shape \(2, 3, 4\)"):
            losses.ensemble_target([logits]) if name == "ensemble_target" else losses.correlation(logits, logits)


@given(logits(least_classes=1), temperatures)
def test_multi_label_compares_each_class_with_its_own_sigmoid(given_logits, temperature):
    student, teacher, _ = given_logits
    student.requires_grad_()
    loss = losses.multi_label(student, teacher, temperature=temperature)
    targets = (teacher / temperature).sigmoid()
    cross, entropy = (F.binary_cross_entropy_with_logits(z / temperature, targets) for z in (student, teacher))
    torch.testing.assert_close(loss, temperature**2 * (cross - entropy))
    (gradient,) = torch.autograd.grad(loss, student)
    expected = temperature * ((student / temperature).sigmoid() - targets) / student.numel()
    torch.testing.assert_close(gradient, expected.detach())


def test_a_single_yes_or_no_is_sent_to_multi_label():
    for call_of in (losses.soft_target, lambda *pair: losses.distillation(*pair, torch.zeros(3, dtype=torch.int64))):
        with pytest.raises(ValueError, match=r"student must have logits of at least 2 classes; .* multi_label"):
            call_of(torch.randn(3, 1), torch.randn(3, 1))
    assert losses.multi_label(torch.zeros(3, 1), torch.ones(3, 1)).isfinite()


@pytest.mark.parametrize("name", TAUGHT)
def test_a_teacher_in_doubles_teaches_a_student_in_singles(name):
    student, teacher = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    loss = call(name, student.requires_grad_(), teacher.double())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, call(name, student, teacher))


def test_multi_label_knows_ruled_out_classes_and_high_temperatures():
    student, teacher = torch.tensor([[1.0, 2.0]], requires_grad=True), torch.tensor([[-torch.inf, 2.0]])
    loss = losses.multi_label(student, teacher, temperature=1)
    assert loss.item() == pytest.approx(math.log1p(math.e) / 2)  # −log(1 − sigmoid(1)), and 0 for the second class
    loss.backward()
    assert student.grad.isfinite().all()
    hot = losses.multi_label(torch.tensor([[1.0, -3.0]]), torch.tensor([[2.0, 1.0]]), temperature=1e4)
    assert hot.item() == pytest.approx((1 + 16) / 2 / 8, rel=1e-3)  # T² · KL -> (difference of logits)² / 8
