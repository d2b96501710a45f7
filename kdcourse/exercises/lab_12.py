"""The exercises of lab 12, Choose your compression."""

from itertools import chain, repeat

import torch

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import filled, several

# Seconds that calls of a stopwatch's `run` take: five to get warm, then ten with one hiccup.
WARMING, WARM = (0.9, 0.5, 0.4, 0.2, 0.2), (0.010, 0.011, 0.010, 0.012, 0.5, 0.011, 0.012, 0.010, 0.011, 0.013)


def _stopwatch(answer) -> dict[str, object]:
    """A clock that only `run` moves."""
    taken, now = chain(WARMING, WARM, repeat(0.010)), [100.0]

    def run():
        now[0] += next(taken)

    return {"milliseconds": torch.as_tensor(filled(answer(run, lambda: now[0], len(WARM))), dtype=torch.float64)}


@define(
    "12.milliseconds",
    goal="Call run() five times unwatched, then `repeats` times by clock(), which tells seconds: the median in milliseconds.",
    difficulty="easy",
    minutes="six minutes",
    hints=("before = clock(); run(); taken.append(clock() - before)",
           "The first calls allocate memory and choose kernels: call run() five times before the clock is looked at.",
           "torch.tensor(taken).median(), times 1000: a median does not see the one call that another program held up."),
    probe=_stopwatch,
)  # fmt: skip
def milliseconds(run, clock, repeats):
    for _ in range(5):
        run()
    taken = []
    for _ in range(repeats):
        before = clock()
        run()
        taken.append(clock() - before)
    return 1000 * torch.tensor(taken, dtype=torch.float64).median()


def _timed(run, clock, repeats, warm_up=5) -> torch.Tensor:
    taken = []
    for _ in range(warm_up + repeats):
        before = clock()
        run()
        taken.append(clock() - before)
    return 1000 * torch.tensor(taken, dtype=torch.float64)


@milliseconds.mistake("no warm-up", "The first calls are slow for reasons that the next thousand will not have.")
def _cold(run, clock, repeats):
    return _timed(run, clock, repeats, warm_up=0).median()


@milliseconds.mistake("the warm-up is counted", "Call run() five times first, and keep no note of how long it took.")
def _counted(run, clock, repeats):
    return _timed(run, clock, repeats).median()


@milliseconds.mistake("the mean", "One call that another program held up moves it; the median stays.")
def _mean(run, clock, repeats):
    return _timed(run, clock, repeats)[5:].mean()


@milliseconds.mistake("the fastest call", "That is what the machine can do, once. The median is what it does.")
def _fastest(run, clock, repeats):
    return _timed(run, clock, repeats)[5:].min()


@milliseconds.mistake("seconds", "The clock tells seconds: multiply by 1000.")
def _seconds(run, clock, repeats):
    return milliseconds(run, clock, repeats) / 1000


def _matrix(seed: int, rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@define(
    "12.magnitude_mask",
    goal="A mask (O, I), False for this share of the whole matrix, the weights nearest to zero; True for those that stay.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("How many go: round(share * weight.numel()).",
           "weight.abs().flatten().topk(count, largest=False).indices are the places of those nearest to zero.",
           "A mask of ones, torch.bool, set to False at these places, and .view_as(weight)."),
    cases=lambda: [(_matrix(0, 4, 6), 0.5), (_matrix(1, 5, 8), 0.9), (_matrix(2, 4, 5), 0.25)],
)  # fmt: skip
def magnitude_mask(weight, share):
    mask = torch.ones_like(weight, dtype=torch.bool).flatten()
    mask[weight.abs().flatten().topk(round(share * weight.numel()), largest=False).indices] = False
    return mask.view_as(weight)


@magnitude_mask.mistake("the largest go", "They carry most of what the layer says: take those nearest to zero.")
def _largest(weight, share):
    return magnitude_mask(1 / weight, share)


@magnitude_mask.mistake("the sign is not dropped", "−3 is far from zero too: compare weight.abs().")
def _signed(weight, share):
    return magnitude_mask(weight - weight.min() + 1, share)


@magnitude_mask.mistake("row by row", "Each output then loses the same share; asked is the whole matrix at once.")
def _by_row(weight, share):
    return torch.stack([magnitude_mask(row, share) for row in weight])


@magnitude_mask.mistake("the share stays", "`share` is what goes.")
def _kept(weight, share):
    return magnitude_mask(weight, 1 - share)


@magnitude_mask.mistake(
    "the mask the other way round", "True is for the weights that stay: weight * mask is what is left."
)
def _inverted(weight, share):
    return ~magnitude_mask(weight, share)


def _layers(seed: int) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    keep = torch.randperm(6, generator=generator)[:3].sort().values
    return _matrix(seed, 6, 7), _matrix(seed + 1, 1, 6)[0], _matrix(seed + 2, 8, 6), keep


def _parts(answer) -> dict[str, object]:
    """Each of the three tensors that come back, for each case."""
    found: dict[str, object] = {}
    for number, seed in enumerate((10, 20), start=1):
        parts = several(answer(*_layers(seed)))
        for name, part in zip(("weight", "bias", "following"), parts, strict=True):
            found[f"{name} in case {number}"] = part
    return found


