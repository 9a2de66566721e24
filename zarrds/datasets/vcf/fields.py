"""What a VCF file declares: contigs, filters, samples, INFO and FORMAT fields.

Source: the VCF Zarr specification 0.5 (names, dimensions, missing and fill values), and VCF 4.3, section 1.4.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zarrds.arguments import warn
from zarrds.errors import EncodingError, StoreNotFoundError, UnsupportedError

__all__ = [
    "FLOAT_FILL",
    "FLOAT_MISSING",
    "Field",
    "Header",
    "check_declared",
    "check_whole",
    "open_vcf",
    "read_header",
    "smallest_integer",
]

_TYPES = ("Integer", "Float", "Flag", "Character", "String")
# bit patterns that VCF Zarr gives to floats that are missing, and to those that only fill a row
FLOAT_MISSING, FLOAT_FILL = np.array([0x7F800001, 0x7F800002], "<u4").view("<f4")
# an empty block, with which every BGZF file ends (SAM specification, 4.1.2)
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
# names of arrays that a field must not take
_RESERVED = frozenset(
    "variant_contig variant_position variant_length variant_id variant_id_mask variant_allele variant_quality "
    "variant_filter call_genotype call_genotype_mask call_genotype_phased".split()
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of INFO or FORMAT.

    Attributes
    ----------
    category : {"INFO", "FORMAT"}
    name : str
    number : str
        A number, or one of ``A``, ``R``, ``G``, ``.``.
    kind : str
        ``Integer``, ``Float``, ``Flag``, ``Character`` or ``String``.
    description : str
    """

    category: Literal["INFO", "FORMAT"]
    name: str
    number: str
    kind: str
    description: str

    @property
    def array(self) -> str:
        """The name of its array."""
        return f"{'variant' if self.category == 'INFO' else 'call'}_{self.name}"


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a file before its records."""

    samples: tuple[str, ...]
    contigs: tuple[str, ...]
    contig_lengths: tuple[int, ...] | None
    filters: tuple[tuple[str, str], ...]
    fields: tuple[Field, ...]
    has_genotypes: bool
    meta: tuple[tuple[str, str], ...]


def open_vcf(path: str) -> Any:
    """A reader of cyvcf2.

    Raises
    ------
    StoreNotFoundError
        If there is no file.
    UnsupportedError
        If it is no VCF, or cyvcf2 is not installed.
    """
    try:
        from cyvcf2 import VCF
    except ImportError as error:
        raise UnsupportedError(
            "VCF needs cyvcf2", path=path, mend="Install it: python -m pip install 'zarrds[genomics]'"
        ) from error
    if not os.path.isfile(path):
        raise StoreNotFoundError("there is no file", path=path)
    try:
        return VCF(path)
    except Exception as error:  # cyvcf2 raises nothing more particular
        raise UnsupportedError(
            "not a VCF file, or its header is damaged",
            path=path,
            mend="Check that the file is complete; bcftools view says more",
        ) from error


def check_whole(path: str) -> None:
    """Check what cyvcf2 passes over at both ends of a file: a mark of byte order, and an end that was cut off.

    Raises
    ------
    UnsupportedError

    Warns
    -----
    UserWarning
        If the last line of a text has no end: nobody can tell whether it is whole.
    """
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        head = file.read(18)
        file.seek(-min(len(_BGZF_END), file.seek(0, os.SEEK_END)), os.SEEK_END)
        tail = file.read()
    if head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise UnsupportedError(
            "the file begins with a mark of byte order", path=path, mend="Write it as UTF-8 without one (BOM)"
        )
    if head[:3] == b"\x1f\x8b\x08" and head[3:4] == b"\x04" and head[12:14] == b"BC":
        if tail != _BGZF_END:
            raise UnsupportedError(
                "the file has no BGZF end marker: its end was cut off",
                path=path,
                mend="Get it anew; if it is whole after all, bgzip -cd FILE | bgzip writes it with its end",
            )
    elif head.startswith(b"##") and not tail.endswith(b"\n"):
        warn(f"{path}: the last line has no end: the file may have been cut off")


def read_header(vcf: Any, path: str) -> Header:
    """What the header declares."""
    fields: list[Field] = []
    filters: list[tuple[str, str]] = []
    has_genotypes = False
    for line in vcf.header_iter():
        kind, name = line["HeaderType"], _text(line, "ID")
        if name is None:  # htslib passes over such lines
            continue
        if kind == "FILTER":
            filters.append((name, _unquoted(line, "Description")))
        elif kind == "FORMAT" and name == "GT":
            has_genotypes = True
        elif kind in ("INFO", "FORMAT"):
            of = _text(line, "Type")
            # what is not there, or not known, is to htslib any number of texts
            number, of = _text(line, "Number") or ".", of if of in _TYPES else "String"
            field = Field(kind, name, number, of, _unquoted(line, "Description"))
            if field.array in _RESERVED or "/" in field.name:
                raise EncodingError(
                    "a field has the name of another array, or one that no array can have",
                    path=path,
                    key=f"{kind}/{field.name}",
                    mend="Rename it: bcftools annotate --rename-annots",
                )
            fields.append(field)
    filters.sort(key=lambda each: each[0] != "PASS")  # the first; the others keep their order
    try:
        lengths: tuple[int, ...] | None = tuple(int(n) for n in vcf.seqlens)
    except AttributeError:  # they are not declared
        lengths = None
    return Header(
        tuple(vcf.samples), tuple(vcf.seqnames), lengths, tuple(filters), tuple(fields), has_genotypes, _meta(vcf)
    )


def check_declared(vcf: Any, header: Header, path: str) -> None:
    """Tell of fields that records have and the header does not, once all records were read.

    htslib adds to the header what it meets, as text: what is left out of the store for that is no surprise then.

    Raises
    ------
    EncodingError
        If it is the genotypes.

    Warns
    -----
    UserWarning
        For all others.
    """
    known = {(field.category, field.name) for field in header.fields}
    now = [(line["HeaderType"], line["ID"]) for line in vcf.header_iter() if line["HeaderType"] in ("INFO", "FORMAT")]
    new = [f"{kind}/{name}" for kind, name in now if (kind, name) not in known and (kind, name) != ("FORMAT", "GT")]
    if not header.has_genotypes and ("FORMAT", "GT") in now:
        raise EncodingError(
            "records have genotypes that the header does not declare",
            path=path,
            key="FORMAT/GT",
            mend="Declare them: bcftools annotate -h, or bcftools reheader",
        )
    if new:
        warn(f"{path}: the header does not declare {', '.join(new)}: left out; bcftools annotate -h declares them")


def _text(line: Any, name: str) -> str | None:
    with suppress(KeyError):
        return line[name] if isinstance(line[name], str) else None
    return None


def _unquoted(line: Any, name: str) -> str:
    try:
        return str(line[name]).strip('"')
    except KeyError:
        return ""


def _meta(vcf: Any) -> tuple[tuple[str, str], ...]:
    """The lines of the header but for those that arrays hold."""
    return tuple(_split(vcf.raw_header))


def _split(header: str) -> Iterator[tuple[str, str]]:
    for line in header.splitlines():
        name, equals, value = line.removeprefix("##").partition("=")
        if line.startswith("##") and equals and name not in ("contig", "FILTER", "INFO", "FORMAT"):
            yield name, value


def smallest_integer(low: float, high: float) -> np.dtype[Any]:
    """The smallest signed integer that holds a range; of no numbers at all, of one byte.

    Examples
    --------
    >>> smallest_integer(0, 127), smallest_integer(-129, 0), smallest_integer(float("inf"), float("-inf"))
    (dtype('int8'), dtype('int16'), dtype('int8'))
    """
    if low > high:
        return np.dtype("i1")
    fits = (t for t in ("i1", "i2", "i4", "i8") if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return np.dtype(next(fits))
