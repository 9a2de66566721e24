"""Categories that are new extend those of the store, in the commit of the append."""

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
from tests.datasets.samples import Format, files, load
from zarrds.errors import ConflictError, LabelError, ZarrdsError


def of(labels: Any, start: int = 0, **categorical: Any) -> xr.Dataset:
    values = pd.Categorical(labels, **categorical)
    return xr.Dataset({"kind": ("x", values)}, {"x": np.arange(start, start + len(values))})


def kinds(path: Any) -> list[Any]:
    found: list[Any] = load(path).kind.values.tolist()
    return found


@pytest.mark.parametrize("ordered", [False, True])
def test_a_variable_gets_new_categories(path: Path, zarr_format: Format, ordered: bool) -> None:
    zarrds.save(of(["rain", "snow"], categories=["rain", "snow"], ordered=ordered), path, zarr_format=zarr_format)
    codes = zarrds.open_array(path, path="kind")[:]
    new = of(["hail", "rain", None], 2, categories=["rain", "snow", "hail", "never"], ordered=ordered)
    zarrds.save(new, path, append_dim="x")
    back = load(path).kind
    assert back.to_index().dtype.ordered is ordered
    assert back.to_index().categories.tolist() == ["rain", "snow", "hail"]
    assert back.values.tolist()[:4] == ["rain", "snow", "hail", "rain"]
    assert pd.isnull(back.values[4])
    stored = zarrds.open_array(path, path="kind")
    assert stored[:2].tolist() == codes.tolist()
    assert stored.attrs["flag_meanings"] == "rain snow hail"
    assert stored.attrs["flag_values"] == [0, 1, 2]
    assert zarrds.verify(path).ok


def test_the_index_along_which_it_grows(path: Path, zarr_format: Format) -> None:
    def part(labels: list[str]) -> xr.Dataset:
        return xr.Dataset({"v": ("station", np.arange(len(labels)))}, {"station": pd.CategoricalIndex(labels)})

    zarrds.save(part(["b", "c"]), path, zarr_format=zarr_format)
    zarrds.save(part(["d", "a"]), path, append_dim="station")
    assert load(path).station.values.tolist() == ["b", "c", "d", "a"]
    with pytest.raises(LabelError, match="'c'"):
        zarrds.save(part(["e", "c"]), path, append_dim="station")
    zarrds.save(part(["c", "e"]), path, append_dim="station", on_overlap="skip")
    assert load(path).station.values.tolist() == ["b", "c", "d", "a", "e"]


@pytest.mark.parametrize("categories", [["low", "middle", "high"], ["low", "middle"]])
def test_ordered_categories_are_only_added_above(path: Path, categories: list[str]) -> None:
    zarrds.save(of(["low", "high"], categories=["low", "high"], ordered=True), path)
    before = files(path)
    with pytest.raises(LabelError, match="above") as caught:
        zarrds.save(of(["middle"], 2, categories=categories, ordered=True), path, append_dim="x")
    assert caught.value.key == "kind"
    assert files(path) == before


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ([1, 2], [5, 1]),
        ([0.5, 2.0], [-1.0]),
        (list(pd.date_range("2024", periods=2)), list(pd.date_range("2025", periods=2, freq="h"))),
        (list(pd.date_range("2024", periods=2, tz="UTC")), list(pd.date_range("2025", periods=2, tz="UTC"))),
        (list(pd.interval_range(0, 2)), list(pd.interval_range(7, 9))),
    ],
)
def test_categories_of_any_kind(path: Path, stored: list[Any], new: list[Any]) -> None:
    zarrds.save(of(stored), path)
    zarrds.save(of(new, 2), path, append_dim="x")
    assert kinds(path) == stored + new


def test_more_than_a_byte_can_number(path: Path, zarr_format: Format) -> None:
    labels = [f"s{i}" for i in range(300)]
    zarrds.save(of(labels[:100]), path, zarr_format=zarr_format)
    zarrds.save(of(labels[100:], 100), path, append_dim="x")
    assert kinds(path) == labels
    assert zarrds.open_array(path, path="kind").dtype == np.int16
    assert zarrds.verify(path).ok


