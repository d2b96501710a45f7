"""Files that are never half-written: safe writing, checkpoints with a hash, and the cache folder.

A file is written under a temporary name beside its final one and renamed when it is complete. Renaming is atomic, so
whoever reads finds the old file, the new file or none, and never a part of one.
"""

import glob
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

DAY = 24 * 60 * 60  # seconds
SEAL = 16  # bytes: the digits of a `fingerprint`


class DamagedFile(ValueError):
    """A file whose content is not what was once written: truncated, or changed by even one bit."""


@contextmanager
def being_written(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to within the block, at whose end the file is renamed to `path`.

    An exception or a killed process leaves `path` as it was. Folders are made where they are missing. What a killed process
    left under a temporary name is deleted when it is a day old: nobody writes one file for so long.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError):  # another process may delete it first
            if time.time() - left.stat().st_mtime > DAY:
                left.unlink()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner reads; a shared cache and a checkout want the usual rights.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_safely(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path, then rename the result to `path`, as `being_written` does."""
    with being_written(path) as temporary:
        write(temporary)
    return Path(path)


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Write tensors and a few strings as one safetensors file that carries its own hash."""
    from safetensors.torch import save_file

    tensors = _apart(tensors)
    metadata = dict(metadata or {})
    metadata["content"] = _content_hash(tensors, metadata)
    return write_safely(path, lambda temporary: save_file(tensors, temporary, metadata))


def load_tensors(path: str | Path, *, hashed: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote: the tensors and the strings. hashed: False takes others' safetensors too.

    Raises `FileNotFoundError` where there is no file and `DamagedFile` where its content has changed since.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, UnicodeDecodeError, ValueError) as error:
        raise DamagedFile(f"{path.name} cannot be read ({error}): it is truncated or damaged") from error
    expected = metadata.pop("content", None)
    if (hashed or expected is not None) and expected != _content_hash(tensors, metadata):
        raise DamagedFile(f"{path.name} is damaged: its content does not match the hash stored with it")
    return tensors, metadata


def seal(path: Path) -> None:
    """Append the hash of a file's bytes to it: for what is written piece by piece, where `save_tensors` wants all at once."""
    digits = fingerprint(_mapped(path))
    with path.open("ab") as file:
        file.write(digits.encode())


def check_seal(path: Path) -> None:
    """Raise `DamagedFile` unless the file ends with the hash of its other bytes, and `FileNotFoundError` where there is none."""
    content = _mapped(path)
    if fingerprint(content[:-SEAL]).encode() != content[-SEAL:].numpy().tobytes():
        raise DamagedFile(f"{path.name} is truncated or damaged: its content does not match the hash stored with it")


def fingerprint(*things: object) -> str:
    """16 hexadecimal digits that change when a tensor, a model's weights or a plain value changes."""
    digest = hashlib.sha256()
    for thing in things:
        if isinstance(thing, nn.Module):
            thing = thing.state_dict()
        if isinstance(thing, Tensor):
            digest.update(f"{tuple(thing.shape)} {thing.dtype}".encode())
            digest.update(_bytes(thing))
        elif isinstance(thing, Mapping):
            for name in sorted(thing):
                digest.update(fingerprint(str(name), thing[name]).encode())
        else:
            digest.update(repr(thing).encode())
        digest.update(b"|")
    return digest.hexdigest()[:16]


def shipped(name: str) -> Path:
    """A folder that comes with the course, such as results: within an installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return package / name if (package / name).is_dir() else package.parent / name


def cache_folder() -> Path:
    """Where downloads and trained teachers are put: `KDCOURSE_CACHE`, else the system's place for caches.

    A folder that cannot be written is replaced by a temporary one, with a line that says so.
    """
    return _writable(chosen_cache_folder())


def cached(*parts: str) -> Path:
    """Where something of this name is, or is to be put: a cache that can only be read still serves what it holds."""
    held = chosen_cache_folder().joinpath(*parts)
    return held if held.exists() else cache_folder().joinpath(*parts)


def chosen_cache_folder() -> Path:
    """The cache folder that settings ask for, writable or not."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("KDCOURSE_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("kdcourse")


@lru_cache
def _writable(folder: Path) -> Path:
    try:
        write_safely(folder / ".writable", lambda path: path.write_bytes(b"yes"))
    except OSError as error:
        temporary = Path(tempfile.mkdtemp(prefix="kdcourse-"))
        reason = error.strerror or type(error).__name__
        print(f"The cache folder cannot be written ({reason}); a temporary one is used until this session ends.")
        return temporary
    return folder


def _content_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    return fingerprint(tensors, metadata)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the host, each in memory of its own: two layers of a GPT share a weight, which the format refuses."""
    found, places = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in places else tensor
        places.add(place)
    return found


def _mapped(path: Path) -> Tensor:
    """A file's bytes (N,) uint8, mapped: not read before they are looked at."""
    return torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8)


def _bytes(tensor: Tensor) -> memoryview:
    """A tensor's own bytes, not a copy: teachers are looked at before every run."""
    return memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
