"""Variables block by block: in memory in slabs that fit a cache, by several threads; dask's and large ones lazily."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeAlias

import numpy as np
import xarray as xr

from zarrds.arguments import warn
from zarrds.compat.xarray_internals import BlockwiseArray, blockwise_array, variable_of
from zarrds.datasets.encoding.exact.comparison import label_text, position_text
from zarrds.engine.executor import run
from zarrds.errors import EncodingError, ZarrdsError
from zarrds.labels.kinds.plain import is_missing
from zarrds.metadata.times import CF_UNITS, in_unit

__all__ = [
    "CARRIED_MEND",
    "Block",
    "BlockFunction",
    "as_numpy",
    "blockwise",
    "by_blocks",
    "check_declared",
    "check_no_units",
    "computed",
    "computed_to_see",
    "encoding_error",
    "first_blocks",
    "first_present",
    "in_words",
    "whole",
]

Array: TypeAlias = "np.ndarray[Any, Any]"

# blocks whose objects are looked at, to see what they are
_MAX_LOOKED_AT = 8
# elements of a slab
_SLAB = 128 * 1024
_MEND = "Change or drop the value, or save the variable anew with an encoding that holds it"
# of an encoding that nobody asked for
CARRIED_MEND = (
    "The encoding came along from where the variable was read: remove it with drop_encoding(), "
    "or ask for one with encoding="
)


@dataclass(frozen=True, slots=True)
class Block:
    """Some values of a variable.

    Attributes
    ----------
    name : hashable
        Of the variable.
    dims : tuple
    values : array
        Of one dimension: the block's elements in their order.
    shape : tuple of int
        Of the block.
    origin : tuple of int
        The place of its first element in the variable.
    """

    name: Hashable
    dims: tuple[Hashable, ...]
    values: Array
    shape: tuple[int, ...]
    origin: tuple[int, ...]

    def with_values(self, values: Array) -> Block:
        """The same place with other values."""
        return Block(self.name, self.dims, values, self.shape, self.origin)


def whole(name: Hashable, variable: xr.Variable, values: Array) -> Block:
    """All of a variable in memory as one block, with these values of its shape."""
    return Block(name, variable.dims, values.reshape(-1), variable.shape, (0,) * variable.ndim)


class BlockFunction(Protocol):
    """Makes a block of the store from one of the data; it is pickled for dask's workers."""

    @property
    def name(self) -> Hashable:
        """Of the variable."""

    @property
    def dims(self) -> tuple[Hashable, ...]:
        """Of the variable."""

    def on_block(self, block: Block) -> Array:
        """The block's elements in the dtype of the store."""
        ...


def encoding_error(
    block: Block,
    bad: Array,
    problem: str,
    *,
    expected: str | None,
    mend: str = _MEND,
    kind: type[EncodingError] = EncodingError,
) -> EncodingError:
    """The error for the first value where `bad` is true, saying where that is.

    Examples
    --------
    >>> import numpy as np
    >>> block = Block("v", ("x",), np.array([5.0, 7.0]), (2,), (10,))
    >>> print(encoding_error(block, block.values > 5, "is too large", expected="at most 5", mend="Clip it"))
    variable 'v' holds a value that is too large (at 'v'): expected at most 5, found 7.0 at x=11. Clip it
    """
    first = int(np.argmax(bad))
    inside = np.unravel_index(first, block.shape)
    where = position_text(block.dims, [a + int(i) for a, i in zip(block.origin, inside, strict=True)])
    return kind(
        f"variable {block.name!r} holds a value that {problem}",
        key=str(block.name),
        expected=expected,
        found=f"{label_text(block.values[first])} at {where}",
        mend=mend,
    )


def by_blocks(variable: xr.Variable, nbytes: int) -> xr.Variable:
    """A lazy variable of numbers that is encoded and written without being loaded whole.

    Parameters
    ----------
    variable : Variable
    nbytes : int
        That a block may have.
    """
    data = BlockwiseArray(variable, lambda values, origin: values, variable.dtype, nbytes).lazily()
    return variable_of(variable.dims, data, variable.attrs, variable.encoding)


def blockwise(function: BlockFunction, variable: xr.Variable, dtype: np.dtype[Any]) -> Any:
    """`function` of all of a variable: an array in memory, or of what is taken by blocks a lazy one.

    Parameters
    ----------
    function : BlockFunction
        Element by element; any number of threads may call it at once.
    variable : Variable
    dtype : dtype
        Of its results.

    Raises
    ------
    EncodingError
        What the function raises, of data in memory for the first value that it refuses.
    """
    if (large := blockwise_array(variable)) is not None:
        nbytes = large.nbytes_of_block * dtype.itemsize // max(dtype.itemsize, variable.dtype.itemsize)
        return BlockwiseArray(variable, partial(_apply, function), dtype, nbytes).lazily()
    if variable.chunks is None:
        return _in_memory(function, np.asarray(variable.data), dtype)
    import dask.array

    map_blocks: Any = dask.array.map_blocks  # it has no types
    meta = np.empty((0,) * variable.ndim, dtype)
    return map_blocks(_on_dask_block, variable.data, dtype=dtype, meta=meta, function=function, declared=variable.dtype)


