"""A model behind an interface, and what its owner does: each number against an independent way to it."""

import math

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from kdcourse.data.splits import Split
from kdcourse.experiments.defences import (
    SelfUndermining,
    losses_apart,
    members_found,
    noisy_votes,
    privacy_spent,
)
from kdcourse.experiments.interface import (
    Interface,
    label_alone,
    random_queries,
    rounded,
    synthetic_queries,
    top,
)
from kdcourse.methods import Batch, SoftTarget
from kdcourse.models import perceptron
from kdcourse.studies import lab_16
from kdcourse.studies.engine import study
from kdcourse.training.cache import TeacherCache
from tests.test_experiment import data  # noqa: F401  the toy data are a fixture

PROBABILITIES = torch.tensor([[0.62, 0.2, 0.14, 0.04], [0.26, 0.24, 0.26, 0.24]])


@pytest.fixture
def split():
    return Split(torch.randn(400, 1, 4, 4, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def model():
    return perceptron((8,), inputs=16, classes=4, seed=0).eval()


def test_what_is_shown_adds_to_1_and_is_what_a_reader_makes_of_it():
    torch.testing.assert_close(rounded(PROBABILITIES)[0], torch.tensor([6.0, 2, 1, 0]) / 9)
    torch.testing.assert_close(top(PROBABILITIES, 2)[0], torch.tensor([0.62, 0.2, 0.09, 0.09]))
    assert label_alone(PROBABILITIES).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    torch.testing.assert_close(top(PROBABILITIES, 4), PROBABILITIES)
    for shown in (rounded, top, label_alone):
        torch.testing.assert_close(shown(PROBABILITIES).sum(dim=1), torch.ones(2))


def test_a_row_that_would_round_to_nothing_keeps_its_winner():
    even = torch.full((1, 30), 1 / 30)
    even[0, 7] += 0.001
    assert rounded(even).nonzero().tolist() == [[0, 7]]


@pytest.mark.parametrize(("show", "number"), [(rounded, 0), (top, 0), (top, 5), (top, 1.5)])
def test_what_cannot_be_shown_is_refused(show, number):
    with pytest.raises(ValueError, match=r"(decimals|k) must be a whole number"):
        show(PROBABILITIES, number)


def test_a_softmax_of_an_interface_gives_what_it_shows_at_any_temperature(model, split):
    expected = model(split.images).softmax(dim=1)
    torch.testing.assert_close(Interface(model)(split.images).softmax(dim=1), expected)
    labels = Interface(model, label_alone)(split.images)
    assert torch.equal(labels.softmax(dim=1).argmax(dim=1), expected.argmax(dim=1)) and labels.isfinite().all()
    student = torch.randn(400, 4, generator=torch.Generator().manual_seed(2))
    by_logits, by_answers = (
        SoftTarget(4)(Batch(student, teacher_logits=teacher(split.images).detach()))
        for teacher in (model, Interface(model))
    )
    torch.testing.assert_close(by_logits, by_answers)


def test_noise_is_the_pictures_own_and_normal(model, split):
    noisy = Interface(model, noise=3.0, key=5)
    first = noisy(split.images)
    torch.testing.assert_close(first[:7], noisy(split.images[:7]))
    assert not torch.allclose(first, Interface(model, noise=3.0, key=6)(split.images))
    # Differences of two classes' logarithms are free of the softmax's own shift.
    added = first - first[:, :1] - (model(split.images) - model(split.images)[:, :1])
    drawn = added[:, 1:].flatten() / (3 * math.sqrt(2))
    assert abs(drawn.mean()) < 0.1 and abs(drawn.std() - 1) < 0.1
    assert (drawn.abs() < 1).float().mean() == pytest.approx(0.683, abs=0.05)


def test_marks_are_the_share_that_was_asked_for_and_wrong(model, split):
    marked = Interface(model, marked=0.2, key=3)
    chosen = marked.marks(split.images)
    assert chosen.float().mean() == pytest.approx(0.2, abs=0.07)
    assert torch.equal(chosen, marked.marks(split.images))
    assert not torch.equal(chosen, Interface(model, marked=0.2, key=4).marks(split.images))
    evidence = marked.evidence(split)
    assert len(evidence) == chosen.sum()
    honest = model(evidence.images).argmax(dim=1)
    assert torch.equal(evidence.labels, (honest + 1) % 4)
    kept = marked(split.images[~chosen]).argmax(dim=1)
    assert torch.equal(kept, model(split.images[~chosen]).argmax(dim=1))


def test_a_cache_knows_two_interfaces_of_one_model_apart(model, split, tmp_path):
    answers = [TeacherCache(Interface(model, show), folder=tmp_path).logits(split) for show in (top, label_alone)]
    assert not torch.allclose(*answers)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"noise": -1}, "noise"), ({"noise": math.nan}, "noise"), ({"marked": 1.5}, "marked"), ({"key": -1}, "key")],
)
def test_settings_that_make_no_sense_are_refused(model, settings, message):
    with pytest.raises(ValueError, match=message):
        Interface(model, **settings)
    with pytest.raises(ValueError, match="model must be a model"):
        Interface(nn.Linear)


