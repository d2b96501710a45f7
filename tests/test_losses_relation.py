"""The relation losses against their formulas, their traps and their errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcourse import losses

ANY_WIDTH = ["rkd_distance", "rkd_angle", "similarity_preserving", "probabilistic_transfer", "correlation_congruence"]
LOSSES = [*ANY_WIDTH, "contrastive"]
DIVERGENCES = ANY_WIDTH


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@st.composite
def embeddings(draw_, same_width=False):
    """Student and teacher embeddings (N, D) float64 of 3 to 6 pictures."""
    count, ours = draw_(st.integers(3, 6)), draw_(st.integers(2, 5))
    theirs = ours if same_width else draw_(st.integers(2, 5))
    seed, scale = draw_(st.integers(0, 9999)), draw_(st.floats(0.1, 10))
    return scale * draw(count, ours, seed=seed), draw(count, theirs, seed=seed + 1)


def smooth_l1(gap):
    return 0.5 * gap**2 if abs(gap) < 1 else abs(gap) - 0.5


@settings(max_examples=25)
@given(embeddings())
def test_rkd_distance_agrees_with_explicit_loops(given_embeddings):
    tables = []
    for side in given_embeddings:
        points, count = side.numpy(), len(side)
        table = np.array([[np.linalg.norm(points[i] - points[j]) for j in range(count)] for i in range(count)])
        tables.append(table / table[table > 0].mean())
    expected = np.mean([smooth_l1(gap) for gap in (tables[0] - tables[1]).ravel()])
    assert losses.rkd_distance(*given_embeddings).item() == pytest.approx(expected)


@settings(max_examples=25)
@given(embeddings())
def test_rkd_angle_agrees_with_explicit_loops(given_embeddings):
    tables = []
    for side in given_embeddings:
        points, count = side.numpy(), len(side)
        table = np.zeros((count, count, count))
        for j in range(count):
            for i in range(count):
                for k in range(count):
                    a, b = points[i] - points[j], points[k] - points[j]
                    if i != j and k != j:
                        table[j, i, k] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        tables.append(table)
    expected = np.mean([smooth_l1(gap) for gap in (tables[0] - tables[1]).ravel()])
    assert losses.rkd_angle(*given_embeddings).item() == pytest.approx(expected, abs=1e-9)


@given(embeddings())
def test_similarity_preserving_agrees_with_numpy(given_embeddings):
    tables = []
    for side in given_embeddings:
        gram = side.numpy() @ side.numpy().T
        tables.append(gram / np.linalg.norm(gram, axis=1, keepdims=True))
    expected = np.mean((tables[0] - tables[1]) ** 2)
    assert losses.similarity_preserving(*given_embeddings).item() == pytest.approx(expected)


@given(embeddings())
def test_probabilistic_transfer_agrees_with_numpy(given_embeddings):
    q, p = (_neighbours(side.numpy()) for side in given_embeddings)
    expected = np.mean(p * np.log((p + 1e-7) / (q + 1e-7)))
    assert losses.probabilistic_transfer(*given_embeddings).item() == pytest.approx(expected, abs=1e-9)


def _neighbours(points):
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    similarity = (unit @ unit.T + 1) / 2
    return similarity / similarity.sum(axis=1, keepdims=True)


@given(embeddings(), st.floats(0.1, 2), st.integers(1, 4))
def test_correlation_congruence_agrees_with_numpy(given_embeddings, gamma, order):
    tables = []
    for side in given_embeddings:
        unit = side.numpy() / np.linalg.norm(side.numpy(), axis=1, keepdims=True)
        series = sum((2 * gamma) ** p / math.factorial(p) * (unit @ unit.T) ** p for p in range(order + 1))
        tables.append(np.exp(-2 * gamma) * series)
    expected = np.mean((tables[0] - tables[1]) ** 2)
    found = losses.correlation_congruence(*given_embeddings, gamma=gamma, order=order)
    assert found.item() == pytest.approx(expected)


def test_the_taylor_series_tends_to_the_gaussian_kernel():
    one, other = draw(5, 3), draw(5, 4, seed=1)
    gauss = []
    for side in (one, other):
        unit = side / side.norm(dim=1, keepdim=True)
        gauss.append((-0.4 * torch.cdist(unit, unit).square()).exp())
    found = losses.correlation_congruence(one, other, gamma=0.4, order=12)
    torch.testing.assert_close(found, (gauss[0] - gauss[1]).square().mean())


@given(embeddings(same_width=True), st.floats(0.05, 2))
def test_contrastive_agrees_with_numpy(given_embeddings, temperature):
    student, teacher = (side.numpy() / np.linalg.norm(side.numpy(), axis=1, keepdims=True) for side in given_embeddings)
    table = student @ teacher.T / temperature
    expected = np.mean([np.log(np.exp(row - row[i]).sum()) for i, row in enumerate(table)])
    assert losses.contrastive(*given_embeddings, temperature=temperature).item() == pytest.approx(expected)


def test_flow_agrees_with_explicit_sums():
    ours, theirs = (draw(2, 3, 4, 4), draw(2, 5, 2, 2, seed=1)), (draw(2, 3, 4, 4, seed=2), draw(2, 5, 4, 4, seed=3))
    pooled = torch.nn.functional.avg_pool2d(ours[0], 2)
    gram_s = torch.einsum("nahw,nbhw->nab", pooled, ours[1]) / 4
    gram_t = torch.einsum("nahw,nbhw->nab", *theirs) / 16
    torch.testing.assert_close(losses.flow(ours, theirs), (gram_s - gram_t).square().mean())
    with pytest.raises(ValueError, match="same pictures and channels"):
        losses.flow(ours, (theirs[0], theirs[0]))
    with pytest.raises(ValueError, match="student_pair must be the maps of two layers, got 1"):
        losses.flow(ours[:1], theirs)
    with pytest.raises(ValueError, match="teacher_pair must hold the same pictures twice"):
        losses.flow(ours, (theirs[0], theirs[1][:1]))


@pytest.mark.parametrize("name", DIVERGENCES)
@settings(max_examples=25)
@given(embeddings())
def test_never_below_zero_and_zero_at_identity(name, given_embeddings):
    student, teacher = given_embeddings
    assert getattr(losses, name)(student, student.clone()).item() == pytest.approx(0, abs=1e-9)
    # PKT's eps lets it fall a hair below zero.
    assert getattr(losses, name)(student, teacher).item() >= -1e-6


@pytest.mark.parametrize("name", ["rkd_distance", "rkd_angle"])
@settings(max_examples=25)
@given(embeddings(same_width=True), st.floats(0.1, 10), st.floats(-5, 5))
def test_rkd_sees_neither_scale_nor_shift_nor_rotation(name, given_embeddings, scale, shift):
    student, teacher = given_embeddings
    before = getattr(losses, name)(student, teacher)
    turn, _ = torch.linalg.qr(draw(student.shape[1], student.shape[1], seed=7))
    torch.testing.assert_close(getattr(losses, name)(scale * student @ turn + shift, teacher), before)


@pytest.mark.parametrize("name", LOSSES)
@given(embeddings(same_width=True), st.randoms())
def test_the_order_of_pictures_does_not_matter(name, given_embeddings, random):
    student, teacher = given_embeddings
    rows = list(range(len(student)))
    random.shuffle(rows)
    function = getattr(losses, name)
    torch.testing.assert_close(function(student[rows], teacher[rows]), function(student, teacher))


@pytest.mark.parametrize("name", LOSSES)
def test_no_gradient_reaches_the_teacher(name):
    student, teacher = draw(4, 5).requires_grad_(), draw(4, 5, seed=1).requires_grad_()
    getattr(losses, name)(student, teacher).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("trap", ["the same picture twice", "one dead picture", "all dead", "all the same"])
def test_equal_and_zero_embeddings_do_not_blow_the_gradient_up(name, dtype, trap):
    student, teacher = draw(5, 4, dtype=dtype), draw(5, 4, seed=1, dtype=dtype)
    if trap == "the same picture twice":
        student[1], teacher[1] = student[0], teacher[0]
    elif trap == "one dead picture":
        student[0] = 0
    else:
        student[:] = 0 if trap == "all dead" else student[0].clone()
    for side in (teacher, torch.zeros_like(teacher)):
        student = student.detach().requires_grad_()
        loss = getattr(losses, name)(student, side)
        loss.backward()
        assert loss.dtype == dtype and loss.isfinite()
        assert student.grad.isfinite().all() and student.grad.abs().max() < 20


@pytest.mark.parametrize("name", LOSSES)
def test_extremes_half_precision_and_maps(name):
    student, teacher = 60 * draw(4, 5).sign().float(), 60 * draw(4, 5, seed=1).sign().float()
    student.requires_grad_()
    loss = getattr(losses, name)(student, teacher)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()
    assert getattr(losses, name)(student.half(), teacher.half()).dtype == torch.float32
    maps, flat = draw(4, 2, 3, 3), draw(4, 18, seed=1)
    function = getattr(losses, name)
    torch.testing.assert_close(function(maps, flat), function(maps.flatten(1), flat))


GOOD = torch.randn(4, 5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (GOOD, GOOD[:3], "same pictures, got 4 and 3"),
        (GOOD[0], GOOD, "student must be features"),
        (GOOD, GOOD.long(), "teacher must be a floating-point tensor"),
        (GOOD * float("nan"), GOOD, "student must not hold NaN"),
        (GOOD[:1], GOOD[:1], "at least [23] pictures to relate, got 1"),
    ],
)
def test_wrong_embeddings_are_named(name, student, teacher, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(student, teacher)


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("probabilistic_transfer", {"eps": 0.0}, "eps must be above 0"),
        ("correlation_congruence", {"gamma": -1.0}, "gamma must be above 0"),
        ("correlation_congruence", {"order": 0}, "order must be a whole number of at least 1"),
        ("contrastive", {"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_impossible_settings_are_named(name, setting, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(GOOD, GOOD, **setting)


def test_contrastive_needs_one_width():
    with pytest.raises(ValueError, match="a linear layer brings"):
        losses.contrastive(GOOD, GOOD[:, :3])
