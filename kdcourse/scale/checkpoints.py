"""Where a run stands, in files that carry their hash: the newest whole one is where it goes on."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from kdcourse.scale.keys import RecipeError
from kdcourse.system.storage import DamagedFile, load_tensors, save_tensors

KEPT = 2  # the newest, and the one before in case it is damaged


class Checkpoints:
    """The checkpoints of one run in a folder. settings: JSON of what the run depends on; others' checkpoints are refused."""

    def __init__(self, folder: Path, settings: str):
        self.folder, self.settings = folder, settings

    def save(self, step: int, state: Mapping[str, Tensor]) -> Path:
        """Write the state after `step` steps under a temporary name, rename it, and drop those no longer needed."""
        path = self.folder / f"step-{step:09d}.safetensors"
        save_tensors(path, state, {"settings": self.settings, "step": str(step)})
        for old in self._paths()[KEPT:]:
            old.unlink()
        return path

    def newest(self) -> tuple[int, dict[str, Tensor]]:
        """The last whole checkpoint's step and state; (0, {}) where there is none. Says which were damaged.

        Raises `RecipeError` where it was made with other settings.
        """
        paths = self._paths()
        for number, path in enumerate(paths):
            try:
                state, metadata = load_tensors(path)
            except DamagedFile as error:
                rest = "the one before is taken" if number + 1 < len(paths) else "the run begins anew"
                print(f"{error}; {rest}.")
                continue
            self._check(metadata["settings"])
            return int(metadata["step"]), state
        return 0, {}

    def finish(self, student: nn.Module, card: dict) -> None:
        """Write the trained student with what is known of it; checkpoints have done their work."""
        metadata = {"settings": self.settings, "card": json.dumps(card)}
        save_tensors(self.folder / "final.safetensors", student.state_dict(), metadata)
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
        before, now = (dict(_flat(json.loads(text))) for text in (theirs, self.settings))
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise RecipeError(
                    f"{self.folder.name}: {key} must be {before.get(key)!r} as in the checkpoints of this output folder, got "
                    f"{now.get(key)!r}; take another --output for another recipe"
                )


def packed(
    student: nn.Module, method: nn.Module, optimizer: torch.optim.Optimizer, losses: Tensor
) -> dict[str, Tensor]:
    """Everything that the next step depends on, as named tensors."""
    parts = {"student": student.state_dict(), "method": method.state_dict()}
    state = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
    for number, values in optimizer.state_dict()["state"].items():
        state |= {
            f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in values.items() if value is not None
        }
    return {**state, "losses": losses}


def unpack(
    state: Mapping[str, Tensor], student: nn.Module, method: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Put back what `packed` took."""
    for part, module in (("student", student), ("method", method)):
        begin = f"{part}/"
        module.load_state_dict(
            {name.removeprefix(begin): value for name, value in state.items() if name.startswith(begin)}
        )
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith("optimizer/"):
            _, number, key = name.split("/")
            found.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": found})


def _flat(tree: object, where: str = "") -> list[tuple[str, object]]:
    if isinstance(tree, dict) and tree:
        return [pair for key, value in tree.items() for pair in _flat(value, f"{where}.{key}" if where else str(key))]
    return [(where, tree)]
