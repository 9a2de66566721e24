"""The names of xarray that are not public API do what zarrds relies on.

If a release of xarray changes one of them, this is where it shows.
"""

from __future__ import annotations

import datetime
import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.compat import xarray_internals as internals
from zarrds.compat.xarray_loading import decode_opened, is_decoding
from zarrds.datasets.reading.lazy import LazyArray


def test_every_name_is_checked_here() -> None:
    checked = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {name.lower() for name in internals.__all__} <= checked


def test_lazy_data(tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1])}), tmp_path / "x.zarr")
    variable = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").v.variable
    wrapper = internals.lazy_data(variable)
    assert not variable._in_memory
    # behind the wrappers, by name, is what zarrds gave
    while not isinstance(wrapper, LazyArray):
        wrapper = wrapper.array

    assert type(variable.chunk().data).__module__.startswith("dask")


def test_variable_of() -> None:
    dates = np.array([datetime.datetime(2000, 1, 2)], object)  # of which xarray makes datetime64
    variable = internals.variable_of(("x",), dates, {"a": 1}, {"b": 2})
    assert internals.lazy_data(variable) is dates
    assert (variable.dims, variable.attrs, variable.encoding) == (("x",), {"a": 1}, {"b": 2})
    assert (internals.variable_of((), np.array(1)).attrs, variable.copy().dtype) == ({}, object)


def test_bytes_to_char() -> None:
    assert internals.bytes_to_char(np.array([b"ab", b"c"])).tolist() == [[b"a", b"b"], [b"c", b""]]


def test_char_to_bytes() -> None:
    characters = xr.Variable(("x", "c"), np.array([[b"a", b"b"], [b"c", b""]]))
    assert np.asarray(internals.char_to_bytes(characters.data)).tolist() == [b"ab", b"c"]
    joined = internals.char_to_bytes(characters.chunk({"x": 1}).data)  # block by block
    assert joined.chunks == ((1, 1),)
    assert joined.compute().tolist() == [b"ab", b"c"]


def test_cf_related_data() -> None:
    assert {"bounds", "grid_mapping", "cell_measures", "formula_terms"} <= set(internals.CF_RELATED_DATA)


def test_unwrapped(tmp_path: Path) -> None:
    zarrds.save(
        xr.Dataset({"v": ("x", [1.5, 2.5])}), tmp_path / "x.zarr", encoding={"v": {"dtype": "i2", "scale_factor": 0.5}}
    )
    ds = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds")
    assert isinstance(internals.unwrapped(internals.lazy_data(ds.v.variable)), LazyArray)
    assert isinstance(internals.unwrapped(internals.lazy_data(ds.v[:].variable)), LazyArray)
    for part in (ds.v[:1], ds.v[::-1], ds.v[[0, 1]], ds.v[0]):
        assert internals.unwrapped(internals.lazy_data(part.variable)) is None
    loaded = ds.v.load().variable
    assert not isinstance(internals.unwrapped(internals.lazy_data(loaded)), LazyArray)


def test_dataarray_name() -> None:
    # what `open_dataarray` looks for; the engines of other libraries too
    assert internals.DATAARRAY_NAME == "__xarray_dataarray_name__"


def test_dataarray_variable() -> None:
    assert internals.DATAARRAY_VARIABLE == "__xarray_dataarray_variable__"


def test_none_var_name() -> None:
    assert internals.NONE_VAR_NAME == "__values__"


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1.5, "f4"), (np.nan, "f8"), (-3, "i2"), (True, "?"), (1 + 2j, "c16")],
)
def test_fillvaluecoder(value: complex, dtype: str) -> None:
    encoded = internals.FillValueCoder.encode(value, np.dtype(dtype))
    assert isinstance(encoded, str | int | bool | list)
    np.testing.assert_equal(internals.FillValueCoder.decode(encoded, np.dtype(dtype)), value)
    if dtype[0] == "f":
        assert isinstance(encoded, str)
        with pytest.raises((TypeError, ValueError)):
            internals.FillValueCoder.decode(5, np.dtype(dtype))
    encoded = internals.FillValueCoder.encode(b"n/a", np.dtype("S3"))
    assert internals.FillValueCoder.decode(encoded, "bytes") == b"n/a"
    assert internals.FillValueCoder.decode("n/a", "string") == "n/a"