def test_categories_of_another_kind_are_refused_by_name(path: Path) -> None:
    zarrds.save(of(["a", "b"]), path)
    before = files(path)
    with pytest.raises(ZarrdsError, match="kind"):
        zarrds.save(of([1, 2], 2), path, append_dim="x")
    assert files(path) == before


@pytest.mark.parametrize("how", [{"region": "auto"}, {"region": {"x": slice(1, 3)}}, {"region": "auto", "mode": "a"}])
def test_a_region_adds_some(path: Path, how: dict[str, Any], zarr_format: Format) -> None:
    zarrds.save(of(["a", "b", None, "a"]), path, encoding={"kind": {"chunks": (3,)}}, zarr_format=zarr_format)
    zarrds.save(of(["c", "a"], 1), path, **how)
    assert kinds(path) == ["a", "c", "a", "a"]
    assert load(path).kind.to_index().categories.tolist() == ["a", "b", "c"]
    zarrds.save(
        of([str(n) for n in range(300)], categories=[str(n) for n in range(300)])[["kind"]]
        .isel(x=[0, 299])
        .drop_vars("x"),
        path,
        region={"x": slice(2, 4)},
    )
    assert kinds(path) == ["a", "c", "0", "299"]
    assert zarrds.verify(path).ok


def test_all_of_it_in_place(path: Path) -> None:
    zarrds.save(of(["a", "b"]), path)
    zarrds.save(of(["c", "a"]), path, mode="r+")
    assert kinds(path) == ["c", "a"]
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("labels", [["c"], pd.CategoricalIndex(["c"])], ids=["text", "categories"])
@pytest.mark.parametrize("region", ["auto", {"x": slice(1, 2)}])
def test_labels_of_a_region_add_none(path: Path, labels: Any, region: Any) -> None:
    """As they are not written."""
    zarrds.save(xr.Dataset({"v": ("x", [1, 2])}, {"x": pd.CategoricalIndex(["a", "b"])}), path)
    before = files(path)
    with pytest.raises(LabelError, match="among the store's"):
        zarrds.save(xr.Dataset({"v": ("x", [3])}, {"x": labels}), path, region=region)
    assert files(path) == before


def test_two_regions_that_add_categories_at_once(path: Path) -> None:
    """The second to come would number another category as the first has: it is told."""
    zarrds.save(of(["a", "b"]), path, encoding={"kind": {"chunks": (1,)}})

    def late(numbers: Any) -> Any:
        zarrds.save(of(["c"]).drop_vars("x"), path, region={"x": slice(0, 1)})
        return numbers

    dask = pytest.importorskip("dask")
    new = of(["d"], 1).drop_vars("x")
    zarrds.save(xr.Dataset({"n": ("x", [1, 2])}), path, mode="a")
    numbers = xr.DataArray([5], dims="x").chunk().data
    new["n"] = "x", numbers.map_blocks(late, meta=np.empty(0, int))
    with dask.config.set(scheduler="synchronous"), pytest.raises(ConflictError, match="another writer"):
        zarrds.save(new, path, region={"x": slice(1, 2)})
    assert kinds(path) == ["c", "b"]


@given(st.lists(st.lists(st.sampled_from([*"abcde", None]), max_size=4), min_size=2, max_size=4))
def test_any_labels_go_on(parts: list[list[str | None]]) -> None:
    store, whole = zarrds.MemoryStore(), []
    for i, part in enumerate(parts):
        # of no text at all nobody knows that it is to be text
        new = of(part, len(whole), categories=sorted({p for p in part if p is not None} | {"a"}))
        zarrds.save(new, store, **({"append_dim": "x"} if i else {}))
        whole += part
    assert [None if pd.isnull(v) else v for v in kinds(store)] == whole


