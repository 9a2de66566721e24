"""Lazy indexes inside xarray: every operation gives what it gives with a plain index."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.labels.sources import CountingSource
from zarrds.labels.sorted.lazy_index import LazyDatetimeIndex, LazyIndex, lazy_index

N = 240
LABELS = {
    "int": np.arange(N) * 3,
    "decreasing": np.arange(N)[::-1] * 0.5,
    "text": np.array([f"s{i:04}" for i in range(N)], dtype=object),
    "time": np.datetime64("2000-01-01", "ns") + np.arange(N) * np.timedelta64(6, "h"),
}


def dataset_of(labels, lazy=True, first=0):
    made = lazy_index(CountingSource(labels), "x", at_least=2) if lazy else pd.Index(labels, name="x", copy=False)
    if not lazy and labels.dtype == object:
        made = pd.Index(labels, dtype=object, name="x")
    index = xr.indexes.PandasIndex(made, "x")
    coords = xr.Coordinates(index.create_variables(), indexes={"x": index})
    n = len(labels)
    data = {
        "v": ("x", np.arange(first, first + n) * 1.0),
        "w": (("x", "y"), np.arange(2 * n).reshape(n, 2)),
        "kind": ("x", np.arange(n) % 3),
    }
    return xr.Dataset(data, coords=coords)


def source_of(ds):
    return ds.indexes["x"]._window.source


# name -> most labels that may be read, and what is done with the dataset and its labels
FEW = {
    "sel": (40, lambda ds, at: ds.sel(x=at[7])),
    "sel list": (60, lambda ds, at: ds.sel(x=list(at[[7, 3, 7]]))),
    "sel array": (60, lambda ds, at: ds.sel(x=xr.DataArray(at[[7, 3]], dims="p"))),
    "sel slice": (60, lambda ds, at: ds.sel(x=slice(at[7], at[20]))),
    "sel open slice": (60, lambda ds, at: ds.sel(x=slice(at[220], None))),
    "sel slice with step": (60, lambda ds, at: ds.sel(x=slice(at[7], at[20], 3))),
    "loc": (60, lambda ds, at: ds.v.loc[at[3] : at[9]]),
    "isel": (60, lambda ds, at: ds.isel(x=5)),
    "isel slice": (40, lambda ds, at: ds.isel(x=slice(5, 30)).sizes["x"]),
    "isel list": (40, lambda ds, at: ds.isel(x=[3, 1, -1])),
    "isel mask": (60, lambda ds, at: ds.isel(x=np.arange(N) % 50 == 0)),
    "head": (60, lambda ds, at: ds.head(x=3)),
    "reindex": (60, lambda ds, at: ds.reindex(x=at[[3, 4, 9]])),
    "repr": (400, lambda ds, at: repr(ds)),
    "copy": (0, lambda ds, at: ds.copy(deep=True).sizes),
    "deepcopy": (0, lambda ds, at: copy.deepcopy(ds).sizes),
    "pickle": (0, lambda ds, at: pickle.loads(pickle.dumps(ds)).sizes),
    "rename": (0, lambda ds, at: ds.rename(x="z").sizes),
    "swap_dims": (0, lambda ds, at: ds.assign_coords(k=("x", np.arange(N))).swap_dims(x="k").sizes),
    "arithmetic": (0, lambda ds, at: (ds + 1).v.sum().item()),
    "with itself": (0, lambda ds, at: (ds.v + ds.w).sum().item()),
    "with a copy": (0, lambda ds, at: (ds.v * ds.copy().v).sum().item()),
    "align copies": (0, lambda ds, at: xr.align(ds, ds.copy(deep=True), join="exact")[0].sizes),
    "merge copies": (0, lambda ds, at: xr.merge([ds.v, ds.copy().w], join="outer", compat="no_conflicts").sizes),
    "equal indexes": (0, lambda ds, at: ds.xindexes["x"].equals(ds.copy(deep=True).xindexes["x"])),
    "reduce": (0, lambda ds, at: ds.mean("x")),
    "transpose": (0, lambda ds, at: ds.transpose("y", "x").sizes),
    "drop_vars": (0, lambda ds, at: ds.drop_vars("x")),
    "nbytes": (0, lambda ds, at: ds.nbytes),
}
MANY = {
    "sel 2d": lambda ds, at: ds.sel(x=xr.DataArray(at[[[7, 3], [1, 2]]], dims=("p", "q"))),
    "identical": lambda ds, at: ds.identical(ds.copy(deep=True)),
    "values": lambda ds, at: ds.x.values,
    "where": lambda ds, at: ds.where(ds.x > at[5], drop=True),
    "to_dataframe": lambda ds, at: ds.v.to_dataframe().reset_index(),
    "to_pandas": lambda ds, at: ds.v.to_pandas().reset_index(),
    "to_series": lambda ds, at: ds.v.to_series().reset_index(),
    "groupby": lambda ds, at: ds.set_coords("kind").groupby("kind").mean(),
    "groupby_bins": lambda ds, at: ds.set_coords("kind").v.groupby_bins("kind", 2).sum(),
    "groupby x": lambda ds, at: ds.v.groupby("x").sum(),
    "rolling": lambda ds, at: ds.rolling(x=3).mean(),
    "coarsen": lambda ds, at: ds.v.coarsen(x=4).mean() if ds.x.dtype != object else 0,
    "stack": lambda ds, at: ds.w.assign_coords(y=[0, 1]).stack(z=("x", "y")),
    "set_index": lambda ds, at: ds.set_coords("kind").set_index(x="kind"),
    "reset_index": lambda ds, at: ds.reset_index("x"),
    "drop_duplicates": lambda ds, at: ds.drop_duplicates("x"),
    "sortby": lambda ds, at: ds.sortby("x", ascending=False),
    "shift and roll": lambda ds, at: (ds.shift(x=1), ds.roll(x=3, roll_coords=True)),
    "drop_sel": lambda ds, at: ds.drop_sel(x=at[[3, 5]]),
    "concat": lambda ds, at: xr.concat([ds, ds], "x"),
    "concat parts": lambda ds, at: xr.concat([ds.isel(x=slice(100)), ds.isel(x=slice(100, None))], "x"),
    "diff": lambda ds, at: ds.v.diff("x"),
    "pad": lambda ds, at: ds.v.pad(x=1),
    "to_dict": lambda ds, at: ds.x.to_dict(),
    "html": lambda ds, at: len(ds._repr_html_()) > 0,
    "load": lambda ds, at: ds.load(),
    "chunk": lambda ds, at: ds.chunk(x=50).v.mean("x").compute(),
    "unique": lambda ds, at: np.unique(ds.x),
    "isin": lambda ds, at: ds.x.isin(at[[3, 5]]),
    "idxmax": lambda ds, at: ds.v.idxmax("x"),
    "expand_dims": lambda ds, at: ds.expand_dims("t"),
    "polyfit": lambda ds, at: ds.v.polyfit("x", 1) if ds.x.dtype.kind in "if" else 0,
    "interp": lambda ds, at: ds.v.interp(x=at[3:8]) if ds.x.dtype != object else 0,
    "differentiate": lambda ds, at: ds.v.differentiate("x") if ds.x.dtype.kind in "if" else 0,
    "assign": lambda ds, at: ds.assign_coords(x=ds.x.values),
    "broadcast": lambda ds, at: xr.broadcast(ds.v, ds.w),
    "combine_first": lambda ds, at: ds.combine_first(ds.isel(x=slice(5))),
}
PARTNERS = {
    "the same": slice(None),
    "overlapping": slice(100, None),
    "few": [5, 17, 3],
    "reversed": slice(None, None, -1),
}


def same(found, expected):
    if isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, xr.Dataset | xr.DataArray):
        assert found.identical(expected)
        assert expected.identical(found)
        xr.testing.assert_identical(found.load(), expected)
        for name, index in expected.indexes.items():
            assert isinstance(found.indexes[name], type(index))
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.fixture(params=LABELS)
def labels(request):
    return LABELS[request.param]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", FEW)
def test_few_labels_are_read(labels, name):
    most, function = FEW[name]
    lazy, plain = dataset_of(labels), dataset_of(labels, lazy=False)
    assert isinstance(lazy.indexes["x"], LazyIndex)
    source = source_of(lazy)
    source.given = 0
    found = function(lazy, labels)
    if name == "reindex" and lazy.x.dtype.kind == "M":
        most = (
            N + 40
        )  # xarray asks the plain index of the three labels whether it equals the lazy one, and that looks at all
    assert source.given <= most + 4  # xarray looks at the first label of objects
    same(found, function(plain, labels))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", MANY)
def test_what_reads_all_labels_is_the_same(labels, name):
    lazy, plain = dataset_of(labels), dataset_of(labels, lazy=False)
    source = source_of(lazy)
    found = MANY[name](lazy, labels)
    assert source.reads.count((0, N)) <= 1
    same(found, MANY[name](plain, labels))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("partner", PARTNERS)
@pytest.mark.parametrize("join", ["inner", "outer", "left", "right", "exact"])
def test_partners_are_aligned_in_both_orders(labels, partner, join):
    where = PARTNERS[partner]
    plain = dataset_of(labels, lazy=False)
    other = dataset_of(labels[where], lazy=False, first=7)

    def aligned(*objects):
        try:
            return xr.align(*objects, join=join)
        except xr.AlignmentError as error:
            return str(error).splitlines()[0]

    for others in [other, dataset_of(labels[where], first=7)]:
        same(aligned(dataset_of(labels), others), aligned(plain, other))
        same(aligned(others, dataset_of(labels)), aligned(other, plain))


@pytest.mark.parametrize("partner", PARTNERS)
def test_partners_are_combined_in_both_orders(labels, partner):
    where = PARTNERS[partner]
    lazy, plain = dataset_of(labels), dataset_of(labels, lazy=False)
    other = dataset_of(labels[where], lazy=False, first=7)
    same(lazy + other, plain + other)
    same(other - lazy, other - plain)
    options = {"join": "outer", "compat": "override"}
    same(xr.merge([lazy, other.v.rename("u")], **options), xr.merge([plain, other.v.rename("u")], **options))
    same(xr.concat([lazy, other], "t", join="outer"), xr.concat([plain, other], "t", join="outer"))
    same(lazy.reindex_like(other), plain.reindex_like(other))
    same(other.reindex_like(lazy), other.reindex_like(plain))


@pytest.mark.parametrize("kind", ["int", "decreasing", "time"])
@pytest.mark.parametrize("method", ["nearest", "ffill", "bfill"])
def test_labels_between_are_found(kind, method):
    labels = LABELS[kind]
    lazy, plain = dataset_of(labels), dataset_of(labels, lazy=False)
    step = labels[1] - labels[0]
    wanted = [labels[5] + step / 4 if kind != "time" else labels[5] + step // 4, labels[9]]
    same(lazy.sel(x=wanted, method=method), plain.sel(x=wanted, method=method))
    same(lazy.sel(x=wanted[0], method=method), plain.sel(x=wanted[0], method=method))
    same(
        lazy.sel(x=wanted, method=method, tolerance=abs(step)), plain.sel(x=wanted, method=method, tolerance=abs(step))
    )
    assert not lazy.indexes["x"]._window.is_read
    with pytest.raises(KeyError):
        lazy.sel(x=wanted[0], method=method, tolerance=abs(step) // 100)


def test_a_label_that_is_not_there_is_an_error(labels):
    lazy = dataset_of(labels)
    absent = labels[3] + "x" if labels.dtype == object else labels[3] + (labels[4] - labels[3]) / 3
    with pytest.raises(KeyError, match="not all values found"):
        lazy.sel(x=absent)
    with pytest.raises(KeyError, match="not all values found"):
        lazy.sel(x=[labels[3], absent])
    assert not lazy.indexes["x"]._window.is_read


@pytest.mark.parametrize("text", ["2000", "2000-01", "2000-01-15", "2000-01-15T06"])
def test_strings_select_times(text):
    lazy, plain = dataset_of(LABELS["time"]), dataset_of(LABELS["time"], lazy=False)
    assert isinstance(lazy.indexes["x"], LazyDatetimeIndex)
    same(lazy.sel(x=text), plain.sel(x=text))
    same(lazy.sel(x=slice(text, "2000-01-20")), plain.sel(x=slice(text, "2000-01-20")))
    same(lazy.sel(x=[text], method="nearest"), plain.sel(x=[text], method="nearest"))


@pytest.mark.parametrize(
    "function",
    [
        lambda ds: ds.resample(x="2D").mean(),
        lambda ds: ds.v.resample(x="h").ffill(),
        lambda ds: ds.groupby("x.month").sum(),
        lambda ds: ds.groupby("x.dayofyear").max(),
        lambda ds: (ds.x.dt.year, ds.x.dt.hour, ds.x.dt.floor("D"), ds.x.dt.strftime("%Y-%m-%d")),
        lambda ds: xr.infer_freq(ds.x),
        lambda ds: ds.convert_calendar("noleap", dim="x").sizes,
        lambda ds: ds.isel(x=ds.x.dt.month == 2),
    ],
)
def test_times_are_resampled_and_grouped(function):
    lazy, plain = dataset_of(LABELS["time"]), dataset_of(LABELS["time"], lazy=False)
    source = source_of(lazy)
    found = function(lazy)
    assert source.reads.count((0, N)) == 1
    same(found, function(plain))
