"""The feature losses against their formulas, their traps and their errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from kdcourse import losses

SAME_SHAPE = ["hint", "activation_boundary"]
ANY_CHANNELS = ["attention_transfer", "neuron_selectivity"]
PAIRS = SAME_SHAPE + ANY_CHANNELS


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@st.composite
def maps(draw_, same_channels=False):
    """Student and teacher maps (N, C, H, W) float64 of one size."""
    count, side = draw_(st.integers(1, 4)), draw_(st.integers(1, 5))
    ours = draw_(st.integers(1, 4))
    theirs = ours if same_channels else draw_(st.integers(1, 4))
    seed, scale = draw_(st.integers(0, 9999)), draw_(st.floats(0.1, 10))
    return scale * draw(count, ours, side, side, seed=seed), scale * draw(count, theirs, side, side, seed=seed + 1)


@given(maps(same_channels=True))
def test_hint_is_the_mean_squared_difference(given_maps):
    student, teacher = given_maps
    expected = np.mean((student.numpy() - teacher.numpy()) ** 2)
    assert losses.hint(student, teacher).item() == pytest.approx(expected)


@given(maps(), st.sampled_from([1, 2, 3]))
def test_attention_transfer_agrees_with_explicit_loops(given_maps, power):
    student, teacher = (side.numpy() for side in given_maps)
    total, positions = 0.0, student.shape[2] * student.shape[3]
    for s, t in zip(student, teacher, strict=True):
        rows = [np.mean(np.abs(side) ** power, axis=0).ravel() for side in (s, t)]
        q_s, q_t = (row / np.linalg.norm(row) for row in rows)
        total += np.sum((q_s - q_t) ** 2)
    expected = total / (len(student) * positions)
    assert losses.attention_transfer(*given_maps, power=power).item() == pytest.approx(expected, abs=1e-12)


@given(maps(), st.floats(0.1, 100))
def test_attention_sees_neither_scale_nor_the_order_of_channels(given_maps, scale):
    student, teacher = given_maps
    before = losses.attention_transfer(student, teacher)
    torch.testing.assert_close(losses.attention_transfer(scale * student.flip(1), teacher), before)


def test_the_larger_of_two_maps_is_pooled():
    large, small = draw(2, 3, 8, 8), draw(2, 5, 4, 4, seed=1)
    for name in ANY_CHANNELS:
        function = getattr(losses, name)
        torch.testing.assert_close(function(large, small), function(F.avg_pool2d(large, 2), small))
        torch.testing.assert_close(function(small, large), function(small, F.avg_pool2d(large, 2)))


@given(maps(same_channels=True), st.floats(0.1, 3))
def test_activation_boundary_agrees_with_explicit_loops(given_maps, margin):
    student, teacher = given_maps
    values = []
    for s, t in zip(student.ravel().tolist(), teacher.ravel().tolist(), strict=True):
        if t > 0:
            values.append((s - margin) ** 2 if s <= margin else 0.0)
        else:
            values.append((s + margin) ** 2 if s > -margin else 0.0)
    found = losses.activation_boundary(student, teacher, margin=margin).item()
    assert found == pytest.approx(np.mean(values))


def test_activation_boundary_is_content_beyond_the_margin():
    teacher = torch.tensor([[0.2, -0.3, 0.0]])
    assert losses.activation_boundary(torch.tensor([[1.5, -1.5, -1.5]]), teacher) == 0
    assert losses.activation_boundary(torch.tensor([[1.5, -1.5, 0.5]]), teacher) > 0  # t = 0 counts as off


@settings(max_examples=25)
@given(maps())
def test_neuron_selectivity_agrees_with_explicit_loops(given_maps):
    total = 0.0
    for s, t in zip(*(side.flatten(2).numpy() for side in given_maps), strict=True):
        s, t = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (s, t))

        def kernel(one, other):
            return np.mean([np.dot(x, y) ** 2 for x in one for y in other])

        total += kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)
    expected = total / len(given_maps[0])
    assert losses.neuron_selectivity(*given_maps).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=25)
@given(maps(same_channels=True))
def test_never_below_zero_and_zero_at_identity(name, given_maps):
    student, teacher = given_maps
    assert getattr(losses, name)(student, teacher).item() >= -1e-12
    if name != "activation_boundary":  # which is content only beyond its margin
        assert getattr(losses, name)(student, student.clone()).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", PAIRS)
def test_no_gradient_reaches_the_teacher(name):
    student, teacher = draw(2, 3, 4, 4).requires_grad_(), draw(2, 3, 4, 4, seed=1).requires_grad_()
    getattr(losses, name)(student, teacher).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dead", ["all", "one picture", "one channel"])
def test_zero_maps_neither_break_the_loss_nor_blow_the_gradient_up(name, dtype, dead):
    student, teacher = draw(3, 4, 5, 5, dtype=dtype), draw(3, 4, 5, 5, seed=1, dtype=dtype)
    student[{"all": slice(None), "one picture": 0, "one channel": (slice(None), 0)}[dead]] = 0
    for side in (teacher, torch.zeros_like(teacher)):
        student = student.detach().requires_grad_()
        loss = getattr(losses, name)(student, side)
        loss.backward()
        assert loss.dtype == dtype and loss.isfinite()
        assert student.grad.isfinite().all() and student.grad.abs().max() < 10


@pytest.mark.parametrize("name", PAIRS)
def test_finite_for_features_of_plus_and_minus_60_and_in_half_precision(name):
    student, teacher = 60 * draw(2, 3, 4, 4).sign().float(), 60 * draw(2, 3, 4, 4, seed=1).sign().float()
    student.requires_grad_()
    loss = getattr(losses, name)(student, teacher)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()
    assert getattr(losses, name)(student.half(), teacher.half()).dtype == torch.float32


def test_a_regressor_meets_channels_and_size():
    student, teacher = draw(2, 3, 8, 8).float(), draw(2, 5, 4, 4, seed=1).float()
    regressor = losses.Regressor(3, 5, size=(4, 4))
    losses.hint(regressor(student), teacher).backward()
    assert regressor.project.weight.grad.abs().sum() > 0
    assert losses.Regressor(3, 5, size=(16, 16))(student).shape == (2, 5, 16, 16)
    assert losses.Regressor(3, 5)(student).shape == (2, 5, 8, 8)
    with pytest.raises(ValueError, match=r"features must be maps \(N, 3, H, W\), got shape \(2, 5, 4, 4\)"):
        regressor(teacher)


def linear_nets(dtype=torch.float64):
    """Two linear classifiers, whose input gradients are rows of their weights."""
    torch.manual_seed(0)
    return nn.Linear(6, 3, dtype=dtype), nn.Linear(6, 3, dtype=dtype)


def test_jacobian_of_linear_nets_compares_rows_of_their_weights():
    student, teacher = linear_nets()
    inputs, labels = draw(4, 6).requires_grad_(), torch.tensor([0, 1, 2, 0])
    rows = [F.normalize(net.weight[labels], dim=1) for net in (student, teacher)]
    loss = losses.jacobian(student(inputs), teacher(inputs), inputs, labels)
    torch.testing.assert_close(loss, (rows[0] - rows[1]).square().mean())
    loss.backward()
    assert student.weight.grad.abs().sum() > 0 and teacher.weight.grad is None


def test_jacobian_names_what_is_wrong():
    student, teacher = linear_nets()
    inputs, labels = draw(4, 6), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ValueError, match="must require a gradient"):
        losses.jacobian(student(inputs), teacher(inputs), inputs, labels)
    inputs.requires_grad_()
    with pytest.raises(ValueError, match="labels must be from 0 to 2"):
        losses.jacobian(student(inputs), teacher(inputs), inputs, labels + 1)
    with pytest.raises(ValueError, match=r"teacher_logits must be \(N, C\) with N = 4"):
        losses.jacobian(student(inputs), teacher(inputs)[:2], inputs, labels)
    with pytest.raises(ValueError, match="does not depend on them"):
        losses.jacobian(student(inputs.detach().clone().requires_grad_()), teacher(inputs), inputs, labels)


def test_a_dead_network_has_a_jacobian_of_zero_and_a_finite_gradient():
    student, teacher = linear_nets()
    nn.init.zeros_(student.weight)
    inputs, labels = draw(4, 6).requires_grad_(), torch.tensor([0, 1, 2, 0])
    losses.jacobian(student(inputs), teacher(inputs), inputs, labels).backward()
    assert student.weight.grad.isfinite().all() and student.weight.grad.abs().max() < 10


def test_gradient_attention_compares_where_losses_react():
    student, teacher = nn.Conv2d(1, 2, 3, dtype=torch.float64), nn.Conv2d(1, 4, 3, dtype=torch.float64)
    images = draw(2, 1, 6, 6).requires_grad_()
    ours, theirs = student(images).square().mean(), teacher(images).square().mean()
    (g_s,) = torch.autograd.grad(ours, images, retain_graph=True)
    (g_t,) = torch.autograd.grad(theirs, images, retain_graph=True)
    loss = losses.gradient_attention(ours, images, theirs, images)
    torch.testing.assert_close(loss, losses.attention_transfer(g_s, g_t))
    torch.testing.assert_close(losses.gradient_attention(7 * ours, images, theirs, images), loss)
    loss.backward()
    assert student.weight.grad.abs().sum() > 0 and teacher.weight.grad is None
    with pytest.raises(ValueError, match="must require a gradient"):
        losses.gradient_attention(ours, images.detach(), theirs, images)


def test_weights_meet_through_a_learned_map():
    student, teacher = draw(3, 2, 3, 3).float().requires_grad_(), draw(6, 4, 3, 3, seed=1).float()
    project = losses.WeightProjector(student.shape, teacher.shape)
    expected = torch.einsum("to,oihw,ui->tuhw", project.rows.weight, student, project.columns.weight)
    torch.testing.assert_close(project(student), expected)
    loss = losses.weight(student, teacher.requires_grad_(), project)
    torch.testing.assert_close(loss, F.mse_loss(expected, teacher))
    loss.backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None and project.rows.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="agree after in"):
        losses.WeightProjector((3, 2, 3, 3), (6, 4, 5, 5))


def test_variational_information_agrees_with_its_formula():
    module = losses.VariationalInformation(3, 5).double()
    student, teacher = draw(2, 3, 4, 4), draw(2, 5, 4, 4, seed=1)
    torch.testing.assert_close(module.variance, torch.full((5,), 5.0).double(), rtol=1e-5, atol=0)
    gap = (module.mean(student) - teacher).detach().numpy()
    variance = module.variance.detach().numpy()[None, :, None, None]
    expected = 0.5 * np.mean(gap**2 / variance + np.log(variance))
    assert module(student, teacher).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="3 and 5 channels"):
        module(teacher, student)


def test_the_variance_becomes_the_mean_squared_error_of_each_channel():
    """At its best for a fixed mean: d/dvar (gap²/var + log var) = 0."""
    module = losses.VariationalInformation(2, 2).double()
    student, teacher = draw(64, 2, 2, 2), draw(64, 2, 2, 2, seed=1) * torch.tensor([0.5, 2.0]).view(1, 2, 1, 1).double()
    optimizer = torch.optim.Adam([module.softness], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        module(student, teacher).backward()
        optimizer.step()
    best = (module.mean(student) - teacher).square().mean(dim=(0, 2, 3))
    torch.testing.assert_close(module.variance, best, rtol=1e-3, atol=1e-4)


def test_hidden_cosine_and_attention_mse_count_real_tokens_only():
    student, teacher = draw(2, 4, 6), draw(2, 4, 6, seed=1)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    real = mask.bool()
    expected = (1 - F.cosine_similarity(student[real], teacher[real], dim=1)).mean()
    torch.testing.assert_close(losses.hidden_cosine(student, teacher, mask), expected)
    garbage = student.clone()
    garbage[~real] = 1e6
    torch.testing.assert_close(losses.hidden_cosine(garbage, teacher, real), expected)

    student, teacher = draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)
    values = [
        (student[n, h, i, j] - teacher[n, h, i, j]).item() ** 2
        for n in range(2) for h in range(3) for i in range(4) for j in range(4) if real[n, i] and real[n, j]
    ]  # fmt: skip
    padded = student.masked_fill(~real[:, None, None, :], -torch.inf).requires_grad_()
    loss = losses.attention_mse(padded, teacher, mask)
    assert loss.item() == pytest.approx(np.mean(values))
    loss.backward()
    assert padded.grad.isfinite().all()
    for name in ("hidden_cosine", "attention_mse"):
        with pytest.raises(ValueError, match="mask must"):
            getattr(losses, name)(student, teacher, mask[:, :2])
    with pytest.raises(ValueError, match="at least one row"):
        losses.attention_mse(student, teacher, torch.zeros(2, 4))


GOOD = torch.randn(2, 3, 4, 4)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (GOOD, GOOD[:1], "same pictures, got 2 and 1"),
        (GOOD, GOOD.long(), "teacher must be a floating-point tensor"),
        (GOOD * float("nan"), GOOD, "student must not hold NaN"),
        (GOOD[:0], GOOD[:0], "student must be feat"),
        (GOOD[0, 0, 0], GOOD, "student must be feat"),
    ],
)
def test_wrong_features_are_named(name, student, teacher, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(student, teacher)


@pytest.mark.parametrize("name", SAME_SHAPE)
def test_other_shapes_are_sent_to_the_regressor(name):
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3, 4, 4\) and \(2, 2, 4, 4\); a Regressor"):
        getattr(losses, name)(GOOD, GOOD[:, :2])


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("attention_transfer", {"power": 0.5}, "power must be at least 1, got 0.5"),
        ("activation_boundary", {"margin": 0.0}, "margin must be above 0"),
    ],
)
def test_impossible_settings_are_named(name, setting, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(GOOD, GOOD, **setting)
