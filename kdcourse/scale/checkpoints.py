"""Where a run stands, in files that carry their hash: the newest whole one is where it goes on."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from kdcourse.scale.keys import RecipeError
from kdcourse.system.storage import DamagedFile, load_tensors, save_tensors

SAVE_TOTAL_LIMIT = 2  # the newest, and the one before in case it is damaged


class Checkpoints:
    """The checkpoints of one run in a folder. settings: JSON of what the run depends on; others' checkpoints are refused."""

    def __init__(self, folder: Path, settings: str):
        self.folder, self.settings = folder, settings

    def save(self, step: int, state: Mapping[str, Tensor]) -> Path:
        """Write the state after `step` steps under a temporary name, rename it, and drop those no longer needed.

        Where the disk takes no more, the older ones stay and a line says so: what was computed is not lost by that.
        """
        path = self.folder / f"step-{step:09d}.safetensors"
        try:
            save_tensors(path, state, {"settings": self.settings, "step": str(step)})
        except (OSError, SafetensorError) as error:
            print(f"{path.name} cannot be written ({error}); the run goes on, and the checkpoint before is kept.")
            return path
        for old in self._paths()[SAVE_TOTAL_LIMIT:]:
            old.unlink()
        return path

    def newest(self) -> tuple[int, dict[str, Tensor]]:
        """The last whole checkpoint's step and state; (0, {}) where there is none. Says which were damaged and sets them aside.

        Raises `RecipeError` where it was made with other settings.
        """
        paths = self._paths()
        for number, path in enumerate(paths):
            try:
                state, metadata = load_tensors(path)
            except DamagedFile as error:
                rest = "the one before is taken" if number + 1 < len(paths) else "the run begins anew"
                # Out of the way: the newest by its name, it would outlive every checkpoint of a run that begins anew.
                aside = path.replace(path.with_name(f"damaged-{path.name}"))
                print(f"{error}; it is kept as {aside.name}, and {rest}.")
                continue
            self._check(metadata["settings"])
            return int(metadata["step"]), state
        return 0, {}

    def finish(self, student: nn.Module, card: dict) -> None:
        """Write the trained student with what is known of it; checkpoints have done their work.

        Raises `RecipeError` where it cannot be written; the checkpoints stay then.
        """
        metadata = {"settings": self.settings, "card": json.dumps(card)}
        try:
            save_tensors(self.folder / "final.safetensors", student.state_dict(), metadata)
        except (OSError, SafetensorError) as error:
            raise RecipeError(
                f"{self.folder.name}: the trained student cannot be written ({error}); make room, and the same command goes on "
                "from the last checkpoint"
            ) from error
        for path in self._paths():
            path.unlink()

    def final(self) -> tuple[dict[str, Tensor], dict] | None:
        """The trained student's weights and card, None where it is not trained yet or its file is damaged."""
        try:
            weights, metadata = load_tensors(self.folder / "final.safetensors")
        except FileNotFoundError:
            return None
        except DamagedFile as error:
            print(f"{error}; the run is done again.")
            return None
        self._check(metadata["settings"])
        return weights, json.loads(metadata["card"])

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)

    def _check(self, theirs: str) -> None:
        before, now = (_flat(json.loads(text)) for text in (theirs, self.settings))
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise RecipeError(
                    f"{self.folder.name}: {key} must be {before.get(key)!r} as in the checkpoints of this output folder, got "
                    f"{now.get(key)!r}; take another --output for another recipe"
                )


def state_dict(
    student: nn.Module, method: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float]
) -> dict[str, Tensor]:
    """Everything that the next step depends on, and the losses so far, as named tensors."""
    state = {"losses": torch.tensor(losses)}
    for part, module in (("student", student), ("method", method)):
        state |= {f"{part}/{name}": value for name, value in module.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        known = {name: value for name, value in values.items() if value is not None}
        state |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in known.items()}
    return state


def load_state_dict(
    state: Mapping[str, Tensor], student: nn.Module, method: nn.Module, optimizer: torch.optim.Optimizer
) -> list[float]:
    """Put back what `state_dict` took; gives the losses so far."""
    student.load_state_dict(_part(state, "student/"))
    method.load_state_dict(_part(state, "method/"))
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(state, "optimizer/").items():
        number, key = name.split("/")
        found.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": found})
    return state["losses"].tolist()


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _flat(tree: object, prefix: str = "") -> dict[str, object]:
    """{"data": {"size": 32}} -> {"data.size": 32}."""
    if not isinstance(tree, dict) or not tree:
        return {prefix.removesuffix("."): tree}
    return {name: value for key, inner in tree.items() for name, value in _flat(inner, f"{prefix}{key}.").items()}
