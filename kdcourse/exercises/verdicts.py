"""What a probe finds of an answer, held against what it finds of the reference and of the known mistakes, and put into words."""

import inspect
import re
import reprlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from kdcourse.exercises.probing import as_tensor

Found = Mapping[str, object]
LONGEST = 6  # numbers of an argument that a sentence shows


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people write: what it is called, why it is wrong, and the function itself."""

    name: str
    explanation: str
    function: Callable


def all_close(one: Found, other: Found) -> bool:
    """Whether two outcomes of one probe agree: the same names, and for each the same value, to a relative 1e-4."""
    return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in other)


def form_of(value: object) -> object:
    """A tensor's type, a tuple of such, or the type of what is no tensor."""
    if isinstance(value, tuple):
        return tuple(map(form_of, value))
    return value.dtype if isinstance(value, Tensor) else type(value)


def in_form_of(given: object, wanted: object) -> object:
    """The same numbers as tensors of the types of `wanted`, alone or in a tuple, or as a list; untouched where neither is."""
    if isinstance(wanted, Tensor):
        tensor = as_tensor(given)
        return given if tensor is None else tensor.to(wanted.dtype)
    if (
        isinstance(wanted, tuple)
        and isinstance(given, list | tuple | np.ndarray | Tensor)
        and len(given) == len(wanted)
    ):
        return tuple(map(in_form_of, given, wanted))
    if isinstance(wanted, list) and isinstance(given, np.ndarray | Tensor | Iterator):
        return list(given) if isinstance(given, Iterator) else given.tolist()
    return given


def other_kind(given: Found, wanted: Found) -> str:
    """In words, where right values are of a kind that cannot stand for the wanted one; "" where all can.

    A mask of numbers indexes places, and a float counts no layers: both go wrong only later. Whole numbers for floats are fine.
    """
    for name, value in wanted.items():
        if value is None or isinstance(value, bool):
            continue
        mine, theirs = as_tensor(given[name]).dtype, as_tensor(value).dtype
        said = f"{name[0].upper()}{name[1:]}: right as {str(mine).removeprefix('torch.')}"
        if theirs == torch.bool != mine:
            return f"{said}, and torch.bool is wanted: 0 and 1 as numbers would pick places. A comparison gives True and False."
        if mine.is_floating_point and not theirs.is_floating_point:
            return f"{said}, and whole numbers are wanted: // divides so, and int() or .long() turns floats into them."
    return ""


def _close(given: object, wanted: object) -> bool:
    if given is None or wanted is None:
        return given is wanted
    if isinstance(wanted, bool):
        return isinstance(given, bool | np.bool_) and bool(given) is wanted
    given, wanted = as_tensor(given), as_tensor(wanted)
    return given is not None and given.shape == wanted.shape and bool(_equal(given, wanted).all())


def _equal(given: Tensor, wanted: Tensor) -> Tensor:
    given, wanted = (side.detach().cpu().double() for side in (given, wanted))
    return torch.isclose(given, wanted, rtol=1e-4, atol=1e-6, equal_nan=True)


def recognise(given: Found, wanted: Found, outcomes: Mapping[Mistake, Found]) -> list[Mistake]:
    """The known mistake that gives what is `given`, or the two that give it together; none where it is neither.

    Two together: a mistake that changes the result by a constant factor, in each case, on top of another mistake; or two that
    touch different parts of a sum or of a result, so that what each of them changes adds up.
    """
    for mistake, found in outcomes.items():
        if all_close(given, found):
            return [mistake]
    factors = {mistake: factor for mistake, found in outcomes.items() if (factor := ratios(found, wanted))}
    for mistake, found in outcomes.items():
        left = _ratios(given, found) or {}
        for other, factor in factors.items():
            shared = left.keys() & factor.keys()  # a case in which the right value is zero has no factor
            if (
                other is not mistake
                and shared
                and all(np.isclose(left[case], factor[case], rtol=1e-3) for case in shared)
            ):
                return [mistake, other]
    for one, other in combinations(outcomes, 2) if not _one_number_a_case(wanted) else ():
        if (both := _together(outcomes[one], outcomes[other], wanted)) and all_close(given, both):
            return [one, other]
    return []


def _one_number_a_case(wanted: Found) -> bool:
    """Then much coincides by chance."""
    numbers = [value for value in wanted.values() if value is not None and not isinstance(value, bool)]
    return sum(as_tensor(value).numel() for value in numbers) <= len({case_of(name) for name in wanted})


