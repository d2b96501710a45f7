"""Checkpoints of teachers: weights in half precision, and a card that says what they were trained on and how good they are."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch import nn

from kdcourse.system.storage import DamagedFile, cache_folder, cached, load_tensors, save_tensors

SHIPPED = Path(__file__).parent / "checkpoints"


def save(model: nn.Module, card: dict, path: Path) -> Path:
    """Write a checkpoint: the weights in float16, whole numbers as they are."""
    weights = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    return save_tensors(path, weights, {"card": json.dumps(card)})


def load(model: nn.Module, path: Path) -> dict:
    """Fill the model with a checkpoint's weights; returns its card. `DamagedFile` where it cannot."""
    weights, metadata = load_tensors(path)
    try:
        model.load_state_dict(weights)  # copies half precision into the model's own float32
    except RuntimeError as error:
        raise DamagedFile(f"{path.name} holds another model than {model.label}") from error
    return json.loads(metadata["card"])


def load_or_train(
    model: nn.Module, places: Sequence[tuple[str, Path]], missing: str, train: Callable[[], tuple[nn.Module, dict]]
) -> tuple[nn.Module, dict, str]:
    """The model filled from the first of `places`, its card, and the place; where none has it, what `train` gives.

    places: as `checkpoint_paths` gives them; what is trained is kept in the last. missing: what is said before it is trained.
    """
    if found := load_first(model, places):
        return model, *found
    print(missing)
    model, card = train()
    save_to_cache(model, card, places[-1][1].name)
    return model, card, "trained just now"


def load_first(model: nn.Module, places: Iterable[tuple[str, Path]]) -> tuple[dict, str] | None:
    """Fill the model from the first place that has a whole checkpoint: its card and that place, None where there is none."""
    for place, path in places:
        try:
            return load(model, path), place
        except FileNotFoundError:
            continue
        except DamagedFile as error:
            print(f"{error}; looking further.")
    return None


def checkpoint_paths(file: str) -> list[tuple[str, Path]]:
    """Where a checkpoint of this name may lie, best first, and what to call each place."""
    return [("shipped", SHIPPED / file), ("from the cache", cached("teachers", file))]


def save_to_cache(model: nn.Module, card: dict, file: str) -> None:
    """Put a teacher that was trained on the spot into the cache, for next time."""
    try:
        save(model, card, cache_folder() / "teachers" / file)
    except OSError as error:
        print(f"This teacher cannot be kept in the cache ({error.strerror}) and is trained again next time.")


def ship(model: nn.Module, card: dict, file: str) -> None:
    """Write a teacher into the package and print its card."""
    path = save(model, card, SHIPPED / file)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB\n{json.dumps(card, indent=2)}", flush=True)


def read_card(path: Path) -> dict:
    """What a checkpoint says of itself. Raises as `load_tensors` does."""
    return json.loads(load_tensors(path)[1]["card"])