@define(
    "12.remove_units",
    goal="A layer's weight (H, I) and bias (H,), the next layer's weight (O, H), the units that stay (K,): all three cut.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("A unit is a row of its own layer's weight and an entry of its bias.",
           "What a unit says is read by a column of the next layer's weight: following[:, keep]."),
    probe=_parts,
)  # fmt: skip
def remove_units(weight, bias, following, keep):
    return weight[keep], bias[keep], following[:, keep]


@remove_units.mistake("rows of the next layer", "Its rows are its own outputs; what it reads are its columns.")
def _rows(weight, bias, following, keep):
    return weight[keep], bias[keep], following[keep]


@remove_units.mistake("columns of the first layer", "Those are its inputs, the pixels; its units are rows.")
def _columns(weight, bias, following, keep):
    return weight[:, keep], bias[keep], following[:, keep]


@remove_units.mistake("the bias stays whole", "Every unit takes its own bias with it.")
def _whole_bias(weight, bias, following, keep):
    return weight[keep], bias, following[:, keep]


@remove_units.mistake("zeros, not less", "That is a mask: the matrices are as large as before, and as slow.")
def _zeros(weight, bias, following, keep):
    mask = torch.zeros(len(bias))
    mask[keep] = 1
    return weight * mask[:, None], bias * mask, following * mask


@remove_units.mistake("the units that stay are taken out", "`keep` names those that stay.")
def _others(weight, bias, following, keep):
    return remove_units(weight, bias, following, torch.tensor([u for u in range(len(bias)) if u not in keep]))


def _codes(answer) -> dict[str, object]:
    """Codes, scales, and whether the codes take one byte each."""
    found: dict[str, object] = {}
    for number, seed in enumerate((30, 31), start=1):
        codes, scale = several(answer(_matrix(seed, 5, 9) * torch.tensor([0.1, 1, 3, 10, 0.5])[:, None]))
        kind = torch.as_tensor(codes).dtype
        found |= {f"codes {number}": codes, f"scale {number}": scale, f"codes {number} are int8": kind == torch.int8}
        found[f"codes {number} are floats"] = kind.is_floating_point
    return found


@define(
    "12.to_int8",
    goal="A weight (O, I) as torch.int8 from −127 to 127, and a scale (O, 1), one a row: weight ≈ codes · scale.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("The largest magnitude of a row becomes 127: scale = weight.abs().amax(dim=1, keepdim=True) / 127.",
           "(weight / scale).round().to(torch.int8): .to alone cuts off what lies behind the point."),
    probe=_codes,
)  # fmt: skip
def to_int8(weight):
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    return (weight / scale).round().to(torch.int8), scale


@to_int8.mistake(
    "one scale for the whole matrix", "A row of small weights is then left with a handful of the 255 values."
)
def _one_scale(weight):
    scale = (weight.abs().max() / 127).expand(len(weight), 1)
    return (weight / scale).round().to(torch.int8), scale


@to_int8.mistake("cut off, not rounded", "7.9 becomes 7: twice the error, and all of it towards zero.")
def _cut(weight):
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    return (weight / scale).to(torch.int8), scale


@to_int8.mistake("255 steps on one side", "int8 ends at 127; what lies beyond wraps round to negative numbers.")
def _wraps(weight):
    scale = weight.abs().amax(dim=1, keepdim=True) / 255
    return (weight / scale).round().to(torch.int16).to(torch.int8), scale


@to_int8.mistake("the scale upside down", "weight ≈ codes · scale, so the scale is small: the largest magnitude / 127.")
def _upside_down(weight):
    codes, scale = to_int8(weight)
    return codes, 1 / scale


@to_int8.mistake("still floats", "Rounded floats take four bytes each: .to(torch.int8).")
def _floats(weight):
    codes, scale = to_int8(weight)
    return codes.float(), scale


def _activations(seed: int) -> torch.Tensor:
    """Rows on both sides of zero, above it as after a ReLU, above it throughout, and below it throughout."""
    rows = _matrix(seed, 4, 9)
    return torch.stack([4 * rows[0], rows[1].relu(), rows[2].abs() + 3, -0.1 - rows[3].abs()])


def _zero_points(answer) -> dict[str, object]:
    """Codes, scales, zero points, and whether the codes take one byte each, without a sign."""
    found: dict[str, object] = {}
    for number, seed in enumerate((40, 41), start=1):
        codes, scale, zero = several(answer(_activations(seed)))
        kind = torch.as_tensor(codes).dtype
        found |= {f"codes {number}": codes, f"scale {number}": scale, f"zero point {number}": zero}
        found[f"codes {number} are uint8"] = kind == torch.uint8
    return found


