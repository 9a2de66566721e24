"""Groups of other libraries with an array that cannot be read: all else in them can be written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import Format, files, load
from zarrds.errors import MetadataError, UnsupportedError, ZarrdsError


def stored() -> xr.Dataset:
    return xr.Dataset({"v": ("time", [0.0, 1.0, 2.0])}, {"time": [0, 1, 2]})


def nameless(path: Path, zarr_format: Format, group: str) -> None:
    """An array whose dimensions have no names."""
    there = zarr.open_group(path, mode="r+", path=group, zarr_format=zarr_format, use_consolidated=False)
    there.create_array("bad", shape=(4,), chunks=(2,), dtype="f4")


def unknown_codec(path: Path, zarr_format: Format, group: str, dim: str = "other") -> None:
    """An array of a codec that zarrds does not have."""
    ds = xr.Dataset({"bad": (dim, [1.0, 2.0, 3.0])})
    ds.to_zarr(path, group=group, mode="a", zarr_format=zarr_format, consolidated=False)
    file = path / group / "bad" / ("zarr.json" if zarr_format == 3 else ".zarray")
    document = json.loads(file.read_text())
    if zarr_format == 3:
        document["codecs"].append({"name": "mycodec", "configuration": {}})
    else:
        document["compressor"] = {"id": "mycodec"}
    file.write_text(json.dumps(document))


BAD: dict[str, tuple[Callable[..., None], type[ZarrdsError]]] = {
    "nameless": (nameless, MetadataError),
    "unknown codec": (unknown_codec, UnsupportedError),
}


@pytest.fixture(params=["", "bad"], ids=["root", "group"])
def group(request: pytest.FixtureRequest) -> str:
    """The second is called as the array in it is: errors must tell them apart."""
    found: str = request.param
    return found


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format, group: str) -> Path:
    path = tmp_path / "x.zarr"
    stored().to_zarr(path, group=group, zarr_format=zarr_format, consolidated=False)
    return path


def rest(path: Path, group: str, engine: str = "zarrds") -> xr.Dataset:
    options: Any = {"consolidated": False} if engine == "zarr" else {}
    return load(path, engine, group=group, drop_variables="bad", **options)


@pytest.mark.parametrize("case", BAD)
def test_all_else_is_written(path: Path, group: str, zarr_format: Format, case: str) -> None:
    BAD[case][0](path, zarr_format, group)
    base = f"{group}/bad/" if group else "bad/"
    before = {name: value for name, value in files(path).items() if name.startswith(base)}
    expected = stored().assign(w=("time", [5.0, 6.0, 7.0]))
    zarrds.save(expected[["w"]], path, group=group, mode="a")
    xr.testing.assert_identical(rest(path, group), expected)
    more = expected.assign_coords(time=[3, 4, 5])
    zarrds.save(more, path, group=group, append_dim="time")
    expected = xr.concat([expected, more], "time")
    xr.testing.assert_identical(rest(path, group), expected)
    zarrds.save(expected.isel(time=slice(2, 4)) + 10, path, group=group, region="auto")
    expected["v"][2:4] += 10
    expected["w"][2:4] += 10
    zarrds.update_attrs(path, {"units": "K"}, "v", group=group)
    expected["v"].attrs["units"] = "K"
    zarrds.save(expected[["v"]] + 1, path, group=group, mode="r+")
    expected["v"] = expected.v + 1
    expected["v"].attrs["units"] = "K"
    xr.testing.assert_identical(rest(path, group), expected)
    after = {name: value for name, value in files(path).items() if name.startswith(base)}
    after.pop(f"{base}.zarrds/.zarrds.json", None)  # which tells that others have notes, and says nothing of it
    assert after == before
    zarrds.drop_vars(path, "bad", group=group)
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(load(path, engine, group=group), expected)


@pytest.mark.parametrize("case", BAD)
def test_the_array_itself_is_refused(path: Path, group: str, zarr_format: Format, case: str) -> None:
    make, kind = BAD[case]
    make(path, zarr_format, group)
    before = files(path)
    key = f"{group}/bad" if group else "bad"
    ds = stored().assign(bad=("other", [1.0, 2.0, 3.0]))
    options: list[dict[str, Any]] = [{"mode": "a"}, {"mode": "r+"}, {"region": {"time": slice(0, 3)}}]
    for option in options:
        with pytest.raises(kind, match=r"Save without this variable, or drop it .*zarrds\.drop_vars") as caught:
            zarrds.save(ds, path, group=group, **option)
        assert (caught.value.path, caught.value.key) == (str(path), key)
        assert files(path) == before
    with pytest.raises(ZarrdsError) as edited:
        zarrds.update_attrs(path, {"comment": "odd"}, "bad", group=group)
    assert (edited.value.path, edited.value.key) == (str(path), key)
    assert files(path) == before
    zarrds.drop_vars(path, "bad", group=group)
    zarrds.save(ds, path, group=group, mode="a")
    xr.testing.assert_identical(load(path, group=group), ds)


@pytest.mark.parametrize("case", ["unknown codec"])
def test_an_append_that_would_pass_it_by_is_refused(path: Path, group: str, zarr_format: Format, case: str) -> None:
    """It would be too short then, and the group could not be opened any more."""
    make, kind = BAD[case]
    make(path, zarr_format, group, "time")
    before = files(path)
    more = stored().assign_coords(time=[3, 4, 5])
    for ds in (more, more.assign(bad=("time", [1.0, 2.0, 3.0]))):
        with pytest.raises(kind, match=r"drop it .*zarrds\.drop_vars") as caught:
            zarrds.save(ds, path, group=group, append_dim="time")
        assert caught.value.key == (f"{group}/bad" if group else "bad")
        assert files(path) == before
    zarrds.drop_vars(path, "bad", group=group)
    zarrds.save(more, path, group=group, append_dim="time")
    xr.testing.assert_identical(load(path, group=group), xr.concat([stored(), more], "time"))


@pytest.mark.parametrize("changed", [True, 1.0, 2])
def test_what_another_tool_changed_of_an_array(tmp_path: Path, changed: Any) -> None:
    """The root's document has an old copy, which may be equal in Python: what checks and what writes see it."""
    place = tmp_path / "x.zarr"
    zarrds.save(stored().assign(v=stored().v.assign_attrs(n=1)), place)
    own = place / "v" / "zarr.json"
    document = json.loads(own.read_text())
    document["attributes"]["n"] = changed
    own.write_text(json.dumps(document))
    assert not zarrds.verify(place).ok
    zarrds.save(stored().assign_coords(time=[3, 4, 5]), place, append_dim="time")
    for consolidated in (True, False):
        back = xr.open_dataset(place, engine="zarrds", consolidated=consolidated)
        assert repr(back.v.attrs["n"]) == repr(changed)
        assert back.time.values.tolist() == [0, 1, 2, 3, 4, 5]
    own.write_text(json.dumps(json.loads(own.read_text()) | {"attributes": {"n": 3}}))
    assert zarrds.verify(place, repair=True).ok
    assert xr.open_dataset(place, engine="zarrds").v.attrs["n"] == 3
