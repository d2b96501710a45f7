"""Teachers for pictures: a shipped checkpoint, else one from the user's cache, else one trained on the spot."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from kdcourse.data.augment import random_shift_flip
from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.models import convnet, perceptron, with_channels, with_new_head
from kdcourse.system.storage import cached
from kdcourse.training.loop import train, whole_runs
from kdcourse.zoo import store

SEED = 0
HOME_CLASSES = 10  # of CIFAR-10 and of glyphs


@dataclass(frozen=True)
class TeacherRecipe:
    """How a teacher is made. `steps` for the shipped one; `quick_steps` where a student waits for it."""

    build: Callable[[ImageData], nn.Module]
    steps: int
    quick_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    shift: int  # pixels


def _perceptron(data: ImageData) -> nn.Module:
    return perceptron((1200, 1200), **data.sizes, dropout=0.5, seed=SEED)


def _convnet(data: ImageData) -> nn.Module:
    return convnet(classes=len(data.classes), channels=data.train.images.shape[1], seed=SEED)


def _body(data: ImageData) -> nn.Module:
    return convnet((16, 32, 64, 128), classes=len(data.classes), channels=data.train.images.shape[1], seed=SEED)


RECIPES = {
    "perceptron": TeacherRecipe(
        _perceptron, steps=5000, quick_steps=1500, batch_size=256, learning_rate=1e-3, weight_decay=0.05, shift=1
    ),
    "convnet": TeacherRecipe(
        _convnet, steps=5500, quick_steps=600, batch_size=256, learning_rate=5e-3, weight_decay=0.1, shift=2
    ),
}
# A smaller network, made for its body alone: what colour pictures of one's own begin from (lab 14).
BODY = TeacherRecipe(_body, steps=3000, quick_steps=800, batch_size=128, learning_rate=5e-3, weight_decay=0.05, shift=2)
# What each has learnt on: the network, and the channels of its pictures.
BODIES = {"cifar10": ("body", 3), "glyphs": ("convnet", 1), "fashion-mnist": ("convnet", 1)}
HOMES = {1: "glyphs", 3: "cifar10"}  # by the channels of one's own pictures
# Data sets whose pictures mean the same in a mirror.
MIRRORED = {"fashion-mnist", "cifar10", "cifar100"}


def teacher(name: str, data: ImageData, *, progress: bool = True, announce: bool = True) -> nn.Module:
    """A trained teacher for `data`, frozen and in evaluation mode, on the data's device.

    name: "perceptron" (784-1200-1200-10 with dropout, as in Hinton et al. 2015, §3) or "convnet" (four stages).
    Says in one line which teacher it is, how good on the test split, and where it came from; not with announce=False.
    Raises `ValueError` for another name.
    """
    recipe = _recipe(name)
    missing = f"No {name} teacher for {data.name} is stored yet: training one takes a few minutes, once."
    train_one = partial(_train, name, data, recipe.quick_steps, progress)
    model, card, origin = store.load_or_train(recipe.build(data), _checkpoint_paths(name, data), missing, train_one)
    if announce:
        print(f"Teacher {model.label} for {data.name}: test accuracy {card['test_accuracy']:.1f} % ({origin}).")
    if announce and origin == "shipped" and card["data"] != data.train.fingerprint:
        print("(Its training pictures were drawn by other versions of the libraries than this machine's.)")
    return model.to(data.train.device).eval().requires_grad_(False)


def pretrained(data: ImageData, home: str | None = None) -> nn.Module:
    """A network that has learnt on other pictures, with a new head for these classes: to be trained on.

    home: the set that it has learnt on, "cifar10", "glyphs" or "fashion-mnist". Default: CIFAR-10 where `data` are in colour,
    glyphs where they are grey. Shipped, else from the cache, else made on the spot. Trainable, on the data's device.
    Raises `ValueError` for another home, and `DownloadError` where the network has to be made and its pictures cannot be had.
    """
    return with_new_head(body(data, home), len(data.classes)).to(data.train.device)


def body(data: ImageData, home: str | None = None) -> nn.Module:
    """The network of `pretrained` with the head that it came with: logits of its home's classes, in their order."""
    channels = data.train.images.shape[1]
    return with_channels(own_body(home or HOMES[channels]), channels).to(data.train.device)