@define(
    "12.to_uint8",
    goal="Activations (N, D) as torch.uint8, a scale (N, 1) and a zero point (N, 1): a row ≈ scale · (codes − zero point).",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("The range of a row must hold zero: low = amin(dim=1, keepdim=True).clamp(max=0), high likewise with clamp(min=0).",
           "256 codes have 255 steps between them: scale = (high − low) / 255.",
           "The zero point is the code of the number 0, a whole number: (−low / scale).round().",
           "((activations / scale).round() + zero).clamp(0, 255).to(torch.uint8)"),
    probe=_zero_points,
)  # fmt: skip
def to_uint8(activations):
    low = activations.amin(dim=1, keepdim=True).clamp(max=0)
    high = activations.amax(dim=1, keepdim=True).clamp(min=0)
    scale = (high - low) / 255
    zero = (-low / scale).round()
    return ((activations / scale).round() + zero).clamp(0, 255).to(torch.uint8), scale, zero


def _affine(activations, low, high, *, steps=255, least=0, most=255, whole=torch.round):
    scale = (high - low) / steps
    zero = whole(-low / scale)
    codes = (activations / scale + zero).round().clamp(least, most)
    return codes.to(torch.int16).to(torch.uint8), scale, zero


def _ranges(activations, **along):
    return activations.amin(**along).clamp(max=0), activations.amax(**along).clamp(min=0)


@to_uint8.mistake(
    "the zero point is not rounded",
    "Then no code stands for the number 0, and every zero comes back as something else.",
)
def _unrounded_zero(activations):
    return _affine(activations, *_ranges(activations, dim=1, keepdim=True), whole=lambda zero: zero)


@to_uint8.mistake("clamped to the signed range", "uint8 goes from 0 to 255; −128 to 127 is the range of int8.")
def _signed_range(activations):
    return _affine(activations, *_ranges(activations, dim=1, keepdim=True), least=-128, most=127)


@to_uint8.mistake(
    "one scale for all rows", "One picture with a large activation then takes the fine steps from all others."
)
def _one_for_all(activations):
    low, high = _ranges(activations)
    return _affine(activations, low.expand(len(activations), 1), high.expand(len(activations), 1))


@to_uint8.mistake(
    "a range without zero",
    "A row above zero throughout gets a zero point below 0, which is no code: clamp low to at most 0.",
)
def _without_zero(activations):
    return _affine(activations, activations.amin(dim=1, keepdim=True), activations.amax(dim=1, keepdim=True))


@to_uint8.mistake("no zero point", "Without it all that is negative is clamped to the code 0, and lost.")
def _no_zero_point(activations):
    _, high = _ranges(activations, dim=1, keepdim=True)
    return _affine(activations, torch.zeros_like(high), high.clamp(min=1e-12))


@to_uint8.mistake("256 steps", "Of 256 codes the last is 255, so there are 255 steps from the first to the last.")
def _one_step_more(activations):
    return _affine(activations, *_ranges(activations, dim=1, keepdim=True), steps=256)


@to_uint8.mistake(
    "the sign of the zero point", "low lies below zero, and its code is 0: the zero point is −low / scale."
)
def _other_sign(activations):
    low, high = _ranges(activations, dim=1, keepdim=True)
    scale = (high - low) / 255
    zero = (low / scale).round()
    return ((activations / scale).round() + zero).clamp(0, 255).to(torch.uint8), scale, zero


@define(
    "12.two_of_four",
    goal="A mask (O, I), torch.bool: of every four weights that follow each other in a row, True for the two largest magnitudes.",
    difficulty="moderate",
    minutes="six minutes",
    hints=("weight.abs().unflatten(1, (-1, 4)) has the shape (O, I/4, 4): a group of four in the last axis.",
           "groups.topk(2, dim=2).indices are the places of the two that stay, in each group.",
           "torch.zeros_like(groups, dtype=torch.bool).scatter(2, places, True).flatten(1) puts True there."),
    cases=lambda: [(_matrix(50, 8, 8),), (_matrix(51, 4, 12),)],
)  # fmt: skip
def two_of_four(weight):
    groups = weight.abs().unflatten(1, (-1, 4))
    places = groups.topk(2, dim=2).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter(2, places, True).flatten(1)


@two_of_four.mistake(
    "groups along the outputs", "A group lies within a row: its weights meet four inputs of one output."
)
def _down_the_columns(weight):
    return two_of_four(weight.T.contiguous()).T


@two_of_four.mistake(
    "half of the whole matrix", "That is unstructured: a group may then keep none of its weights, or all."
)
def _unstructured(weight):
    return magnitude_mask(weight, 0.5)


@two_of_four.mistake("half of each row", "Each group of four must keep two, not only each row its half.")
def _half_rows(weight):
    return _by_row(weight, 0.5)


@two_of_four.mistake(
    "the two smallest stay", "They carry least: topk takes the largest where largest=False is not said."
)
def _smallest(weight):
    return ~two_of_four(weight)


@two_of_four.mistake("the sign is not dropped", "−3 is far from zero too: compare weight.abs().")
def _largest_signed(weight):
    return two_of_four(weight - weight.min() + 1)


@two_of_four.mistake("every fourth weight together", "A group is four neighbours: unflatten(1, (-1, 4)), not (4, -1).")
def _strided(weight):
    columns = weight.unflatten(1, (4, -1)).mT.flatten(1)
    return two_of_four(columns).unflatten(1, (-1, 4)).mT.flatten(1)
