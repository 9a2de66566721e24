"""Everything that a Dataset can hold, as Hypothesis strategies: values, attributes, coordinates, indexes, encodings.

Small on purpose: a few elements of every kind, since faults of fidelity are those of kinds, not of sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st

from tests.datasets.index_kinds import INDEXES, N

__all__ = ["attributes", "datasets", "encodings", "variables"]

DIMS = ("x", "y", "time")

NAMES = st.sampled_from(["a", "b", "t2m", "a b", "ä", "x.y", "_nc_like", "spatial_ref", "lat_bnds", "q-1", "0"])

# ------------------------------------------------------------------------------------------- attributes

_SCALARS = st.one_of(
    st.text(max_size=5),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.binary(max_size=4),
    st.sampled_from([np.int8(3), np.uint16(9), np.int64(-7), np.float32(0.01), np.float64("nan"), np.bool_(True)]),
)
_LISTS = st.one_of(
    st.lists(st.integers(-9, 9), max_size=3),
    st.lists(st.floats(-9, 9), max_size=3),
    st.lists(st.sampled_from(["a", "b c", ""]), max_size=3),
    st.sampled_from(
        [
            np.array([0, 1, 2], "i1"),
            np.array([0.5, np.nan], "f4"),
            np.array([1, 2**40]),
            np.array([], "f8"),
            (1, 2),
            np.array([b"a", b"bc"]),
            np.array(["a", "bc"]),
        ]
    ),
)
_NESTED = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b", ""]), st.integers(0, 3) | st.none() | st.lists(st.integers(0, 2))),
    st.sampled_from([{1: "water", 2: "land"}, {"a": {"b": [1, {"c": None}]}}, [[1, 2], [3]], None, {1: "x", "1": "y"}]),
)
_ATTRIBUTE_NAMES = st.sampled_from(
    [
        "units_",
        "long_name",
        "title",
        "_ncpus",
        "_NCEI_id",
        "flag_values",
        "valid_range",
        "ä",
        "a b",
        "history",
        "zarrds",
    ]
)
attributes: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    _ATTRIBUTE_NAMES, st.one_of(_SCALARS, _LISTS, _NESTED), max_size=3
)

# ------------------------------------------------------------------------------------------- values

_NUMBERS = [np.dtype(d) for d in "?,i1,i2,i4,i8,u1,u2,u4,u8,f4,f8,c8,c16,f2,>i4,>f8".split(",")]


def _of_numbers(dtype: np.dtype[Any], size: int) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    special: list[Any] = [0, 1, 3]
    if dtype.kind in "iu":
        special += [np.iinfo(dtype).min, np.iinfo(dtype).max, min(2**53 + 1, np.iinfo(dtype).max)]
    elif dtype.kind in "fc":
        special += [-0.0, 0.1, np.nan, np.inf, -1e20, 16777217.0]
    one = st.sampled_from(special)

    def made(values: list[Any]) -> np.ndarray[Any, Any]:
        with np.errstate(over="ignore"):
            return np.array(values, dtype)

    return st.lists(one, min_size=size, max_size=size).map(made)


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)


def _objects(values: list[Any]) -> np.ndarray[Any, Any]:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _listed(one: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, min_size=size, max_size=size)


def _of_size(size: int) -> st.SearchStrategy[Any]:
    """Flat values of any kind that an array may have."""
    missing = st.sampled_from([None, np.nan])
    times = st.sampled_from(
        ["NaT", "2000-01-01", "2000-01-01T06", "1900-03-01T00:00:00.5", "1677-09-22", "2000-01-01T00:00:00.000000001"]
    )
    spans = st.sampled_from([0, 1, 7, -3, 86_400, 2**40])
    units = st.sampled_from(["s", "ms", "us", "ns"])
    stringdtypes = st.sampled_from([np.dtypes.StringDType(), np.dtypes.StringDType(na_object=np.nan)])
    return st.one_of(
        st.sampled_from(_NUMBERS).flatmap(lambda dtype: _of_numbers(dtype, size)),
        _listed(_TEXT, size).map(_objects),
        _listed(_TEXT | missing, size).map(_objects),
        _listed(missing, size).map(_objects),
        _listed(st.booleans() | st.none(), size).map(_objects),
        _listed(st.integers(-9, 9) | missing, size).map(_objects),
        _listed(st.binary(max_size=3), size).map(_objects),
        _listed(_TEXT, size).map(lambda v: np.array(v, "U6")),
        _listed(st.sampled_from([b"A", b"", b"xyz"]), size).map(lambda v: np.array(v, "S3")),
        _listed(st.sampled_from([b"A", b"", b"T"]), size).map(lambda v: np.array(v, "S1")),
        st.tuples(_listed(_TEXT, size), stringdtypes).map(lambda p: np.array(*p)),
        _listed(_TEXT | st.just(np.nan), size).map(
            lambda v: np.array(v, np.dtypes.StringDType(na_object=np.nan))  # type: ignore[call-overload]  # NumPy's
            # stubs know no objects of StringDType
        ),
        st.tuples(_listed(times, size), units).map(lambda p: np.array(p[0], "M8[ns]").astype(f"M8[{p[1]}]")),
        st.tuples(_listed(spans, size), units).map(lambda p: np.array(p[0], f"m8[{p[1]}]")),
    )


def variables(dims: tuple[str, ...], sizes: dict[str, int]) -> st.SearchStrategy[xr.Variable]:
    """Variables of these dimensions, with values of any kind and attributes."""
    shape = tuple(sizes[dim] for dim in dims)
    size = int(np.prod(shape, dtype=int))
    return st.builds(
        lambda flat, attrs: xr.Variable(dims, np.asarray(flat).reshape(shape), attrs), _of_size(size), attributes
    )


# ------------------------------------------------------------------------------------------- encodings

_HINTS: list[dict[str, Any]] = [
    {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768},
    {"dtype": "uint8", "scale_factor": 0.5, "_FillValue": 255},
    {"dtype": "int8", "_FillValue": -1},
    {"dtype": "float32"},
    {"dtype": "float32", "_FillValue": 1e20, "missing_value": -999.0},
    {"_FillValue": -1},
    {"_FillValue": np.nan},
    {"_FillValue": None},
    {"_FillValue": [1]},
    {"dtype": "S1"},
    {"dtype": "<U2"},
    {"units": "days since 2000-01-01", "dtype": "int32"},
    {"units": "days since 2000-01-01", "dtype": "float32"},
    {"units": "hours since 1900-01-01 00:00:00", "calendar": "gregorian", "dtype": "int32", "_FillValue": -1},
    {"units": "days"},
    {"chunks": (1, 1), "preferred_chunks": {"x": 1, "y": 1}},
    {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": (2,), "contiguous": False, "source": "a.nc"},
    {"original_shape": (3,), "szip": False, "endian": "little"},
]
encodings = st.one_of(st.just({}), st.sampled_from(_HINTS))

# ------------------------------------------------------------------------------------------- datasets


@st.composite
def datasets(draw: st.DrawFn, *, carried: bool = True) -> xr.Dataset:
    """Datasets of up to three dimensions, some of size 0, with coordinates of every role and indexes of every kind."""
    names_of_dims = draw(st.lists(st.sampled_from(DIMS), unique=True, max_size=3))
    sizes = {dim: draw(st.sampled_from([0, 1, 2, 3, N])) for dim in names_of_dims}
    ds = xr.Dataset(attrs=draw(attributes))
    for dim in names_of_dims:
        ds = draw(_with_labels(ds, dim, sizes))
    taken = set(map(str, ds.variables)) | set(DIMS)
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        if name in taken:
            continue
        dims = tuple(draw(st.lists(st.sampled_from(names_of_dims), unique=True, max_size=2))) if sizes else ()
        variable = draw(variables(dims, sizes))
        if carried:
            variable.encoding = dict(draw(encodings))
        ds = ds.assign_coords({name: variable}) if draw(st.booleans()) else ds.assign({name: variable})
    # of float16 pandas has no index
    kinds = [c for n, c in ds.coords.items() if c.ndim == 1 and n not in ds.xindexes and c.dtype != np.float16]
    plain = [str(c.name) for c in kinds if c.dtype.kind in "iuf"]
    if plain and draw(st.booleans()):
        ds = ds.set_xindex(plain[0])
    in_numpy = all(isinstance(v.dtype, np.dtype) for name, v in ds.variables.items() if name not in ds.xindexes)
    if ds.sizes and in_numpy and draw(st.booleans()):
        ds = ds.chunk({dim: max(1, size // 2) for dim, size in ds.sizes.items()})
    return ds


@st.composite
def _with_labels(draw: st.DrawFn, ds: xr.Dataset, dim: str, sizes: dict[str, int]) -> xr.Dataset:
    kind = draw(st.sampled_from(["none", "index", "index", "unindexed", "multi"]))
    index = INDEXES[draw(st.sampled_from(sorted(INDEXES)))]
    if sizes[dim] > len(index):
        return ds
    labels = index[: sizes[dim]]
    if kind == "index":
        return ds.assign_coords({dim: labels})
    if kind == "unindexed":
        return ds.assign_coords({dim: labels}).drop_indexes(dim)
    if kind == "multi" and sizes[dim] and "level_a" not in ds.variables:
        levels = [np.arange(sizes[dim]), [*"abcdef"][: sizes[dim]]]
        multi = pd.MultiIndex.from_arrays(levels, names=["level_a", "level_b"])
        return ds.assign_coords(xr.Coordinates.from_pandas_multiindex(multi, dim))
    return ds
