"""Every check accepts a right answer that is written differently, and calls each plausible wrong one by its name."""

import copy
import functools
import html
import inspect
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from kdcourse import losses
from kdcourse.cli import app
from kdcourse.exercises import exercise, progress
from kdcourse.exercises.cards import as_html
from kdcourse.exercises.engine import SIGNS, all_exercises, summary

kl = nn.KLDivLoss(reduction="batchmean")
CARDS = all_exercises()
RIGHT, WRONG, UNKNOWN = {}, {}, {}
for number in range(15):
    answers = import_module(f"tests.answers.lab_{number:02d}")
    RIGHT |= answers.RIGHT
    WRONG |= answers.WRONG
    UNKNOWN |= getattr(answers, "UNKNOWN", {})


@pytest.fixture
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_PROGRESS", str(tmp_path / "progress.sqlite"))
    progress._warned.clear()
    return tmp_path / "progress.sqlite"


@pytest.mark.parametrize("identity", sorted(CARDS))
def test_every_card_is_complete_and_tested_here(identity):
    card = CARDS[identity]
    assert card.hints and card.mistakes and card.goal and "minute" in card.minutes
    assert len(RIGHT[identity]) >= 2 and len(UNKNOWN[identity]) == 2
    assert sorted(WRONG[identity]) == sorted(mistake.name for mistake in card.mistakes)
    assert card.judge(card.reference)[0] == "reference"
    namespace = {"torch": torch, "F": F, "np": np, "stats": stats}
    exec(card.source(), namespace)  # the solution that is shown stands on its own
    assert callable(namespace[card.reference.__name__])


@pytest.mark.parametrize(("identity", "number"), [(name, n) for name in RIGHT for n in range(len(RIGHT[name]))])
def test_right_answers_written_differently_are_right(identity, number):
    outcome, text = CARDS[identity].judge(RIGHT[identity][number])
    assert outcome == "right" and text.startswith("It agrees with the reference on every case.")


@pytest.mark.parametrize(("identity", "name"), [(one, name) for one in WRONG for name in WRONG[one]])
def test_wrong_answers_are_called_by_name(identity, name):
    outcome, text = CARDS[identity].judge(WRONG[identity][name])
    assert outcome == "wrong" and f"This looks like: {name}." in text


@pytest.mark.parametrize("identity", sorted(CARDS))
@pytest.mark.parametrize("blank", [lambda *_, **__: None, lambda *_, **__: ...], ids=["none", "ellipsis"])
def test_blanks_are_not_attempted_and_the_reference_takes_over(identity, blank, capsys):
    card = CARDS[identity]
    assert card.check(blank) is card.reference
    assert SIGNS["not attempted"] in capsys.readouterr().out


@pytest.mark.parametrize(("identity", "number"), [(name, n) for name in UNKNOWN for n in range(len(UNKNOWN[name]))])
def test_what_is_not_known_is_told_by_a_factor_or_the_first_difference_and_never_by_a_name(identity, number):
    outcome, text = CARDS[identity].judge(UNKNOWN[identity][number])
    told = ("the right result ", "it should be", "is wanted", "are wanted", "could not be looked at")
    assert outcome == "wrong" and "looks like" not in text and any(words in text for words in told), text


@pytest.mark.parametrize("identity", sorted(CARDS))
def test_code_is_never_called_not_attempted(identity):
    """A forgotten return gives None, and an error is named with its line: both are attempts."""
    answer = RIGHT[identity][0]

    def forgetful(*given, **more):
        answer(*given, **more)

    def stumbling(*given, **more):
        result = answer(*given, **more)
        return result / "a word"

    outcome, text = CARDS[identity].judge(forgetful)
    assert outcome == "wrong" and "needs a `return`" in text
    outcome, text = CARDS[identity].judge(stumbling)
    line = inspect.getsourcelines(stumbling)[1] + 2
    assert outcome == "wrong" and f'in line {line}, `return result / "a word"`, with TypeError' in text


def test_a_mean_of_truth_values_is_named_with_its_error():
    outcome, text = CARDS["00.accuracy"].judge(lambda z, y: (z.argmax(1) == y).mean() * 100)
    assert outcome == "wrong" and "mean" in text


def test_a_stub_with_a_docstring_or_pass_is_blank_and_nothing_else_is():
    def documented(p):
        """(N, C) -> (N,)."""

    def passed(p):
        pass

    def raises(p):
        raise NotImplementedError

    assert [CARDS["02.entropy"].judge(one)[0] for one in (documented, passed, raises)] == ["not attempted"] * 2 + [
        "wrong"
    ]


@pytest.mark.parametrize("identity", sorted(CARDS))
def test_the_reference_is_recognised_in_any_wrapping_and_never_recorded(identity, own_progress, capsys):
    """A check cell that is run twice after a wrong answer meets the reference that it has put in the answer's place."""
    card = CARDS[identity]
    stand_in = card.check(lambda *_, **__: None)
    progress.record(identity, outcome="wrong")
    before = progress.load()[identity]["attempts"]
    for wrapped in (stand_in, card, lambda *args, **kwargs: stand_in(*args, **kwargs), functools.partial(stand_in)):
        assert card.judge(wrapped)[0] == "reference"
        card.check(wrapped)
    assert "nothing is recorded" in capsys.readouterr().out
    entry = progress.load()[identity]
    assert entry["outcome"] == "wrong" and entry["attempts"] == before


