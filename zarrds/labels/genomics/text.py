"""Regions of a genome as text, 1-based and closed on both ends, as bcftools reads them."""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any, NamedTuple

from zarrds.errors import LabelError, LabelNotFoundError

__all__ = ["FAR", "Region", "as_text", "parse_region", "parse_regions", "unknown_contig"]

FAR = 2**62  # beyond every position, with room to add to it

# a number as htslib reads it: with commas, decimals, an exponent or a suffix
_NUMBER = r"[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?[kKmMgG]?"
_RANGE = re.compile(rf"(?P<start>{_NUMBER})?(?P<dash>-)?(?P<stop>{_NUMBER})?")
_BRACES = re.compile(r"\{(?P<contig>[^}]*)\}(?::(?P<positions>.*))?", re.DOTALL)
_SUFFIXES = {"k": 3, "m": 6, "g": 9}
_MAX_SHOWN = 20


def as_text(name: Any) -> Any:
    """A contig's name that comes as bytes, as text; anything else as it is."""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name


class Region(NamedTuple):
    """Positions `start` to `stop` of a contig, both of them included."""

    contig: str
    start: int = -FAR
    stop: int = FAR


def parse_region(text: str, contigs: Collection[str]) -> Region:
    """What a text such as ``"chr20:1,000-2,000"`` means.

    A contig's name alone is all of it, ``chr20:100`` one position, ``chr20:100-`` all from there, ``chr20:-100`` all up
    to there; ``0`` as a start is that of the contig. Names may have colons in them: a text that is a name is that
    contig, else the last colon divides. Braces say where a name ends: ``{HLA-A*01:01}:5-9``. Numbers may have
    thousands separators, and be ``1.5M``, ``20k`` or ``1e6``. Source: `hts_parse_region` of htslib, except that one
    number is one position, as with ``bcftools --regions``.

    Parameters
    ----------
    text : str
    contigs : collection of str
        The names that there are.

    Raises
    ------
    LabelNotFoundError
        If the contig is not one of them.
    LabelError
        If the text is malformed.

    Examples
    --------
    >>> parse_region("chr20:1,000-2,000", {"chr20"})
    Region(contig='chr20', start=1000, stop=2000)
    >>> parse_region("HLA-A*01:01", {"HLA-A*01:01"}) == Region("HLA-A*01:01")
    True
    """
    text = text.strip()
    if text in contigs:
        return Region(text)
    contig, _, positions = text.rpartition(":")
    braces = _BRACES.fullmatch(text)
    if braces:
        contig, positions = braces["contig"], braces["positions"]
        if contig in contigs and positions is None:
            return Region(contig)
    match = _RANGE.fullmatch(positions or "")
    if contig not in contigs:
        raise unknown_contig(contig if contig and match else text, contigs)
    if match is None or not (match["start"] or match["stop"]):
        raise _malformed(text, "its positions are no numbers")
    start = _number(match["start"], 1, text)
    stop = _number(match["stop"], FAR if match["dash"] else start, text)
    if start == 0 and not match["dash"]:
        raise _malformed(text, "positions begin with 1, and it is 0")
    if start > stop:
        raise _malformed(text, "its start is after its stop")
    return Region(contig, start, stop)


def parse_regions(text: str, contigs: Collection[str]) -> list[Region]:
    """One region, or several with commas between them, as ``bcftools --regions`` takes them.

    A comma divides where the name of a contig, or a brace, stands behind it, and the whole is no region by itself.

    Parameters
    ----------
    text : str
    contigs : collection of str

    Raises
    ------
    LabelNotFoundError, LabelError
        As `parse_region`.

    Examples
    --------
    >>> parse_regions("chr1:1,000-2,000,chr2", {"chr1", "chr2"}) == [Region("chr1", 1000, 2000), Region("chr2")]
    True
    """
    try:
        return [parse_region(text, contigs)]
    except LabelError:
        parts: list[str] = []
        for piece in text.split(","):
            begins = piece.startswith("{") or piece.strip() in contigs or piece.rpartition(":")[0].strip() in contigs
            if begins or not parts:
                parts.append(piece)
            else:
                parts[-1] += f",{piece}"
        if len(parts) < 2:
            raise
    return [parse_region(part, contigs) for part in parts]


def unknown_contig(found: object, contigs: Collection[str]) -> LabelNotFoundError:
    """The error for a contig that is not there; it names those that are."""
    names = list(contigs)
    known = ", ".join(map(repr, names[:_MAX_SHOWN])) + (
        f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    )
    return LabelNotFoundError(
        "there is no such contig",
        expected=f"one of {known}" if names else "nothing, as there are no records",
        found=repr(found),
        mend="Give a contig's name as it is stored ('20' and 'chr20' are two)",
    )


def _number(text: str | None, default: int, region: str) -> int:
    if not text:
        return default
    exponent = _SUFFIXES.get(text[-1].lower(), 0)
    number = Decimal(text.rstrip("kKmMgG").replace(",", "")).scaleb(exponent)
    if number >= FAR:
        raise _malformed(region, "its positions are too large")
    if number != int(number):
        raise _malformed(region, "its positions are no whole numbers")
    return int(number)


def _malformed(text: str, why: str) -> LabelError:
    return LabelError(
        f"cannot read a region: {why}",
        expected="text such as 'chr20', 'chr20:100', 'chr20:100-' or 'chr20:1,000-2,000'",
        found=repr(text),
    )