def test_queries_are_made_of_what_they_are_said_to_be_made_of(split):
    drawn = random_queries(split, 50, seed=1)
    assert drawn.images.shape == (50, 1, 4, 4) and drawn.labels is None
    assert drawn.images.min() >= split.images.min() and drawn.images.max() <= split.images.max()
    flat = Split(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4).contiguous())
    blends = synthetic_queries(flat, 60, seed=0).images.flatten(1)
    assert torch.allclose(blends, blends[:, :1].expand_as(blends)) and blends.min() >= 1 and blends.max() <= 3
    assert 10 < ((blends[:, 0] > 1.01) & (blends[:, 0] < 2.99)).sum() < 50
    assert torch.equal(synthetic_queries(split, 9, 4).images, synthetic_queries(split, 9, 4).images)


def test_a_nasty_teachers_loss_and_where_its_gradient_goes():
    generator = torch.Generator().manual_seed(0)
    own, normal = (torch.randn(5, 3, generator=generator, requires_grad=True) for _ in range(2))
    labels = torch.tensor([0, 2, 1, 1, 0])
    loss = SelfUndermining(weight=0.3, temperature=2)(Batch(own, normal, labels))
    p, q = (normal / 2).softmax(dim=1), (own / 2).softmax(dim=1)
    expected = F.nll_loss(own.log_softmax(dim=1), labels) - 0.3 * 4 * (p * (p / q).log()).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert normal.grad is None and own.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="weight"):
        SelfUndermining(weight=-1)


def test_votes_are_counted_and_the_noise_decides_close_ones_alone():
    votes = torch.tensor([[0, 1, 2]] * 60 + [[0, 1, 1]] * 40)
    assert noisy_votes(votes, 3, spread=0).tolist() == [0, 1, 2]
    found = torch.stack([noisy_votes(votes, 3, spread=10, seed=seed) for seed in range(400)])
    assert (found[:, :2] == torch.tensor([0, 1])).all()
    # The winner loses where a normal number of spread 10 √2 exceeds the gap of 20 votes.
    lost = (found[:, 2] == 1).float().mean().item()
    assert lost == pytest.approx(0.5 * math.erfc(20 / (10 * math.sqrt(2)) / math.sqrt(2)), abs=0.04)


@pytest.mark.parametrize(("queries", "spread", "epsilon"), [(300, 20, 5.5448), (300, 40, 2.5017), (100, 10, 6.5730)])
def test_privacy_is_what_an_accountant_computes(queries, spread, epsilon):
    """Numbers of dp-accounting 0.6.0: `PLDAccountant` with that many Gaussian events at spread / √2, delta 1e-5."""
    assert privacy_spent(queries, spread) == pytest.approx(epsilon, abs=2e-3)


def test_privacy_grows_with_queries_and_falls_with_noise_and_delta():
    assert privacy_spent(10, 5) > privacy_spent(5, 5) > privacy_spent(5, 10) > privacy_spent(5, 10, delta=1e-3) > 0
    assert privacy_spent(1, 1e6) == pytest.approx(0, abs=1e-3) and math.isfinite(privacy_spent(10_000, 1))
    for wrong in ({"queries": 0, "spread": 1}, {"queries": 1, "spread": 0}, {"queries": 1, "spread": 1, "delta": 1}):
        with pytest.raises(ValueError, match="must be"):
            privacy_spent(**wrong)


def test_a_loss_tells_members_apart_as_often_as_mann_and_whitney_count():
    generator = torch.Generator().manual_seed(0)
    members, others = (torch.randint(40, (count,), generator=generator) / 10 for count in (70, 900))
    pairs = stats.mannwhitneyu(others, members).statistic / (70 * 900)
    assert losses_apart(members, others) == pytest.approx(100 * pairs) and 45 < 100 * pairs < 55
    assert losses_apart(members * 0.8, others) > 55
    for share in (0.01, 0.1, 0.5):
        named = [(members < bound).float().mean() for bound in others if (others < bound).float().mean() <= share]
        assert members_found(members, others, share) == pytest.approx(100 * max(named).item())


def test_who_tells_nothing_apart_is_at_chance_and_odd_losses_are_refused():
    same = torch.linspace(0, 1, 1000)
    assert losses_apart(same, same) == pytest.approx(50) and members_found(same, same) == pytest.approx(1)
    assert losses_apart(same, same + 2) == 100 == members_found(same, same + 2) and losses_apart(same + 2, same) == 0
    for members, others in ((same[:0], same), (same, same[None]), (same, same * math.nan)):
        with pytest.raises(ValueError, match=r"(members|others) must be \(N,\)"):
            losses_apart(members, others)
    for alarms in (0, 1, math.nan):
        with pytest.raises(ValueError, match="alarms must be a share"):
            members_found(same, same, alarms)