def own_body(home: str) -> nn.Module:
    """The course's network that has learnt on this set, for pictures of as many channels as its. Raises as `pretrained`."""
    from kdcourse.data import load_images

    if home not in BODIES:
        raise ValueError(f"home must be one of {', '.join(BODIES)}, got {home!r}")
    name, channels = BODIES[home]
    recipe, places = _recipe(name), store.checkpoint_paths(f"{home}-{name}.safetensors")
    missing = f"No network that has learnt on {home} is stored yet: training one takes a few minutes, once."

    def train_body() -> tuple[nn.Module, dict]:
        return _train(name, load_images(home, fallback=False), recipe.quick_steps, progress=True)

    none = Split(torch.zeros(1, channels, 1, 1))
    like = ImageData(home, ("",) * HOME_CLASSES, none, none, none, (), (), origin="")
    model, _, _ = store.load_or_train(recipe.build(like), places, missing, train_body)
    return model


def card(name: str, data: ImageData) -> dict:
    """What is known of a stored teacher: data fingerprint, recipe, seed, validation and test accuracy in percent."""
    _recipe(name)
    for _, path in _checkpoint_paths(name, data):
        if path.is_file():
            return store.read_card(path)
    raise ValueError(f"no {name} teacher for {data.name} is stored; zoo.teacher({name!r}, data) makes one")


def retrain(names: Iterable[str] | None = None, datasets: Iterable[str] | None = None) -> None:
    """Train the shipped teachers anew and write them into the package: what `kdcourse teachers` does."""
    from kdcourse.data import load_images

    for name in names or RECIPES:
        for dataset in datasets or (["cifar10"] if name == "body" else ["fashion-mnist", "glyphs"]):
            data = load_images(dataset, fallback=False)
            store.ship(*_train(name, data, _recipe(name).steps, progress=True), f"{data.name}-{name}.safetensors")


def _recipe(name: str) -> TeacherRecipe:
    if name == "body":
        return BODY
    if name not in RECIPES:
        raise ValueError(f"name must be one of {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]


def _checkpoint_paths(name: str, data: ImageData) -> list[tuple[str, Path]]:
    own = [("from the cache", cached("teachers", f"{data.name}-{name}-{data.train.fingerprint}.safetensors"))]
    if data.origin == "folder":  # a student's own pictures, whatever their folder is called
        return own
    return [("shipped", store.SHIPPED / f"{data.name}-{name}.safetensors"), *own]


def _train(name: str, data: ImageData, steps: int, progress: bool) -> tuple[nn.Module, dict]:
    recipe = _recipe(name)
    model = recipe.build(data).to(data.train.device)
    with whole_runs():
        train(
            model,
            data.train,
            steps=steps,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            order_seed=SEED,
            augment=partial(random_shift_flip, shift=recipe.shift, flip=data.name in MIRRORED),
            progress=progress,
        )
    # Stored in half precision, so judged in half precision.
    model.half().float()
    settings = {key: getattr(recipe, key) for key in ("batch_size", "learning_rate", "weight_decay", "shift")}
    return model, {
        "teacher": model.label,
        "data_set": data.name,
        "data": data.train.fingerprint,
        "seed": SEED,
        "recipe": {"steps": steps, "mirrored": data.name in MIRRORED, **settings},
        "training_accuracy": round(measure.accuracy(model, data.train), 2),
        "validation_accuracy": round(measure.accuracy(model, data.validation), 2),
        "test_accuracy": round(measure.accuracy(model, data.test), 2),
        "parameters": measure.parameters(model),
        "torch": torch.__version__,
    }
