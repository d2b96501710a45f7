"""Teachers that write: a GPT of characters for Tiny Shakespeare and one for the built-in plays."""

from collections.abc import Iterable
from functools import partial

import torch

from kdcourse.data.characters import CharacterData, load_characters
from kdcourse.evaluation import measure
from kdcourse.methods import NextToken
from kdcourse.models.language import LanguageModel, gpt
from kdcourse.training.loop import train, whole_runs
from kdcourse.zoo import store

SIZE = {"width": 96, "depth": 3}
RECIPE = {"steps": 4000, "batch_size": 32, "learning_rate": 3e-3, "weight_decay": 0.1}
QUICK_STEPS = 400  # where a student has to wait for a teacher
SEED = 0


def language_teacher(data: CharacterData, *, progress: bool = True, announce: bool = True) -> LanguageModel:
    """A trained GPT for `data`, frozen and in evaluation mode, on the data's device.

    Says in one line how well it foretells the test text, and where it came from; not with announce=False. Where the shipped
    checkpoint is missing or damaged, one is trained, which takes minutes, once.
    """
    places = store.checkpoint_paths(_file_name(data))
    missing = f"No language model for {data.name} is stored yet: training one takes a few minutes, once."
    train_one = partial(_train, data, QUICK_STEPS, progress)
    model, card, origin = store.load_or_train(_build(data), places, missing, train_one)
    if announce:
        print(
            f"Teacher {model.label} for {data.name}: {card['test_bits']:.2f} bits a character on the test text ({origin})."
        )
    return model.to(data.train.device).eval().requires_grad_(False)


def retrain_language(names: Iterable[str] = ("tinyshakespeare", "plays")) -> None:
    """Train the shipped language models anew and write them into the package."""
    for name in names:
        data = load_characters(name, fallback=False)
        store.ship(*_train(data, RECIPE["steps"], progress=True), _file_name(data))


def _build(data: CharacterData) -> LanguageModel:
    return gpt(**SIZE, characters=len(data.alphabet), seed=SEED)


def _file_name(data: CharacterData) -> str:
    return f"{data.name}-gpt.safetensors"


def _train(data: CharacterData, steps: int, progress: bool) -> tuple[LanguageModel, dict]:
    model = _build(data)
    settings = {**RECIPE, "steps": steps}
    with whole_runs():
        train(model.to(data.train.device), data.train, NextToken(), **settings, order_seed=SEED, progress=progress)
    model.half().float()  # stored in half precision, so judged in half precision
    return model, {
        "teacher": model.label,
        "data_set": data.name,
        "data": data.train.fingerprint,
        "seed": SEED,
        "recipe": settings,
        "validation_bits": round(measure.bits_per_character(model, data.validation), 3),
        "test_bits": round(measure.bits_per_character(model, data.test), 3),
        "parameters": measure.parameters(model),
        "torch": torch.__version__,
    }