@pytest.fixture
def small(monkeypatch, data):  # noqa: F811
    """Lab 16's studies on the toy data: 80 pictures are the owner's, a thief has 64, five teachers learn from 20 each."""
    numbers = {"OWNED": 80, "OWNERS_STEPS": 60, "STEPS": 40, "COUNTS": (8, 64), "FEW": 8, "ASKED": 64, "LIMIT": 8}
    numbers |= {"LABELS": 16, "MARKED": 0.25, "TEACHERS": 5, "LEARNT": 20, "PUBLIC": 30, "SPREADS": (1,)}
    for name, number in numbers.items():
        monkeypatch.setattr(lab_16, name, number)
    return data


def test_the_thief_has_none_of_the_owners_pictures_and_the_first_of_its_own_in_every_arm(small):
    owner, thief = (set(split.rows.tolist()) for split in (lab_16.owned(small, 3), lab_16.natural(small, 64, 3)))
    assert len(owner) == 80 and len(thief) == 64 and not owner & thief
    few = lab_16.natural(small, 8, 3)
    assert set(few.rows.tolist()) < thief and set(lab_16.natural(small, 64, 4).rows.tolist()) != thief
    recipe = lab_16.copying(small, count=8)
    assert torch.equal(recipe.train(3).images, few.images) and recipe.train(3).labels is None


def test_a_copy_learns_what_the_interface_shows(small):
    """Of an interface that answers every picture with the next class, a copy is wrong as often as the owner is right."""
    honest, wrong = (lab_16.copying(small, "label", 64, marked=share).run(0) for share in (0, 1))
    asked = lab_16.natural(small, 64, 0)
    told = lab_16.owners_model(small, 0)(asked.images).argmax(dim=1)
    assert (honest(asked.images).argmax(dim=1) == told).float().mean() > 0.8
    assert (wrong(asked.images).argmax(dim=1) == (told + 1) % 3).float().mean() > 0.8


def test_marks_are_found_in_copies_and_seldom_elsewhere(small):
    found = study("16-watermark", small).run("innocent", "copy, label", "owner", seeds=2, progress=False)
    marks = found.evaluated_by(lab_16.marks_found, small).scores.mean()
    assert marks["owner"] == 100 and marks["copy, label"] > marks["innocent"] + 20
    assert len(lab_16.evidence(small, 0)) < 64 / 2


def test_public_pictures_are_labelled_by_teachers_that_share_no_picture(small):
    found = lab_16.voted(small, 0)
    assert found.votes.shape == (5, 30) and len(found.public) == 30
    rows = found.sensitive.rows.tolist()
    assert len(set(rows)) == len(rows) == 100 and not set(rows) & set(found.public.rows.tolist())
    votes = study("16-votes", small)
    labels = votes.recipes["votes without noise"].train(0).labels
    assert torch.equal(labels, noisy_votes(found.votes, 3, 0)) and (labels == found.public.labels).float().mean() > 0.6


def test_each_network_is_asked_about_the_secret_pictures_that_it_learnt_from(small, monkeypatch):
    monkeypatch.setattr(lab_16, "LONGER", 30)
    outcome = study("16-members", small).run(seeds=2, progress=False)
    carried = {arm: set(students[0].sides[0].rows.tolist()) for arm, students in outcome.students.items()}
    found, seen = lab_16.voted(small, 0), outcome.students["one teacher"][0].sides[1]
    secret = found.sensitive.rows.tolist()
    assert carried["spread 1"] == carried["public pictures by hand"] == set(secret)
    assert carried["one teacher"] == set(secret[:20]) and carried["on 30 of the sensitive pictures"] == set(secret[:30])
    assert len(seen) == 200 - 100 - 30 and not set(seen.rows.tolist()) & {*secret, *found.public.rows.tolist()}
    apart = outcome.scores.mean()
    assert apart["on the sensitive pictures, 30 × the steps"] > 60 and 35 < apart["public pictures by hand"] < 65
    again = study("16-votes", small).run("votes without noise", "public pictures by hand", seeds=2, progress=False)
    ours = outcome.evaluated_by(lab_16.MEMBERSHIP["-accuracy"], small).scores[list(again.scores)]
    assert ours.equals(again.scores), "the same networks as in the study of votes"


def test_every_arm_of_lab_16_runs_and_a_mended_copy_begins_where_the_copy_ended(small):
    outcome = study("16-defences", small).run(seeds=2, progress=False)
    assert (outcome.scores > 20).all().all()
    facts = outcome.facts
    assert facts["owner"].steps == 0 and facts["copy"].labels == 0 and facts["copy, then labels by hand"].labels == 16
    assert facts["copy, then labels by hand"].pretrained and facts["copy, then labels by hand"].steps == 40 + 60
