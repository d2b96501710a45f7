"""Weights of one's own, from the files that others write: `.pt`, `.pth` and `.safetensors`."""

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdcourse.models.tapping import unwrapped
from kdcourse.system.storage import DamagedFile, load_tensors

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
)  # keys that training scripts put them under
PREFIXES = ("module.", "_orig_mod.")  # what `DataParallel` and `torch.compile` put before each name
NAMED = 4  # names of weights that an error tells


def load(path: str | Path, into: nn.Module, *, strict: bool = True) -> nn.Module:
    """Fill a model with the weights in a file. Returns the model, in evaluation mode, as a teacher is asked.

    path: a `.safetensors`, or what `torch.save` wrote of a state_dict, alone or beside other things under a usual key, such as
    "state_dict" or "model". Only tensors are read (`weights_only`), no code is run. Names may bear `DataParallel`'s and
    `torch.compile`'s prefixes. Other precision becomes the model's own.
    into: a model of the file's architecture, such as `convnet((32, 64), classes=9)`; left as it was where anything is wrong.
    strict: False takes the weights that fit by name, and leaves out the rest; shapes must fit all the same.
    Raises `FileNotFoundError`, and `ValueError` for a damaged file, one that holds a whole model, and other weights than the
    model's.
    """
    if not isinstance(path, str | Path) or not isinstance(into, nn.Module):
        raise ValueError(f"load takes a file and a model, got {type(path).__name__} and {type(into).__name__}")
    path, model = Path(path).expanduser(), unwrapped(into)
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights at {path}")
    own = model.state_dict()
    given = _named_as(own, _state_dict(path), path.name)
    _check_fit(own, given, strict, path.name)
    model.load_state_dict({name: value for name, value in given.items() if name in own}, strict=False)
    return into.eval()


def _state_dict(path: Path) -> dict[str, Any]:
    """The weights, out of whatever they lie in."""
    found = load_tensors(path, hashed=False)[0] if path.suffix == ".safetensors" else _unpickled(path)
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        inner = [found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)]
        if not inner:
            break
        found = inner[0]
    if not isinstance(found, Mapping) or not any(isinstance(value, Tensor) for value in found.values()):
        what = f"a mapping of {_few(map(str, found))}" if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(f"{path.name} must hold a state_dict, alone or under one of {', '.join(WRAPPERS)}, got {what}")
    return dict(found)


def _unpickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make PyTorch raise errors of every kind
        code = re.search(r"GLOBAL (\S+)|(TorchScript)", str(error))
        if code is None or not isinstance(error, pickle.UnpicklingError | RuntimeError):
            raise DamagedFile(
                f"{path.name} cannot be read: it is truncated, damaged or no file of torch.save"
            ) from error
        raise ValueError(
            f"{path.name} holds more than weights, {code[1] or code[2]}, and to read it would run code from the file. Where it "
            "was made, or if you trust it, write the weights alone: torch.save(model.state_dict(), path)"
        ) from error


def _named_as(own: Mapping[str, Tensor], given: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The given weights without the prefixes that the model's own names do not have."""
    found = {}
    for name, value in given.items():
        bare = str(name)
        while bare not in own and bare.startswith(PREFIXES):
            bare = bare.removeprefix(PREFIXES[0]).removeprefix(PREFIXES[1])
        if bare in found:
            raise ValueError(f"{file} holds {bare} twice, with a prefix and without")
        found[bare] = value
    return found


def _check_fit(own: Mapping[str, Tensor], given: Mapping[str, Any], strict: bool, file: str) -> None:
    """Raise `ValueError` that says all at once what is missing, left over, of another shape or no number."""
    fitting = [name for name in given if name in own]
    wrong = {}
    if strict or not fitting:
        # Batch norm counts its batches only since PyTorch 0.4.1, and answers without.
        wrong["missing"] = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
        wrong["left over"] = [name for name in given if name not in own]
    wrong["of another shape"] = [
        f"{name}: {_kind(given[name])} where the model has {_kind(own[name])}"
        for name in fitting
        if isinstance(own[name], Tensor) and not _fits(given[name], own[name])
    ]
    wrong["NaN"] = [name for name in fitting if isinstance(given[name], Tensor) and given[name].isnan().any()]
    said = [f"{len(names)} {what} ({_few(names)})" for what, names in wrong.items() if names]
    if said:
        raise ValueError(f"{file} does not hold the model's {len(own)} weights: {', '.join(said)}")


def _fits(given: Any, own: Tensor) -> bool:
    """Whole numbers are no weights: a quantised network's mean something else."""
    return (
        isinstance(given, Tensor) and given.shape == own.shape and given.is_floating_point() >= own.is_floating_point()
    )


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{tuple(value.shape)}" + ("" if value.is_floating_point() else f" of {value.dtype}".replace("torch.", ""))


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