def _together(one: Found, other: Found, wanted: Found) -> Found | None:
    """What two mistakes give where the changes that each makes add up; None where a value cannot be added."""
    if not one.keys() == other.keys() == wanted.keys():
        return None
    found = {}
    for name, value in wanted.items():
        if _close(one[name], value) or _close(other[name], value):
            found[name] = other[name] if _close(one[name], value) else one[name]
            continue
        sides = [as_tensor(side) for side in (one[name], other[name], value)]
        if any(side is None or side.shape != sides[2].shape or not side.is_floating_point() for side in sides):
            return None
        first, second, right = (side.detach().double() for side in sides)
        found[name] = first + second - right
    return found


def ratios(given: Found, wanted: Found) -> dict[int, float] | None:
    """By which number all values of a case were multiplied, case -> factor; None where there is no such number but 1.

    Every number is a multiple of every other. Where cases have one number each, there must be several, and their factors the same
    in all, or whole numbers or one over such, as sizes are.
    """
    found = _ratios(given, wanted)
    if not found or not _one_number_a_case(wanted):
        return found
    factors = _listed(found)
    whole = all(np.isclose(size, round(size), rtol=1e-4) for size in (max(abs(f), 1 / abs(f)) for f in factors))
    return found if len(factors) > 1 and (whole or np.allclose(factors, factors[0], rtol=1e-3)) else None


def _ratios(given: Found, wanted: Found) -> dict[int, float] | None:
    if given.keys() != wanted.keys():
        return None
    sides: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for name, value in wanted.items():
        if value is None or isinstance(value, bool):
            if not _close(given[name], value):
                return None
            continue
        one, other = as_tensor(given[name]), as_tensor(value)
        if one is None or one.shape != other.shape:
            return None
        sides.setdefault(case_of(name), []).append((one.detach().double().flatten(), other.detach().double().flatten()))
    found = {}
    for case, pairs in sides.items():
        one, other = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        numbers = ~(one.isnan() & other.isnan())
        one, other = one[numbers], other[numbers]
        if other.norm() < 1e-7 and one.norm() < 1e-6:  # nothing to be multiplied here
            continue
        factor = float(one @ other / (other @ other))
        if (
            not np.isfinite(factor)
            or factor == 0
            or not torch.allclose(one, factor * other, rtol=1e-3, atol=1e-6 * abs(factor))
        ):
            return None
        found[case] = factor
    return found if found and not np.allclose(_listed(found), 1, rtol=1e-3) else None


def _listed(factors: Mapping[int, float]) -> list[float]:
    return [factors[case] for case in sorted(factors)]


def case_of(name: str) -> int:
    """The number of the case that a name of a probe speaks of; 1 where it names none."""
    number = re.search(r"case (\d+)", name)
    return int(number[1]) if number else 1


def factor_in_words(factors: Mapping[int, float], names: Sequence[str], arguments: Sequence[tuple]) -> str:
    """ "divided by C, the number of columns", and the like: what the factors of all cases have in common; "" where nothing.

    names: of the reference's arguments. arguments: what each case gave it.
    """
    known: dict[str, list[float]] = {}
    for case in sorted(factors):
        given = dict(zip(names, arguments[case - 1] if case <= len(arguments) else (), strict=False))
        first = next((value for value in given.values() if isinstance(value, Tensor) and value.ndim > 1), None)
        sizes = {"a hundred": 100.0, "minus one": -1.0, "two": 2.0}
        if first is not None:
            sizes |= {"N, the number of rows": len(first), "C, the number of columns": first.shape[-1]}
            sizes |= {"N · C, the number of entries": len(first) * first.shape[-1]}
            sizes |= {"N · N, the number of pairs": len(first) ** 2}
        if isinstance(given.get("temperature"), float | int):
            sizes |= {
                "T, the temperature": given["temperature"],
                "T², the temperature's square": given["temperature"] ** 2,
            }
        for name, size in sizes.items():
            known.setdefault(name, []).append(float(size))
    factors = _listed(factors)
    if not factors:
        return ""
    for name, sizes in known.items():
        if len(sizes) == len(factors) and np.allclose(factors, sizes, rtol=1e-3):
            return f"multiplied by {name}"
        if len(sizes) == len(factors) and np.allclose(factors, 1 / np.asarray(sizes), rtol=1e-3):
            return f"divided by {name}"
    if np.allclose(factors, factors[0], rtol=1e-3):
        return f"multiplied by {factors[0]:.4g}"
    return ""