TEXTS: dict[str, Any] = {
    "fixed": np.array(["b", "d", "b"]),
    "objects": np.array(["b", "d", None], object),
    "pandas": pd.array(["b", None, "d"], dtype="string"),
    "StringDType": np.array(["b", "d", "b"], np.dtypes.StringDType()),
}


def along(values: Any, start: int = 0) -> xr.Dataset:
    return xr.Dataset({"kind": ("x", values)}, {"x": np.arange(start, start + len(values))})


def in_words(values: Any) -> list[Any]:
    return [None if pd.isna(value) else value for value in np.asarray(values, object).tolist()]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_becomes_categories(path: Path, text: Any, zarr_format: Format) -> None:
    zarrds.save(of(["c", "b", None]), path, zarr_format=zarr_format)
    zarrds.save(along(text, 3), path, append_dim="x")
    zarrds.save(along(text), path, region="auto")
    found = load(path).kind
    assert in_words(found.variable.data) == in_words(text) * 2
    assert found.to_index().categories.tolist() == ["b", "c", "d"]
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("missing", [[], [None]])
def test_categories_become_text(path: Path, text: Any, missing: list[None], zarr_format: Format) -> None:
    labels = ["longer than any", "b", *missing]
    zarrds.save(along(text), path, zarr_format=zarr_format)
    dtype = load(path).kind.dtype
    zarrds.save(of(labels, 3), path, append_dim="x")
    found = load(path).kind
    assert in_words(found.variable.data) == in_words(text) + labels
    assert found.dtype.kind == dtype.kind or missing
    assert zarrds.verify(path).ok


def test_lazy_text_becomes_categories(path: Path) -> None:
    zarrds.save(of(["b", "c"]), path)
    with pytest.warns(xr.SerializationWarning, match="'kind'.*which categories"):
        zarrds.save(along(np.array(["c", "d"]), 2).chunk(x=1), path, append_dim="x")
    assert kinds(path) == ["b", "c", "c", "d"]


def test_labels_of_the_other_making(path: Path) -> None:
    def part(labels: Any) -> xr.Dataset:
        return xr.Dataset({"v": ("station", np.arange(len(labels)))}, {"station": labels})

    for first, dtype in ((pd.CategoricalIndex(["b", "a"]), "category"), (["b", "a"], "object")):
        zarrds.save(part(first), path, mode="w")
        zarrds.save(part(["d"]), path, append_dim="station")
        zarrds.save(part(pd.CategoricalIndex(["c"])), path, append_dim="station")
        with pytest.raises(LabelError, match="overlap"):
            zarrds.save(part(["c"]), path, append_dim="station")
        zarrds.save(part(pd.CategoricalIndex(["d"])), path, region="auto")
        found = load(path).indexes["station"]
        assert found.tolist() == ["b", "a", "d", "c"]
        assert (found.dtype == "category") == (dtype == "category")


def test_text_is_no_ordered_category_that_is_new(path: Path) -> None:
    zarrds.save(of(["low"], categories=["low", "high"], ordered=True), path)
    zarrds.save(along(["high"], 1), path, append_dim="x")
    with pytest.raises(LabelError, match="ordered categories can only be added above"):
        zarrds.save(along(["higher"], 2), path, append_dim="x")
    assert kinds(path) == ["low", "high"]


@pytest.mark.parametrize("new", [[b"b"], [1], ["b"]])
def test_what_is_no_category_is_refused_by_name(path: Path, new: list[Any]) -> None:
    zarrds.save(of([1, 2] if new == ["b"] else ["a", "b"]), path)
    before = files(path)
    with pytest.raises(ZarrdsError, match=r"'kind'.*expected category"):
        zarrds.save(along(np.array(new), 2), path, append_dim="x")
    assert files(path) == before


VALUES: dict[str, Any] = {
    "integers": np.array([1, 2**60 + 1]),
    "floats": np.array([0.5, 1.5]),
    "booleans": np.array([True, False]),
    "times": np.array(["2000-01-01", "2001-01-01"], "M8[s]"),
    "zones": pd.date_range("2000", periods=2, tz="UTC").array,
    "intervals": pd.interval_range(0.0, 2.0).array,
    "periods": pd.period_range("2000", periods=2, freq="M").array,
}


