"""What an error advises can be done, and leads to what was meant."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import files, load
from zarrds.errors import EncodingError, LabelError, QueryError


def model(day: int, n: int = 3) -> xr.Dataset:
    """A day of a field on latitudes that have bounds, which stand before their labels."""
    lat = np.arange(n) * 10.0
    bounds = xr.Variable(("lat", "nv"), np.stack([lat - 5, lat + 5], axis=1))
    labels = {"time": [day], "lat": ("lat", lat, {"bounds": "lat_bnds"})}
    return xr.Dataset({"lat_bnds": bounds, "tas": (("time", "lat"), lat[None] + day)}, labels)


def test_labels_are_compared_before_what_lies_along_them(path: Path) -> None:
    zarrds.save(model(0), path)
    with pytest.raises(LabelError, match="Reindex or align the dataset to the stored labels") as caught:
        zarrds.save(model(1).isel(lat=[2, 1, 0]), path, append_dim="time")
    assert caught.value.key == "lat"
    zarrds.save(model(1).isel(lat=[2, 1, 0]).sel(lat=load(path).lat), path, append_dim="time")
    assert load(path).identical(xr.concat([model(0), model(1)], "time", data_vars="minimal"))


def test_other_sizes_of_what_stays_beside_what_grows(path: Path) -> None:
    zarrds.save(model(0), path)
    before = files(path)
    with pytest.raises(LabelError, match=r"labels of the store along 'lat' first, with \.reindex or \.sel") as caught:
        zarrds.save(model(1, 4), path, append_dim="time")
    assert (caught.value.key, files(path)) == ("lat", before)
    zarrds.save(model(1, 4).sel(lat=load(path).lat), path, append_dim="time")
    assert load(path).identical(xr.concat([model(0), model(1)], "time", data_vars="minimal"))


def test_ragged_arrays_grow_along_one_dimension_after_the_other(path: Path) -> None:
    def profiles(ids: list[str], sizes: list[int]) -> xr.Dataset:
        n = sum(sizes)
        return xr.Dataset(
            {"temp": ("obs", np.arange(n) + 0.5), "row_size": ("profile", np.array(sizes, "i4"))}, {"profile": ids}
        )

    one, other = profiles(["a", "b"], [2, 3]), profiles(["c"], [4])
    zarrds.save(one, path)
    for dim, beside in (("obs", "profile"), ("profile", "obs")):
        with pytest.raises(LabelError, match=rf"{beside}.*is to grow as well.*\.drop_dims\(\['{beside}'\]\)"):
            zarrds.save(other, path, append_dim=dim)
        zarrds.save(other.drop_dims(beside), path, append_dim=dim)
    parts = [xr.concat([one.drop_dims(d), other.drop_dims(d)], e) for d, e in (("profile", "obs"), ("obs", "profile"))]
    assert load(path).identical(xr.merge(parts))


def test_a_dimension_that_is_misspelt(path: Path) -> None:
    ds = xr.Dataset({"kind": ("cell", pd.Categorical(["T", "B"]))}, {"cell": ["a", "b"]})
    zarrds.save(ds, path)
    with pytest.raises(LabelError, match=r"existing dataset dimensions.*Did you mean 'cell'\?$"):
        zarrds.save(ds, path, append_dim="cells")
    with pytest.raises(LabelError, match=r"There is: cell$"):  # and nothing of the array of categories
        zarrds.save(ds, path, append_dim="x")
    tree = xr.DataTree.from_dict({"/scan": ds, "/other": ds})
    zarrds.save(tree, path, mode="w")
    with pytest.raises(LabelError, match=r"of the tree.*Did you mean 'cell'\?$"):
        zarrds.save(tree, path, append_dim="cells")
    with pytest.raises(LabelError, match="group=: there are 'other', 'scan'"):
        zarrds.save(ds, path, append_dim="cell")


def test_inputs_whose_dimension_lies_in_groups(path: Path, tmp_path: Path) -> None:
    swaths = []
    for i in range(2):
        scans = xr.Dataset({"v": ("scan", np.arange(3) + 3 * i)}, {"scan": np.arange(3) + 3 * i})
        xr.DataTree.from_dict({"/": xr.Dataset(attrs={"orbit": i}), "/level1": scans}).to_netcdf(tmp_path / f"{i}.nc")
        swaths.append(tmp_path / f"{i}.nc")
    with pytest.raises(LabelError, match=r"has no dimension 'scan'.*group= \(--group\), of 'level1'"):
        zarrds.convert(swaths, path, concat_dim="scan")
    with pytest.raises(LabelError, match="Did you mean 'scan'"):
        zarrds.convert(swaths, path, concat_dim="scn")
    zarrds.convert(swaths, path, concat_dim="scan", group="level1")
    assert load(path, group="level1").v.values.tolist() == list(range(6))


@pytest.mark.parametrize("is_ordered", [True, False])
def test_ordered_categories_among_others(path: Path, is_ordered: bool) -> None:
    there = pd.Categorical(["low", "high"], ["low", "high"], ordered=is_ordered)
    zarrds.save(xr.Dataset({"stage": ("n", there)}), path)
    new = pd.Categorical(["high"], ordered=not is_ordered)
    mend = ".set_categories(['low', 'high'], ordered=True)" if is_ordered else ".as_unordered()"
    with pytest.raises(LabelError, match=re.escape(mend)):
        zarrds.save(xr.Dataset({"stage": ("n", new)}), path, append_dim="n")
    mended = new.set_categories(["low", "high"], ordered=True) if is_ordered else new.as_unordered()
    zarrds.save(xr.Dataset({"stage": ("n", mended)}), path, append_dim="n")
    assert load(path).stage.values.tolist() == ["low", "high", "high"]


def test_categories_of_a_multi_index_are_named(path: Path) -> None:
    def cells(batch: str) -> xr.Dataset:
        pairs = pd.MultiIndex.from_arrays([pd.Categorical([batch, batch]), [0, 1]], names=["batch", "n"])
        return xr.Dataset({"x": ("cell", [1, 2])}, xr.Coordinates.from_pandas_multiindex(pairs, "cell"))

    zarrds.save(cells("b1"), path)
    zarrds.save(cells("b2"), path, append_dim="cell")
    with pytest.raises(LabelError, match=r"found \('b2', 0\) \(2 of 2 are stored already\)"):
        zarrds.save(cells("b2"), path, append_dim="cell")
    zarrds.save(cells("b2").assign(x=("cell", [5, 6])), path, append_dim="cell", on_overlap="replace")
    assert load(path).x.sel(batch="b2").values.tolist() == [5, 6]


def test_a_data_frame(path: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2]}, index=pd.Index(["a", "b"], name="cell"))
    with pytest.raises(EncodingError, match=r"found DataFrame.*\.to_xarray\(\)"):
        zarrds.save(frame, path)  # type: ignore[arg-type]  # as somebody does who comes from pandas
    zarrds.save(frame.to_xarray(), path)
    assert load(path).identical(frame.to_xarray())


def test_dimensions_that_are_misspelt_elsewhere(path: Path) -> None:
    zarrds.save(model(0), path)
    with pytest.raises(EncodingError, match=r"'tiem' that there is not.*Did you mean 'time'\?$"):
        zarrds.save(model(0), path, mode="w", chunks={"tiem": 5})
    with pytest.raises(LabelError, match=r"\['tiem'\].*Did you mean 'time'\?$"):
        zarrds.save(model(0), path, region={"tiem": slice(0, 1)})
    with pytest.raises(QueryError, match=r"found 'tiem'\. Did you mean 'time'\?$"):
        zarrds.aggregate(path, "tas", "mean", dim="tiem")
    assert load(path).identical(model(0))
