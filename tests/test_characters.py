"""Texts as characters, language models, their methods and their teachers."""

import json
import os

import pytest
import torch
from torch.nn import functional as F

import kdcourse as kd
from kdcourse import losses, zoo
from kdcourse.data import DownloadError, Windows, characters, load_characters
from kdcourse.data.plays import plays
from kdcourse.evaluation import measure
from kdcourse.methods import Batch, NextToken, OnPolicy, TokenDivergence, TopK, UniversalLogit
from kdcourse.models import gpt
from kdcourse.system.storage import load_tensors
from kdcourse.training.loop import train


@pytest.fixture(scope="module")
def data():
    return load_characters("plays", device="cpu")


def model(data, seed=0):
    return gpt(16, 1, heads=2, characters=len(data.alphabet), seed=seed)


def test_plays_are_the_same_for_the_same_seed():
    assert plays(3000, 1) == plays(3000, 1) != plays(3000, 2)
    assert len(plays(3000)) >= 3000 and "{" not in plays(20_000) and "|" not in plays(20_000)


def test_labels_are_the_next_characters_and_parts_do_not_overlap(data):
    for part in ("train", "validation", "test"):
        split = getattr(data, part)
        assert split.inputs.shape == split.labels.shape and split.inputs.shape[1] == characters.LENGTH
        assert torch.equal(split.inputs[:, 1:], split.labels[:, :-1])
    text = plays(characters.BUILT_IN)
    assert data.decode(data.train.inputs.flatten()[:500]) == text[:500]
    assert data.decode(data.encode("Anna")) == "Anna"
    with pytest.raises(ValueError, match="got 'é' in 'café'"):
        data.encode("café")
    with pytest.raises(ValueError, match="name must be tinyshakespeare or plays, got 'goethe'"):
        load_characters("goethe")
    with pytest.raises(ValueError, match="count must be a whole number from 1 to"):
        data.train.sample(0)


@pytest.mark.skipif(not os.environ.get("KDCOURSE_DATA"), reason="needs the folder in KDCOURSE_DATA")
def test_shakespeare_is_read_from_the_folder():
    data = load_characters("tinyshakespeare", fallback=False, device="cpu")
    assert data.decode(data.train.inputs[0]).startswith("First Citizen:") and len(data.alphabet) == 65


def test_one_line_says_where_a_text_came_from_and_none_where_it_is_not_wanted(capsys):
    load_characters("plays", device="cpu")
    assert capsys.readouterr().out.startswith("Plays, built in: ")
    load_characters("plays", device="cpu", announce=False)
    assert capsys.readouterr().out == ""


