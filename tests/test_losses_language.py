"""The generalised Jensen-Shannon divergence against numpy, at its ends, under extreme logits, and its errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from kdcourse import losses


def draw(*shape, seed=0, scale=1.0, dtype=torch.float64):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def kl(p, q):
    return (p * np.log(p / q)).sum(axis=-1)


@given(beta=st.floats(0.01, 0.99), temperature=st.floats(0.5, 5), seed=st.integers(0, 999), scale=st.floats(0.1, 5))
def test_agrees_with_numpy(beta, temperature, seed, scale):
    student, teacher = draw(2, 3, 5, seed=seed, scale=scale), draw(2, 3, 5, seed=seed + 1, scale=scale)
    q, p = (softmax(side.numpy() / temperature, axis=-1) for side in (student, teacher))
    mixture = beta * p + (1 - beta) * q
    expected = (beta * kl(p, mixture) + (1 - beta) * kl(q, mixture)).mean()
    value = losses.generalized_jsd(student, teacher, beta=beta, temperature=temperature)
    assert value.item() == pytest.approx(expected, abs=1e-9)


@given(seed=st.integers(0, 999))
def test_the_ends_are_forward_and_reverse_kl(seed):
    student, teacher = draw(2, 3, 5, seed=seed), draw(2, 3, 5, seed=seed + 1)
    q, p = (softmax(side.numpy(), axis=-1) for side in (student, teacher))
    assert losses.generalized_jsd(student, teacher, beta=0).item() == pytest.approx(kl(p, q).mean())
    assert losses.generalized_jsd(student, teacher, beta=1).item() == pytest.approx(kl(q, p).mean())


def test_near_the_ends_it_is_a_small_share_of_a_kl():
    student, teacher = draw(2, 3, 5), draw(2, 3, 5, seed=1)
    for beta, end in ((1e-4, 0), (1 - 1e-4, 1)):
        near = losses.generalized_jsd(student, teacher, beta=beta) / 1e-4
        assert near.item() == pytest.approx(losses.generalized_jsd(student, teacher, beta=end).item(), rel=2e-3)


@pytest.mark.parametrize("beta", [0, 0.5, 1])
def test_symmetry_and_identity(beta):
    student, teacher = draw(2, 3, 5), draw(2, 3, 5, seed=1)
    assert losses.generalized_jsd(student, student, beta=beta).item() == pytest.approx(0, abs=1e-12)
    swapped = losses.generalized_jsd(teacher, student, beta=1 - beta)
    assert losses.generalized_jsd(student, teacher, beta=beta).item() == pytest.approx(swapped.item())


@pytest.mark.parametrize("beta", [0, 0.1, 0.5, 0.9, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_for_logits_of_sixty(beta, dtype):
    student = torch.tensor([[[60.0, -60, 0], [-60, 60, 0]]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[[-60.0, 60, 0], [60, -60, 0]]], dtype=dtype, requires_grad=True)
    value = losses.generalized_jsd(student, teacher, beta=beta)
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all() and teacher.grad is None and value.dtype == dtype


@pytest.mark.parametrize("beta", [0, 0.5])
def test_a_token_that_the_teacher_rules_out_does_no_harm(beta):
    student = draw(1, 2, 3).requires_grad_()
    teacher = torch.tensor([[[0.0, 1, -torch.inf], [1, -torch.inf, 0]]], dtype=torch.float64)
    value = losses.generalized_jsd(student, teacher, beta=beta)
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()


def test_the_mask_chooses_tokens():
    student, teacher = draw(2, 3, 5), draw(2, 3, 5, seed=1)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    parts = [(0, 0), (0, 1), (1, 0)]
    each = [losses.generalized_jsd(student[i : i + 1, j : j + 1], teacher[i : i + 1, j : j + 1]) for i, j in parts]
    expected = torch.stack(each).mean()
    torch.testing.assert_close(losses.generalized_jsd(student, teacher, mask=mask), expected)
    torch.testing.assert_close(losses.generalized_jsd(student, teacher, mask=mask.bool()), expected)


def test_gradients_are_right():
    student, teacher = draw(1, 2, 4).requires_grad_(), draw(1, 2, 4, seed=1)
    for beta in (0, 0.3, 1):
        assert torch.autograd.gradcheck(lambda logits: losses.generalized_jsd(logits, teacher, beta=beta), student)  # noqa: B023


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 1.5}, r"beta must be within \[0, 1\], got 1.5"),
        ({"temperature": 0}, "temperature must be above 0, got 0"),
        ({"mask": torch.ones(2, 4)}, r"mask must be a tensor of shape \(2, 3\)"),
        ({"mask": torch.zeros(2, 3)}, "mask must let at least one row count"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        losses.generalized_jsd(draw(2, 3, 5), draw(2, 3, 5, seed=1), **settings)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"student must be logits \(N, L, C\), got shape \(2, 5\)"):
        losses.generalized_jsd(draw(2, 5), draw(2, 5))
    with pytest.raises(ValueError, match="must have one shape"):
        losses.generalized_jsd(draw(2, 3, 5), draw(2, 3, 6))
    with pytest.raises(ValueError, match="must not hold NaN"):
        losses.generalized_jsd(draw(2, 3, 5) * torch.nan, draw(2, 3, 5))


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5])
def test_tokens_that_both_rule_out_count_nothing(beta):
    student, teacher = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    barred = torch.zeros(5).index_fill(0, torch.tensor([2]), -torch.inf)
    student.requires_grad_()
    found = losses.generalized_jsd(student + barred, teacher + barred, beta=beta)
    (gradient,) = torch.autograd.grad(found, student)
    kept = [0, 1, 3, 4]
    wanted = losses.generalized_jsd(student[..., kept], teacher[..., kept], beta=beta)
    torch.testing.assert_close(found, wanted)
    assert gradient.isfinite().all() and (gradient[..., 2] == 0).all()


@pytest.mark.parametrize("filling", [float("nan"), -torch.inf, 1e30])
@pytest.mark.parametrize(
    "loss", [losses.generalized_jsd, losses.universal_logit, losses.hidden_cosine], ids=lambda loss: loss.__name__
)
def test_padding_is_never_looked_at(loss, filling):
    student, teacher = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    padded = [side.masked_fill(mask[..., None] == 0, filling).requires_grad_() for side in (student, teacher)]
    found = loss(*padded, mask=mask)
    torch.testing.assert_close(found, loss(student, teacher, mask=mask))
    assert torch.autograd.grad(found, padded[0])[0].isfinite().all()


@pytest.mark.parametrize("mask", [torch.tensor([[5, -100]]), torch.tensor([[0.5, 1.0]])])
def test_a_mask_of_other_values_is_refused(mask):
    with pytest.raises(ValueError, match="mask must hold 0 and 1, or false and true"):
        losses.generalized_jsd(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), mask=mask)


@given(seed=st.integers(0, 999), k=st.integers(1, 5), others=st.booleans())
def test_top_k_agrees_with_numpy(seed, k, others):
    student, teacher = draw(2, 3, 5, seed=seed), draw(2, 3, 5, seed=seed + 1)
    found = losses.top_k_kl(student, *losses.top_k(teacher, k), others=others).item()
    q, p = (softmax(side.numpy(), axis=-1).reshape(6, 5) for side in (student, teacher))
    each = []
    for ours, theirs in zip(q, p, strict=True):
        kept = np.argsort(theirs)[::-1][:k]
        ours, theirs = ours[kept], theirs[kept]
        if others and k < 5:
            ours, theirs = (np.append(side, 1 - side.sum()) for side in (ours, theirs))
        each.append(kl(theirs / theirs.sum(), ours))
    assert found == pytest.approx(np.mean(each), abs=1e-9)


def test_the_more_is_kept_the_nearer_to_the_forward_kl():
    """Merging tokens can only hide a difference, so the divergence with others grows with k; with k = V it is all of it."""
    student, teacher = draw(2, 3, 5), draw(2, 3, 5, seed=1)
    found = [losses.top_k_kl(student, *losses.top_k(teacher, k)).item() for k in range(1, 6)]
    assert found == sorted(found) and found[-1] == pytest.approx(
        losses.generalized_jsd(student, teacher, beta=0).item()
    )


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_is_finite_for_logits_of_sixty_and_takes_halves(others, dtype, k):
    student = torch.tensor([[[60.0, -60, 0], [-60, 60, 0]]], dtype=dtype, requires_grad=True)
    chances, tokens = losses.top_k(torch.tensor([[[-60.0, 60, 0], [60, -60, 0]]], dtype=dtype), k)
    value = losses.top_k_kl(student, chances.half(), tokens, others=others)
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all() and value.dtype == dtype


def test_gradients_of_what_was_kept_are_right():
    student, kept = draw(1, 2, 4).requires_grad_(), losses.top_k(draw(1, 2, 4, seed=1), 2)
    for others in (True, False):
        assert torch.autograd.gradcheck(lambda one: losses.top_k_kl(one, *kept, others=others), student)  # noqa: B023


def test_what_was_kept_is_looked_at():
    student, (chances, tokens) = draw(2, 3, 5), losses.top_k(draw(2, 3, 5, seed=1), 2)
    for kept, message in (
        ((student, chances[:1], tokens[:1]), r"must be \(N, L, k\) for a student \(N, L, V\), got \(1, 3, 2\)"),
        ((student, chances, tokens + 4), "labels must be from 0 to 4"),
        ((student, chances + 5, tokens), "log_chances must be log probabilities, 0 or below"),
    ):
        with pytest.raises(ValueError, match=message):
            losses.top_k_kl(*kept)
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 5, got 6"):
        losses.top_k(student, 6)


@given(seed=st.integers(0, 999), width=st.integers(2, 7))
def test_sorted_probabilities_agree_with_numpy_and_no_numbering_matters(seed, width):
    student, teacher = draw(2, 3, 5, seed=seed), draw(2, 3, width, seed=seed + 1)
    q, p = (np.sort(softmax(side.numpy(), axis=-1))[..., ::-1] for side in (student, teacher))
    q, p = (np.pad(side, ((0, 0), (0, 0), (0, 7 - side.shape[-1]))) for side in (q, p))
    found = losses.universal_logit(student, teacher).item()
    assert found == pytest.approx(np.abs(q - p).sum(axis=-1).mean(), abs=1e-9)
    order = torch.randperm(width, generator=torch.Generator().manual_seed(seed))
    assert losses.universal_logit(student, teacher[..., order]).item() == pytest.approx(found)
    assert losses.universal_logit(teacher, teacher[..., order]).item() == pytest.approx(0, abs=1e-12)


def test_gradients_of_sorted_probabilities_are_right():
    student, teacher = draw(1, 2, 4).requires_grad_(), draw(1, 2, 6, seed=1)
    assert torch.autograd.gradcheck(lambda one: losses.universal_logit(one, teacher), student)
