"""Data variables and coordinates without an index, of kinds that only pandas knows."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.index_kinds import INDEXES
from tests.datasets.samples import open_zarrds
from zarrds.errors import EncodingError

KINDS = {
    name: index.array
    for name, index in INDEXES.items()
    if name.startswith(("categ", "Int", "UInt", "Float", "bool", "period", "interval", "tz", "text", "cftime", "date"))
}
# held by xarray as what they are; the others as NumPy arrays
EXTENSION = ("categ", "Int", "UInt", "Float", "bool", "period", "interval")


pytestmark = pytest.mark.usefixtures("no_warnings")


def held(kind: str) -> Any:
    """Data of a kind; text of pyarrow as objects, since xarray can select nothing of what it holds of that."""
    values = KINDS[kind]
    return np.asarray(values, dtype=object) if type(values).__name__ == "ArrowStringArray" else values


@pytest.mark.parametrize("dtype", ["str", "string[pyarrow]"])
def test_text_of_pyarrow(dtype: str) -> None:
    """Data comes back as objects, as without pyarrow; labels as what they were."""
    pytest.importorskip("pyarrow")
    texts = pd.array(["a", None, "c"], dtype=dtype)
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", texts)}, {"x": pd.Index(texts)}), store)
    found = open_zarrds(store)
    assert found.v.dtype == object
    assert found.v.values.tolist()[::2] == ["a", "c"]
    assert pd.isnull(found.v.values[1])
    pd.testing.assert_index_equal(found.indexes["x"], pd.Index(texts, name="x"))


def assert_same(found: xr.Dataset, expected: xr.Dataset, kind: str) -> None:
    assert found.v.dtype == expected.v.dtype
    assert found.v.attrs == expected.v.attrs
    if kind.startswith(EXTENSION):
        pd.testing.assert_extension_array_equal(found.v.data, expected.v.data)
    else:
        wanted, have = expected.v.values.ravel(), found.v.values.ravel()
        missing = pd.isnull(wanted)
        np.testing.assert_array_equal(pd.isnull(have), missing)
        assert [*map(type, have)] == [*map(type, wanted)]
        np.testing.assert_array_equal(have[~missing], wanted[~missing])
        if "tz" in kind:
            assert [str(value.tz) for value in have] == [str(value.tz) for value in wanted]
    xr.testing.assert_identical(found.drop_vars("v"), expected.drop_vars("v"))


@pytest.mark.one_in(24)
@pytest.mark.parametrize(
    ("zarr_format", "chunks", "as_coordinate"),
    [(3, None, False), (3, {}, True), (2, None, True), (2, {}, False)],
    ids=["3-numpy-data", "3-dask-coordinate", "2-numpy-coordinate", "2-dask-data"],  # all pairs
)
@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str, zarr_format: Any, chunks: Any, as_coordinate: bool) -> None:
    ds = xr.Dataset({"v": ("x", held(kind), {"long_name": "of a kind"}), "w": ("x", np.arange(6))})
    ds = ds.set_coords("v") if as_coordinate else ds
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, zarr_format=zarr_format)
    found = open_zarrds(store, chunks=chunks)
    assert set(found.coords) == set(ds.coords)
    assert_same(found, ds, kind)
    assert_same(pickle.loads(pickle.dumps(open_zarrds(store, chunks=chunks))), ds, kind)
    for part in (slice(1, 4), [5, 0, 2], slice(None, None, -1)):
        assert_same(open_zarrds(store, chunks=chunks).isel(x=part), ds.isel(x=part), kind)
    again = zarrds.MemoryStore()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*dask array with dtype=object")
        zarrds.save(open_zarrds(store, chunks=chunks), again, zarr_format=zarr_format)
    assert_same(open_zarrds(again), ds, kind)


@pytest.mark.one_in(6)
@pytest.mark.parametrize("zarr_format", [3, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_appends_and_regions(kind: str, zarr_format: Any) -> None:
    ds = xr.Dataset({"v": ("x", held(kind)), "w": ("x", np.arange(6))})
    store = zarrds.MemoryStore()
    zarrds.save(ds.isel(x=slice(0, 4)), store, zarr_format=zarr_format)
    zarrds.save(ds.isel(x=slice(4, None)), store, append_dim="x")
    assert_same(open_zarrds(store), ds, kind)
    backwards = ds.isel(x=slice(None, None, -1))
    zarrds.save(backwards.isel(x=slice(1, 5)), store, region={"x": slice(1, 5)})
    assert_same(open_zarrds(store), ds.isel(x=[0, 4, 3, 2, 1, 5]), kind)


@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
def test_nothing_is_read_until_it_is_used(chunks: Any, tmp_path: Path) -> None:
    ds = xr.Dataset({"v": ("x", pd.array([1, None, 3], "Int64")), "w": ("x", [1, 2, 3])})
    zarrds.save(ds, tmp_path / "x.zarr")
    found = open_zarrds(tmp_path / "x.zarr", chunks=chunks)
    (tmp_path / "x.zarr" / "v" / "c.0").rename(tmp_path / "kept")
    with pytest.raises(zarrds.errors.ChunkError):
        found.v.load()
    (tmp_path / "kept").rename(tmp_path / "x.zarr" / "v" / "c.0")
    assert found.v.dtype == "Int64"


def test_objects_of_several_dimensions() -> None:
    times = np.array([[pd.Timestamp("2000-01-01", tz="Asia/Tokyo")] * 3, [pd.NaT] * 3], object)
    ds = xr.Dataset({"v": (("y", "x"), times), "w": ((), np.array(pd.Timestamp("2000", tz="UTC"), object))})
    store = zarrds.MemoryStore()
    zarrds.save(ds, store)
    assert open_zarrds(store).v.values[0].tolist() == times[0].tolist()
    assert pd.isnull(open_zarrds(store).v.values[1]).all()
    assert open_zarrds(store).w.item() == pd.Timestamp("2000", tz="UTC")


@pytest.mark.parametrize("option", [{"mask_and_scale": False}, {"decode_cf": False}, {"mask_and_scale": {"v": False}}])
def test_undecoded(option: dict[str, Any]) -> None:
    """Who asks for what is stored gets it."""
    ds = xr.Dataset({"v": ("x", pd.Categorical(["b", None, "a"]))})
    store = zarrds.MemoryStore()
    zarrds.save(ds, store)
    found = open_zarrds(store, **option)
    assert found.v.values.tolist() == [1, -1, 0]
    assert found.v_categories.values.tolist() == ["a", "b"]
    assert found.v.attrs["flag_meanings"] == "a b"


def test_another_kind_is_refused() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", pd.Categorical(["a", "b"])), "w": ("x", [1.5, 2])}), store)
    text = pd.Categorical(["a"])
    for v, w, error in (([5], [1.0], zarrds.errors.LabelError), (text, text, zarrds.errors.EncodingError)):
        with pytest.raises(error, match="'v'" if w == [1.0] else "variable w"):
            zarrds.save(xr.Dataset({"v": ("x", v), "w": ("x", w)}), store, append_dim="x")
    assert open_zarrds(store).sizes["x"] == 2


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_attributes_that_the_kind_has_too(zarr_format: Any) -> None:
    """As flags that were decoded to categories, and times of which intervals were made, bring them along."""
    flags = {"flag_values": np.array([1, 2], "i1"), "flag_meanings": "clear cloudy", "long_name": "sky"}

    def part(i: float) -> xr.Dataset:
        data = {"sky": ("x", pd.Categorical(["a", "b"]), flags), "said": ("x", pd.Categorical(["a b", "c"]), flags)}
        spans = pd.arrays.IntervalArray.from_breaks([i, i + 1, i + 2])
        bounds = {"bounds": "time_bnds", "units": "m"}
        return xr.Dataset({**data, "s": ("x", spans, bounds)}, {"x": ("x", pd.IntervalIndex(spans), bounds)})

    store, expected = zarrds.MemoryStore(), part(0.0)

    def check() -> None:
        found = open_zarrds(store).load()
        assert found.sky.attrs.keys() == expected.sky.attrs.keys()
        xr.testing.assert_identical(found, expected)

    zarrds.save(expected, store, zarr_format=zarr_format)
    check()
    assert zarrds.open_array(store, path="sky").attrs["flag_meanings"] == "a b"
    assert "flag_meanings" not in zarrds.open_array(store, path="said").attrs
    zarrds.save(part(2.0), store, append_dim="x")
    expected = xr.concat([part(0.0), part(2.0)], "x")
    check()
    changed = expected[["sky"]].drop_vars("x")
    changed["sky"].attrs = {"flag_meanings": "c d"}
    zarrds.save(changed, store, mode="a")
    expected["sky"].attrs = {"flag_meanings": "c d"}
    check()
    changed["sky"].attrs = {}
    zarrds.save(changed, store, mode="a")
    expected["sky"].attrs = {}
    check()
    expected["x"].attrs["bounds"] = "other"
    zarrds.save(expected, store, mode="a")
    check()
    assert zarrds.verify(store).ok


@pytest.mark.parametrize(
    "values",
    [
        pd.array([1, None, 3], dtype="UInt8"),
        pd.array([1.5, None, 3], dtype="Float32"),
        pd.array([True, None, False], dtype="boolean"),
        pd.Categorical(["x", None, "y"]),
        pd.period_range("2020-01", periods=3, freq="M").array,
        pd.interval_range(0, 3).array,
    ],
    ids=lambda values: str(values.dtype.name),
)
def test_lazy_data_is_concatenated(tmp_path: Path, values: Any) -> None:
    parts = [xr.Dataset({"v": ("x", values)}, {"x": [i, i + 1, i + 2]}) for i in (0, 3)]
    expected = xr.concat(parts, "x")
    paths = [tmp_path / f"{i}.zarr" for i in range(2)]
    for part, path in zip(parts, paths, strict=True):
        zarrds.save(part, path)
    opened = [xr.open_dataset(path, engine="zarrds") for path in paths]
    for found in (xr.concat(opened, "x"), xr.open_mfdataset(paths, engine="zarrds")):
        assert found.v.dtype == expected.v.dtype
        assert found.v.variable.to_index().equals(expected.v.variable.to_index())
    zarrds.save(xr.concat([ds.isel(x=slice(1, None)) for ds in opened], "x"), tmp_path / "all.zarr")
    back = xr.load_dataset(tmp_path / "all.zarr", engine="zarrds")
    assert back.v.variable.to_index().equals(expected.isel(x=[1, 2, 4, 5]).v.variable.to_index())


def test_each_variable_is_looked_at_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of 400 categoricals all others were selected of, too: to open them took 5 s."""
    selected: list[object] = []
    real = xr.Variable.__getitem__
    monkeypatch.setattr(xr.Variable, "__getitem__", lambda self, key: selected.append(key) or real(self, key))

    def n_selected(n: int) -> int:
        ds = xr.Dataset({f"v{i}": ("x", pd.Categorical(["a", None, str(i)])) for i in range(n)})
        zarrds.save(ds, store := zarrds.MemoryStore())
        selected.clear()
        found = open_zarrds(store)
        n_done = len(selected)
        xr.testing.assert_identical(found.load(), ds)
        return n_done

    assert n_selected(9) - n_selected(6) == n_selected(6) - n_selected(3)


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(["a", None]),
        pd.Categorical([2, 1]),
        pd.array([7, None], "Int16"),
        pd.array([True, None]),
        pd.period_range("2000-01", periods=2, freq="M").array,
        pd.arrays.PeriodArray._from_sequence(["2000", None], dtype="period[D]"),
    ],
    ids=["text", "numbers", "integers", "booleans", "periods", "missing period"],
)
def test_one_element(values: Any) -> None:
    """xarray keeps it in an array of pandas without dimensions, at which pandas fails, or ends the process."""
    for i, value in enumerate(values):
        ds = xr.Dataset({"v": ("x", values), "w": ("t", [1.0])}, {"t": [0]}).isel(x=i)
        zarrds.save(ds, store := zarrds.MemoryStore())
        zarrds.save(ds.assign_coords(t=[1]), store, append_dim="t")
        found = open_zarrds(store).load()
        assert found.sizes == {"t": 2}
        assert pd.isnull(found.v.item()) if pd.isnull(value) else found.v.item() == value


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize(
    "value",
    [pd.Timestamp("2000", tz="Europe/Berlin"), pd.Period("2000-01", "M"), pd.Interval(0, 1), True, b"a", None],
    ids=lambda value: type(value).__name__,
)
def test_one_object(value: Any, is_lazy: bool) -> None:
    """dask computes an object without dimensions as the object itself, of which xarray makes no array."""
    values = np.empty(2, object)
    values[:] = [value] * 2
    ds = xr.Dataset({"v": xr.Variable("x", values, fastpath=True)})
    zarrds.save((ds.chunk(x=1) if is_lazy else ds).isel(x=0), store := zarrds.MemoryStore())
    found = open_zarrds(store).v
    assert found.ndim == 0
    assert found.item() == value


def test_one_element_of_labels_of_several_levels() -> None:
    levels = pd.MultiIndex.from_arrays([[1, 2], [*"ab"]], names=["p", "q"])
    ds = xr.Dataset({"w": ("x", [1.0, 2.0])}, xr.Coordinates.from_pandas_multiindex(levels, "x")).isel(x=1)
    with pytest.raises(EncodingError, match=r"Leave it out, with drop_vars\('x'\)"):
        zarrds.save(ds, store := zarrds.MemoryStore())
    zarrds.save(ds.drop_vars("x"), store)
    xr.testing.assert_identical(open_zarrds(store).load(), ds.drop_vars("x"))
