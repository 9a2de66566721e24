"""Regions of a genome as text, 1-based and closed on both ends, as bcftools reads them."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from zarrds.errors import LabelError, LabelNotFoundError

__all__ = ["FAR", "Region", "parse_region", "unknown_contig"]

FAR = 2**62  # beyond every position, with room to add to it

_RANGE = re.compile(r"(?P<start>[0-9][0-9,]*)?(?P<dash>-)?(?P<stop>[0-9][0-9,]*)?")
_MAX_SHOWN = 20


class Region(NamedTuple):
    """Positions `start` to `stop` of a contig, both of them included."""

    contig: str
    start: int = -FAR
    stop: int = FAR


def parse_region(text: str, contigs: Collection[str]) -> Region:
    """What a text such as ``"chr20:1,000-2,000"`` means.

    A contig's name alone is all of it, ``chr20:100`` one position, ``chr20:100-`` all from there, ``chr20:-100`` all up
    to there. Names may have colons in them: a text that is a name is that contig, else the last colon divides.

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
    match = _RANGE.fullmatch(positions)
    if contig not in contigs:
        raise unknown_contig(contig if contig and match else text, contigs)
    if match is None or not (match["start"] or match["stop"]):
        raise _malformed(text, "it is not")
    start = _number(match["start"], 1, text)
    stop = _number(match["stop"], FAR if match["dash"] else start, text)
    if start < 1:
        raise _malformed(text, "positions begin with 1, its start is before")
    if start > stop:
        raise _malformed(text, "its start is after its stop")
    return Region(contig, start, stop)


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
    digits = text.replace(",", "")
    if len(digits) > 18:
        raise _malformed(region, "its positions are too large")
    return int(digits)


def _malformed(text: str, why: str) -> LabelError:
    return LabelError(
        f"cannot read a region: {why}",
        expected="text such as 'chr20', 'chr20:100', 'chr20:100-' or 'chr20:1,000-2,000'",
        found=repr(text),
    )
