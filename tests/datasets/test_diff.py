"""`zarrds.diff`: nothing is overlooked, nothing is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.display.test_display import parsed
from zarrds.datasets.comparing.values import unequal_values
from zarrds.engine.blocks import block_shape, blocks
from zarrds.errors import EncodingError


@given(
    st.lists(st.integers(0, 7), min_size=0, max_size=3),
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
    st.sampled_from([1, 8, 64, 10**6]),
)
def test_blocks_cover_all_once(shape: list[int], chunks: list[int], nbytes: int) -> None:
    block = block_shape(shape, chunks[: len(shape)], 8, nbytes)
    seen = np.zeros(shape, int)
    for key in blocks(shape, block):
        seen[key] += 1
        assert seen[key].size * 8 <= max(nbytes, int(np.prod(chunks[: len(shape)], dtype=int)) * 8)
    assert (seen == 1).all()


_VALUES: dict[str, list[Any]] = {
    "f8": [0.0, 1.5, np.nan, np.inf],
    "i8": [0, 1, 2**53 + 1],
    "M8[ns]": [np.datetime64("2019", "ns"), np.datetime64("NaT", "ns")],
    "O": ["a", "b", None],
    "c16": [0j, 1 + 1j, complex(np.nan, 0)],
    "?": [True, False],
}


@given(st.sampled_from(sorted(_VALUES)), st.data())
def test_values_against_numpy(dtype: str, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    each = st.lists(st.sampled_from(_VALUES[dtype]), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    a, b = (np.array(data.draw(each), dtype).reshape(shape) for _ in range(2))
    same = np.array([x is y or x == y or (pd.isnull(x) and pd.isnull(y)) for x, y in zip(a.flat, b.flat, strict=True)])
    found = unequal_values(xr.Variable(("x", "y"), a), xr.Variable(("x", "y"), b))
    if same.all():
        assert found is None
    else:
        assert found is not None
        assert found.n == (~same).sum()
        assert found.first == np.unravel_index(np.argmax(~same), shape)


NULLABLE: dict[str, list[Any]] = {
    "Int8": [1, None, 3],
    "UInt64": [1, None, 2**64 - 1],
    "Float32": [1.5, None, 3],
    "boolean": [True, None, False],
    "string": ["a", None, "c"],
    "category": ["a", None, "c"],
    "period[M]": ["2000-01", None, "2000-03"],
    "object": [1, pd.NA, b"c"],
}


@pytest.mark.parametrize("dtype", NULLABLE)
@pytest.mark.parametrize("is_stored", [True, False])
def test_what_pandas_has_missing(dtype: str, is_stored: bool) -> None:
    first, gone, last = NULLABLE[dtype]
    last = first if is_stored and dtype == "object" else last
    sides: list[Any] = []
    for each in ([first, gone, last, gone], [gone, gone, last, first]):
        values = np.array(each, object) if dtype == "object" else pd.Series(each, dtype=dtype).array
        ds = xr.Dataset({"v": ("x", values), "same": ("x", values[[1, 2, 1, 2]])}).assign_coords(x=pd.Index(values))
        sides.append(zarrds.MemoryStore() if is_stored else ds)
        if is_stored:
            zarrds.save(ds, sides[-1])
    assert zarrds.diff(sides[0], sides[0]).same
    found = zarrds.diff(*sides, metadata=False).differences
    assert [(each.kind, each.where) for each in found] == [("values", "/v"), ("values", "/x")]
    assert all("differ in 2 of 4" in each.problem for each in found)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), (None, "b"), (b"a", b"b"), ("a", None), (True, None)])
def test_objects_of_no_dimensions(one: Any, other: Any) -> None:
    a, b = (xr.Variable((), np.array(value, object)) for value in (one, other))
    assert unequal_values(a, a) is None
    unequal = unequal_values(a, b)
    assert unequal is not None
    assert (unequal.n, unequal.first, unequal.sides) == (1, (), (one, other))


def test_nullable_numbers() -> None:
    one, other = (xr.Dataset({"v": ("x", pd.array([value, None], dtype="Int64"))}) for value in (1, 9))
    assert "1 / 9, largest difference 8" in str(zarrds.diff(one, other))
    plain = xr.Dataset({"v": ("x", [1, 2])})
    assert [each.problem for each in zarrds.diff(one, plain).differences] == [
        "Int64 / int64",
        "differ in 1 of 2, first at x[1]: <NA> / 2",
    ]


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {"a": (("x", "y"), np.arange(6.0).reshape(2, 3), {"units": "m"}), "s": ("x", ["u", "v"])},
        {"x": [10, 20], "y": pd.date_range("2019", periods=3)},
        {"title": "t"},
    )


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda ds: ds.drop_vars("a"), "variable"),
        (lambda ds: ds.assign(b=1), "variable"),
        (lambda ds: ds.assign_attrs(title="u"), "attribute"),
        (lambda ds: ds.assign_attrs(title=None), "attribute"),
        (lambda ds: ds.assign(a=ds.a.assign_attrs(units="km")), "attribute"),
        (lambda ds: ds.assign(a=ds.a.astype("f4")), "dtype"),
        (lambda ds: ds.assign(a=ds.a.T), "dimensions"),
        (lambda ds: ds.assign_coords(x=[10, 21]), "values"),
        (lambda ds: ds.assign(s=("x", ["u", "w"])), "values"),
        (lambda ds: ds.set_coords("s"), "variable"),
    ],
)
def test_each_kind(change: Any, kind: str) -> None:
    assert zarrds.diff(dataset(), dataset()).same
    found = zarrds.diff(dataset(), change(dataset()))
    assert kind in {d.kind for d in found.differences}
    assert not found.same
    parsed(found._repr_html_())
    assert repr(found).startswith("<zarrds.Diff")
    assert not zarrds.diff(change(dataset()), dataset()).same


def test_stores_of_both_formats_groups_and_encodings(tmp_path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": dataset(), "/g": dataset()})
    zarrds.save(tree, tmp_path / "3.zarr")
    zarrds.save(tree, tmp_path / "2.zarr", zarr_format=2)
    assert zarrds.diff(tmp_path / "3.zarr", tree, metadata=False).same
    assert zarrds.diff(tmp_path / "3.zarr", tmp_path / "2.zarr", metadata=False).same
    zarrds.save(dataset(), tmp_path / "g.zarr", encoding={"a": {"chunks": (1, 3)}})
    found = zarrds.diff(tmp_path / "3.zarr", tmp_path / "g.zarr").differences
    assert [(d.kind, d.where) for d in found] == [("encoding", "/a"), ("group", "/g")]
    assert "chunks" in found[0].problem
    assert zarrds.diff(tmp_path / "3.zarr", tmp_path / "g.zarr", group="/", metadata=False).same
    with pytest.raises(EncodingError, match="no such group"):
        zarrds.diff(tmp_path / "3.zarr", tmp_path / "g.zarr", group="g")


def test_a_damaged_chunk_is_an_error(tmp_path: Path) -> None:
    zarrds.save(dataset(), tmp_path / "a.zarr")
    chunk = next(p for p in (tmp_path / "a.zarr" / "a").iterdir() if p.name.startswith("c"))
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\x00")
    with pytest.raises(zarrds.errors.ChunkError):
        zarrds.diff(tmp_path / "a.zarr", dataset())


def test_progress_of_long_calls(tmp_path: Path) -> None:
    """Every one counts up to its total."""
    ds = dataset().drop_vars("y")
    zarrds.save(ds, tmp_path / "a.zarr")
    calls: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        calls.append((done, total))

    for run in (
        lambda: zarrds.diff(ds, ds, progress=tell),
        lambda: zarrds.export(tmp_path / "a.zarr", tmp_path / "a.nc", progress=tell),
        lambda: zarrds.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", progress=tell),
        lambda: zarrds.verify(tmp_path / "a.zarr", progress=tell),
        lambda: zarrds.report(tmp_path / "a.zarr", tmp_path / "a.html", progress=tell),
    ):
        calls.clear()
        run()
        assert calls[-1][0] == calls[-1][1] > 0
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    "units",
    [
        "hours since 1900-01-01 00:00:0.0",
        "hours since 1900-1-1",
        "hours since 1900-01-01T00:00",
        "hours since 1900-01-01 06:00",
        "hours since 1900-01-01 06:00:00 +01:00",
        "Hour since 1900-01-01",
    ],
)
def test_units_may_be_spelled_otherwise(tmp_path: Path, units: str) -> None:
    """As those of a file are by xarray when they are written again."""
    netcdf = pytest.importorskip("netCDF4")
    for path, spelled in ((tmp_path / "a.nc", units), (tmp_path / "b.nc", "hours since 1900-01-02")):
        with netcdf.Dataset(path, "w") as file:
            file.createDimension("time", 3)
            time = file.createVariable("time", "i4", ("time",))
            time.units, time.calendar = spelled, "gregorian"
            time[:] = [0, 1, 2]
    zarrds.convert(tmp_path / "a.nc", tmp_path / "a.zarr")
    assert zarrds.diff(tmp_path / "a.nc", tmp_path / "a.zarr").same
    assert "encoding units" in str(zarrds.diff(tmp_path / "a.nc", tmp_path / "b.nc"))