@pytest.mark.parametrize("is_all", [True, False])
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_categories_of_any_kind_become_their_values(path: Path, values: Any, is_all: bool) -> None:
    zarrds.save(along(values), path)
    new = pd.Categorical.from_codes([1, 0] if is_all else [1, -1], pd.Index(values))
    zarrds.save(along(new, 2), path, append_dim="x")
    found = load(path).kind.variable
    expected = [*values, *new]
    assert [None if pd.isna(v) else v for v in found.data] == [None if pd.isna(v) else v for v in expected]
    assert zarrds.verify(path).ok


@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.sampled_from([*"abcde", None]), min_size=1, max_size=4)),
        min_size=2,
        max_size=5,
    )
)
def test_categories_and_text_in_any_order(parts: list[tuple[bool, list[str | None]]]) -> None:
    store, whole = zarrds.MemoryStore(), []
    for i, (is_categorical, part) in enumerate(parts):
        values: Any = pd.Categorical(part, ["a", *"bcde"]) if is_categorical else np.array([*part, None], object)[:-1]
        zarrds.save(along(values, len(whole)), store, **({"append_dim": "x"} if i else {}))
        whole += part
    assert [None if pd.isnull(v) else v for v in kinds(store)] == whole
    assert zarrds.verify(store).ok


def test_contigs_of_the_other_making(path: Path) -> None:
    """Of an index that is none of pandas, which xarray would drop."""

    def part(contigs: Any, start: int) -> xr.Dataset:
        positions = np.arange(start, start + len(contigs))
        ds = xr.Dataset(
            {"v": ("variants", positions)}, {"contig": ("variants", contigs), "position": ("variants", positions)}
        )
        return ds.set_xindex(["contig", "position"], zarrds.RegionIndex)

    for first, second in (
        (pd.Categorical(["1", "2"]), np.array(["2", "3"])),
        (np.array(["1", "2"]), pd.Categorical(["2", "3"])),
    ):
        zarrds.save(part(first, 5), path, mode="w")
        zarrds.save(part(second, 7), path, append_dim="variants")
        found = load(path)
        assert isinstance(found.xindexes["contig"], zarrds.RegionIndex)
        assert in_words(found.contig.variable.data) == ["1", "2", "2", "3"]


@pytest.mark.parametrize("labels", [pd.RangeIndex(2), pd.RangeIndex(1, 3), np.array([0, 1])], ids=str)
def test_numbers_are_no_codes(path: Path, labels: Any) -> None:
    """Those of a RangeIndex were taken for codes, and were read as categories."""
    zarrds.save(xr.Dataset({"v": ("x", [1, 2])}, {"x": pd.CategoricalIndex(["a", "b"])}), path)
    before = files(path)
    new = xr.Dataset({"v": ("x", [3, 4])}, {"x": labels})
    for how in ({"append_dim": "x", "on_overlap": "append"}, {"mode": "a"}, {"region": "auto"}):
        with pytest.raises(LabelError, match=r"'x'.*expected category, found int64"):
            zarrds.save(new, path, **how)  # type: ignore[arg-type]  # keywords
        assert files(path) == before


@pytest.mark.parametrize(
    "new",
    [["b"], [0.5], [True], [b"b"], list(VALUES["times"]), list(VALUES["zones"]), list(VALUES["periods"])],
    ids=str,
)
def test_the_first_categories_are_of_any_kind(path: Path, new: list[Any], zarr_format: Format) -> None:
    """To pandas, those of labels that are all missing are floats."""
    zarrds.save(of([None]), path, zarr_format=zarr_format)
    zarrds.save(of(new, 1), path, append_dim="x")
    zarrds.save(of(new, 1 + len(new)), path, append_dim="x")
    found = load(path).kind.to_index()
    assert found.isna().tolist() == [True, *[False] * 2 * len(new)]
    assert found[1:].tolist() == pd.Categorical(new * 2).tolist()
    assert found.categories.dtype.kind == pd.Categorical(new).categories.dtype.kind
    assert zarrds.verify(path).ok


