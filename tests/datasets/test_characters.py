"""Text that is stored as single characters, as netCDF has it, is added to as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format, load
from zarrds.errors import LabelError

WAYS: dict[str, dict[str, Any]] = {
    "append": {"append_dim": "x"},
    "region": {"region": {"x": slice(0, 2)}},
    "r+": {"mode": "r+"},
    "a": {"mode": "a"},
}


@pytest.mark.filterwarnings("ignore:.*it is computed, to see how long")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["text", "bytes", "dask", "characters", "characters of dask"])
@pytest.mark.parametrize("sharded", [False, True])
def test_text_of_single_characters(path: Path, way: str, form: str, sharded: bool, zarr_format: Format) -> None:
    """netCDF has text as characters, with a dimension more; opened undecoded, it is saved so."""
    if sharded and zarr_format == 2:
        pytest.skip("format 2 has no shards")
    as_bytes = form == "bytes"
    attrs = {} if as_bytes else {"_Encoding": "utf-8"}
    letters = np.array([[b"a", b"b", b"c"], [b"d", b"", b""]], "S1")
    raw = xr.Dataset(dict.fromkeys(("v", "other"), (("x", "string3"), letters, attrs)))
    encoding = {"v": {"chunks": (1, 2), **({"shards": (4, 4)} if sharded else {})}}
    if as_bytes:  # which zarrds would note to be no text
        raw.to_zarr(path, zarr_format=zarr_format, encoding=encoding)
    else:
        zarrds.save(raw, path, zarr_format=zarr_format, encoding=encoding)
    if form.startswith("characters"):
        new, added = raw, ["abc", "d"]
    else:
        added = ["", "much longer"]
        texts = np.array([b"", b"much longer"]) if as_bytes else np.array(added, object)
        new = xr.Dataset(dict.fromkeys(("v", "other"), ("x", texts)))
    zarrds.save(new.chunk(x=1) if "dask" in form else new, path, **WAYS[way])
    expected: list[Any] = [*(["abc", "d"] if way == "append" else []), *added]
    if as_bytes:
        expected = [text.encode() for text in expected]
    for engine in ("zarrds", "zarr"):
        found = load(path, engine)
        assert found.v.values.tolist() == found.other.values.tolist() == expected
    array = zarrds.open_array(path, path="v")
    longest = 3 if form.startswith("characters") else 11
    assert (array.dtype, array.shape) == ("S1", (len(expected), longest))
    assert array.metadata.dimension_names == ("x", f"string{longest}")
    assert zarrds.verify(path).ok


def test_labels_of_single_characters(path: Path, zarr_format: Format) -> None:
    letters = np.array([[b"a", b"b"], [b"c", b""]], "S1")
    raw = xr.Dataset({"v": ("name", [1, 2])}).assign_coords(
        xr.Coordinates({"name": (("name", "string2"), letters, {"_Encoding": "utf-8"})}, indexes={})
    )
    zarrds.save(raw, path, zarr_format=zarr_format)
    more = xr.Dataset({"v": ("name", [3])}, {"name": ["def"]})
    with pytest.raises(LabelError, match="overlap"):
        zarrds.save(more.assign_coords(name=["c"]), path, append_dim="name")
    zarrds.save(more, path, append_dim="name")
    zarrds.save(more.assign(v=("name", [7])), path, region="auto")
    zarrds.save(load(path).assign_coords(name=("name", ["ab", "c", "def"], {"long_name": "station"})), path, mode="a")
    assert load(path).name.values.tolist() == ["ab", "c", "def"]
    assert (load(path).v.values.tolist(), load(path).name.attrs) == ([1, 2, 7], {"long_name": "station"})