def test_create_vlen_dtype() -> None:
    dtype = internals.create_vlen_dtype(str)
    assert dtype == np.dtype(object)
    assert internals.check_vlen_dtype(dtype) is str


def test_check_vlen_dtype() -> None:
    assert internals.check_vlen_dtype(internals.create_vlen_dtype(bytes)) is bytes
    assert internals.check_vlen_dtype(np.dtype(object)) is None
    assert internals.check_vlen_dtype(np.dtype("U3")) is None


def test_datatree_from_dict_with_io_cleanup() -> None:
    groups = {"/": xr.Dataset({"a": 1}), "/b/c": xr.Dataset({"d": 2})}
    tree = internals.datatree_from_dict_with_io_cleanup(groups)
    assert isinstance(tree, xr.DataTree)
    assert tree.groups == ("/", "/b", "/b/c")
    closed = []
    groups["/b/c"].set_close(lambda: closed.append(True))
    internals.datatree_from_dict_with_io_cleanup(groups).close()
    assert closed == [True]


def test_decode_cf_variables() -> None:
    stored = {
        "t": xr.Variable("t", [0, 1], {"units": "days since 2000-01-01"}),
        "v": xr.Variable("t", np.array([1, -1], "i2"), {"_FillValue": -1, "scale_factor": 0.5, "coordinates": "c"}),
        "c": xr.Variable((), 5),
    }
    switches = {
        "mask_and_scale": True,
        "decode_times": True,
        "concat_characters": True,
        "decode_coords": True,
        "use_cftime": None,
        "decode_timedelta": None,
    }
    variables, attributes, coordinates = internals.decode_cf_variables(stored, {"title": "x"}, **switches)
    assert variables["t"].dtype.kind == "M"
    np.testing.assert_array_equal(variables["v"], [0.5, np.nan])
    assert variables["v"].encoding["scale_factor"] == 0.5
    assert (attributes, coordinates) == ({"title": "x"}, {"c"})
    switches |= dict.fromkeys(("mask_and_scale", "decode_times", "decode_coords"), False)
    variables, _, coordinates = internals.decode_cf_variables(stored, {}, **switches)
    assert variables["v"].identical(stored["v"])
    assert coordinates == set()


def test_decode_cf_variables_looks_at_the_first_object() -> None:
    # why LazyArray knows whether it is being decoded
    looked = []

    class Spy(xr.backends.BackendArray):  # type: ignore[misc]  # xarray's class is untyped
        shape, dtype = (2, 3), np.dtype(object)

        def __getitem__(self, key: object) -> object:
            looked.append(key)
            return np.array("", object)

    data = xr.core.indexing.LazilyIndexedArray(Spy())
    internals.decode_cf_variables({"v": xr.Variable(("y", "x"), data, fastpath=True)}, {})
    assert [k.tuple for k in looked] == [(0, 0)]  # type: ignore[attr-defined]  # an ExplicitIndexer


def test_encode_dataset_coordinates() -> None:
    ds = xr.Dataset({"v": ("x", [1, 2])}, {"c": ("x", [3, 4]), "x": [0, 1]}, {"title": "x"})
    variables, attributes = internals.encode_dataset_coordinates(ds)
    assert set(variables) == {"v", "c", "x"}
    assert variables["v"].attrs == {"coordinates": "c"}
    assert attributes == {"title": "x"}
    variables["v"].encoding = {"chunks": 1}
    assert ds.v.encoding == {}
    assert ds.v.attrs == {}


def test_encode_zarr_variable() -> None:
    packed = xr.Variable("x", [1.0, np.nan], {}, {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1, "chunks": (1,)})
    encoded = internals.encode_zarr_variable(packed, name="v")
    np.testing.assert_array_equal(encoded, np.array([2, -1], "i2"))
    assert encoded.dtype == np.dtype("i2")
    assert encoded.attrs == {"scale_factor": 0.5, "_FillValue": -1}
    assert encoded.encoding["chunks"] == (1,)
    texts = internals.encode_zarr_variable(xr.Variable("x", np.array(["a", None], object)), name="s")
    assert internals.check_vlen_dtype(texts.dtype) is str
    assert list(texts.values) == ["a", ""]
    with pytest.raises((TypeError, ValueError)):
        internals.encode_zarr_variable(xr.Variable("x", np.array([{}, 1], object)), name="v")


