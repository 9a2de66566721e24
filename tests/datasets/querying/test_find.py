"""``zarrds.find``: what it gives, of what it reads, and how much of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.errors import EncodingError, QueryError, ResultSizeError

TIMES = pd.date_range("2019-03-01", periods=40, freq="h")


def dataset() -> xr.Dataset:
    rng = np.random.default_rng(0)
    t2m = np.sort(rng.normal(280, 10, (40, 8, 10)), axis=0).astype("f4")
    t2m[3, 2, 1] = np.nan
    lat2 = np.linspace(40, 60, 80).reshape(8, 10)
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), t2m, {"units": "K"}), "sp": (("time", "lat", "lon"), t2m * 4)},
        {"time": TIMES, "lat": np.arange(8.0) * 10, "lat2": (("lat", "lon"), lat2), "run": 7},
        {"title": "a test"},
    )


ENCODING: dict[str, Any] = {"t2m": {"chunks": (4, 4, 5)}, "sp": {"chunks": (8, 8, 10)}}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("find") / "t2m.zarr"
    zarrds.save(dataset(), path, encoding=ENCODING)
    zarrds.index(path)
    return path


def test_points(path: Path) -> None:
    ds = dataset()
    found = zarrds.find(path, "t2m > 300 and lat > 20")
    at = np.argwhere(((ds.t2m > 300) & (ds.lat > 20)).values)
    assert found.sizes == {"point": len(at)}
    np.testing.assert_array_equal(found.t2m, ds.t2m.values[tuple(at.T)])
    for i, name in enumerate(("time", "lat", "lon")):
        np.testing.assert_array_equal(found[f"{name}_index"], at[:, i])
        assert name not in ds.coords or np.array_equal(found[name], ds[name].values[at[:, i]])
    np.testing.assert_array_equal(found.lat2, ds.lat2.values[at[:, 1], at[:, 2]])
    assert (found.run, found.attrs, found.t2m.attrs) == (7, {"title": "a test"}, {"units": "K"})
    assert list(found.data_vars) == ["t2m"]
    indexers = {name: found[f"{name}_index"] for name in ("time", "lat", "lon")}
    np.testing.assert_array_equal(ds.sp.isel(indexers), zarrds.find(path, "t2m > 300 and lat > 20", "sp").sp)


def test_limits(path: Path) -> None:
    whole = zarrds.find(path, "t2m > 290", ["sp", "t2m"])
    for n in (0, 1, 7, 10_000):
        xr.testing.assert_identical(zarrds.find(path, "t2m > 290", ["sp", "t2m"], limit=n), whole.isel(point=slice(n)))
    assert zarrds.find(path, "t2m > 290", count=True) == whole.sizes["point"]
    assert zarrds.find(path, "t2m > 290", exists=True) is True
    assert zarrds.find(path, "t2m > 1000", exists=True) is False
    assert zarrds.find(path, "t2m > 1000").sizes == {"point": 0}


def test_what_is_read(path: Path) -> None:
    explained = zarrds.find(path, "t2m > 300", explain=True)
    assert isinstance(explained, zarrds.Explanation)
    (t2m,) = explained.variables
    assert (t2m.total, t2m.unknown, t2m.read + t2m.pruned) == (40, 0, 40)
    assert t2m.read <= 5
    assert explained.nbytes_read == t2m.read * 4 * 4 * 5 * 4
    assert str(explained).startswith("t2m > 300\n  elements: time 40 × lat 8 × lon 10\n  t2m: 40 chunks, ")
    # labels prune without statistics, and what they prune is not looked at
    explained = zarrds.find(path, "sp > 0 and time < '2019-03-01T04' and lat < 40", explain=True)
    assert isinstance(explained, zarrds.Explanation)
    assert explained.variables[0].read == 1
    # two dimensions against three
    explained = zarrds.find(path, "lat2 > 55 and t2m > 0", explain=True)
    assert isinstance(explained, zarrds.Explanation)
    assert explained.variables[0].read == 20
    # chunks of other shapes
    explained = zarrds.find(path, "sp < 1000 and t2m > 300", explain=True)
    assert isinstance(explained, zarrds.Explanation)
    assert [each.read for each in explained.variables] == [0, 0]


def test_chunks_that_are_pruned_are_not_read(tmp_path: Path) -> None:
    zarrds.save(dataset(), tmp_path / "v.zarr", encoding=ENCODING)
    zarrds.index(tmp_path / "v.zarr")
    expected = zarrds.find(tmp_path / "v.zarr", "t2m > 300")
    certain = zarrds.find(tmp_path / "v.zarr", "t2m < 1000 and time >= '2019-03-01T08'", count=True)
    for chunk in (tmp_path / "v.zarr" / "t2m").glob("c.[0-7].*"):
        value = chunk.read_bytes()
        chunk.write_bytes(b"\0" * (len(value) - 4) + value[-4:])  # damaged, under the same digest
    xr.testing.assert_identical(zarrds.find(tmp_path / "v.zarr", "t2m > 300"), expected)
    assert certain == zarrds.find(tmp_path / "v.zarr", "t2m < 1000 and time >= '2019-03-01T08'", count=True)
    with pytest.raises(zarrds.errors.ChunkError):
        zarrds.find(tmp_path / "v.zarr", "t2m > 270")


def test_one_dimension_is_a_selection(path: Path) -> None:
    ds = xr.Dataset(
        {
            "quality": ("variants", np.arange(50.0) % 37),
            "filter": ("variants", np.array(["PASS", "q10"] * 25, object)),
            "calls": (("variants", "samples"), np.arange(100).reshape(50, 2)),
        },
        {"position": ("variants", np.arange(50) * 10)},
    )
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, encoding={name: {"chunks": (8, 2)[: ds[name].ndim]} for name in ds})
    zarrds.index(store)
    query = "quality > 30 and filter == 'PASS'"
    at = np.flatnonzero(((ds.quality > 30) & (ds["filter"] == "PASS")).values)
    found = zarrds.find(store, query, ["quality", "calls"])
    assert not found.calls.variable._in_memory
    xr.testing.assert_identical(found.drop_vars("variants_index"), ds[["quality", "calls"]].isel(variants=at))
    xr.testing.assert_identical(ds.isel(variants=found.variants_index.values), ds.isel(variants=at))
    assert list(zarrds.find(store, query).data_vars) == ["quality", "filter"]
    assert zarrds.find(store, "position >= 300 and position < 340").sizes == {"variants": 4}


def test_regions_come_first() -> None:
    ds = xr.Dataset(
        {"quality": ("variants", np.arange(60.0))},
        {"contig": ("variants", np.repeat([0, 1], 30)), "position": ("variants", np.tile(np.arange(30) * 10 + 1, 2))},
    )
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, encoding={"quality": {"chunks": (4,)}})
    zarrds.index(store)
    opened = xr.open_dataset(store, engine="zarrds").set_xindex(["contig", "position"], zarrds.RegionIndex)
    region = opened.sel(contig=1, position=slice(100, 200))
    found = zarrds.find(region, "quality > 45", "quality")
    assert found.quality.values.tolist() == [
        q for q in range(60) if q >= 30 and 100 <= (q - 30) * 10 + 1 <= 200 and q > 45
    ]
    explained = zarrds.find(region, "quality > 45", explain=True)
    assert isinstance(explained, zarrds.Explanation)
    assert explained.variables[0].total <= 4


@pytest.mark.parametrize(
    "chosen",
    [
        {"time": slice(3, 30), "lat": slice(None, None, -1)},
        {"time": [30, 2, 17, 18, 39], "lon": slice(1, None, 3)},
        {"lat": 3},
        {"time": slice(0, 0)},
        {"time": xr.DataArray([1, 5, 30], dims="p"), "lat": xr.DataArray([1, 2, 7], dims="p")},
    ],
)
def test_what_is_selected_comes_first(path: Path, chosen: dict[str, Any]) -> None:
    opened, ds = xr.open_dataset(path, engine="zarrds").isel(chosen), dataset().isel(chosen)
    for query, mask in (("t2m > 285", ds.t2m > 285), ("t2m <= 285 and sp > 1100", (ds.t2m <= 285) & (ds.sp > 1100))):
        found = zarrds.find(opened, query)
        np.testing.assert_array_equal(found.t2m.values, ds.t2m.values[mask.values])
        assert zarrds.find(opened, query, count=True) == int(mask.sum())


def test_other_datasets(path: Path) -> None:
    expected = zarrds.find(path, "t2m > 300 and lat > 20")
    pytest.importorskip("dask")
    for ds in (
        dataset(),
        xr.open_dataset(path, engine="zarrds", chunks={}),
        xr.open_dataset(path, engine="zarrds").load(),
    ):
        xr.testing.assert_identical(zarrds.find(ds, "t2m > 300 and lat > 20"), expected)
    array = zarrds.find(xr.open_dataset(path, engine="zarrds").t2m, "t2m > 300 and lat > 20")
    xr.testing.assert_identical(array, expected.drop_attrs(deep=False))
    with pytest.raises(EncodingError, match="of a store"):
        zarrds.find(dataset(), "t2m > 3", group="g")


def test_single_values() -> None:
    ds = xr.Dataset({"v": 3.0, "w": ("x", [1.0, 5])})
    assert zarrds.find(ds, "v > 2").v.values.tolist() == [3]
    assert zarrds.find(ds, "v > 4").sizes == {"point": 0}
    assert zarrds.find(ds, "v > 2", count=True) == 1
    assert zarrds.find(ds, "v > w").x_index.values.tolist() == [0]
    assert zarrds.find(ds, "x > 0").x_index.values.tolist() == [1]


def test_what_does_not_fit_in_memory(path: Path) -> None:
    n = zarrds.find(path, "t2m > 200", count=True)
    with pytest.raises(ResultSizeError, match=f"{n} matches"):
        zarrds.find(path, "t2m > 200", max_memory=1000)
    assert zarrds.find(path, "t2m > 200", max_memory=1000, limit=5).sizes == {"point": 5}
    with pytest.raises(QueryError, match="a column has a dimension"):
        zarrds.find(path, "lat2 > 3", "t2m")


def test_progress(path: Path) -> None:
    seen: list[tuple[int, int]] = []
    zarrds.find(path, "t2m > 285", progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 0


@pytest.mark.parametrize("how", ["zarr", "resize", "copied", "forged digest", "no rows", "absent"])
def test_what_changes_afterwards(tmp_path: Path, how: str) -> None:
    path = tmp_path / "v.zarr"
    zarrds.save(dataset(), path, encoding=ENCODING)
    zarrds.index(path)
    array = zarrds.open_array(path, mode="r+", path="t2m")
    if how == "zarr":
        zarr = pytest.importorskip("zarr")
        zarr.open_group(path, mode="r+")["t2m"][0, 0, 0] = 999
    elif how == "resize":
        array.resize((41, 8, 10))
        zarrds.open_array(path, mode="r+", path="time").resize((41,))
        zarrds.open_array(path, mode="r+", path="sp").resize((41, 8, 10))
        array[40] = 999
    elif how == "copied":
        (path / "t2m/c.0.0.0").write_bytes((path / "t2m/c.9.1.1").read_bytes())
    elif how == "forged digest":
        rows = path / "t2m/.zarrds/statistics/c/0/0/0"
        value = bytearray(rows.read_bytes())
        value[len(value) // 2] ^= 255
        rows.write_bytes(value)
    elif how == "no rows":
        (path / "t2m/.zarrds/statistics/c/0/0/0").unlink()
    else:
        (path / "t2m/c.0.0.0").unlink()
        with pytest.raises(zarrds.errors.ChunkError, match="missing"):
            zarrds.find(path, "t2m > 300")
        return
    with_others = xr.open_dataset(path, engine="zarrds", decode_times=False).load()
    for query in ("t2m > 300", "t2m < 270", "not t2m > 300"):
        found = zarrds.find(path, query)
        values = with_others.t2m.values
        mask = {"t2m > 300": values > 300, "t2m < 270": values < 270, "not t2m > 300": ~(values > 300)}[query]
        np.testing.assert_array_equal(found.t2m.values, values[mask])
        assert zarrds.find(path, query, count=True) == mask.sum()


@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize("opened", [False, True])
def test_variables_without_dimensions(statistics: bool, opened: bool) -> None:
    scalars = {"a": 3.5, "b": np.datetime64("2000-01-01", "ns"), "c": "x", "n": np.nan, "i": 7, "f": True}
    ds = xr.Dataset({**{name: ((), value) for name, value in scalars.items()}, "v": ("x", [1.0, 4.0, 5.0])})
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, statistics=statistics)
    zarrds.index(store)
    of = xr.open_dataset(store, engine="zarrds").load() if opened else store
    truths = {
        "a > 3": True, "a > 4": False, "b >= '2000'": True, "b < '2000'": False, "c == 'x'": True, "c != 'x'": False,
        "n > 0": False, "not n > 0": True, "i == 7 and a > 3": True, "i == 7 and c == 'y'": False, "f == 1": True,
    }  # fmt: skip
    for query, truth in truths.items():
        assert zarrds.find(of, query, count=True) == truth, query
        assert zarrds.find(of, query, exists=True) is truth, query
        assert zarrds.find(of, query).sizes == {"point": int(truth)}, query
        assert zarrds.find(of, f"v > 3 and ({query})", count=True) == 2 * truth, query
    assert zarrds.find(of, "v > a", count=True) == 2
    for how in ("min", "max", "sum", "count", "mean"):
        expected = getattr(ds.a, how)()
        np.testing.assert_array_equal(zarrds.aggregate(of, "a", how), expected)


def test_selections_of_nothing() -> None:
    ds = xr.Dataset({"v": (("x", "y"), np.arange(12.0).reshape(4, 3)), "e": (("x", "z"), np.zeros((4, 0)))})
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, statistics=True, encoding={"v": {"chunks": (2, 2)}})
    zarrds.save(ds, store, append_dim="x")
    opened = xr.open_dataset(store, engine="zarrds")
    for none in ([], np.zeros(8, bool), slice(0, 0), np.array([], np.int64)):
        chosen = opened.isel(x=none)
        assert zarrds.find(chosen, "v > 3").sizes == {"point": 0}
        assert zarrds.find(chosen.isel(y=[0, 2]), "v > 3", count=True) == 0
        assert zarrds.find(opened.isel(y=[0, 2]).isel(x=none), "v > 3", count=True) == 0
        assert int(zarrds.aggregate(chosen, "v", "count")) == 0
    assert zarrds.find(opened, "e > 3", count=True) == 0


@pytest.mark.parametrize("query", ["v ** 0 == 1", "not v ** 0 == 1", "v ** 0.0 > 0", "v ** 1 == 1"])
def test_powers_of_what_is_missing(query: str) -> None:
    """What is not a number is 1 when raised to 0."""
    store = zarrds.MemoryStore()
    v = np.array([np.nan, np.nan, 1.0, 2.0])
    zarrds.save(xr.Dataset({"v": ("x", v)}), store, statistics=True, encoding={"v": {"chunks": (2,)}})
    expected = eval(query, {"v": v}) if not query.startswith("not") else ~(v**0 == 1)
    assert zarrds.find(store, query, count=True) == expected.sum()
    assert zarrds.find(store, query).sizes["x"] == expected.sum()


@pytest.mark.parametrize("dtype", ["U2", "S2", object, np.dtypes.StringDType()])
@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">"])
def test_texts_that_end_with_nul(dtype: Any, op: str) -> None:
    """Another text than the one without, whoever looks: NumPy cuts it off."""
    texts = ["a", "a", "b", "c"]
    array = np.array(texts, dtype)
    expected = sum(eval(f"each {op} 'a\\0'", {"each": each}) for each in texts)
    for statistics in (False, True):
        store = zarrds.MemoryStore()
        zarrds.save(xr.Dataset({"t": ("x", array)}), store, statistics=statistics, encoding={"t": {"chunks": (2,)}})
        query = f"t {op} 'a\\0'"
        assert zarrds.find(store, query, count=True) == expected
        assert zarrds.find(store, query).sizes["x"] == expected


def test_no_matches_of_a_selection_of_nothing_in_chunks(tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"v": (("y", "x"), np.zeros((5, 1)))}, {"c": (("y", "x"), np.ones((5, 1)))}), tmp_path / "s")
    chosen = xr.open_dataset(tmp_path / "s", engine="zarrds", chunks={"y": 5}).isel(x=slice(1, 3))
    found = zarrds.find(chosen, "v > 8")
    assert found.sizes == {"point": 0}
    assert found.v.dtype == found.c.dtype == np.float64


KINDS = {
    "nullable": pd.array([2**53 + 1, None, 3, 4], dtype="Int64"),
    "flag": pd.array([True, None, False, True], dtype="boolean"),
    "objects": np.array([True, None, False, True], object),
    "zone": pd.date_range("2020-07-01", periods=4, tz="Asia/Tokyo"),
    "category": pd.Categorical(["q", None, "r", "q"]),
}


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("name", sorted(KINDS))
def test_what_is_found_is_what_is_there(name: str, is_stored: bool) -> None:
    """Not what it is compared as: what is missing is no zero, and times keep their zone."""
    dims = {"nullable": "nullable != 0", "zone": "zone > '2000'", "category": "category == 'q'"}
    query = f"({dims.get(name, name)}) or place >= 0"
    ds = xr.Dataset({name: ("x", KINDS[name]), "place": ("x", np.arange(4.0)), "map": (("x", "y"), np.ones((4, 2)))})
    store: Any = zarrds.MemoryStore()
    zarrds.save(ds, store)
    source = store if is_stored else ds

    def elements(found: xr.Dataset) -> list[object]:
        return list(found[name].data)

    def text(values: list[object]) -> list[str]:
        return [str(None if pd.isnull(value) else value) for value in values]  # type: ignore[call-overload]  # scalars

    expected = text(elements(ds))
    assert text(elements(zarrds.find(source, query))) == expected
    assert text(elements(zarrds.find(source, f"map > 0 and ({query})"))) == [
        each for each in expected for _ in range(2)
    ]
    assert text(elements(zarrds.find(source, "map > 0", name))) == [each for each in expected for _ in range(2)]
    assert elements(zarrds.find(source, "map > 1", name)) == []