def _in_memory(function: BlockFunction, values: Array, dtype: np.dtype[Any]) -> Array:
    if values.size <= _SLAB or values.ndim == 0 or values.dtype.kind == "O":
        return _apply(function, values, (0,) * values.ndim)
    result = np.empty(values.shape, dtype)
    rows = max(1, _SLAB * len(values) // values.size)
    starts = range(0, len(values), rows)

    def encode(start: int) -> None:
        part = slice(start, start + rows)
        result[part] = _apply(function, values[part], (start, *(0,) * (values.ndim - 1)))

    try:
        run(starts, lambda: encode, part_nbytes=_SLAB * values.itemsize)
    except ZarrdsError:
        for start in starts:  # one after the other, to tell of the first value
            encode(start)
        raise
    return result


def _on_dask_block(values: Any, *, function: BlockFunction, declared: np.dtype[Any], block_info: Any = None) -> Array:
    """One block; dask says where it lies in `block_info`."""
    found = as_numpy(function.name, values)
    origin = (0,) * found.ndim
    if block_info:
        place = block_info[0]["array-location"]
        origin = tuple(int(start) for start, _ in place)
        check_declared(function.name, found, declared, tuple(int(stop - start) for start, stop in place))
    return _apply(function, found.astype(declared, copy=False), origin)


def as_numpy(name: Hashable, block: Any) -> Array:
    """A block of a dask array as an array of NumPy; what is masked is missing, as it is where xarray is given such.

    Raises
    ------
    EncodingError
        For what does not want to be one (sparse arrays) or has units, and for masked elements that nothing stands for.

    Examples
    --------
    >>> import numpy as np
    >>> as_numpy("v", np.ma.array([1.0, 2.0], mask=[False, True]))
    array([ 1., nan])
    """
    # a mask of structures, of which NumPy cannot tell whether it is empty, has a part for each field
    if isinstance(block, np.ma.MaskedArray) and np.ma.getmaskarray(block).reshape(-1).view(bool).any():
        if block.dtype.kind not in "fcmMO":
            raise EncodingError(
                f"a block of the dask array of variable {name!r} has masked elements",
                key=str(name),
                expected="floats, times or objects, which can be missing",
                found=str(block.dtype),
                mend="Convert it to floats, or give them a value with dask.array.ma.filled",
            )
        # with units: NumPy deprecates spans of time without
        nothing = {"m": np.timedelta64("NaT", "ns"), "M": np.datetime64("NaT", "ns"), "O": None}
        missing: Any = nothing.get(block.dtype.kind, np.nan)
        values = np.array(block.data)  # not `filled`, to which None is its own value for what is masked
        values[np.ma.getmaskarray(block)] = missing
        return values
    check_no_units(name, block, is_block=True)
    try:
        return np.asarray(block)
    except (RuntimeError, TypeError, ValueError) as error:  # so say those that do not want to be one of NumPy's
        raise EncodingError(
            f"a block of the dask array of variable {name!r} cannot be made into a NumPy array: {error}",
            key=str(name),
            found=f"{type(block).__module__}.{type(block).__name__}",
            mend="Make the blocks dense first, for example with .data.map_blocks(lambda block: block.todense())",
        ) from error


def check_no_units(name: Hashable, data: Any, *, is_block: bool = False) -> None:
    """Raise EncodingError for an array that has units beside its values, as pint's: NumPy would drop them.

    So have the blocks of some dask arrays (`is_block`), which mostly say so before they are computed.
    """
    units = None if isinstance(data, np.ndarray) else getattr(data, "units", None)
    if units is not None:
        raise EncodingError(
            "the units that the array has beside its values would be lost",
            key=str(name),
            found=f"{units} of {type(data).__module__}.{type(data).__name__}",
            mend="Take them off its blocks first, with .data.map_blocks(lambda block: block.magnitude, "
            f"dtype={str(data.dtype)!r}), and make them the attribute units"
            if is_block
            else "Make them an attribute first, with ds.pint.dequantify() or ds.metpy.dequantify()",
        )
    if (meta := getattr(data, "_meta", None)) is not None:
        check_no_units(name, meta, is_block=True)


def computed(name: Hashable, variable: xr.Variable) -> xr.Variable:
    """A variable in memory, as `as_numpy` gives its blocks: xarray forgets which elements are masked.

    Raises
    ------
    EncodingError
        As `as_numpy`.
    """
    if variable.chunks is None:
        return variable.compute()
    block = variable.data.compute()
    if variable.ndim or isinstance(block, np.ndarray | np.generic):
        data = as_numpy(name, block)
    else:  # of objects without dimensions dask gives the object, of which xarray would make no array
        data = np.empty((), object)
        data[()] = block
    return variable_of(variable.dims, data, variable.attrs, variable.encoding)


def first_blocks(variable: xr.Variable) -> Iterator[Array]:
    """The objects of the first blocks of a dask array, one after the other, flat: of so many that tell what they are.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> lazy = xr.Variable("x", np.array(["", "a", "b"], object)).chunk({"x": 2})
    >>> [block.tolist() for block in first_blocks(lazy)]
    [['', 'a'], ['b']]
    """
    for position in islice(np.ndindex(*variable.data.numblocks), _MAX_LOOKED_AT):
        yield np.asarray(variable.data.blocks[position].compute()).reshape(-1)


def first_present(variable: xr.Variable) -> Array:
    """The first object that is there in the first blocks of a dask array, as an array; an empty one if none is."""
    there = (block[~is_missing(block)][:1] for block in first_blocks(variable))
    return next((one for one in there if one.size), np.empty(0, object))


def computed_to_see(name: Hashable, variable: xr.Variable, reason: str) -> xr.Variable:
    """As `computed`, with a warning that says for what, in words."""
    warn(
        f"variable {name!r} is a dask array with dtype={variable.dtype}: it is computed, to see {reason}",
        xr.SerializationWarning,
    )
    return computed(name, variable)


def check_declared(name: Hashable, values: Array, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Check that a block of a dask array is what the array says that its blocks are.

    Raises
    ------
    EncodingError
        For another shape, and for a dtype that cannot be had as the declared one without altering a value.

    Examples
    --------
    >>> import numpy as np
    >>> try:
    ...     check_declared("v", np.array([0.5]), np.dtype("u4"), (1,))
    ... except EncodingError as error:
    ...     print(error.expected, "|", error.found)
    uint32, shape (1,) | float64, shape (1,)
    """
    if values.shape == shape and (values.dtype == dtype or _holds(dtype, values)):
        return
    is_other = values.shape == shape and values.dtype.kind in "biufcmM"
    raise EncodingError(
        f"a block of the dask array of variable {name!r} is not what the array says",
        key=str(name),
        expected=f"{dtype}, shape {shape}",
        found=f"{values.dtype}, shape {values.shape}",
        mend="Give map_blocks, apply_ufunc or from_delayed the dtype and shape that the function returns"
        # interp of float32 is such; dask does nothing where it is asked for what the array says
        + (f", or convert the result with .astype({str(values.dtype)!r}), not to {dtype}" if is_other else ""),
    )


def _holds(dtype: np.dtype[Any], values: Array) -> bool:
    if dtype.kind == "O":
        return values.dtype.kind in "OTUS"
    if not np.can_cast(values.dtype, dtype, "safe"):
        return False
    # NumPy takes coarse times for safe in finer ones, and 64-bit integers in floats
    if values.dtype.kind == dtype.kind and dtype.kind in "mM":
        return in_unit(values, dtype) is not None
    if values.dtype.kind in "iu" and dtype.kind in "fc":
        with np.errstate(all="ignore"):
            back = values.astype(dtype)
            return bool(
                np.array_equal(
                    back.real.astype(values.dtype) if dtype.kind == "c" else back.astype(values.dtype), values
                )
            )
    return values.dtype.kind == dtype.kind or dtype.kind not in "SU"


def _apply(function: BlockFunction, values: Array, origin: tuple[int, ...]) -> Array:
    block = Block(function.name, function.dims, values.reshape(-1), values.shape, origin)
    try:
        # NumPy's warnings about casts: what they warn of is looked for, and is an error
        with np.errstate(all="ignore"):
            return function.on_block(block).reshape(values.shape)
    except ZarrdsError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise EncodingError(
            f"variable {function.name!r} cannot be encoded so: {in_words(error)}", key=str(function.name), mend=_MEND
        ) from error


def in_words(error: Exception) -> str:
    """What xarray's encoders say; of times only the unit, which is no key where they are too far from their date."""
    if not isinstance(error, KeyError):
        return str(error)
    unit = str(error.args[0])
    if unit.endswith("s") and unit not in CF_UNITS:  # which xarray adds
        return f"{unit.rstrip('s') or unit!r} is no unit that times are written in; these are {', '.join(CF_UNITS)}"
    return f"values are out of the reach of {unit}"