def test_validate_dataset_names() -> None:
    internals.validate_dataset_names(xr.Dataset({"v": 1, None: 2}))
    for name in ("", 5):
        with pytest.raises((TypeError, ValueError), match="Invalid name"):
            internals.validate_dataset_names(xr.Dataset({name: 1}))


def test_deferredindex() -> None:
    made = []

    def make() -> pd.Index:
        made.append(1)
        return pd.CategoricalIndex(["a", "b", "a"])

    again = pickle.loads(pickle.dumps(internals.DeferredIndex(functools.partial(pd.Index, ["a"]), 1, np.dtype("O"))))
    assert again.shape == (1,)
    assert again.array.tolist() == ["a"]
    variable = internals.PandasVariable("x", internals.DeferredIndex(make, 3, make().dtype), fastpath=True)
    made.clear()
    ds = xr.Dataset({"v": variable})
    assert ds.v.dtype == "category"
    assert ds.v.shape == (3,)
    assert made == []
    assert ds.isel(x=slice(1, 3)).v.data.tolist() == ["b", "a"]
    assert ds.isel(x=[0, 2]).v.data.tolist() == ["a", "a"]
    assert ds.v.isel(x=1).item() == "b"
    xr.testing.assert_identical(ds.copy(deep=True), xr.Dataset({"v": ("x", pd.Categorical(["a", "b", "a"]))}))
    assert made == [1]


def test_pandasvariable() -> None:
    # what dask cannot hold stays as it is; xarray's own variables of such data fail
    ds = xr.Dataset({"v": internals.PandasVariable("x", pd.Categorical(["a", "b"])), "w": ("x", [1, 2])})
    chunked = ds.chunk(x=1)
    assert chunked.v.chunks is None
    assert chunked.w.chunks == ((1, 1),)
    assert chunked.v.dtype == "category"
    with pytest.raises(TypeError):
        xr.Dataset({"v": ("x", pd.Categorical(["a", "b"]))}).chunk(x=1)


@pytest.mark.parametrize("key", [slice(1, 5, 2), [4, 0], 3])
def test_mappedarray(key: object, tmp_path: Path) -> None:
    values = np.arange(12).reshape(6, 2)
    zarrds.save(xr.Dataset({"v": (("x", "y"), values)}), tmp_path / "x.zarr")
    lazy = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").v.variable
    mapped = internals.MappedArray(lazy, lambda part: np.asarray(part * 10), np.dtype(int))
    variable = xr.Variable(("x", "y"), mapped.lazily())
    assert not variable._in_memory
    np.testing.assert_array_equal(variable.isel(x=key).values, values[key] * 10)
    np.testing.assert_array_equal(variable.chunk(x=2).values, values * 10)


def test_new_dataset() -> None:
    closed: list[bool] = []
    index = xr.indexes.PandasIndex([3, 1], "x")
    variables = {"x": index.create_variables()["x"], "y": xr.Variable("x", [5, 6]), "z": xr.Variable((), 7)}
    ds = internals.new_dataset(variables, {"x", "z"}, {"x": index}, {"title": "a"}, lambda: closed.append(True))
    expected = xr.Dataset({"y": ("x", [5, 6])}, {"x": [3, 1], "z": 7}, {"title": "a"})
    xr.testing.assert_identical(ds, expected)
    assert ds.xindexes["x"] is index
    assert ds.encoding == {}
    assert int(ds.y.sel(x=1)) == 6
    ds.close()
    assert closed == [True]
    with pytest.raises(ValueError, match="conflicting sizes for dimension 'x'"):
        internals.new_dataset({"a": xr.Variable("x", [1]), "b": xr.Variable("x", [1, 2])}, set(), {}, {}, list)