def test_a_right_answer_is_handed_back_and_a_wrong_one_replaced(capsys):
    card = CARDS["02.entropy"]
    right, wrong = RIGHT["02.entropy"][0], WRONG["02.entropy"]["bits, not nats"]
    assert card.check(right) is right
    assert card.check(wrong) is card.reference
    said = capsys.readouterr().out
    assert SIGNS["right"] in said and "bits, not nats" in said and "goes on with the reference" in said


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda p: 1 / 0, "stopped with ZeroDivisionError"),
        (lambda p: p, r"shape \(5, 4\), and it should be \(5,\)"),
        (lambda p: p.sum(1) * float("nan"), "holds NaN"),
        (lambda p: 7 + torch.special.entr(p).sum(1), "and it should be"),
        (lambda p: "a word", "it is the str 'a word', and numbers are wanted"),
        (lambda p: p.zero_().sum(1), "and it should be"),
        (3, "wants the function itself"),
    ],
)  # fmt: skip
def test_other_wrong_answers_are_explained_and_never_raise(answer, message):
    outcome, text = CARDS["02.entropy"].judge(answer)
    assert outcome == "wrong" and re.search(message, text)


def in_the_mix(part, hard=F.cross_entropy):
    """The mix with a soft part of one's own."""
    return lambda s, t, y, T, a: a * part(s, t, T) + (1 - a) * hard(s, y)


def plain(s, t, T, reduction="batchmean"):
    return F.kl_div(F.log_softmax(s / T, 1), F.softmax(t.detach() / T, 1), reduction=reduction)


def by_mass(z, y):
    order = z.softmax(1).amax(1).argsort()
    gaps = ((z.argmax(1) == y).float() - z.softmax(1).amax(1))[order].view(10, -1).mean(1)
    return gaps.abs().mean()


def on_probabilities(s, y):
    return F.cross_entropy(s.softmax(1), y)


def pooled_share(z, y, rare):
    inside = torch.isin(y, torch.tensor(rare))
    return (z.argmax(1) == y)[inside].float().mean()


@pytest.mark.parametrize(
    ("identity", "answer", "two"),
    [
        ("02.soft_gradient", lambda s, t, T: T * ((t / T).softmax(1) - (s / T).softmax(1)),
         {"the sign", "the mean over the batch is missing"}),
        ("02.soft_gradient", lambda s, t, T: (s / T).softmax(1) - (t / T).softmax(1),
         {"the factor T is missing", "the mean over the batch is missing"}),
        ("03.soft_target", lambda s, t, T: plain(s, t, T) / s.shape[1], {"T² left out", "the default reduction"}),
        ("03.soft_target", lambda s, t, T: plain(s, t, T, "sum"), {"T² left out", "the sum over the batch"}),
        ("03.soft_target", lambda s, t, T: T * plain(s, t, T) / s.shape[1], {"T in place of T²", "the default reduction"}),
        ("03.soft_target", lambda s, t, T: T**2 * F.cross_entropy(s / T, F.softmax(t.detach() / T, 1)) / s.shape[1],
         {"cross-entropy in place of KL", "the default reduction"}),
        ("03.soft_target", lambda s, t, T: F.cross_entropy(s / T, F.softmax(t.detach() / T, 1)),
         {"cross-entropy in place of KL", "T² left out"}),
        ("03.soft_target", lambda s, t, T: kl(F.log_softmax(t.detach() / T, 1), F.softmax(s / T, 1)),
         {"the arguments of KL are swapped", "T² left out"}),
        ("03.soft_target", lambda s, t, T: kl(s / T, t.detach() / T), {"KL on raw logits", "T² left out"}),
        ("03.soft_target", lambda s, t, T: plain(s.softmax(1), t.softmax(1), T), {"softmax twice", "T² left out"}),
        ("03.distillation", in_the_mix(plain, on_probabilities), {"T² left out", "cross-entropy on probabilities"}),
        ("03.distillation", lambda s, t, y, T, a: a * plain(s, t, T) + F.cross_entropy(s, y),
         {"T² left out", "alpha on the soft part only"}),
        ("03.distillation", in_the_mix(lambda s, t, T: T**2 * plain(s, t, T) / s.shape[1], on_probabilities),
         {"the default reduction", "cross-entropy on probabilities"}),
        ("06.calibration_error", lambda z, y: 100 * by_mass(z, y),
         {"bins with equally many pictures", "percent, not a share"}),
        ("07.peer_loss", lambda s, o, y: on_probabilities(s, y) + plain(s, o, 1) / s.shape[1],
         {"the default reduction", "cross-entropy on probabilities"}),
        ("09.compute_loss", lambda s, t, y, T, a: a * plain(s, t, T) + F.cross_entropy(s, y),
         {"T² left out", "alpha on the soft part only"}),
        ("13.forward_kl", lambda s, t: F.kl_div(s, t.detach()), {"KL on raw logits", "a mean over the vocabulary"}),
        ("11.rare_accuracy", pooled_share, {"pictures, not classes, have equal weight", "a share, not percent"}),
        ("12.remove_units", lambda w, b, n, k: (w[k], b, n[k]), {"rows of the next layer", "the bias stays whole"}),
        ("13.forward_kl", lambda s, t: F.kl_div(t.detach().log_softmax(2), s.softmax(2)),
         {"KL the other way round", "a mean over the vocabulary"}),
    ],
)  # fmt: skip
def test_two_mistakes_at_once_are_both_named(identity, answer, two):
    outcome, text = CARDS[identity].judge(answer)
    assert outcome == "wrong" and "two mistakes at once" in text and all(name in text for name in two), text


def between(e):
    return e[None] - e[:, None]


def table(way):
    return way @ way.mT