def first_difference(given: Found, wanted: Found, names: Sequence[str] = (), arguments: Sequence[tuple] = ()) -> str:
    """In words, where two outcomes of one probe part first: the entry, both values, and the case's own arguments."""
    name = next(key for key in wanted if key not in given or not _close(given[key], wanted[key]))
    title, case = f"{name[0].upper()}{name[1:]}", _case_in_words(name, names, arguments)
    if name not in given:
        return f"{title} could not be looked at: return one scalar tensor.{case}"
    mine, theirs = given[name], wanted[name]
    if isinstance(theirs, bool):
        if name.startswith("arguments changed"):
            case = f" An operation in place did it: work on a copy, `.clone()`.{case}"
        return f"{title}: {'yes' if mine is True else 'no'}, and it should be {'yes' if theirs else 'no'}.{case}"
    if mine is None:
        return f"{title}: there is none. Does the result still hang on the student?"
    if theirs is None:
        return f"{title}: there is one, and there should be none.{case}"
    mine, theirs = as_tensor(mine), as_tensor(theirs)
    if mine is None:
        return f"{title}: it is {describe(given[name])}, and numbers are wanted.{case}"
    if mine.shape != theirs.shape:
        return f"{title}: shape {tuple(mine.shape)}, and it should be {tuple(theirs.shape)}.{case}"
    apart = (~_equal(mine, theirs)).flatten().nonzero()[0].item()
    place = [int(index) for index in np.unravel_index(apart, mine.shape)] if mine.ndim else []
    where = f", entry {place}" if place else ""
    if mine.flatten()[apart].isnan():
        return f"{title}{where}: it holds NaN, and it should be {_number(theirs.flatten()[apart])}.{case}"
    return (
        f"{title}{where}: {_number(mine.flatten()[apart])}, and it should be {_number(theirs.flatten()[apart])}.{case}"
    )


def _number(value: Tensor) -> str:
    return f"{value.item()}" if value.dtype == torch.bool or not value.is_floating_point() else f"{value.item():.6g}"


def _case_in_words(name: str, names: Sequence[str], arguments: Sequence[tuple]) -> str:
    if "case" not in name or case_of(name) > len(arguments):
        return ""
    given = zip(names, arguments[case_of(name) - 1], strict=False)
    return " This case: " + "; ".join(f"{one} = {_argument(value)}" for one, value in given) + "."


def _argument(value: object) -> str:
    if isinstance(value, Tensor | np.ndarray) and value.ndim:
        flat = as_tensor(value).flatten()
        shown = ", ".join(_number(entry) for entry in flat[:LONGEST])
        return f"{shown}{', …' if len(flat) > LONGEST else ''} of shape {tuple(value.shape)}"
    return (
        f"{value:.6g}" if isinstance(value, float) else f"{value}" if isinstance(value, int | str) else describe(value)
    )


def stopped(error: Exception, answer: Callable) -> str:
    """In words, which line of an answer raised what."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    return f"Your function stopped{raised(error, code and code.co_filename)}."


def raised(error: BaseException, file: str | None) -> str:
    """ " in line 3, `a = b`, with NameError: …": the line of this file that an error came from last, and what it says."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if not frames:
        return f" with {what}"
    line = f", `{frames[-1].line}`," if frames[-1].line else ""
    return f" in line {frames[-1].lineno}{line} with {what}"


def describe(value: object) -> str:
    """A value by its kind, as a sentence names it: "a float32 tensor of shape (5, 4)"."""
    if isinstance(value, Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, Tensor) else "NumPy array"
        name = str(value.dtype).removeprefix("torch.")
        return f"{'an' if name.startswith(('int', 'object')) else 'a'} {name} {kind} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple) and len(value) <= 4:
        return f"a {type(value).__name__} of {len(value)}: " + ", ".join(describe(part) for part in value)
    if isinstance(value, list | tuple | dict | set):
        return f"a {type(value).__name__} of {len(value)}"
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool | int | float | str):
        return f"the {type(value).__name__} {reprlib.repr(value)}"
    return f"a value of type {type(value).__name__}"
