"""`zarrds.info`: what is shown of stores and datasets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.display.test_display import parsed
from zarrds.errors import EncodingError, NodeNotFoundError, StoreNotFoundError, VariableNotFoundError


def climate() -> xr.Dataset:
    times = pd.date_range("2019-03-01", periods=6, freq="h")
    dims = ("time", "lat", "lon")
    t2m = xr.Variable(dims, np.arange(6 * 3 * 4, dtype="f4").reshape(6, 3, 4), {"units": "K", "evil": "<script>"})
    coords = {"time": times, "lat": [52.0, 51.0, 50.0], "lon": np.arange(4.0), "height": 2.0}
    return xr.Dataset({"t2m": t2m}, coords, {"title": "tiny", "levels": [1, 2]})


class Counting(zarrds.MemoryStore):
    """A store that notes each look at it, and at what is staged for it, in one list."""

    calls: ClassVar[list[str]] = []

    def get(self, key: str, buffer: Any = None) -> Any:
        self.calls.append(key)
        return super().get(key, buffer)

    def list_prefix(self, prefix: str = "") -> Any:
        self.calls.append(f"list {prefix}")
        return super().list_prefix(prefix)

    def list_children(self, prefix: str = "") -> Any:
        self.calls.append(f"children {prefix}")
        return super().list_children(prefix)


@pytest.fixture
def store() -> Counting:
    store = Counting()
    zarrds.save(climate(), store, encoding={"t2m": {"chunks": (2, 3, 4)}})
    store.calls.clear()
    return store


def test_store(store: Counting) -> None:
    info = zarrds.info(store)
    by_name = {v.name: v for v in info.variables}
    assert info.dimensions == {"time": 6, "lat": 3, "lon": 4}
    assert [v.name for v in info.variables if not v.is_coordinate] == ["t2m"]
    t2m, time = by_name["t2m"], by_name["time"]
    assert (t2m.shape, t2m.chunks, t2m.shards, t2m.dtype, t2m.nbytes) == ((6, 3, 4), (2, 3, 4), None, "float32", 288)
    assert t2m.codecs == ("blosc(lz4 5 shuffle)", "crc32c")
    assert t2m.is_complete
    assert time.labels == ("2019-03-01 00:00:00", "2019-03-01 05:00:00")
    assert time.index == "DatetimeIndex"
    assert by_name["lat"].labels == ("52.0", "50.0")
    assert info.attributes["title"] == "tiny"
    assert not [key for key in store.calls if key.startswith(("t2m/c", "list", "children"))]


def test_stored(store: Counting) -> None:
    key = next(key for key in store.list_prefix("t2m") if "/c" in key)
    store.delete(key)
    t2m = zarrds.info(store, "t2m", stored=True).variables[0].stored
    assert t2m is not None
    assert (t2m.n_chunks, t2m.n_expected) == (2, 3)
    assert t2m.n_bytes == sum(len(store.get(key) or b"") for key in store.list_prefix("t2m"))
    assert "2/3, 1 lost" in str(zarrds.info(store, stored=True))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_is_no_file_is_no_absent_chunk(tmp_path: Path, zarr_format: Any) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(
        xr.Dataset({"v": ("x", np.arange(12.0))}), path, zarr_format=zarr_format, encoding={"v": {"chunks": (2,)}}
    )
    places = sorted(place for place in (path / "v").iterdir() if place.name.removeprefix("c.").isdigit())
    for place in places[:5]:
        place.unlink()
    os.mkfifo(places[0])
    places[1].mkdir()
    (places[2] / "deep").mkdir(parents=True)
    places[3].symlink_to("nowhere")
    info = zarrds.info(path, stored=True)
    stored = info.variables[0].stored
    assert stored is not None
    assert (stored.n_chunks, stored.n_expected, stored.n_damaged) == (1, 6, 4)
    assert "1/6, 4 damaged, 1 lost" in str(info)
    assert info.to_dict()["variables"]["v"]["stored"]["n_damaged"] == 4
    found = {f.key.rpartition("/")[2]: f.problem for f in zarrds.verify(path).findings}
    told = ["a pipe", "a folder", "a folder", "a symbolic link that leads to no file", "a chunk is missing"]
    assert [words for place, words in zip(places, told, strict=False) if words in found[place.name]] == told
    # of an array whose chunks may be absent, too
    zarrds.create_array(tmp_path / "a.zarr", shape=4, chunks=2, dtype="f8", zarr_format=zarr_format)
    (tmp_path / "a.zarr" / ("c/1" if zarr_format == 3 else "1")).mkdir(parents=True)
    (finding,) = zarrds.verify(tmp_path / "a.zarr").findings
    assert (finding.severity, finding.problem.partition(",")[0]) == ("error", "a folder")


def test_sizes_at_a_url_come_from_one_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    url = f"memory://{uuid.uuid4()}/x.zarr"
    tree = xr.DataTree.from_dict({"/": climate(), "/below": climate()})
    zarrds.save(tree, url)
    expected = zarrds.info(url, stored=True)
    looks: list[str] = []

    def noting(name: str) -> Any:
        original = getattr(MemoryFileSystem, name)

        def call(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
            looks.append(f"{name} {path.rpartition('x.zarr')[2]}")
            return original(self, path, *args, **kwargs)

        return call

    for name in ("cat_file", "find"):
        monkeypatch.setattr(MemoryFileSystem, name, noting(name))
    info = zarrds.info(url, stored=True)
    assert info.to_dict() == expected.to_dict()
    assert all(each.stored is not None and each.stored.n_bytes > 100 for each in info.variables)
    assert looks.count("find ") == 1
    assert not [look for look in looks if look.startswith("cat_file /t2m/c")]


def test_showing_looks_at_nothing(store: Counting) -> None:
    shown: list[Any] = [zarrds.info(store), zarrds.open_group(store), zarrds.open_array(store, path="t2m")]
    shown.append(zarrds.verify(store))
    store.calls.clear()
    for each in shown:
        assert repr(each).startswith("<zarrds.")
        html = each._repr_html_()
        found = parsed(html)
        assert "<script>" not in html
        assert "svg" in found.tags or isinstance(each, zarrds.Report)
    assert store.calls == []


def test_groups_without_consolidated_metadata_are_not_listed() -> None:
    store = Counting()
    group = zarrds.create_group(store)
    group.create_array("a", shape=(4,), dtype="i4", chunks=(2,))
    store.calls.clear()
    repr(group)
    parsed(group._repr_html_())
    assert store.calls == []


def test_dataset_in_memory_and_opened(store: Counting) -> None:
    info = zarrds.info(climate())
    assert {v.name: v.labels for v in info.variables}["time"] == ("2019-03-01 00:00:00", "2019-03-01 05:00:00")
    opened = zarrds.info(xr.open_dataset(store, engine="zarrds"))  # type: ignore[arg-type]  # xarray knows no stores
    t2m = {v.name: v for v in opened.variables}["t2m"]
    assert (t2m.chunks, t2m.codecs) == ((2, 3, 4), ("blosc(lz4 5 shuffle)", "crc32c"))
    assert not [key for key in store.calls if key.startswith("t2m/c")]
    assert zarrds.info(climate().t2m).dimensions == info.dimensions
    tree = zarrds.info(xr.DataTree.from_dict({"/": climate(), "/a": climate()}))
    assert tree.groups == ("a",)
    assert zarrds.info(xr.DataTree.from_dict({"/": climate(), "/a": climate()}), group="a").group == "/a"


def test_json(store: Counting) -> None:
    for info in (zarrds.info(store, stored=True), zarrds.info(climate()), zarrds.info()):
        text = json.dumps(info.to_dict(), allow_nan=False)
        assert json.loads(text) == info.to_dict()
    assert zarrds.info().to_dict()["packages"]["numpy"] == np.__version__


def test_every_kind_of_label() -> None:
    coords = {
        "c": pd.CategoricalIndex(["b", "a"]),
        "p": pd.period_range("2019-01", periods=3, freq="M"),
        "i": pd.IntervalIndex.from_breaks([0, 1, 2]),
        "z": pd.date_range("2019", periods=2, tz="Europe/Paris"),
    }
    ds = xr.Dataset(coords=coords)
    multi = pd.MultiIndex.from_product([["x", "y"], [1, 2]], names=["letter", "number"])
    ds = ds.assign_coords(xr.Coordinates.from_pandas_multiindex(multi, "m"))
    store = zarrds.MemoryStore()
    zarrds.save(ds, store)
    labels = {v.name: v.labels for v in zarrds.info(store).variables}
    assert labels["c"] == ("b", "a")
    assert labels["p"] == ("2019-01", "2019-03")
    assert labels["i"] == ("(0, 1]", "(1, 2]")
    assert labels["z"] == ("2019-01-01 00:00:00+01:00", "2019-01-02 00:00:00+01:00")
    assert labels["letter"] == ("x", "y")
    assert labels["number"] == ("1", "2")


def test_what_is_not_there(store: Counting, tmp_path: Path) -> None:
    with pytest.raises(VariableNotFoundError, match="Did you mean 't2m'"):
        zarrds.info(store, "t2")
    with pytest.raises(VariableNotFoundError, match="Did you mean 't2m'"):
        zarrds.info(climate(), "t2")
    with pytest.raises(StoreNotFoundError):
        zarrds.info(tmp_path / "nothing")
    with pytest.raises(NodeNotFoundError):
        zarrds.info(store, group="nowhere")
    with pytest.raises(EncodingError):
        zarrds.info(climate(), stored=True)
    with pytest.raises(EncodingError):
        zarrds.info(climate(), group="a")


def test_one_array_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "t.zarr"
    zarrds.save(climate(), path)
    (path / "zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}), encoding="utf-8"
    )
    document = json.loads((path / "lat" / "zarr.json").read_text(encoding="utf-8"))
    document["data_type"] = "quaternion"
    (path / "lat" / "zarr.json").write_text(json.dumps(document), encoding="utf-8")
    info = zarrds.info(path)
    assert {v.name for v in info.variables} == {"time", "lon", "height", "t2m"}
    assert "lat cannot be read" in info.problems[0]
    assert "lat cannot be read" in str(info)


def test_an_array_at_the_root_and_shards() -> None:
    store = zarrds.MemoryStore()
    zarrds.create_array(store, shape=(8, 8), dtype="i2", chunks=(2, 2), shards=(4, 4))
    shown = zarrds.info(store)
    assert shown.problems == ()
    (array,) = shown.variables
    assert (array.chunks, array.shards, array.dims) == ((2, 2), (4, 4), ("dim_0", "dim_1"))


# what the formats differ in: JSON has one type of integer, netCDF many
_SUFFIX = re.compile(r"(?<=[0-9.])(LL|ULL|UB|US|U|[bsfL])\b")


def statements(cdl: str) -> set[str]:
    lines = (_SUFFIX.sub("", line.strip()).replace(". ", " ") for line in cdl.splitlines())
    return {line for line in lines if line and not line.startswith("netcdf")}


# the data warns whoever opens it, and whoever saves it again
@pytest.mark.filterwarnings("ignore:variable .* has non-conforming", "ignore:saving variable . with floating point")
@pytest.mark.parametrize("name", ["era5_t2m_uk_2019-03", "basin_mask", "eraint_uvz"])
def test_cdl_is_that_of_ncdump(name: str, data_dir: Path, tmp_path: Path) -> None:
    ncdump = shutil.which("ncdump")
    if ncdump is None:
        pytest.skip("ncdump (netcdf-bin) is not installed")
    source = data_dir / f"{name}.nc"
    with xr.open_dataset(source) as ds:
        zarrds.save(ds, tmp_path / f"{name}.zarr")
        direct = statements(zarrds.info(ds).cdl())
    expected = statements(subprocess.run([ncdump, "-h", source], check=True, capture_output=True, text=True).stdout)
    found = statements(zarrds.info(tmp_path / f"{name}.zarr").cdl())
    # xarray gives floats that have none a _FillValue of NaN; char arrays become strings
    assert expected - found <= {line for line in expected if "char" in line or ":_FillValue" in line}
    assert found - expected <= {line for line in found if ":_FillValue = NaN" in line or "string" in line}
    decoded_away = {line for line in expected if ":_FillValue" in line or ":dtype" in line}
    assert expected - direct <= {line for line in expected if "char" in line} | decoded_away