@pytest.mark.parametrize(
    ("identity", "answer", "said"),
    [
        ("01.one_hot", lambda y, c: np.eye(c, dtype=int)[y], "A distribution is floating point"),
        ("05.angles", lambda e: table(F.normalize(between(e), dim=2, eps=1e-3)), "or one of your own"),
        ("05.angles", lambda e: F.cosine_similarity(between(e)[:, :, None], between(e)[:, None], dim=3), "10⁻⁸ in F.cosine_similarity"),
        ("05.angles", lambda e: torch.nan_to_num(table(between(e) / between(e).norm(dim=2, keepdim=True))), "the gradient is NaN"),
        ("06.calibration_error", by_mass, "bins with equally many pictures"),
        ("13.on_policy_loss", lambda x, p, w, s, t, loss: loss(s(w(x[:, :p], 4))[:, p:-1], t(w(x[:, :p], 4))[:, p:-1]), "should be 8"),
        ("02.entropy", lambda p: -p.mul_(p.log()).sum(1), "An operation in place did it"),
        ("03.soft_target", lambda s, t, T: plain(s.div_(T), t.div_(T), 1) * T**2, "An operation in place did it"),
        ("04.parameters_to_train", lambda s, t, h: [*s.parameters(), *h], "nothing but parameters: no"),
        ("05.rkd_distance", lambda s, t: losses.rkd_distance(s.detach(), t), r"hang on the student\?"),
        ("07.born_again", UNKNOWN["07.born_again"][1], "A network is returned: no"),
        ("14.new_head", lambda model, classes: nn.Linear(4, classes), "still has its body and its classifier: no"),
        ("12.to_int8", UNKNOWN["12.to_int8"][0], "Codes 1 are int8: no"),
    ],
)  # fmt: skip
def test_a_mistake_is_not_taken_for_another(identity, answer, said):
    outcome, text = CARDS[identity].judge(answer)
    assert outcome == "wrong" and re.search(said, text), text


def test_a_single_number_is_no_multiple_of_the_right_one():
    """Any number is: 66.7 for 66.67, or another loss whose factor is 1.07 in one case and 1.54 in the next."""
    for identity, answer in (
        ("01.soft_cross_entropy", lambda z, p: (z - p).square().mean()),
        (
            "05.recall_at_1",
            lambda e, y: 100 * (y[(torch.cdist(e, e) + 1e9 * torch.eye(len(e))).argmin(1)] == y).float().mean(),
        ),
        ("12.milliseconds", lambda run, clock, repeats: 1.0),
    ):
        outcome, text = CARDS[identity].judge(answer)
        assert outcome == "wrong" and "multiplied" not in text and "it should be" in text, text


@pytest.mark.parametrize(
    ("answer", "factor"),
    [
        (lambda p: torch.special.entr(p).sum(1) / len(p), "divided by N, the number of rows"),
        (lambda p: torch.special.entr(p).sum(1) * 100, "multiplied by a hundred"),
        (lambda p: torch.special.entr(p).sum(1) * 0.3, "multiplied by 0.3"),
        (lambda p: torch.special.entr(p).sum(1) * len(p) ** 2, "multiplied by N · N, the number of pairs"),
    ],
)
def test_a_constant_factor_is_said(answer, factor):
    outcome, text = CARDS["02.entropy"].judge(answer)
    assert outcome == "wrong" and f"the right result {factor}" in text


