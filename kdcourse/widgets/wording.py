"""Numbers and names in sentences as JavaScript writes them: the browser and Python must say the same."""

from decimal import ROUND_HALF_UP, Context, Decimal


def fixed(value: float, places: int) -> str:
    """As JavaScript's `toFixed`, which rounds a half up where Python's format rounds it to even."""
    return str(Decimal(float(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def short(value: float) -> str:
    """Three digits at most, as `Number(value.toPrecision(3))` in JavaScript."""
    return f"{float(Context(prec=3, rounding=ROUND_HALF_UP).create_decimal_from_float(float(value))):g}"


def signed(value: float, places: int) -> str:
    """`fixed` with its sign, as `signed` in shared.js."""
    return f"{'+' if value >= 0 else '−'}{fixed(abs(value), places)}"


def as_label(name: str) -> str:
    """A name beside a control, where some versions of ipywidgets read HTML and others formulas: their signs in full width."""
    return name.translate({ord(sign): ord(sign) + 0xFEE0 for sign in "$\\<&"})
