"""The studies of lab 13, Distil a language model: a student that is short of text, and a teacher that can write more.

In the first, the student can already write when distillation begins: the reverse KL listens only where the student has
probability, and the student's own text is worth a comment only when it is text. So every arm of a seed goes on from the same
student, that has learnt from its text alone, as in Agarwal et al. (2024, §4) and Gu et al. (2024). In the second it begins with
fresh weights. The third climbs the ladder: what is left of the teacher in a file, behind a text-only interface, in another
alphabet; smaller arms, so that all of them can be held side by side. In the fourth the teacher writes sums with their steps; it
has made-up data of its own, the same beside every text.

All measures are in percent. Foresight: the probability that the student gives to the next character of the test text; fluency:
the probability that the teacher gives to what the student writes, over the whole of it and over its second half; geometric
means, 100 · exp(−nats a character). Variety: the share of different sequences of four characters in what the student writes.
Drafts: how many characters a call of the teacher brings when the student drafts for it, from 1 to 5. Solved: sums answered right.
The learning rates were chosen on validation text with seed 100, which no study uses. For sums they were chosen so that steps are
learnt; on validation sums, answers alone stayed at chance with a third and a seventh of the rate, with three times the rate,
and with three times the steps, too.
"""

import math
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import nn

from kdcourse import zoo
from kdcourse.data.characters import CharacterData, Windows, load_characters
from kdcourse.data.sums import ASKED, DOT, as_windows
from kdcourse.evaluation import measure
from kdcourse.evaluation.speculative import tokens_per_call
from kdcourse.experiments.experiment import Recipe
from kdcourse.experiments.schemes import WarmStart
from kdcourse.methods import NextToken, OnPolicy, TokenDivergence, TopK, UniversalLogit
from kdcourse.models.language import LanguageModel, gpt
from kdcourse.studies.engine import define
from kdcourse.training.cache import TeacherCache

STUDENT = {"width": 48, "depth": 2}
WINDOWS = 600  # of the text, for the student
PROMPT, WRITTEN, PROMPTS = 16, 48, 100  # characters given, characters written, and how often
SEQUENCE = 4  # characters whose repetition counts against variety
KEPT = 4  # of a teacher's probabilities at each place, where only some are kept
SHORT = 300  # windows that the many short runs of the ladder are judged by
DRAWN = 4  # continuations among which the best is taken
SUMS, TAUGHT = 500, 625  # worked sums for a student, and for its teacher; no sum is in both
ADDER = 64  # the student's width; the teacher is half as wide again
HEAT = 2.0  # the temperature at which the teacher writes steps: it errs often
SEEDS = range(20, 25)  # none of them had a part in finding what the studies ask


def foresight(model: nn.Module, split: Windows) -> float:
    return 100 * 2 ** -measure.bits_per_character(model, split)


def fluency(model: nn.Module, split: Windows, *, skip: int = 0, seed: int = 0) -> float:
    """Without the first `skip` characters that the model writes; `seed` fixes what it writes."""
    nats = measure.free_running_loss(model, _judge(split.text), prompts(split), WRITTEN, seed=seed)
    return 100 * math.exp(-nats[:, skip:].mean().item())


def variety(model: nn.Module, split: Windows) -> float:
    """Source: Li et al. (2016), *A Diversity-Promoting Objective Function for Neural Conversation Models*, §5.2."""
    return different(model.to(split.device).write(prompts(split), WRITTEN)[:, PROMPT:])


def different(text: torch.Tensor) -> float:
    """Of all sequences of four characters in texts (N, L), the share that differ, in percent."""
    sequences = text.unfold(1, SEQUENCE, 1).flatten(0, 1)
    return 100 * len(sequences.unique(dim=0)) / len(sequences)


def prompts(split: Windows):
    """The beginnings that a model goes on from, (N, PROMPT)."""
    return split.sample(min(PROMPTS, len(split))).inputs[:, :PROMPT]


def drafts(model: nn.Module, split: Windows) -> float:
    """Characters that one call of the teacher brings, the model proposing four each time, on texts that the teacher writes."""
    return tokens_per_call(_judge(split.text), model.to(split.device), _judged_text(split), PROMPT)


@lru_cache(maxsize=2)
def _judged_text(split: Windows) -> torch.Tensor:
    return _judge(split.text).write(prompts(split), WRITTEN, seed=1)


@lru_cache(maxsize=2)
def _judge(text: str) -> LanguageModel:
    return zoo.language_teacher(load_characters(text, fallback=False, announce=False), announce=False)


def written_by(teacher: LanguageModel, split: Windows, seed: int) -> Windows:
    """The split's windows, and as many that begin like them and go on as the teacher writes: sequence-level KD's text.

    Source: Kim, Rush (2016), *Sequence-Level Knowledge Distillation*, §3.2; drawn from the teacher, not its most likely text.
    """
    length = split.inputs.shape[1]
    text = torch.cat([split.inputs, teacher.write(split.inputs[:, :PROMPT], length - PROMPT, seed=seed)])
    return Windows(text[:, :-1].contiguous(), text[:, 1:].contiguous(), split.text)  # one character less than a window