def test_the_first_entry_that_differs_is_shown_with_its_case():
    def answer(logits, temperature):
        result = F.softmax(logits / temperature, 1).clone()
        result[len(result) // 2, 3 % logits.shape[1]] += 0.25
        return result

    outcome, text = CARDS["02.softmax_with_temperature"].judge(answer)
    assert outcome == "wrong" and "Case 1, entry [2, 3]: " in text and "of shape (5, 4); temperature = 1" in text
    mine, theirs = (float(number) for number in re.search(r"\]: ([\d.]+), and it should be ([\d.]+)\.", text).groups())
    assert mine - theirs == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize(
    "convert", [lambda x: x.numpy(), lambda x: x.tolist(), list], ids=["NumPy", "list", "list of tensors"]
)
def test_right_numbers_in_another_form_are_right_and_the_lab_gets_tensors(convert, capsys):
    kept = CARDS["02.entropy"].check(lambda p: convert(torch.special.entr(p).sum(1)))
    assert SIGNS["right"] in capsys.readouterr().out
    assert torch.is_tensor(kept(torch.tensor([[0.5, 0.5]])))


def test_numpys_doubles_come_back_as_pytorchs_floats(capsys):
    """Lab 01 holds the loss against F.cross_entropy's, in its type."""
    kept = CARDS["01.one_hot"].check(lambda labels, classes: np.eye(classes)[labels])
    assert SIGNS["right"] in capsys.readouterr().out and kept(torch.tensor([1]), 3).dtype == torch.float32


def test_a_form_that_the_check_cannot_read_is_no_error_of_the_students():
    outcome, text = CARDS["12.to_int8"].judge(lambda weight: weight)
    assert outcome == "wrong" and "Your function returns a float32 tensor of shape" in text and "is wanted" in text


def leaves(*_):
    sys.exit("done")


@pytest.mark.parametrize(
    ("identity", "answer", "said"),
    [
        ("02.entropy", leaves, "ends Python"),
        ("02.entropy", lambda p: exit(), "ends Python"),
        ("03.training_step", lambda *given: [quit(), *given][0], "ends Python"),
        ("14.new_head", lambda model, classes: setattr(model, "forward", leaves) or model, "ends Python"),
        ("02.entropy", lambda p: torch.special.entr(p).sum(1).to_sparse(), r"sparse tensor, .*\.to_dense\(\)"),
        ("12.to_int8", lambda w: (RIGHT["12.to_int8"][2](w)[0].to_sparse(), 1.0), r"sparse tensor"),
        ("02.entropy", lambda p: p.sum(1).to("meta"), "meta device"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_said_and_not_recorded(identity, answer, said, own_progress, capsys):
    assert CARDS[identity].check(answer) is CARDS[identity].reference
    shown = capsys.readouterr().out
    assert SIGNS["not judged"] in shown and re.search(said, shown) and "Nothing is recorded" in shown
    assert identity not in progress.load()


def test_a_notebooks_quit_ends_no_kernel(monkeypatch):
    import IPython

    class Shell:
        def ask_exit(self):
            raise AssertionError("the kernel would end")

    shell = Shell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    assert CARDS["02.entropy"].judge(lambda p: shell.ask_exit())[0] == "not judged"
    assert not vars(shell), "quit() is as it was"


MASKS = {"10.worth_their_cost": RIGHT["10.worth_their_cost"][2], "12.magnitude_mask": RIGHT["12.magnitude_mask"][1]}


@pytest.mark.parametrize("identity", MASKS)
@pytest.mark.parametrize("kind", [torch.float32, torch.int64, torch.uint8])
def test_a_mask_of_numbers_is_no_mask(identity, kind):
    outcome, text = CARDS[identity].judge(lambda *given: MASKS[identity](*given).to(kind))
    assert outcome == "wrong" and "torch.bool is wanted" in text and str(kind).removeprefix("torch.") in text


@pytest.mark.parametrize(
    ("identity", "answer"),
    [
        ("09.layer_map", lambda ours, theirs: [(n + 1) * theirs / ours - 1 for n in range(ours)]),
        ("09.layer_map", lambda ours, theirs: np.linspace(theirs / ours, theirs, ours) - 1),
        ("14.fixed_views", lambda *given: (lambda views, labels: (views, labels.float()))(*RIGHT["14.fixed_views"][2](*given))),
    ],
)  # fmt: skip
def test_floats_number_nothing(identity, answer):
    outcome, text = CARDS[identity].judge(answer)
    assert outcome == "wrong" and "whole numbers are wanted" in text


PIXELS = (torch.full((1, 2, 2, 3), 51, dtype=torch.uint8), torch.tensor([0.1] * 3), torch.tensor([0.5] * 3))


def test_a_right_answer_in_another_form_can_be_used_further(capsys):
    kept = CARDS["12.to_int8"].check(RIGHT["12.to_int8"][0])  # a pair of arrays
    assert [part.dtype for part in kept(torch.eye(3))] == [torch.int8, torch.float32]
    kept = CARDS["14.from_pixels"].check(lambda x, m, s: ((x.double() / 255 - m) / s).movedim(3, 1))
    assert kept(*PIXELS).dtype == torch.float32
    kept = CARDS["10.choose_setting"].check(lambda v, t: ([v.mean(0).argmax()], [t[:, v.mean(0).argmax()].mean()]))
    assert int(kept(torch.eye(2), torch.ones(2, 2))[0]) == 0
    kept = CARDS["09.layer_map"].check(lambda ours, theirs: np.arange(1, ours + 1) * theirs // ours - 1)
    assert kept(2, 6) == [2, 5]


def test_an_answer_that_changes_the_default_type_changes_no_verdict():
    def doubling(probabilities):
        torch.set_default_dtype(torch.float64)
        return torch.special.entr(probabilities).sum(1)

    assert CARDS["02.entropy"].judge(doubling)[0] == "right" and torch.get_default_dtype() == torch.float32


def with_its_own_optimizer(student, teacher, images, labels, optimizer):
    return RIGHT["03.training_step"][0](
        student, teacher, images, labels, torch.optim.SGD([*student.parameters(), *teacher.parameters()], lr=0.1)
    )


def shadowed(model, name, images):
    layer, kept = model.get_submodule(name), []
    plain = layer.forward
    layer.forward = lambda x: kept.append(plain(x)) or kept[0].clone()
    model(images)
    return kept[0]


def frozen_nets(nets, train):
    return RIGHT["07.born_again"][0]([net.requires_grad_(False) for net in nets], train)


def clearing(logits, labels, rare):
    found = RIGHT["11.rare_accuracy"][0](logits, labels, rare)
    rare.clear()
    return found


@pytest.mark.parametrize(
    ("identity", "answer", "said"),
    [
        ("00.paired_difference", lambda a, b: tuple(f"{one:.20f}" for one in RIGHT["00.paired_difference"][0](a, b)), "numbers are wanted"),
        ("00.paired_difference", lambda a, b: dict(zip("ab", RIGHT["00.paired_difference"][0](a, b))), "returns a dict of 2"),
        ("01.one_hot", lambda y, c: F.one_hot(y, c).to(torch.float32 if len(y) > 2 else torch.int64), "whole numbers"),
        ("02.entropy", lambda p: torch.special.entr(p).sum(1) + 3j, "numbers are wanted"),
        ("02.entropy", lambda p: 10**400, r"int 1000*\.\.\.0*, and numbers"),
        ("03.soft_target", nn.KLDivLoss, "got the class KLDivLoss"),
        ("03.training_step", with_its_own_optimizer, "Steps of the given optimiser: 0"),
        ("04.attention_map", lambda f: losses.attention_map(f).detach(), "Gradient in case 1: there is none"),
        ("04.parameters_to_train", lambda s, t, h: RIGHT["04.parameters_to_train"][0](s.requires_grad_(False), t, h), "A parameter is frozen"),
        ("04.parameters_to_train", lambda s, t, h: [{"params": s.parameters()}, *(p for one in h for p in one.parameters())], "An optimiser takes the list: no"),
        ("04.feature_hook", shadowed, "is another one afterwards"),
        ("07.born_again", frozen_nets, "frozen before it was trained"),
        ("09.compute_loss", lambda s, t, y, T, a: RIGHT["09.compute_loss"][0](s, t, y, 3.0, 0.8), "in case 2"),
        ("09.hidden_cosine", lambda s, t, m: RIGHT["09.hidden_cosine"][0](s, t, m) * m.sum() / 11, "in case 2"),
        ("11.rare_accuracy", clearing, "Arguments changed in case 1: yes"),
        ("12.remove_units", lambda *given: dict(zip("abc", RIGHT["12.remove_units"][0](*given))), "returns a dict of 3"),
        ("14.new_head", lambda model, classes: setattr(model, "classifier", nn.Sequential(nn.Linear(4, classes), nn.ReLU())) or model, "one linear layer: no"),
        ("14.same_view", lambda p, teacher, augment: RIGHT["14.same_view"][1](p, teacher.train(), augment), "stays in evaluation mode: no"),
    ],
)  # fmt: skip
def test_what_is_right_only_at_first_sight_is_told(identity, answer, said):
    outcome, text = CARDS[identity].judge(answer)
    assert outcome == "wrong" and re.search(said, text), text


def test_a_copy_of_the_last_generation_is_that_generation():
    assert CARDS["07.born_again"].judge(lambda *given: copy.deepcopy(RIGHT["07.born_again"][0](*given)))[0] == "right"


def test_an_answer_that_switches_gradients_off_changes_no_verdict():
    def switching(student, teacher, temperature):
        torch.set_grad_enabled(False)
        return losses.soft_target(student, teacher, temperature=temperature)

    outcome, _ = CARDS["03.soft_target"].judge(switching)
    assert outcome == "wrong" and torch.is_grad_enabled()
    assert CARDS["03.training_step"].judge(lambda *_: torch.set_grad_enabled(False) or torch.tensor(0.0))[0] == "wrong"
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert CARDS["03.soft_target"].judge(RIGHT["03.soft_target"][0])[0] == "right"


def test_an_answer_that_draws_random_numbers_changes_no_verdict():
    state = torch.get_rng_state()

    def drawing(student, teacher, images, labels, optimizer):
        torch.manual_seed(0)
        torch.rand(3)
        return RIGHT["03.training_step"][0](student, teacher, images, labels, optimizer)

    assert CARDS["03.training_step"].judge(drawing)[0] == "right"
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("identity", "answer"),
    [
        ("09.compute_loss", lambda s, t, y, T, a: RIGHT["09.compute_loss"][0](s, t, y.zero_(), T, a)),
        ("03.distillation", lambda s, t, y, T, a: losses.distillation(s, t, y.zero_(), temperature=T, alpha=a)),
        ("07.peer_loss", lambda s, o, y: RIGHT["07.peer_loss"][0](s, o, y.zero_())),
    ],
)
def test_an_answer_cannot_rewrite_the_checks_own_data(identity, answer):
    for _ in range(2):
        assert CARDS[identity].judge(answer)[0] == "wrong"
    assert CARDS[identity].judge(RIGHT[identity][0])[0] == "right"


def test_a_mask_that_is_written_over_stays_as_it_was():
    def everywhere(student, teacher, mask):
        return RIGHT["09.hidden_cosine"][0](student, teacher, mask.fill_(1))

    assert [CARDS["09.hidden_cosine"].judge(everywhere)[0] for _ in range(2)] == ["wrong"] * 2
    assert CARDS["09.hidden_cosine"].judge(RIGHT["09.hidden_cosine"][0])[0] == "right"


def test_a_result_that_cannot_be_used_says_why():
    def backward_itself(student, teacher, temperature):
        loss = losses.soft_target(student, teacher, temperature=temperature)
        loss.backward()
        return loss

    outcome, text = CARDS["03.soft_target"].judge(backward_itself)
    assert outcome == "wrong" and "could not be used: RuntimeError" in text and "is wanted" not in text


def test_a_copy_of_a_trained_teacher_is_that_teacher():
    def generations(nets, train):
        teacher = None
        for net in nets:
            train(net, teacher)
            teacher = copy.deepcopy(net).eval()
        return net

    def chain(teacher, assistants, student, distil):
        for pupil in [*assistants, student]:
            distil(pupil, teacher)
            teacher = copy.deepcopy(pupil).requires_grad_(False)
        return student

    assert CARDS["07.born_again"].judge(generations)[0] == "right"
    assert CARDS["08.teach_through_assistants"].judge(chain)[0] == "right"


def test_no_factor_is_said_where_there_is_none():
    outcome, text = CARDS["00.accuracy"].judge(lambda z, y: 100 * (z.argmin(1) == y).float().mean())
    assert outcome == "wrong" and "right result" not in text


def test_what_does_the_work_that_was_to_be_done_by_hand_is_said():
    for identity, answer, name in (
        ("02.softmax_with_temperature", lambda z, t: F.softmax(z / t, dim=1), "softmax"),
        ("02.soft_gradient", RIGHT["02.soft_gradient"][0], "grad"),
    ):
        assert f"`{name}` did what was to be written by hand" in CARDS[identity].judge(answer)[1]
    assert "by hand" not in CARDS["02.softmax_with_temperature"].judge(RIGHT["02.softmax_with_temperature"][1])[1]


def test_buttons_check_what_the_notebook_defines_and_show_hints_and_the_solution(own_progress, monkeypatch):
    import IPython
    import ipywidgets

    shown = []
    monkeypatch.setattr("kdcourse.widgets.page.show_widget", shown.append)
    monkeypatch.setattr("kdcourse.exercises.engine.show", lambda message: None)
    names = {}
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(user_ns=names))
    card = CARDS["02.entropy"]
    card._hints_shown = 0
    card._ipython_display_()
    row, said = shown[0].children
    check, hint, solution = row.children
    assert [button.description for button in row.children] == ["Check", "Hint", "Solution"]
    assert all(isinstance(button, ipywidgets.Button) for button in row.children)
    check.click()
    assert "Run the cell with <code>def entropy</code> first" in said.value
    names["entropy"] = WRONG["02.entropy"]["bits, not nats"]
    check.click()
    assert "bits, not nats" in said.value and 'aria-live="polite"' in said.value
    hint.click()
    assert card.hints[0] in html.unescape(said.value)
    solution.click()
    assert "def entropy(" in said.value
    names["entropy"] = RIGHT["02.entropy"][0]
    check.click()
    assert SIGNS["right"] in said.value
    entry = progress.load()["02.entropy"]
    assert (entry["outcome"], entry["attempts"], entry["hints"], entry["solution_seen"]) == ("right", 2, 1, True)


def test_arguments_changed_in_place_are_noticed():
    def answer(p):
        result = torch.special.entr(p).sum(1)
        p += 1
        return result

    assert "Arguments changed in case 1: yes" in CARDS["02.entropy"].judge(answer)[1]


def test_a_loss_cut_off_from_the_student_is_noticed():
    text = CARDS["03.soft_target"].judge(lambda s, t, T: losses.soft_target(s.detach(), t, temperature=T))[1]
    assert "there is none" in text


def test_hints_come_one_by_one_and_end(capsys):
    card = CARDS["02.soft_gradient"]
    card._hints_shown = 0
    for _ in range(len(card.hints) + 1):
        card.hint()
    said = capsys.readouterr().out
    assert all(hint in said for hint in card.hints) and "No more hints" in said
    card.solution()
    assert "def soft_gradient(" in capsys.readouterr().out


def test_the_packages_losses_agree_with_the_labs_references():
    student, teacher = torch.randn(2, 6, 5)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    torch.testing.assert_close(
        CARDS["03.soft_target"](student, teacher, 3.0), losses.soft_target(student, teacher, temperature=3.0)
    )
    torch.testing.assert_close(
        CARDS["03.distillation"](student, teacher, labels, 3.0, 0.7),
        losses.distillation(student, teacher, labels, temperature=3.0, alpha=0.7),
    )


def test_unknown_exercises_are_named():
    with pytest.raises(ValueError, match=r"must be one of 00\.accuracy, .* got '99\.none'"):
        exercise("99.none")


def test_stubs_in_the_labs_have_their_references_signature():
    from kdcourse.authoring.notebooks import compose, labs

    seen = []
    for lab in labs():
        for cell in compose(lab).cells:
            if "exercise" in cell.metadata:
                card = exercise(cell.metadata["exercise"])
                namespace = {}
                exec(cell.source, namespace)
                stub = namespace[card.reference.__name__]
                assert list(inspect.signature(stub).parameters) == list(inspect.signature(card.reference).parameters)
                assert card.judge(stub)[0] == "not attempted", f"the stub of {card.id} is not blank"
                seen.append(card.id)
    assert sorted(seen) == sorted(CARDS), "every exercise stands in a lab, once"


def test_progress_counts_attempts_and_keeps_what_was_right(own_progress, capsys):
    card = CARDS["02.entropy"]
    card.check(lambda p: None)
    card.check(WRONG["02.entropy"]["bits, not nats"])
    card.check(RIGHT["02.entropy"][0])
    card.check(WRONG["02.entropy"]["bits, not nats"])
    entry = progress.load()["02.entropy"]
    assert entry["outcome"] == "right" and entry["attempts"] == 3
    row = next(row for row in summary() if (row["lab"], row["exercise"]) == ("02", "entropy"))
    assert row["outcome"] == "right" and len(summary()) == len(CARDS)


@pytest.mark.parametrize(
    ("outcomes", "kept", "attempts"),
    [
        ([], None, 0),
        (["not attempted"], "not attempted", 0),
        (["not attempted", "wrong"], "wrong", 1),
        (["wrong", "not attempted"], "wrong", 1),
        (["wrong", "right", "wrong", "not attempted"], "right", 3),
    ],
)
def test_the_best_outcome_stays(own_progress, outcomes, kept, attempts):
    progress.record("02.entropy", hints=1)
    for outcome in outcomes:
        progress.record("02.entropy", outcome=outcome)
    progress.record("02.entropy", hints=2)
    entry = progress.load()["02.entropy"]
    assert (entry.get("outcome"), entry["attempts"], entry["hints"]) == (kept, attempts, 2)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(entry["when"])) < timedelta(minutes=1)


def test_two_kernels_that_record_at_once_lose_nothing(own_progress):
    """Forty records each: of exercises of their own, and as attempts at one that both try."""
    script = """
import sys
from kdcourse.exercises import progress
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    progress.record(f"{sys.argv[1]}.own-{number}", outcome="right")
    progress.record("99.shared", outcome="wrong")
"""
    settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    kernels = [subprocess.Popen([sys.executable, "-c", script, name], **settings) for name in ("a", "b")]
    assert [kernel.stdout.readline() for kernel in kernels] == ["ready\n"] * 2
    for kernel in kernels:
        kernel.stdin.write("\n")
        kernel.stdin.flush()
    assert [kernel.communicate() for kernel in kernels] == [("", None)] * 2, "nothing to complain of"
    found = progress.load()
    assert found.pop("99.shared")["attempts"] == 40
    assert sorted(found) == sorted(f"{name}.own-{number}" for name in ("a", "b") for number in range(20))
    assert all(entry["attempts"] == 1 and entry["outcome"] == "right" for entry in found.values())


OLDER = {"02.entropy": {"attempts": 2, "outcome": "right", "hints": 1}, "02.question-1": {"attempts": 1}}


def test_an_older_file_is_taken_over_once(own_progress, capsys):
    older = own_progress.with_name("progress.json")
    older.write_text(json.dumps(OLDER), encoding="utf-8")
    progress.record("02.entropy", outcome="wrong")
    assert capsys.readouterr().out == "Your progress is taken over from progress.json: 2 exercises and questions.\n"
    older.write_text(json.dumps({"02.entropy": {"attempts": 99}, "03.soft_target": {"attempts": 99}}))
    found = progress.load()
    assert {name: entry["attempts"] for name, entry in found.items()} == {"02.entropy": 3, "02.question-1": 1}
    assert found["02.entropy"]["outcome"] == "right" and found["02.entropy"]["hints"] == 1
    assert capsys.readouterr().out == ""


def test_an_older_file_that_the_variable_names_itself_is_taken_over_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KDCOURSE_PROGRESS", str(tmp_path / "ann.json"))
    (tmp_path / "ann.json").write_text(json.dumps(OLDER), encoding="utf-8")
    progress.record("02.question-1", outcome="right")
    assert {name: entry["attempts"] for name, entry in progress.load().items()} == {"02.entropy": 2, "02.question-1": 2}
    assert "taken over from ann.damaged.json: 2" in capsys.readouterr().out


@pytest.mark.parametrize("content", ['{"02.entropy": {"outco', "[1]", '{"02.entropy": 1}'])
def test_an_older_file_that_cannot_be_read_costs_a_line(own_progress, capsys, content):
    own_progress.with_name("progress.json").write_text(content)
    progress.record("02.entropy", outcome="right")
    assert "progress.json cannot be read" in capsys.readouterr().out
    assert list(progress.load()) == ["02.entropy"]
    assert own_progress.with_name("progress.json").read_text() == content


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2 + 100]


@pytest.mark.parametrize("damage", [truncated, lambda content: b'{"02.entropy": {}}'], ids=["truncated", "no database"])
def test_a_damaged_progress_file_is_moved_aside(own_progress, capsys, damage):
    for number in range(200):
        progress.record(f"02.exercise-{number}", outcome="wrong")
    content = damage(own_progress.read_bytes())
    own_progress.write_bytes(content)
    progress.record("02.entropy", outcome="right")
    assert capsys.readouterr().out.count("The progress file is damaged") == 1
    assert {name: entry["outcome"] for name, entry in progress.load().items()} == {"02.entropy": "right"}
    assert own_progress.with_name("progress.damaged.sqlite").read_bytes() == content


def test_a_file_that_was_moved_aside_before_is_kept_too(own_progress, capsys):
    own_progress.parent.mkdir(parents=True, exist_ok=True)
    for content in (b"one letter", b"another letter", b"a third"):
        own_progress.write_bytes(content)
        progress.record("02.entropy", outcome="right")
    kept = [own_progress.with_name(f"progress.damaged{number}.sqlite").read_bytes() for number in ("", "-2", "-3")]
    assert kept == [b"one letter", b"another letter", b"a third"]
    assert "kept as progress.damaged-3.sqlite" in capsys.readouterr().out


def test_an_entry_that_was_edited_by_hand_is_damage_too(own_progress, capsys):
    progress.record("02.entropy", outcome="right")
    with closing(sqlite3.connect(own_progress)) as database, database:
        database.execute("UPDATE progress SET entry = '{'")
    assert progress.load() == {}
    assert "damaged" in capsys.readouterr().out and own_progress.with_name("progress.damaged.sqlite").is_file()


@pytest.mark.parametrize(
    "entry", ['{"attempts": null}', '{"attempts": "two"}', '{"outcome": "perfect"}', "[1]", "null"]
)
def test_an_entry_of_another_shape_costs_no_more_than_itself(entry, own_progress):
    progress.record("01.one_hot", outcome="right")
    progress.record("02.entropy", outcome="wrong")
    with closing(sqlite3.connect(own_progress)) as database, database:
        database.execute("UPDATE progress SET entry = ? WHERE identity = '02.entropy'", (entry,))
    assert progress.load()["02.entropy"]["attempts"] == 0
    progress.record("02.entropy", outcome="right")
    known = progress.load()
    assert (known["02.entropy"]["attempts"], known["02.entropy"]["outcome"]) == (1, "right")
    assert known["01.one_hot"]["attempts"] == 1


def test_progress_that_cannot_be_written_never_stops_a_lab(own_progress, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDCOURSE_PROGRESS", str(tmp_path / "file" / "progress.sqlite"))
    CARDS["02.entropy"].check(RIGHT["02.entropy"][0])
    CARDS["02.entropy"].check(RIGHT["02.entropy"][0])
    assert capsys.readouterr().out.count("cannot be kept") == 1


def test_a_file_that_another_kernel_never_lets_go_never_stops_a_lab(own_progress, monkeypatch, capsys):
    progress.record("02.entropy", outcome="wrong")
    monkeypatch.setattr(progress, "TIMEOUT", 0.1)
    with closing(sqlite3.connect(own_progress, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        progress.record("02.entropy", outcome="right")
        assert progress.load()["02.entropy"]["outcome"] == "wrong", "it can be read all the same"
    assert "Your progress cannot be kept (database is locked); the lab goes on" in capsys.readouterr().out


def test_the_suite_never_touches_the_users_progress():
    assert str(progress.path()) == os.environ["KDCOURSE_PROGRESS"]


@pytest.mark.parametrize("identity", ["03.soft_target", "03.distillation", "09.compute_loss", "02.entropy"])
def test_a_card_shows_the_first_mistakes_and_counts_the_rest(identity, monkeypatch):
    shown = []
    monkeypatch.setattr("kdcourse.exercises.engine.show", shown.append)
    monkeypatch.setattr("kdcourse.exercises.engine.show_buttons", lambda actions: None)
    CARDS[identity]._ipython_display_()
    items = re.findall("<li>(.+?)</li>", shown[0].folded)
    mistakes = CARDS[identity].mistakes
    assert len(items) <= 9 and sum(map(len, items)) < 1200 and as_html(mistakes[0].explanation) in items[0]
    assert (f"{len(mistakes) - 8} more" in items[-1]) == (len(mistakes) > 8)


def test_cards_are_safe_and_show_code_as_code():
    assert as_html("`a < b` & <i>not</i> `c`") == "<code>a &lt; b</code> &amp; &lt;i&gt;not&lt;/i&gt; <code>c</code>"
    assert "`" not in "".join(as_html(one.goal) for one in all_exercises().values())


def in_terminal(*arguments: str):
    """The command's exit code, and what it said without its frame."""
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, re.sub(r"[\s│]+", " ", done.output)


def test_the_terminal_gives_hints_where_the_last_one_ended(own_progress):
    card = CARDS["02.entropy"]
    for number, hint in enumerate(card.hints, 1):
        card._hints_shown = 0  # a process of its own each time
        assert in_terminal("hint", "02.entropy") == (0, f"Hint {number} of {len(card.hints)}. {hint} ")
    assert "No more hints" in in_terminal("hint", "02.entropy")[1]
    assert card.hints[0] in in_terminal("hint", "02.entropy", "--again")[1]
    assert progress.load()["02.entropy"]["hints"] == 1 and "def entropy" not in in_terminal("hint", "02.entropy")[1]
    progress.record("02.entropy", hints="a hand's")
    assert card.hints[0] in in_terminal("hint", "02.entropy")[1]
    code, said = in_terminal("hint", "02.entropie")
    assert code == 2 and "02.entropy" in said and "got '02.entropie'" in said


FILE = """
from torch.nn.functional import cosine_similarity as hidden_cosine  # another's function, and so no answer

def softmax_with_temperature(logits, temperature):
    return F.softmax(logits * temperature, 1)

def entropy(probabilities):
    return torch.special.entr(probabilities).sum(1)

def soft_gradient(student_logits, teacher_logits, temperature):
    ...

def forward_kl(student_logits, teacher_logits):
    return student_logits + missing

if __name__ == "__main__":
    raise RuntimeError("a try-out of the student's own")
"""


def test_the_terminal_checks_a_file(own_progress, tmp_path):
    path = tmp_path / "my answers é.py"
    path.write_text(FILE, encoding="utf-8")
    code, said = in_terminal("check", str(path))
    assert code == 1
    assert "Right: 02.entropy. It agrees" in said and "hidden_cosine" not in said
    assert "Not yet: 02.softmax_with_temperature. This looks like: multiplied by T." in said
    assert (
        "Not attempted: 02.soft_gradient. There is nothing in the function yet. `kdcourse hint 02.soft_gradient`"
        in said
    )
    assert "stopped in line 14, `return student_logits + missing`, with NameError: name 'missing'" in said
    assert {identity: entry["outcome"] for identity, entry in progress.load().items()} == {
        "02.entropy": "right",
        "02.softmax_with_temperature": "wrong",
        "02.soft_gradient": "not attempted",
        "13.forward_kl": "wrong",
    }
    (tmp_path / "apart.py").write_text("def entropy(p):\n    return -(p * p.clamp(min=1e-30).log()).sum(1)\n")
    path.write_text("import apart\n\ndef entropy(p):\n    return apart.entropy(p)\n", encoding="utf-8")
    assert in_terminal("check", str(path))[0] == 0
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def entropy(p):\n    return p +\n", "a.py stopped with SyntaxError: invalid syntax (a.py, line 2)"),
        ("x = 1\ny = x.no\n", "a.py stopped in line 2, `y = x.no`, with AttributeError"),
        ("raise SystemExit(3)", "a.py stopped in line 1, `raise SystemExit(3)`, with SystemExit: 3"),
        ("def loss(p):\n    return p\n", "a.py must define a function called as an exercise asks: accuracy (00), "),
        ("", "a.py must define a function called as an exercise asks"),
    ],
)
def test_a_file_that_gives_no_answers_says_why(tmp_path, text, said):
    path = tmp_path / "a.py"
    path.write_text(text)
    code, output = in_terminal("check", str(path))
    assert code == 2 and said in output
    for other in ("none.py", "a.ipynb"):
        code, output = in_terminal("check", str(tmp_path / other))
        assert code == 2 and "file must be a Python file" in output


def test_a_terminal_without_the_signs_shows_their_numbers(own_progress, tmp_path):
    (tmp_path / "a.py").write_text("def entropy(p):\n    return torch.special.entr(p).sum(1)\n")
    command = [sys.executable, "-m", "kdcourse.cli", "check", str(tmp_path / "a.py")]
    narrow = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, capture_output=True, text=True, encoding="cp1252", env=narrow)
    assert done.returncode == 0 and "\\u2713 Right: 02.entropy" in done.stdout, done.stderr


def test_assistants_are_told_the_commands_that_there_are():
    text = (Path(__file__).parent.parent / "AGENTS.md").read_text(encoding="utf-8")
    said = set(re.findall(r"`kdcourse (\w+)", text))
    assert said >= {"hint", "check", "progress"}
    assert said <= {command.callback.__name__ for command in app.registered_commands}
    assert all(identity in CARDS for identity in re.findall(r"\b\d\d\.\w+", text)) and "do not solve" in text
