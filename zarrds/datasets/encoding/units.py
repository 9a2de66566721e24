"""Whether units are the same in other words: ``m s-1``, ``m/s`` and ``meters second**-1``.

Only products, quotients and powers of the same words are compared, by the grammar of UDUNITS and the names that CF
and UDUNITS have for the commonest ones. Nothing is converted; what is not understood is compared as text.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TypeAlias

__all__ = ["are_same_units"]

# how often a word stands above, or below, the line
_Factors: TypeAlias = "Counter[tuple[str, bool]]"

_NAMES = (
    ("K", "kelvin", "kelvins", "Kelvin", "degK", "degree_K", "degrees_K", "degree_kelvin", "degrees_kelvin"),
    ("degC", "celsius", "Celsius", "degree_C", "degrees_C", "degree_Celsius", "degrees_Celsius", "deg_C", "°C"),
    # CF 1.12, sections 4.1 and 4.2
    ("degrees_north", "degree_north", "degree_N", "degrees_N", "degreeN", "degreesN"),
    ("degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE"),
    ("%", "percent"),
    ("m", "meter", "meters", "metre", "metres"),
    ("s", "sec", "second", "seconds"),
    ("min", "minute", "minutes"),
    ("h", "hr", "hour", "hours"),
    ("d", "day", "days"),
    ("g", "gram", "grams"),
    ("kg", "kilogram", "kilograms"),
    ("mol", "mole", "moles"),
    ("N", "newton", "newtons"),
    ("Pa", "pascal", "pascals"),
    ("hPa", "hectopascal", "hectopascals"),
    ("J", "joule", "joules"),
    ("W", "watt", "watts"),
    ("rad", "radian", "radians"),
    ("degree", "degrees"),
)
_FIRST = {name: names[0] for names in _NAMES for name in names}
# of a name, or with a sign: 10^-6 is 10-6, but 10^3 is not 103
_POWER = re.compile(r"(?<=[^\W\d])\s*\^\s*|\s*\^\s*(?=[+-])")
# products are written with blanks, points (of which numbers have some too) and stars
_PRODUCT = re.compile(r"[\s*·]+|(?<!\d)\.|\.(?!\d)")
_FACTOR = re.compile(r"([^\W\d_][^\W\d]*|°[CFK]?|%)([+-]?\d+)?")
_ONE = ("", "1")


def are_same_units(one: str, other: str) -> bool:
    """Whether two units are the same, as far as this is sure.

    Examples
    --------
    >>> are_same_units("m s-1", "m/s"), are_same_units("m s-1", "km s-1"), are_same_units("kg kg-1", "1")
    (True, False, False)
    """
    one, other = (_POWER.sub("", " ".join(text.replace("**", "^").split())) for text in (one, other))
    if one == other:
        return True
    factors, others = _factors(one), _factors(other)
    return factors == others if factors is not None and others is not None else False


def _factors(text: str) -> _Factors | None:
    """The factors of a unit, those above and below the line apart; None if it is no plain product or quotient."""
    above, *below = text.split("/")
    found: _Factors = Counter()
    for part, sign in [(above, 1), *((each, -1) for each in below)]:
        words = [] if part.strip() in _ONE and sign == 1 else _PRODUCT.split(part.strip())
        if sign == -1 and len(words) > 1:
            return None  # who writes W/m2 K may mean that both are below the line; UDUNITS takes the second for above
        for word in words:
            if (match := _FACTOR.fullmatch(word)) is None:
                return None
            power = sign * int(match[2] or 1)
            found[_FIRST.get(match[1], match[1]), power > 0] += abs(power)
    return found