def best_of(teacher: LanguageModel, split: Windows, count: int, seed: int) -> tuple[Windows, Windows]:
    """The split with a continuation of its first half beside it: the first that the teacher wrote, and the best of `count`.

    The best is the one that the teacher itself finds likeliest. Both begin like the windows, are as many, and as long.
    """
    begun = split.inputs[: len(split) // 2, :PROMPT]
    drawn = teacher.write(begun.repeat(count, 1), split.inputs.shape[1] - PROMPT, seed=seed)
    nats = measure.next_token_loss(teacher, drawn[:, :-1], drawn[:, 1:])[:, PROMPT - 1 :].sum(dim=1)
    each = drawn.view(count, len(begun), -1)
    best = each[nats.view(count, -1).argmin(dim=0), torch.arange(len(begun), device=drawn.device)]
    both = (torch.cat([split.inputs, text]) for text in (each[0], best))
    return tuple(Windows(text[:, :-1].contiguous(), text[:, 1:].contiguous(), split.text) for text in both)


class OtherAlphabet(nn.Module):
    """A teacher that numbers the same characters in another order: it reads the text, and its logits come in its own order."""

    def __init__(self, teacher: LanguageModel, seed: int = 0):
        super().__init__()
        self.teacher, self.label = teacher, f"{teacher.label}, renumbered"
        characters = teacher.gpt.config.vocab_size
        order = torch.randperm(characters, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("order", order.to(next(teacher.parameters()).device))

    def forward(self, characters: torch.Tensor) -> torch.Tensor:
        return self.teacher(characters)[..., self.order]


def warm_start(data: CharacterData) -> Recipe:
    """How the student learns to write, before it has a teacher."""
    return Recipe(
        partial(gpt, **STUDENT, characters=len(data.alphabet)),
        lambda seed: data.train.sample(WINDOWS, seed),
        NextToken(),
        steps=300,
        batch_size=32,
        learning_rate=1.5e-2,
    )


MEASURES = {"": foresight, "-written": fluency, "-late": partial(fluency, skip=WRITTEN // 2), "-variety": variety}


@define("13-language", MEASURES, seeds=SEEDS, family="characters")
def language(data: CharacterData) -> dict[str, Recipe]:
    """The text alone, and as much again; the teacher's writing; three divergences, and two at once; the student's own text."""
    teacher = zoo.language_teacher(data, announce=False)
    first = warm_start(data)
    base = replace(first, student=WarmStart(first), teacher=TeacherCache(teacher), steps=200, learning_rate=1e-2)
    own = OnPolicy(1, prompt=PROMPT)
    return {
        "text only": base,
        "text only, twice as much": replace(base, train=lambda seed: data.train.sample(2 * WINDOWS, seed)),
        "sequence level": replace(base, train=lambda seed: written_by(teacher, data.train.sample(WINDOWS, seed), seed)),
        "forward KL": replace(base, method=TokenDivergence(0)),
        "Jensen-Shannon": replace(base, method=TokenDivergence(0.5)),
        "reverse KL": replace(base, method=TokenDivergence(1)),
        "half forward, half reverse KL": replace(base, method=TokenDivergence(0) * 0.5 + TokenDivergence(1) * 0.5),
        "on policy": replace(base, method=own),
        "half forward KL, half on policy": replace(base, method=TokenDivergence(0) * 0.5 + own * 0.5),
    }


@define("13-noise", {"": foresight}, seeds=SEEDS, family="characters")
def noise(data: CharacterData) -> dict[str, Recipe]:
    """A student that begins with fresh weights: on given text or its own, by the forward KL or the reverse."""
    base = replace(warm_start(data), teacher=TeacherCache(zoo.language_teacher(data, announce=False)), steps=60)
    return {
        f"{text} text, {divergence} KL": replace(base, method=method)
        for text, kind in {"given": TokenDivergence, "own": partial(OnPolicy, prompt=PROMPT)}.items()
        for divergence, method in {"forward": kind(0), "reverse": kind(1)}.items()
    }


def short_foresight(model: nn.Module, split: Windows) -> float:
    """On a part of the split."""
    return foresight(model, split.sample(min(SHORT, len(split))))


LADDER = {"": short_foresight, "-written": fluency, "-variety": variety, "-drafts": drafts}


@define("13-ladder", LADDER, seeds=SEEDS, family="characters")
def ladder(data: CharacterData) -> dict[str, Recipe]:
    """What can be had of a teacher, from the text that it writes to its whole distribution; runs are short."""
    teacher = zoo.language_teacher(data, announce=False)
    first = replace(warm_start(data), steps=150, batch_size=16)
    drawn = lru_cache(lambda seed: best_of(teacher, data.train.sample(WINDOWS, seed), DRAWN, seed))
    base = replace(first, student=WarmStart(first), teacher=TeacherCache(teacher), steps=60, learning_rate=1e-2)
    return {
        "text only": base,
        "text only, half as much again": replace(base, train=lambda seed: data.train.sample(3 * WINDOWS // 2, seed)),
        "sequence level": replace(base, train=lambda seed: drawn(seed)[0]),
        f"best of {DRAWN}": replace(base, train=lambda seed: drawn(seed)[1]),
        f"top {KEPT}, renormalised": replace(base, method=TopK(KEPT, others=False)),
        f"top {KEPT} and others": replace(base, method=TopK(KEPT)),
        "forward KL": replace(base, method=TokenDivergence(0)),
        "reverse KL": replace(base, method=TokenDivergence(1)),
        "other alphabet, sorted": replace(
            base, method=NextToken() + UniversalLogit() * 1.5, teacher=TeacherCache(OtherAlphabet(teacher))
        ),
    }


def solved(model: LanguageModel, split: Windows) -> float:
    """Sums answered right, in percent: by the last character that the model writes, at each place the likeliest."""
    length = model.gpt.config.n_positions - ASKED
    written = model.to(split.device).write(split.inputs[:, :ASKED], length, temperature=1e-3)
    return 100 * (written[:, -1] == split.labels[:, -1]).float().mean().item()


@lru_cache(maxsize=2)
def sums_teacher(data: CharacterData) -> LanguageModel:
    """A GPT that has learnt from worked sums of its own."""
    texts = _texts(data)
    recipe = _adder(data, 3 * ADDER // 2, as_windows(texts[:TAUGHT]), texts.shape[1])
    return replace(recipe, steps=200).run(seed=100).requires_grad_(False)


def _adder(data: CharacterData, width: int, lesson, length: int) -> Recipe:
    """A GPT of one layer that learns to go on from a problem. lesson: as `Recipe.train`. length: of its texts."""
    network = partial(gpt, width, 1, characters=len(data.alphabet), length=length)
    return Recipe(network, lesson, NextToken(ASKED), steps=300, batch_size=32, learning_rate=7e-3)


def sums_for(data: CharacterData, count: int, seed: int) -> torch.Tensor:
    """Worked sums (count, L) that the teacher has not learnt from, drawn by `seed`."""
    texts = _texts(data)[TAUGHT:]
    return texts[torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))[:count].to(texts.device)]


def _texts(data: CharacterData) -> torch.Tensor:
    return torch.cat([data.train.inputs, data.train.labels[:, -1:]], dim=1)


def traces_of(teacher: LanguageModel, worked: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """What the teacher writes after the problems of worked sums (N, L), each asked `count` times: (count, N, L)."""
    asked = worked[:, :ASKED].repeat(count, 1)
    return teacher.write(asked, worked.shape[1] - ASKED, temperature=HEAT, seed=seed).view(count, *worked.shape)


def right_ones(drawn: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Of each problem's traces (D, N, L) the first that ends with its answer (N,); a problem without one is left out."""
    right = drawn[:, :, -1] == answers
    chosen = drawn[right.int().argmax(dim=0), torch.arange(len(answers), device=drawn.device)]
    return chosen[right.any(dim=0)]


def instead(worked: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Worked sums (N, L) with other characters (N, S) in the place of their steps: (N, 7 + S), the answer as it was."""
    return torch.cat([worked[:, :ASKED], steps, worked[:, -1:]], dim=1)


@define("13-traces", {"": solved}, equal_budgets=False, seeds=SEEDS, family="sums")
def traces(data: CharacterData) -> dict[str, Recipe]:
    """Sums: answers alone, and three times as many; something else in the steps' place; steps by rule, and the teacher's own."""
    given = partial(sums_for, data, SUMS)
    drawn = lru_cache(lambda seed: traces_of(sums_teacher(data), given(seed), DRAWN, seed))

    def answers(count: int) -> Recipe:
        """On `count` times as many sums."""

        def lesson(seed: int) -> Windows:
            worked = sums_for(data, count * SUMS, seed)
            return as_windows(instead(worked, worked[:, :0]))

        return replace(_adder(data, ADDER, lesson, ASKED + 1), batch_size=32 * count)

    def written(lesson) -> Recipe:
        """lesson: seed -> texts as long as a worked sum."""
        return _adder(data, ADDER, lambda seed: as_windows(lesson(seed)), _texts(data).shape[1])

    def steps_of(seed: int) -> torch.Tensor:
        return given(seed)[:, ASKED:-1]

    return {
        "answers only": answers(1),
        "answers only, three times as many": answers(3),
        "dots, then the answer": written(lambda seed: instead(given(seed), torch.full_like(steps_of(seed), DOT))),
        "another sum's steps": written(lambda seed: instead(given(seed), steps_of(seed).roll(1, dims=0))),
        "steps by rule": written(given),
        "the teacher's steps": written(lambda seed: drawn(seed)[0]),
        "its steps that end right": written(lambda seed: right_ones(drawn(seed), given(seed)[:, -1])),
    }