def test_the_first_categories_are_text(path: Path) -> None:
    zarrds.save(along(pd.Categorical([None, None])), path)
    zarrds.save(along(np.array(["b"]), 1), path, region="auto")
    assert in_words(load(path).kind.variable.data) == [None, "b"]


@pytest.mark.parametrize("how", [{"region": "auto"}, {"append_dim": "x", "on_overlap": "replace"}])
@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
def test_who_has_read_the_categories_of_before_is_told(path: Path, how: dict[str, Any], chunks: Any) -> None:
    """Not that the store was damaged: its codes had no category."""
    if chunks is not None:
        pytest.importorskip("dask")
    zarrds.save(of(["a", "b"]), path)
    before = xr.open_dataset(path, engine="zarrds", chunks=chunks)
    zarrds.save(of(["a"]), path, region="auto")
    zarrds.save(of(["c", "a"], 2), path, append_dim="x")
    assert before.kind.compute().values.tolist() == ["a", "b"]
    before = xr.open_dataset(path, engine="zarrds", chunks=chunks)
    zarrds.save(of(["d"], 3), path, **how)
    with pytest.raises(ConflictError, match=r"after this dataset was opened.*'kind'"):
        before.kind.load()
    assert kinds(path) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("is_stored", [True, False])
def test_levels_of_the_other_making(path: Path, is_stored: bool, zarr_format: Format) -> None:
    def part(names: list[str], numbers: list[int], is_categorical: bool) -> xr.Dataset:
        level: Any = pd.Categorical(names) if is_categorical else names
        index = pd.MultiIndex.from_arrays([level, numbers], names=["kind", "n"])
        ds = xr.Dataset({"v": ("site", np.array(numbers))}, xr.Coordinates.from_pandas_multiindex(index, "site"))
        ds.kind.attrs["long_name"] = "kind of site"
        return ds

    zarrds.save(part(["b", "c"], [1, 2], is_stored), path, zarr_format=zarr_format)
    zarrds.save(part(["a", "c"], [3, 4], not is_stored), path, append_dim="site")
    with pytest.raises(LabelError, match="overlap"):
        zarrds.save(part(["c"], [2], not is_stored), path, append_dim="site")
    zarrds.save(part(["c", "a"], [2, 3], not is_stored).assign(v=("site", [7, 8])), path, region="auto")
    found = load(path)
    assert found.indexes["site"].tolist() == [("b", 1), ("c", 2), ("a", 3), ("c", 4)]
    assert (found.v.values.tolist(), found.kind.attrs) == ([1, 7, 8, 4], {"long_name": "kind of site"})
    assert isinstance(found.indexes["site"].levels[0].dtype, pd.CategoricalDtype) is is_stored
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_left_out_adds_none(path: Path, ordered: bool, zarr_format: Format) -> None:
    zarrds.save(of(["a", "b"], ordered=ordered), path, zarr_format=zarr_format)
    before = files(path)
    zarrds.save(of(["a", "c"], categories=["a", "b", "c"], ordered=ordered), path, append_dim="x", on_overlap="skip")
    if not ordered:
        text = xr.Dataset({"kind": ("x", ["d", "a"])}, {"x": [0, 1]})
        zarrds.save(text, path, append_dim="x", on_overlap="skip")
    assert files(path) == before
    more = of(["c", "d", "b"], 1, categories=["a", "b", "c", "d"], ordered=ordered)
    zarrds.save(more, path, append_dim="x", on_overlap="skip")
    assert kinds(path) == ["a", "b", "d", "b"]
    assert load(path).kind.to_index().categories.tolist() == ["a", "b", "d"]
    assert zarrds.verify(path).ok