def test_with_variables() -> None:
    texts = np.array(["a", None], object)
    before = xr.Dataset({"v": ("x", [1, 2])}, xr.Coordinates({"x": ("x", [3, 4])}, indexes={}), {"title": "a"})
    variable = xr.Variable("x", texts, fastpath=True)
    ds = internals.with_variables(before, {"x": variable})
    assert ds.x.values.tolist() == ["a", None]
    assert not ds.xindexes
    assert list(ds.coords) == ["x"]
    assert (before.x.values.tolist(), ds.attrs, ds.v.values.tolist()) == ([3, 4], {"title": "a"}, [1, 2])


def test_indexselresult() -> None:
    # what an index answers to a selection; xarray reads it as this tuple, and so positions of dimensions come first
    result = internals.IndexSelResult({"x": slice(1, 3)})
    assert result.dim_indexers == {"x": slice(1, 3)}
    assert len(result.as_tuple()) == 6
    index = xr.Dataset(coords={"x": [10, 20, 30]}).xindexes["x"]
    theirs = index.sel({"x": slice(20, 30)})
    assert type(theirs) is internals.IndexSelResult
    assert theirs.dim_indexers == {"x": slice(1, 3)}
    assert np.array_equal(np.arange(3)[theirs.dim_indexers["x"]], [1, 2])


@pytest.mark.parametrize("keys", [(slice(None, None, -1),), (slice(4, None, -2),), (slice(None, None, -1),) * 3])
def test_lazily(keys: tuple[slice, ...], tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("x", np.arange(6))}), tmp_path / "x.zarr")
    found, expected = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").v, np.arange(6)
    for key in keys:
        found, expected = found[key], expected[key]
    np.testing.assert_array_equal(found, expected)


def test_is_strange() -> None:
    for data in (np.arange(2), pd.Index([1]), pd.array([1, None]), xr.Variable("x", [1]).chunk().data):
        assert not internals.is_strange(xr.Variable("x", data))
    sparse = pytest.importorskip("sparse")
    assert internals.is_strange(xr.Variable("x", sparse.COO(np.array([1, 0]))))


def test_guard_decoders() -> None:
    attributes = {"_FillValue": -1, "scale_factor": 0.5}
    raw = xr.Variable(
        "x", internals.lazily(internals.MappedArray(xr.Variable("x", [2, 4]), abs, np.dtype("i8"))), attributes
    )
    decoded, _, _ = internals.decode_cf_variables({"v": raw}, {})
    called = []

    def guard(function: object, dtype: object) -> object:
        called.append(dtype)
        return lambda values: function(values) + 1  # type: ignore[operator]  # a function

    internals.guard_decoders(decoded["v"], guard)  # type: ignore[arg-type]  # of a function
    np.testing.assert_array_equal(decoded["v"].values, [2.5, 3.5])
    assert called == [np.dtype("f8"), np.dtype("f8")]


def test_is_plain_in_memory(tmp_path: Path) -> None:
    for values in (np.arange(2), pd.date_range("2000", periods=2), pd.CategoricalIndex(["a", "b"])):
        zarrds.save(xr.Dataset({"v": ("x", [1, 2])}, {"x": values}), tmp_path / "x.zarr", mode="w")
        opened = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds", index="lazy")
        assert internals.is_plain_in_memory(xr.Variable("x", [1, 2]))
        assert internals.is_plain_in_memory(xr.IndexVariable("x", values))
        assert not internals.is_plain_in_memory(opened.v.variable)
        assert internals.is_plain_in_memory(opened.v.variable.load())


def test_indexed_by() -> None:
    values, asked = np.arange(12).reshape(3, 4), []

    def get(key: tuple[object, ...]) -> object:
        asked.append(key)
        return values[key]

    vectorized = xr.Variable(("x", "y"), internals.lazily(_Backed(values, get)))[
        xr.Variable("p", [2, 0]), xr.Variable("p", [1, 3])
    ]
    np.testing.assert_array_equal(vectorized.values, [values[2, 1], values[0, 3]])
    outer = xr.Variable(("x", "y"), internals.lazily(_Backed(values, get)))[[2, 0], 1:3]
    np.testing.assert_array_equal(outer.values, values[[2, 0], 1:3])
    # no more than one list of positions is asked for at once, or the elements would be those of pairs
    assert all(sum(isinstance(part, np.ndarray) for part in key) <= 1 for key in asked)


