"""Values of records, as cyvcf2 gives them -> rows of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from zarrds.datasets.vcf.fields import FLOAT_FILL, FLOAT_MISSING, Field

__all__ = ["MISSING", "genotypes_of", "raw_value", "set_row", "values_of"]

# what cyvcf2 has for an integer that is missing, and for one that only fills a row
_INT_MISSING, _INT_FILL = np.iinfo("i4").min, np.iinfo("i4").min + 1
MISSING = {"i": -1, "f": FLOAT_MISSING, "O": ".", "b": False}
FILL = {"i": -2, "f": FLOAT_FILL, "O": "", "b": False}


def raw_value(record: Any, field: Field) -> Any:
    """What a record has in a field; None if nothing."""
    return record.INFO.get(field.name) if field.category == "INFO" else record.format(field.name)


def values_of(raw: Any, field: Field) -> np.ndarray[Any, Any]:
    """A value of a field as an array: of numbers for INFO, of samples × numbers for FORMAT.

    Integers keep cyvcf2's marks for what is missing, so that they do not count for the range of values.

    Examples
    --------
    >>> values_of((3, None), Field("INFO", "AC", "A", "Integer", ""))
    array([          3, -2147483648])
    >>> values_of("a,b", Field("INFO", "CSQ", ".", "String", ""))
    array(['a', 'b'], dtype=object)
    """
    is_call = field.category == "FORMAT"
    if field.kind == "Flag":
        return np.array([raw is not None], bool)
    if field.kind in ("Integer", "Float"):
        missing = _INT_MISSING if field.kind == "Integer" else np.nan
        if isinstance(raw, tuple):
            raw = [missing if each is None else each for each in raw]
        return np.array(raw, ndmin=2 if is_call else 1)
    if not is_call:
        return np.array(str(raw).split(","), object)
    rows = [str(each).split(",") for each in raw]
    longest = max(map(len, rows), default=1)
    return np.array([row + [""] * (longest - len(row)) for row in rows], object).reshape(len(rows), longest)


def genotypes_of(record: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Alleles of samples × ploidy, with marks below zero, and whether each sample is phased; None without calls."""
    if "GT" not in record.FORMAT or record.genotype is None:
        return None
    value = record.genotype.array()
    return value[:, :-1], value[:, -1]


def set_row(row: np.ndarray[Any, Any], values: np.ndarray[Any, Any] | None) -> None:
    """Fill one row of an array: what is missing, and what is shorter than the row, as VCF Zarr has it.

    Parameters
    ----------
    row : ndarray
        Of one record: a scalar, numbers, samples, or samples × numbers.
    values : ndarray or None
        With as many dimensions as the row, or one of length 1 more.
    """
    kind = row.dtype.kind
    if values is None:
        row[...] = MISSING[kind]
        return
    if values.ndim > row.ndim:
        values = values[..., 0] if row.ndim or values.size else values
    if kind == "i":
        wide = np.where(values == _INT_MISSING, -1, values)
        values = np.where(wide == _INT_FILL, -2, wide)
    elif kind == "f":
        values = values.astype("f4")
        values[np.isnan(values)] = FLOAT_MISSING
    if row.ndim == 0:
        row[...] = values
    else:
        row[...] = FILL[kind]
        row[..., : values.shape[-1]] = values
