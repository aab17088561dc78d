"""How a page writes figures down: one way for each unit, and never more digits than they carry.

Numbers and their units are tied by a space that does not break.
"""

import math
from typing import Final

_TIE: Final = "\u00a0"
_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float, digits: int = 1) -> str:
    r"""A share, 0 to 1, in per cent.

    Example:
        >>> percent(0.97444)
        '97.4\xa0%'
    """
    return f"{_signed(share * 100, digits)}{_TIE}%"


def similarity(value: float, digits: int = 2) -> str:
    """An SSIM or a share of the way to it; negative values carry a true minus sign."""
    return _signed(value, digits)


def count(value: float) -> str:
    """A whole number with thousands set apart.

    Example:
        >>> count(157684)
        '157,684'
    """
    return f"{value:,.0f}"


def microseconds(value: float) -> str:
    r"""A time given in microseconds, in the unit that suits it.

    Example:
        >>> microseconds(21.4), microseconds(3635.0)
        ('21\xa0µs', '3.6\xa0ms')
    """
    return f"{value:.0f}{_TIE}µs" if value < 1000 else f"{value / 1000:.1f}{_TIE}ms"


def size(size_bytes: float) -> str:
    r"""A size given in bytes, in decimal units.

    Example:
        >>> size(980), size(632577)
        ('980\xa0bytes', '633\xa0kB')
    """
    for limit, unit in ((1e6, "kB"), (1e9, "MB")):
        if 1000 <= size_bytes < limit:
            return f"{size_bytes * 1e3 / limit:.3g}{_TIE}{unit}"
    return f"{size_bytes / 1e9:.3g}{_TIE}GB" if size_bytes >= 1e9 else f"{size_bytes:.0f}{_TIE}bytes"


def power(value: float) -> str:
    r"""A very small or very large number with its power of ten.

    Example:
        >>> power(3.278e-07)
        '3.3\xa0×\xa010⁻⁷'
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}{_TIE}×{_TIE}10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def seconds(value: float) -> str:
    r"""A time given in seconds; minutes from 90 s on.

    Example:
        >>> seconds(9.78), seconds(111.06)
        ('9.8\xa0s', '1\xa0min 51\xa0s')
    """
    if value < 90:
        return f"{value:.1f}{_TIE}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}{_TIE}min {rest}{_TIE}s"


def several(number: int, noun: str) -> str:
    r"""A number with its noun, in the plural where it is not 1.

    Example:
        >>> several(1, "network"), several(4, "network")
        ('1\xa0network', '4\xa0networks')
    """
    return f"{count(number)}{_TIE}{noun}{'' if number == 1 else 's'}"


def _signed(value: float, digits: int) -> str:
    # Rounded first: "-0.0" would look like a figure below zero.
    rounded = round(value, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")