class _Backed(xr.backends.BackendArray):
    def __init__(self, values: np.ndarray, get: Callable[[Any], Any]) -> None:
        self.shape, self.dtype, self.get = values.shape, values.dtype, get

    def __getitem__(self, key: Any) -> Any:
        return internals.indexed_by(key, self.shape, self.get)


class _Asked(xr.backends.BackendArray):
    """One that notes by which keys it was asked, and for whom."""

    dtype, shape = np.dtype(object), (3, 3)

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.is_decoding: list[bool] = []

    def __getitem__(self, key: Any) -> Any:
        self.keys.append(type(key))
        self.is_decoding.append(is_decoding())
        return np.full((3, 3), "a", object)[key.tuple if type(key) is not internals.indexing.OuterIndexer else ...]


def test_indexing() -> None:
    asked = _Asked()
    variable = internals.variable_of(("x", "y"), internals.lazily(asked))
    points = xr.Variable("p", [0, 1])
    for part in (variable[1:, 0], variable[[0, 2], :], variable[points, points]):
        part.load()
    indexing = internals.indexing
    assert asked.keys == [indexing.BasicIndexer, indexing.OuterIndexer, indexing.VectorizedIndexer]
    assert all(issubclass(kind, indexing.ExplicitIndexer) for kind in asked.keys)


def test_elements_that_decoders_ask_for_are_told_apart() -> None:
    asked = _Asked()
    variable = internals.variable_of(("x", "y"), internals.lazily(asked))
    decoded, _, _ = decode_opened({"v": variable}, {})
    assert asked.is_decoding == [True]  # the first of all objects
    decoded["v"].load()
    assert asked.is_decoding == [True, False]
    with pytest.raises(ValueError, match="unable to decode time units"):
        decode_opened({"v": xr.Variable("x", [1.0], {"units": "days since never"})}, {}, decode_times=True)
    assert not is_decoding()


def test_is_chunked(tmp_path: Path) -> None:
    dataset = xr.Dataset({"v": ("x", np.arange(4.0))}, {"x": np.arange(4)})
    zarrds.save(dataset, tmp_path / "x.zarr")
    for each in (dataset, dataset.chunk(x=2), xr.open_dataset(tmp_path / "x.zarr", engine="zarrds")):
        for variable in each.variables.values():
            assert internals.is_chunked(variable) == (variable.chunks is not None)


def test_blockwisearray() -> None:
    seen: list[tuple[int, ...]] = []

    def on_block(values: np.ndarray[Any, Any], origin: tuple[int, ...]) -> np.ndarray[Any, Any]:
        seen.append(origin)
        return values + 1

    large = internals.BlockwiseArray(xr.Variable(("x", "y"), np.arange(12).reshape(3, 4)), on_block, np.dtype(int), 8)
    variable = xr.Variable(("x", "y"), large.lazily(), fastpath=True)
    assert variable[1:, 2:4].values.tolist() == [[7, 8], [11, 12]]
    assert variable[[0, 2], ::-2].values.tolist() == [[4, 2], [12, 10]]
    assert seen == [(1, 2), (0, 0)]


def test_blockwise_array() -> None:
    large = internals.BlockwiseArray(xr.Variable("x", [1, 2]), lambda values, origin: values, np.dtype(int), 8)
    variable = xr.Variable("x", large.lazily(), fastpath=True)
    assert internals.blockwise_array(variable) is large
    assert internals.blockwise_array(variable.isel()) is large
    assert internals.blockwise_array(variable[1:]) is None
    assert internals.blockwise_array(xr.Variable("x", [1, 2])) is None


def test_infer_datetime_units() -> None:
    dates = xr.date_range("2000-01-01", periods=2, calendar="noleap", use_cftime=True)
    assert internals.infer_datetime_units(dates.values) == "days since 2000-01-01 00:00:00.000000"


def test_units_as_written() -> None:
    assert internals.units_as_written("hour since 1900-1-1 6:00:00.0") == "hours since 1900-01-01T06:00:00"
    for other in ("days since 2000-02-30", "days since the flood", " since ", "K", ""):
        assert internals.units_as_written(other) == other
