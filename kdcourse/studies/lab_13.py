"""The study of lab 13, Distil a language model: a student that is short of text, and a teacher that can write more.

The student can already write when distillation begins: the reverse KL listens only where the student has probability, and the
student's own text is worth a comment only when it is text. So every arm of a seed goes on from the same student, that has learnt
from its text alone, as in Agarwal et al. (2024, §4) and Gu et al. (2024).

Judged twice, both in percent, higher being better: the probability that the student gives to the next character of the test
text, and the probability that the teacher gives to what the student writes; geometric means, 100 · exp(−nats a character). The
learning rates were chosen on validation text with seed 100, which the study does not use.
"""

import math
from dataclasses import replace
from functools import lru_cache, partial

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


def foresight(model: nn.Module, split: Windows) -> float:
    return 100 * 2 ** -measure.bits_per_character(model, split)


def fluency(model: nn.Module, split: Windows) -> float:
    return 100 * math.exp(-measure.free_running_loss(model, _judge(split.text), prompts(split), WRITTEN).mean().item())


def prompts(split: Windows):
    """The beginnings that a model goes on from, (N, PROMPT)."""
    return split.sample(min(PROMPTS, len(split))).inputs[:, :PROMPT]


@lru_cache(maxsize=2)
def _judge(text: str) -> LanguageModel:
    return zoo.language_teacher(load_characters(text, fallback=False), announce=False)


def written_by(teacher: LanguageModel, split: Windows, seed: int) -> Windows:
    """As many windows as the split has, each begun like one of them and written on by the teacher: sequence-level KD's text.

    Source: Kim, Rush (2016), *Sequence-Level Knowledge Distillation*, §3.2; drawn from the teacher, not its most likely text.
    """
    length = split.inputs.shape[1]
    text = teacher.write(split.inputs[:, :PROMPT], length - PROMPT, seed=seed)
    return Windows(text[:, :-1].contiguous(), text[:, 1:].contiguous(), split.text)


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


@define("13-language", {"": foresight, "-written": fluency}, family="characters")
def language(data: CharacterData) -> dict[str, Recipe]:
    """The text alone; the whole distribution, by three divergences; the teacher's writing; the student's own text."""
    teacher = zoo.language_teacher(data, announce=False)
    first = warm_start(data)
    base = replace(first, student=WarmStart(first), teacher=TeacherCache(teacher), steps=200, learning_rate=1e-2)
    return {
        "text only": base,
        "forward KL": replace(base, method=TokenDivergence(0)),
        "Jensen-Shannon": replace(base, method=TokenDivergence(0.5)),
        "reverse KL": replace(base, method=TokenDivergence(1)),
        "sequence level": replace(base, train=partial(_written, teacher, data)),
        "on policy": replace(base, method=TokenDivergence(0) * 0.5 + OnPolicy(1, prompt=PROMPT) * 0.5),
    }


def _written(teacher: LanguageModel, data: CharacterData, seed: int) -> Windows:
    """Twice as many windows: the text that the student has, and a continuation of each by the teacher."""
    return written_by(teacher, data.train.sample(2 * WINDOWS, seed), seed)
