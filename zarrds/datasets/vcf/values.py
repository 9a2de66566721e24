"""Values of records, as cyvcf2 gives them -> rows of arrays; numbers of many records at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any, TypeAlias

import numpy as np

from zarrds.datasets.vcf.fields import FLOAT_FILL, FLOAT_MISSING

__all__ = ["MISSING", "Gathered", "Uses", "set_rows", "set_texts", "texts_of"]

Use: TypeAlias = Callable[[int, Any], None]

# what cyvcf2 has for an integer that is missing, and for one that only fills a row
_INT_MISSING, _INT_FILL = np.iinfo("i4").min, np.iinfo("i4").min + 1
MISSING = {"i": -1, "f": FLOAT_MISSING, "O": ".", "b": False}
FILL = {"i": -2, "f": FLOAT_FILL}
# numbers that wait
_MOST_WAITING = 64 * 1024


@dataclass(slots=True)
class Uses:
    """What is done with the values of records, one record after the other.

    Attributes
    ----------
    info : dict of str to callable
        By the name of a field, of a row and what cyvcf2 has.
    calls : dict of str to pair of str and callable
        With the type of the field.
    genotypes : callable, optional
        Of alleles of samples × ploidy, with marks below zero, and last whether a sample is phased.
    gathered : list of Gathered
        What waits.
    """

    info: dict[str, Use] = field(default_factory=dict)
    calls: dict[str, tuple[str, Use]] = field(default_factory=dict)
    genotypes: Use | None = None
    gathered: list[Gathered] = field(default_factory=list)

    def add(self, row: int, record: Any) -> None:
        """Use what a record has; most fields of most records are absent, and are never asked for."""
        pairs = list(record.INFO)
        pairs.reverse()  # of what is there twice, the first counts
        for name, raw in dict(pairs).items():
            if raw is not None and (use := self.info.get(name)) is not None:
                use(row, raw)
        for name in record.FORMAT:
            if name == "GT" and self.genotypes is not None:
                if (called := record.genotype) is not None:
                    self.genotypes(row, called.array())
            elif (known := self.calls.get(name)) is not None:
                kind, use = known
                if (values := record.format(name, kind)) is not None:
                    use(row, values)

    def gather(self, use: Callable[[list[int], np.ndarray[Any, Any]], object]) -> Gathered:
        """What waits for more of its kind."""
        self.gathered.append(Gathered(use))
        return self.gathered[-1]

    def flush(self) -> None:
        """Use all that waits."""
        for each in self.gathered:
            each.flush()


class Gathered:
    """Numbers of one field that wait until there are many: NumPy takes as long for those of one record as for hundreds.

    Parameters
    ----------
    use : callable
        Of rows, and of their values as an array of rows × numbers, or of rows × samples × numbers. Integers keep
        cyvcf2's marks for what is missing.

    Examples
    --------
    >>> depths = Gathered(lambda rows, values: print(rows, values.tolist()))
    >>> depths.add_info(0, 30)
    >>> depths.add_info(1, (4, None))
    >>> depths.add_info(2, 31)
    >>> depths.flush()
    [0, 2] [[30], [31]]
    [1] [[4, -2147483648]]
    """

    def __init__(self, use: Callable[[list[int], np.ndarray[Any, Any]], object]) -> None:
        self._use = use
        self._waiting: dict[tuple[int, ...], tuple[list[int], list[Any]]] = {}  # by the shape of a row
        self._n = 0

    def add_info(self, row: int, raw: Any) -> None:
        """A number of a record, or a tuple of several, each None where it is missing."""
        numbers = raw if isinstance(raw, tuple) else (raw,)
        self._add(row, numbers, (len(numbers),))

    def add_calls(self, row: int, values: np.ndarray[Any, Any]) -> None:
        """Numbers of samples × numbers."""
        self._add(row, values, values.shape)

    def _add(self, row: int, values: Any, shape: tuple[int, ...]) -> None:
        rows, waiting = self._waiting.setdefault(shape, ([], []))
        rows.append(row)
        waiting.append(values)
        self._n += prod(shape)
        if self._n >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Use all that waits."""
        for shape, (rows, waiting) in self._waiting.items():
            self._use(rows, (_of_infos if len(shape) == 1 else np.concatenate)(waiting).reshape(len(rows), *shape))
        self._waiting.clear()
        self._n = 0


def _of_infos(tuples: Sequence[tuple[Any, ...]]) -> np.ndarray[Any, Any]:
    numbers = list(chain.from_iterable(tuples))
    values = np.array(numbers)
    if values.dtype.kind != "O":
        return values
    missing: Any = np.nan if any(isinstance(number, float) for number in numbers) else _INT_MISSING
    return np.array([missing if number is None else number for number in numbers])


def texts_of(raw: Any) -> list[str]:
    """The texts of a record.

    Examples
    --------
    >>> texts_of("a,b")
    ['a', 'b']
    """
    return str(raw).split(",")


def set_texts(row: np.ndarray[Any, Any], texts: Sequence[str]) -> None:
    """Put texts into a row of an array of objects, which are then filled up."""
    row[: len(texts)] = texts
    row[len(texts) :] = ""


def set_rows(array: np.ndarray[Any, Any], rows: Sequence[int], values: np.ndarray[Any, Any]) -> None:
    """Fill rows of an array of numbers: what is missing, and what is shorter than a row, as VCF Zarr has it.

    Parameters
    ----------
    array : ndarray
        Of records, records × numbers, records × samples, or records × samples × numbers.
    rows : sequence of int
    values : ndarray
        Of rows × numbers, or rows × samples × numbers.

    Examples
    --------
    >>> array = np.zeros((3, 2), "i1")
    >>> set_rows(array, [0, 2], np.array([[7], [-2147483648]]))
    >>> array.tolist()
    [[7, -2], [0, 0], [-1, -2]]
    """
    kind = array.dtype.kind
    # shorter integers have no marks, and with those NumPy before 2.3 may end the interpreter
    if kind == "i" and values.dtype.itemsize > 2:
        wide = np.where(values == _INT_MISSING, -1, values)
        values = np.where(wide == _INT_FILL, -2, wide)
    elif kind == "f":
        values = values.astype("f4")
        values[np.isnan(values)] = FLOAT_MISSING
    if array.ndim < values.ndim:
        array[rows] = values[..., 0]
        return
    n = values.shape[-1]
    array[rows, ..., :n] = values
    array[rows, ..., n:] = FILL[kind]
