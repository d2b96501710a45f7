"""The studies of lab 13, Distil a language model: a student that is short of text, and a teacher that can write more.

In the first, the student can already write when distillation begins: the reverse KL listens only where the student has
probability, and the student's own text is worth a comment only when it is text. So every arm of a seed goes on from the same
student, that has learnt from its text alone, as in Agarwal et al. (2024, §4) and Gu et al. (2024). In the second it begins with
fresh weights.

All measures are in percent. Foresight: the probability that the student gives to the next character of the test text; fluency:
the probability that the teacher gives to what the student writes, over the whole of it and over its second half; geometric
means, 100 · exp(−nats a character). Variety: the share of different sequences of four characters in what the student writes.
The learning rates were chosen on validation text with seed 100, which no study uses.
"""

import math
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import nn

from kdcourse import zoo
from kdcourse.data.characters import CharacterData, Windows, load_characters
from kdcourse.evaluation import measure
from kdcourse.experiments.experiment import Recipe
from kdcourse.experiments.schemes import WarmStart
from kdcourse.methods import NextToken, OnPolicy, TokenDivergence
from kdcourse.models.language import LanguageModel, gpt
from kdcourse.studies.engine import define
from kdcourse.training.cache import TeacherCache

STUDENT = {"width": 48, "depth": 2}
WINDOWS = 600  # of the text, for the student
PROMPT, WRITTEN, PROMPTS = 16, 48, 100  # characters given, characters written, and how often
SEQUENCE = 4  # characters whose repetition counts against variety
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


@lru_cache(maxsize=2)
def _judge(text: str) -> LanguageModel:
    return zoo.language_teacher(load_characters(text, fallback=False), announce=False)


def written_by(teacher: LanguageModel, split: Windows, seed: int) -> Windows:
    """The split's windows, and as many that begin like them and go on as the teacher writes: sequence-level KD's text.

    Source: Kim, Rush (2016), *Sequence-Level Knowledge Distillation*, §3.2; drawn from the teacher, not its most likely text.
    """
    length = split.inputs.shape[1]
    text = torch.cat([split.inputs, teacher.write(split.inputs[:, :PROMPT], length - PROMPT, seed=seed)])
    return Windows(text[:, :-1].contiguous(), text[:, 1:].contiguous(), split.text)  # one character less than a window


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
