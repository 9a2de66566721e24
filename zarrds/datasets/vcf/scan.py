"""The first pass over a VCF file: how many values there are of each field, and of what size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from zarrds.datasets.vcf.fields import (
    Field,
    Header,
    check_declared,
    check_whole,
    open_vcf,
    read_header,
    smallest_integer,
)
from zarrds.datasets.vcf.values import Uses, texts_of
from zarrds.errors import EncodingError, UnsupportedError

__all__ = ["Scan", "records_of", "scan"]

_LOWEST = np.iinfo("i4").min + 2  # below it are marks, not numbers
_MOST_DIGITS = 4  # of a number of values that is declared, and that no record has


@dataclass(slots=True)
class Range:
    """What values of one field there are: the most in one record, and the least and the largest."""

    n: int = 0
    low: float = math.inf
    high: float = -math.inf

    def add(self, _rows: object, values: np.ndarray[Any, Any]) -> None:
        self.n = max(self.n, values.shape[-1])
        if values.dtype.kind in "iu":
            # not with an integer that the dtype does not hold, at which NumPy before 2.3 may end the interpreter
            numbers = values[values >= max(_LOWEST, int(np.iinfo(values.dtype).min))]
            if numbers.size:
                self.add_number(int(numbers.min()), int(numbers.max()))

    def add_number(self, low: int, high: int) -> None:
        self.low, self.high = min(self.low, low), max(self.high, high)

    @property
    def dtype(self) -> np.dtype[Any]:
        return smallest_integer(self.low, self.high)


@dataclass(slots=True)
class Scan:
    """What the first pass found.

    Attributes
    ----------
    header : Header
    contigs : dict of str to int
        Codes of contigs: those of the header, then others as they appear.
    n : int
        Records.
    ranges : dict of str to Range
        By the name of the array; also of ``variant_position``, ``variant_length``, ``alt`` and ``call_genotype``.
    """

    header: Header
    contigs: dict[str, int]
    n: int = 0
    ranges: dict[str, Range] = field(default_factory=dict)

    @property
    def n_alleles(self) -> int:
        """The most alleles of one record, the reference included; at least two."""
        return max(self.ranges["alt"].n + 1, 2)

    @property
    def ploidy(self) -> int:
        """The most alleles of one call."""
        return max(self.ranges["call_genotype"].n, 1)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Of the dimensions that all files have."""
        found = {"alleles": self.n_alleles, "alt_alleles": self.n_alleles - 1}
        if self.header.has_genotypes:
            return found | {"genotypes": math.comb(self.n_alleles + self.ploidy - 1, self.ploidy)}
        longest = max((self.ranges[f.array].n for f in self.header.fields if f.number == "G"), default=0)
        return found | {"genotypes": longest}

    def last_dim(self, each: Field) -> tuple[str, int] | None:
        """The dimension of a field's values within a record, None for one value."""
        n = self.ranges[each.array].n
        if each.number in ("A", "R", "G"):
            dim = {"A": "alt_alleles", "R": "alleles", "G": "genotypes"}[each.number]
            if n > self.sizes[dim]:
                raise EncodingError(
                    f"a record has more values than there are {dim}",
                    key=f"{each.category}/{each.name}",
                    expected=f"at most {self.sizes[dim]}",
                    found=n,
                    mend="Mend the Number of the field in the header: bcftools reheader",
                )
            return (dim, self.sizes[dim]) if self.sizes[dim] > 0 else None
        # what is declared makes room for values that no record has: some, but not any number of them
        n = max(n, int(each.number) if each.number.isdecimal() and len(each.number) <= _MOST_DIGITS else 0)
        return (f"{each.category}_{each.name}_dim", n) if n > 1 else None


def scan(path: str, told: Callable[[int], Any] | None = None) -> Scan:
    """Read all of a file once.

    Raises
    ------
    UnsupportedError
        If it is no VCF, or is damaged.
    EncodingError
        If its records are not sorted, or there are none.
    """
    check_whole(path)
    vcf = open_vcf(path)
    header = read_header(vcf, path)
    names = ["alt", "variant_position", "variant_length", "call_genotype", *(f.array for f in header.fields)]
    found = Scan(header, {name: code for code, name in enumerate(header.contigs)}, 0, {n: Range() for n in names})
    uses = _uses(header, found.ranges)
    before = (-1, -1)
    for record in records_of(vcf, path):
        found.n += 1
        place = (found.contigs.setdefault(record.CHROM, len(found.contigs)), record.POS)
        if place[0] == before[0] and place < before:
            raise EncodingError(
                "records are not sorted", path=path, found=f"{record.CHROM}:{record.POS}", mend="Use bcftools sort"
            )
        before = place
        found.ranges["alt"].n = max(found.ranges["alt"].n, len(record.ALT))
        found.ranges["variant_position"].add_number(record.POS, record.POS)
        length = record.end - record.start
        found.ranges["variant_length"].add_number(length, length)
        uses.add(0, record)
        if told is not None:
            told(1)
    uses.flush()
    if not found.n:
        raise EncodingError("the file has no records", path=path)
    check_declared(vcf, header, path)
    return found


def _uses(header: Header, ranges: Mapping[str, Range]) -> Uses:
    """What the first pass does with values."""
    uses = Uses()
    for each in header.fields:
        counts = ranges[each.array]
        is_integer = each.kind == "Integer"
        if each.category == "INFO":
            uses.info[each.name] = (
                uses.gather(counts.add).add_info if is_integer else partial(_count, counts, each.kind)
            )
        else:
            count = uses.gather(counts.add).add_calls if is_integer else partial(_count_calls, counts, each.kind)
            uses.calls[each.name] = (each.kind, count)
    if header.has_genotypes:
        called = ranges["call_genotype"]
        uses.genotypes = uses.gather(lambda rows, values: called.add(rows, values[..., :-1])).add_calls
    return uses


def _count(counts: Range, kind: str, _row: int, raw: Any) -> None:
    """How many floats, flags or texts a record has."""
    if kind == "Flag":
        n = 1
    elif kind == "Float":
        n = len(raw) if isinstance(raw, tuple) else 1
    else:
        n = len(texts_of(raw))
    counts.n = max(counts.n, n)


def _count_calls(counts: Range, kind: str, _row: int, raw: np.ndarray[Any, Any]) -> None:
    n = raw.shape[1] if kind == "Float" else max((len(texts_of(text)) for text in raw.tolist()), default=1)
    counts.n = max(counts.n, n)


def records_of(vcf: Any, path: str) -> Any:
    """The records of a file, with an error of ours where it is damaged."""
    n_columns = 9 + len(vcf.samples) if vcf.samples else 8
    try:
        for record in vcf:
            if not record.CHROM:  # to ask anything else of it would end the process
                raise UnsupportedError("a line is empty, or has no contig", path=path, mend="Remove that line")
            if n_columns > 8 and not record.FORMAT and str(record).count("\t") + 1 < n_columns:
                raise UnsupportedError(
                    "a line has fewer columns than the header",
                    path=path,
                    key=f"{record.CHROM}:{record.POS}",
                    mend="Check that the file is complete",
                )
            yield record
    except (EncodingError, UnsupportedError):
        raise
    except Exception as error:  # cyvcf2 raises nothing more particular
        raise UnsupportedError(f"a record cannot be read: {error}", path=path) from error