def test_without_a_network_the_plays_stand_in(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("KDCOURSE_DATA", raising=False)
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(characters, "fetch", lambda *_: (_ for _ in ()).throw(DownloadError("no network")))
    assert load_characters("tinyshakespeare").name == "plays"
    assert "could not be downloaded (no network); using the built-in plays" in capsys.readouterr().out
    with pytest.raises(DownloadError):
        load_characters("tinyshakespeare", fallback=False)


def test_writing_goes_on_from_the_prompt_and_follows_the_seed(data):
    one, prompts = model(data), data.test.inputs[:3, :5]
    written = one.write(prompts, 7, seed=1)
    assert written.shape == (3, 12) and torch.equal(written[:, :5], prompts)
    assert torch.equal(written, one.write(prompts, 7, seed=1))
    assert not torch.equal(written, one.write(prompts, 7, seed=2))
    for prompt, length, settings, message in (
        (prompts, 60, {}, r"at most 64 characters, got prompts of shape \(3, 5\) and length 60"),
        (prompts[0], 3, {}, "at most 64 characters"),
        (prompts, 3, {"temperature": 0}, "temperature must be above 0, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            one.write(prompt, length, **settings)
    with pytest.raises(ValueError, match="width must be a multiple of heads"):
        gpt(10, 1, heads=4)


def test_writing_draws_from_the_models_own_distribution(data):
    """The cache of keys and values must give what a whole pass gives."""
    one = model(data, seed=3).eval()
    prompt = data.test.inputs[:1, :6].expand(4000, 6)
    drawn = one.write(prompt, 1, seed=0)[:, -1].bincount(minlength=len(data.alphabet)) / 4000
    wanted = one(prompt[:1])[0, -1].softmax(dim=0)
    assert (drawn - wanted).abs().max() < 0.03


def test_methods_are_their_formulas(data):
    student, teacher = model(data, 1), model(data, 2)
    some = data.train.sample(4)
    with torch.no_grad():
        batch = Batch(
            student(some.inputs), teacher(some.inputs), some.labels, some.inputs, student=student, teacher=teacher
        )
        by_hand = F.cross_entropy(batch.student_logits.view(-1, len(data.alphabet)), some.labels.view(-1))
        torch.testing.assert_close(NextToken()(batch), by_hand)
        torch.testing.assert_close(
            NextToken(given=9)(batch),
            F.cross_entropy(batch.student_logits[:, 8:].transpose(1, 2), some.labels[:, 8:]),
        )
        kept = losses.top_k(batch.teacher_logits, 3)
        for others in (True, False):
            wanted = losses.top_k_kl(batch.student_logits, *kept, others=others)
            torch.testing.assert_close(TopK(3, others)(batch), wanted)
        wanted = losses.universal_logit(batch.student_logits, batch.teacher_logits)
        torch.testing.assert_close(UniversalLogit()(batch), wanted)
        for beta in (0, 0.3, 1):
            wanted = losses.generalized_jsd(batch.student_logits, batch.teacher_logits, beta=beta)
            torch.testing.assert_close(TokenDivergence(beta)(batch), wanted)
        written = student.write(some.inputs[:, :16], 48, seed=1)
        wanted = losses.generalized_jsd(student(written)[:, 15:], teacher(written)[:, 15:], beta=1)
        torch.testing.assert_close(OnPolicy(1)(batch), wanted)
    with pytest.raises(ValueError, match="beta must be within"):
        TokenDivergence(2)
    with pytest.raises(ValueError, match="prompt must be at least 1 token, got 0"):
        OnPolicy(prompt=0)


def test_given_tokens_leave_one_to_foretell(data):
    few = Windows(data.test.inputs[:2, :6], data.test.labels[:2, :6])
    with pytest.raises(ValueError, match="given must leave a token to foretell, got 7 for texts of 7"):
        train(model(data), few, NextToken(given=7), steps=1, batch_size=2)
    with pytest.raises(ValueError, match="given must be a whole number of at least 1, got 0"):
        NextToken(given=0)


@pytest.mark.parametrize("method", [NextToken(), TokenDivergence(0.5), TokenDivergence(0) * 0.5 + OnPolicy(1) * 0.5])
def test_the_one_training_loop_trains_language_models(data, method):
    student, teacher = model(data, 1), model(data, 2)
    before = measure.bits_per_character(student, data.validation)
    weights = {name: value.clone() for name, value in teacher.state_dict().items()}
    history = kd.train(student, data.train.sample(64), method, teacher=teacher, steps=8, batch_size=8, progress=False)
    assert len(history.losses) == 8 and measure.bits_per_character(student, data.validation) != before
    assert all(torch.equal(value, weights[name]) for name, value in teacher.state_dict().items())


def test_a_cached_teacher_gives_the_same_student(data):
    few, teacher = data.train.sample(32), model(data, 2)
    students = [model(data, 1), model(data, 1)]
    for student, one in zip(students, (teacher, kd.TeacherCache(teacher)), strict=True):
        kd.train(student, few, TokenDivergence(0.5), teacher=one, steps=4, batch_size=8, progress=False)
    for one, other in zip(students[0].parameters(), students[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_measures_of_language_models_by_hand(data):
    one, judge = model(data, 1), model(data, 2)
    few = Windows(data.test.inputs[:3], data.test.labels[:3])
    log_p = one.eval()(few.inputs).log_softmax(dim=2)
    by_hand = -log_p.gather(2, few.labels.unsqueeze(2)).mean() / torch.log(torch.tensor(2.0))
    assert measure.bits_per_character(one, few) == pytest.approx(by_hand.item(), rel=1e-4)
    nats = measure.free_running_loss(one, judge, few.inputs[:, :16], 10, seed=5)
    written = one.write(few.inputs[:, :16], 10, seed=5)
    log_p = judge.eval()(written).log_softmax(dim=2)
    wanted = [-log_p[0, position - 1, written[0, position]].item() for position in range(16, 26)]
    assert nats.shape == (3, 10) and nats[0].tolist() == pytest.approx(wanted, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["tinyshakespeare", "plays"])
def test_the_shipped_language_models_are_as_good_as_their_cards_say(name, capsys):
    path = zoo.SHIPPED / f"{name}-gpt.safetensors"
    card = json.loads(load_tensors(path)[1]["card"])
    assert path.stat().st_size < 2e6 and card["recipe"]["steps"] == zoo.language.RECIPE["steps"]
    if name == "tinyshakespeare" and not os.environ.get("KDCOURSE_DATA"):
        pytest.skip("needs the folder in KDCOURSE_DATA")
    data = load_characters(name, fallback=False, device="cpu")
    teacher = zoo.language_teacher(data)
    assert measure.bits_per_character(teacher, data.test) == pytest.approx(card["test_bits"], abs=0.02)
    assert f"{card['test_bits']:.2f} bits a character on the test text (shipped)" in capsys.readouterr().out
    assert not teacher.training and not any(one.requires_grad for one in teacher.parameters())


def test_a_missing_language_model_is_trained_once(data, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(zoo.store, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(zoo.language, "QUICK_STEPS", 3)
    zoo.language_teacher(data, progress=False)
    assert "trained just now" in capsys.readouterr().out
    zoo.language_teacher(data, progress=False)
    assert "from the cache" in capsys.readouterr().out
