"""One array that cannot be read never hides the others."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import Format
from zarrds.errors import ChunkError, MetadataError, UnsupportedError, ZarrdsError

Edit = Callable[[dict[str, Any]], Any]
STRANGE: dict[int, dict[str, Edit]] = {
    3: {
        "codec": lambda d: d["codecs"].append({"name": "fpzip"}),
        "dtype": lambda d: d.update(data_type="decimal"),
        "grid": lambda d: d["chunk_grid"].update(name="hexagonal"),
        "fill": lambda d: d.update(fill_value="purple"),
        "keys": lambda d: d["chunk_key_encoding"].update(name="hilbert"),
        "transformers": lambda d: d.update(storage_transformers=[{"name": "encrypt"}]),
        "extension": lambda d: d.update(surprise={"name": "x"}),
    },
    2: {
        "codec": lambda d: d.update(compressor={"id": "fpzip"}),
        "dtype": lambda d: d.update(dtype="<q9"),
        "fill": lambda d: d.update(fill_value="purple"),
        "order": lambda d: d.update(order="Z"),
        "pickle": lambda d: d.update(dtype="|O", filters=[{"id": "pickle"}]),
    },
}


@pytest.fixture(params=[False, True], ids=["own documents", "consolidated"])
def strange(request: pytest.FixtureRequest, path: Path, zarr_format: Format) -> Path:
    """By zarr-python: an array that is fine, one without names of dimensions, and the strange ones, along x."""
    zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for group in ("", "below/"):
        for name in ("fine", "unnamed", *STRANGE[zarr_format]):
            options: dict[str, Any] = {}
            if name != "unnamed":
                attributes = {"attributes": {"_ARRAY_DIMENSIONS": ["x"]}}
                options = {"dimension_names": ["x"]} if zarr_format == 3 else attributes
            zarr.create_array(
                path,
                name=group + name,
                data=np.arange(1, 4),
                chunks=(2,),
                zarr_format=zarr_format,
                compressors=None,
                **options,
            )
    document = "zarr.json" if zarr_format == 3 else ".zarray"
    if request.param:
        zarr.consolidate_metadata(path)
    for group in ("", "below/"):
        for name, edit in STRANGE[zarr_format].items():
            _edit(path / group / name / document, edit)
            if request.param and zarr_format == 3:
                _edit(
                    path / "zarr.json", lambda d, n=group + name, e=edit: e(d["consolidated_metadata"]["metadata"][n])
                )
            elif request.param:
                _edit(path / ".zmetadata", lambda d, n=group + name, e=edit: e(d["metadata"][f"{n}/.zarray"]))
    return path


def _copies(root: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = root["consolidated_metadata"]["metadata"]
    return found


def _edit(document: Path, edit: Edit) -> None:
    content = json.loads(document.read_text())
    edit(content)
    document.write_text(json.dumps(content))


def test_others_are_opened(strange: Path, zarr_format: Format) -> None:
    names = [*STRANGE[zarr_format], "unnamed"]
    with pytest.warns(UserWarning, match="left out") as caught:
        ds = xr.open_dataset(strange, engine="zarrds")
    assert len(caught) == 1
    assert all(f"'{name}'" in str(caught[0].message) for name in names)
    assert list(ds.variables) == ["fine"]
    np.testing.assert_array_equal(ds.fine, np.arange(1, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(xr.open_dataset(strange, engine="zarrds", drop_variables=names).variables) == ["fine"]
        xr.open_datatree(strange, engine="zarrds", drop_variables=names)
    with pytest.warns(UserWarning, match="left out") as caught:
        tree = xr.open_datatree(strange, engine="zarrds")
    assert len(caught) == 1
    assert list(tree["below"].dataset.variables) == ["fine"]
    assert "'below/codec'" in str(caught[0].message)


def test_they_raise_when_they_are_asked_for(strange: Path, zarr_format: Format) -> None:
    group = zarrds.open_group(strange)
    assert {*STRANGE[zarr_format], "fine", "unnamed"} < set(group)
    for name in STRANGE[zarr_format]:
        with pytest.raises(MetadataError, match=name):
            group[name]
        with pytest.raises(MetadataError, match=name):
            zarrds.open_array(strange, path=name)
    np.testing.assert_array_equal(group["unnamed"][:], np.arange(1, 4))  # type: ignore[index]  # an array


def test_writing_beside_them_loses_nothing(strange: Path, zarr_format: Format) -> None:
    def content() -> dict[str, bytes]:
        files = (path for path in strange.rglob("*") if path.is_file())
        found = {str(path.relative_to(strange)): path.read_bytes() for path in files}
        return {key: value for key, value in found.items() if "/" in key and not key.startswith("fine")}

    before = content()
    zarrds.save(xr.Dataset({"new": ("y", [1, 2])}), strange, mode="a")
    zarrds.save(xr.Dataset({"new": ("y", [3])}), strange, append_dim="y")
    with pytest.raises(ZarrdsError, match=r"drop_vars"):  # one along x cannot grow with it
        zarrds.save(xr.Dataset({"fine": ("x", [3])}), strange, append_dim="x")
    zarrds.update_attrs(strange, {"units": "K"}, "fine")
    zarrds.rename(strange, {"fine": "renamed"})
    with pytest.raises(UnsupportedError, match="dimension"):
        zarrds.rename(strange, {"x": "z"})
    assert before.items() <= content().items()
    names = [*STRANGE[zarr_format], "unnamed"]
    ds = xr.open_dataset(strange, engine="zarrds", drop_variables=names)
    assert ds.new.values.tolist() == [1, 2, 3]
    assert ds.renamed.attrs == {"units": "K"}
    zarrds.drop_vars(strange, names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(xr.open_dataset(strange, engine="zarrds")) == {"renamed", "new"}


@pytest.mark.parametrize("phony_dims", ["sort", "access"])
def test_made_up_names_are_h5netcdfs(phony_dims: Any, path: Path, tmp_path: Path) -> None:
    shapes = {"c": (3,), "a": (4, 3), "b": (3, 3, 5), "d": ()}
    group = zarrds.create_group(path)
    with h5netcdf.File(tmp_path / "x.nc", "w") as file:
        for name, shape in shapes.items():
            group.create_array(name, shape=shape, dtype="f4")
            file._h5file.create_dataset(name, shape=shape, dtype="f4")  # without dimension scales
    found = xr.open_dataset(path, engine="zarrds", phony_dims=phony_dims, chunks={})
    with xr.open_dataset(tmp_path / "x.nc", engine="h5netcdf", phony_dims="sort") as file:
        expected = file.load()
    for name in shapes:
        assert found[name].shape == expected[name].shape
        same = {(i, j): found[name].dims[i] == found["b"].dims[j] for i in range(found[name].ndim) for j in range(3)}
        assert same == {(i, j): expected[name].dims[i] == expected["b"].dims[j] for i, j in same}
    if phony_dims == "sort":
        assert {name: found[name].dims for name in shapes} == {name: expected[name].dims for name in shapes}


def test_some_dimensions_are_named(path: Path) -> None:
    zarrds.create_group(path).create_array("a", shape=(2, 2), dtype="i4", dimension_names=("phony_dim_0", None))
    ds = xr.open_dataset(path, engine="zarrds", phony_dims="access")
    assert ds.a.dims == ("phony_dim_0", "phony_dim_1")
    for wrong in ("yes", 1, np.array([1, 2])):
        with pytest.raises(ZarrdsError, match="phony_dims"):
            xr.open_dataset(path, engine="zarrds", phony_dims=wrong)


def test_arrays_of_other_sizes(path: Path) -> None:
    group = zarrds.create_group(path)
    for level, size in enumerate((8, 4)):
        group.create_array(str(level), shape=(size,), dtype="f4", dimension_names=("x",))
    with pytest.raises(MetadataError, match=r"'x'.*drop_variables"):
        xr.open_dataset(path, engine="zarrds")
    assert xr.open_dataset(path, engine="zarrds", drop_variables=["1"]).sizes == {"x": 8}


@pytest.mark.parametrize(
    "attributes",
    [
        {"units": "months since 1960-01-01", "calendar": "standard"},
        {"units": "days since yesterday"},
        {"units": "days since 2000-01-01", "calendar": "lunar"},
        {"coordinates": ["a", "b"]},
    ],
)
def test_what_xarray_cannot_decode_is_named(attributes: dict[str, Any], path: Path) -> None:
    group = zarrds.create_group(path)
    group.create_array("fine", shape=(2,), dtype="f4", dimension_names=("x",))
    group.create_array("odd", shape=(2,), dtype="f4", dimension_names=("x",), attributes=attributes)
    with pytest.warns(UserWarning, match=r"cannot be decoded.*'odd'"):
        ds = xr.open_dataset(path, engine="zarrds")
    assert ds.odd.attrs == attributes
    assert "fine" in ds
    xr.open_dataset(path, engine="zarrds", decode_cf=False)


def test_times_of_which_a_chunk_is_lost(path: Path, zarr_format: Format) -> None:
    """The decoders look at the first of them: all others are decoded, and written to, as ever."""
    whole = xr.Dataset(
        {
            "packed": ("x", np.arange(6.0) / 2),
            "span": ("x", np.arange(6).astype("m8[s]")),
            "name": ("x", np.array(list("abcdef"), object)),
            "at": ("x", np.datetime64("2000-01-01", "ns") + np.arange(6).astype("m8[D]")),
            "run": ("t", np.array(["2000-01-01", "2000-01-02"], "M8[ns]")),
        },
        {"x": np.arange(6)},
    )
    whole.packed.encoding = {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}
    zarrds.save(whole.isel(x=slice(4)), path, encoding={"run": {"chunks": (1,)}}, zarr_format=zarr_format)
    lost = path / "run" / ("c.0" if zarr_format == 3 else "0")
    value = lost.read_bytes()
    lost.unlink()
    zarrds.save(whole.isel(x=slice(4, 6)).drop_vars("run"), path, append_dim="x")
    with pytest.raises(ChunkError, match=r"a chunk is missing.*Save without this variable"):
        zarrds.save(whole[["run"]], path, mode="a")
    lost.write_bytes(value)
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), whole)
