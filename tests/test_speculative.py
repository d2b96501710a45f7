"""Speculative decoding: every text with the teacher's own probability, by enumeration of all that can be drawn."""

from itertools import product

import pytest
import torch
from torch import nn

import kdcourse as kd
from kdcourse.evaluation.speculative import acceptance, speculate, tokens_per_call
from kdcourse.models import gpt

VOCABULARY, LENGTH = 3, 3
PROMPT = torch.tensor([2, 0])


class Table(nn.Module):
    """A language model of three tokens whose logits follow from the whole text before."""

    def __init__(self, seed):
        super().__init__()
        logits = 2 * torch.randn(7, VOCABULARY, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.logits = nn.Parameter(logits)

    def forward(self, tokens):
        return self.logits[(tokens * torch.arange(1, tokens.shape[1] + 1)).cumsum(dim=1) % 7]


TEACHER, DRAFT = Table(1), Table(2)


def every_course(run):
    """run(draw) with all that can be drawn: each outcome, and its probability."""
    choices = []
    while True:
        drawn = []

        def draw(chances, drawn=drawn):
            if len(drawn) == len(choices):
                choices.append(0)
            drawn.append(chances)
            return torch.tensor([choices[len(drawn) - 1]])

        outcome = run(draw)
        yield outcome, torch.stack([chances[choice] for chances, choice in zip(drawn, choices, strict=True)]).prod()
        while choices and choices[-1] == len(drawn[len(choices) - 1]) - 1:
            choices.pop()
        if not choices:
            return
        choices[-1] += 1


def by_the_teacher(text):
    """The teacher's own probability of what follows the prompt."""
    log_p = TEACHER(text[None, :-1])[0].log_softmax(dim=1)
    return log_p.gather(1, text[1:, None])[len(PROMPT) - 1 :].sum().exp()


@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
@torch.no_grad()
def test_every_text_has_the_teachers_own_probability_and_the_calls_are_those_expected(ahead):
    found, calls = dict.fromkeys(product(range(VOCABULARY), repeat=LENGTH), 0.0), 0.0
    for (text, asked), chance in every_course(
        lambda draw: speculate(TEACHER, DRAFT, PROMPT, LENGTH, ahead=ahead, draw=draw)
    ):
        found[tuple(text[len(PROMPT) :].tolist())] += chance.item()
        calls += chance.item() * asked
    texts = torch.tensor([[*PROMPT.tolist(), *text] for text in found])
    wanted = torch.stack([by_the_teacher(text) for text in texts])
    torch.testing.assert_close(torch.tensor(list(found.values()), dtype=torch.float64), wanted)
    each = [LENGTH / tokens_per_call(TEACHER, DRAFT, text[None], len(PROMPT), ahead=ahead) for text in texts]
    assert (wanted * torch.tensor(each)).sum().item() == pytest.approx(calls)
    assert ahead or calls == pytest.approx(LENGTH)


@torch.no_grad()
def test_a_rule_that_draws_from_the_teacher_after_a_refusal_does_not_give_its_distribution():
    """What the enumeration is for: the mistake that looks harmless."""
    careless = lambda p, q, proposal: (acceptance(p, q, proposal)[0], p)  # noqa: E731
    found = torch.zeros(VOCABULARY, dtype=torch.float64)
    for (text, _), chance in every_course(
        lambda draw: speculate(TEACHER, DRAFT, PROMPT, 2, ahead=1, rule=careless, draw=draw)
    ):
        found[text[len(PROMPT)]] += chance
    assert (found - TEACHER(PROMPT[None])[0, -1].softmax(dim=0)).abs().max() > 0.03


@pytest.mark.parametrize("ahead", [1, 4])
def test_near_temperature_zero_the_text_is_the_teachers_to_the_letter(ahead):
    teacher, draft = (gpt(16, 1, heads=2, characters=9, seed=seed) for seed in (1, 2))
    prompt, cold = torch.tensor([1, 7, 3]), {"temperature": 1e-4}
    text, calls = speculate(teacher, draft, prompt, 40, ahead=ahead, **cold)
    assert text.equal(teacher.write(prompt[None], 40, **cold)[0]) and 40 / (ahead + 1) <= calls <= 40
    itself, fewest = speculate(teacher, teacher, prompt, 40, ahead=ahead, **cold)
    assert itself.equal(text) and fewest == 40 / (ahead + 1)


def test_sampled_text_follows_the_seed():
    one = [speculate(TEACHER, DRAFT, PROMPT, 12, seed=seed)[0] for seed in (0, 0, 1)]
    assert one[0].equal(one[1]) and not one[0].equal(one[2])


def test_who_drafts_for_itself_is_never_refused():
    text = torch.tensor([[2, 0, 1, 1, 2, 0, 0, 2, 1, 0, 1, 2]])
    assert tokens_per_call(TEACHER, TEACHER, text, 2, ahead=4) == pytest.approx(5)
    assert 1 < tokens_per_call(TEACHER, DRAFT, text, 2, ahead=4) < 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ahead": -1}, "ahead must be a whole number of at least 0"),
        ({"length": 0}, "length must be a whole number"),
        ({"temperature": 0}, "temperature must be above 0, got 0"),
        ({"prompt": PROMPT[None]}, r"prompt must be one text \(P,\), got shape \(1, 2\)"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    given = {"prompt": PROMPT, "length": 3, **settings}
    with pytest.raises(ValueError, match=message):
        kd.speculative.speculate(TEACHER, DRAFT, **given)


def test_the_exercises_rule_is_the_one_that_decodes():
    p, q = (model(PROMPT[None])[0, -1].softmax(dim=0).detach() for model in (TEACHER, DRAFT))
    for proposal in range(VOCABULARY):
        for one, other in zip(
            kd.exercise("13.accept").reference(p, q, proposal), acceptance(p, q, proposal), strict=True
        ):
            torch.testing.assert_close(one, other)
