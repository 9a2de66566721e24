"""Random changes of a store against a model in memory."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import zarrds
from tests.datasets.operations import are_identical, leftovers, state
from zarrds.errors import ConflictError, EncodingError, LabelError, StoreExistsError, VariableNotFoundError

DAY, FIRST = np.timedelta64(1, "D"), np.datetime64("2000-01-01", "ns")
GROUPS = ["", "a", "a/b"]
NAMES = ["v", "w", "s", "n"]  # the first letter says what kind of data it is

groups = st.sampled_from(GROUPS)
modes = st.sampled_from([None, "a", "a-"])
seeds = st.integers(0, 2**16)
picks = st.integers(0, 9)
sizes = st.integers(1, 5)
all_blocks = st.none() | st.fixed_dictionaries({"time": sizes, "x": sizes})
name_lists = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)
chunk_sizes = st.fixed_dictionaries({}, optional={"v": st.tuples(sizes, sizes), "s": sizes, "time": sizes, "n": sizes})


def variable(rng: np.random.Generator, kind: str, n_times: int, n_x: int) -> xr.Variable:
    match kind:
        case "v":
            return xr.Variable(("time", "x"), rng.random((n_times, n_x)), {"units": "K"})
        case "w":
            return xr.Variable(("x", "time"), rng.integers(-99, 99, (n_x, n_times)).astype("i2"))
        case "s":
            return xr.Variable("time", np.array([f"s{i}" for i in rng.integers(0, 2000, n_times)], object))
        case _:
            return xr.Variable("x", rng.random(n_x).astype("f4"))


def dataset(seed: int, names: list[str], times: Any, n_x: int, with_labels: tuple[str, ...] = ()) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    data = {name: variable(rng, name[0], len(times), n_x) for name in names}
    coords = {"time": FIRST + np.asarray(times) * DAY, "x": np.arange(n_x) * 0.5}
    dims = {dim for var in data.values() for dim in var.dims}.union(with_labels)
    return xr.Dataset(data, {name: coords[name] for name in coords if name in dims}, {"seed": seed})


def in_blocks(ds: xr.Dataset, blocks: Any) -> xr.Dataset:
    """The same dataset, of dask arrays unless `blocks` is None."""
    if blocks is None:
        return ds
    # of strings xarray says that it would load them
    strings = {name: var for name, var in ds.variables.items() if var.dtype.kind == "O"}
    return ds.chunk({dim: size for dim, size in blocks.items() if dim in ds.dims}).assign(strings)


def written_to(
    old: xr.Dataset, new: xr.Dataset, start: dict[str, int], skip: Any = (), replaced: bool = False
) -> xr.Dataset:
    """What `old` is when the variables of `new` are written to it, from `start` on, beyond its end if need be.

    Variables keep their attributes, unless they are replaced as a whole.
    """
    changed = {}
    for name, there in old.variables.items():
        if name not in new.variables or name in skip:
            continue
        fresh = new.variables[name].transpose(*there.dims)
        begin = [start.get(str(dim), 0) for dim in there.dims]
        shape = [max(n, a + m) for n, a, m in zip(there.shape, begin, fresh.shape, strict=True)]
        values = np.empty(shape, there.dtype)
        values[tuple(map(slice, there.shape))] = there.values
        values[tuple(slice(a, a + m) for a, m in zip(begin, fresh.shape, strict=True))] = fresh.values
        changed[name] = xr.Variable(there.dims, values, fresh.attrs if replaced else there.attrs)
    variables = {name: changed.get(name, there) for name, there in old.variables.items()}
    coords = {name: variables.pop(name) for name in list(variables) if name in old.coords}
    return xr.Dataset(variables, coords, old.attrs)


def with_attrs(ds: xr.Dataset, attrs: dict[str, Any]) -> xr.Dataset:
    """Those that are given are replaced, and the others stay."""
    return ds.assign_attrs(attrs)


def is_above(group: str, other: str) -> bool:
    return not group or f"{other}/".startswith(f"{group}/")


class Machine(RuleBasedStateMachine):
    """A store, and what it is to hold: a dataset for each group."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, xr.Dataset] = {}
        self.opened: list[tuple[str, xr.Dataset]] = []
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))

    def teardown(self) -> None:
        try:
            if self.model and isinstance(self.store, Path):
                theirs = state(self.store, "zarr")
                assert are_identical(theirs, state(self.store)), "zarr-python sees something else"
        finally:
            shutil.rmtree(self.folder)

    @initialize(zarr_format=st.sampled_from([3, 2]), in_memory=st.booleans(), chunks=chunk_sizes,
                names=st.lists(st.sampled_from(NAMES), unique=True))  # fmt: skip
    def begin(self, zarr_format: int, in_memory: bool, chunks: dict[str, Any], names: list[str]) -> None:
        self.zarr_format = zarr_format
        self.store: Any = zarrds.MemoryStore() if in_memory else self.folder / "x.zarr"
        if names:
            self.save_anew("", "w-", names, 0, 3, 2, chunks, None, 0, True)

    @invariant()
    def store_is_as_the_model(self) -> None:
        if not self.model:
            return
        found = state(self.store)
        assert found.keys() == {f"/{group}" for group in self.model}
        for group, expected in self.model.items():
            xr.testing.assert_identical(found[f"/{group}"], expected)
        # groups have the sizes that they have, whether they go together as a tree or not
        findings = zarrds.verify(self.store, workers=1).findings
        assert [finding for finding in findings if "xr.open_datatree" not in finding.problem] == []
        if isinstance(self.store, Path):
            assert leftovers(self.folder) == []

    def save(self, ds: xr.Dataset, group: str, *, compute: bool = True, **options: Any) -> None:
        with dask.config.set(scheduler="sync"):
            later = zarrds.save(
                ds, self.store, group=group or None, durable=False, workers=1, compute=compute, **options
            )
            if not compute:
                later.compute()

    def expect(self, group: str, ds: xr.Dataset) -> None:
        """From now on the group is to hold this; the groups above it are there, if empty."""
        parts = group.split("/") if group else []
        for i in range(len(parts)):
            self.model.setdefault("/".join(parts[:i]), xr.Dataset())
        self.model[group] = ds

    def pick(self, i: int, dim: str | None = None) -> str:
        """One of the groups that there are, or of those that have a dimension."""
        found = [group for group, ds in self.model.items() if dim is None or dim in ds.dims]
        assume(found)
        return found[i % len(found)]

    def names_of(self, group: str, *, with_time: bool | None = None) -> list[str]:
        ds = self.model[group]
        return [str(name) for name in ds.data_vars if with_time in (None, "time" in ds[name].dims)]

    def breaks_a_tree(self, group: str, n_times: int) -> bool:
        """Whether groups above and below have as many times as this one, and would not have then."""
        before = self.model[group].sizes["time"]
        around = [
            ds for path, ds in self.model.items() if path != group and (is_above(path, group) or is_above(group, path))
        ]
        return n_times != before and any(ds.sizes.get("time") == before for ds in around)

    # whole groups

    @rule(group=groups, mode=st.sampled_from(["w-", "w", None]), names=name_lists, start=st.integers(0, 9), n=sizes,
          n_x=sizes, chunks=chunk_sizes, blocks=all_blocks, seed=seeds, compute=st.booleans())  # fmt: skip
    def save_anew(
        self, group: str, mode: Any, names: list[str], start: int, n: int, n_x: int, chunks: dict[str, Any],
        blocks: Any, seed: int, compute: bool,
    ) -> None:  # fmt: skip
        ds = dataset(seed, names, range(start, start + n), n_x)
        options = {
            "mode": mode,
            "encoding": {name: {"chunks": chunk} for name, chunk in chunks.items() if name in ds.variables},
            "zarr_format": None if self.model and group else self.zarr_format,
            "compute": compute,
        }
        if group in self.model and mode != "w":
            with pytest.raises(StoreExistsError):
                self.save(in_blocks(ds, blocks), group, **options)
            return
        self.save(in_blocks(ds, blocks), group, **options)
        for path in list(self.model):  # what was below is gone
            if not group or path.startswith(f"{group}/"):
                del self.model[path]
        self.expect(group, ds)

    # variables

    @precondition(lambda self: self.model)
    @rule(group=groups, names=name_lists, n=sizes, n_x=sizes, blocks=all_blocks, seed=seeds, compute=st.booleans(),
          mode=st.sampled_from(["a", "a-", "r+"]), with_labels=st.booleans())  # fmt: skip
    def write_variables(
        self, group: str, names: list[str], n: int, n_x: int, blocks: Any, seed: int, compute: bool, mode: Any,
        with_labels: bool,
    ) -> None:  # fmt: skip
        old = self.model.get(group, xr.Dataset())
        times = (old["time"].values - FIRST) // DAY if "time" in old.dims else range(n)
        ds = dataset(seed, names, times, old.sizes.get("x", n_x))
        ds = ds if with_labels else ds.drop_vars([name for name in ds.coords if name in old.coords])
        if mode == "r+" and (group not in self.model or not old.variables.keys() >= ds.variables.keys()):
            with pytest.raises((EncodingError, FileNotFoundError)):
                self.save(in_blocks(ds, blocks), group, mode=mode, compute=compute)
            return
        self.save(in_blocks(ds, blocks), group, mode=mode, compute=compute)
        new = written_to(old, ds, {}, replaced=mode != "r+")
        if mode != "r+":  # labels that are the stored ones stay, and so do their attributes
            new = new.assign({name: old[name] for name in old.coords if name in ds.coords})
        new = new.assign({name: var for name, var in ds.variables.items() if name not in old.variables})
        self.expect(group, new if mode == "r+" else with_attrs(new, ds.attrs))

    @precondition(lambda self: any("time" in ds.dims for ds in self.model.values()))
    @rule(i=picks, gap=st.integers(-4, 2), n=st.integers(0, 4), blocks=all_blocks, seed=seeds, mode=modes,
          on_overlap=st.sampled_from(["error", "replace", "skip"]), compute=st.booleans(),
          with_others=st.sampled_from(["no", "as stored", "different"]))  # fmt: skip
    def append(
        self, i: int, gap: int, n: int, blocks: Any, seed: int, mode: Any, on_overlap: Any, compute: bool,
        with_others: str,
    ) -> None:  # fmt: skip
        group = self.pick(i, "time")
        old = self.model[group]
        stored = (old["time"].values - FIRST) // DAY
        times = stored[-1] + 1 + gap + np.arange(n)
        others = [] if with_others == "no" else self.names_of(group, with_time=False)
        names = self.names_of(group, with_time=True) + others
        ds = dataset(seed, names, times, old.sizes.get("x", 1), ("time",))
        if with_others == "as stored":
            ds = ds.assign({name: old[name] for name in others})
        differ = mode != "a-" and any(not old[name].equals(ds[name]) for name in others)
        options = {"append_dim": "time", "mode": mode, "on_overlap": on_overlap, "compute": compute}
        is_stored = np.isin(times, stored)
        rest = times[~is_stored]
        assume(len(stored) > 1 or not (rest < stored[-1]).any())  # one label has no order yet
        if differ or (is_stored.any() and on_overlap == "error") or (rest < stored[-1]).any():
            with pytest.raises(LabelError):
                self.save(in_blocks(ds, blocks), group, **options)
            return
        if self.breaks_a_tree(group, len(stored) + len(rest)):
            with pytest.raises(LabelError, match="DataTree"):
                self.save(in_blocks(ds, blocks), group, **options)
            return
        self.save(in_blocks(ds, blocks), group, **options)
        start = len(stored)
        if is_stored.any() and on_overlap == "replace":
            start = int(np.searchsorted(stored, times[0]))
        elif on_overlap == "skip":
            ds = ds.isel(time=~is_stored)
        skip = [name for name in old.variables if mode == "a-" and "time" not in old[name].dims]
        self.expect(group, with_attrs(written_to(old, ds, {"time": start}, skip), ds.attrs))

    @precondition(lambda self: any(ds.data_vars for ds in self.model.values()))
    @rule(i=picks, how=st.sampled_from(["auto", "all auto", "slice", "wrong"]), mode=st.sampled_from([None, "a"]),
          ends=st.lists(st.integers(0, 9), min_size=4, max_size=4), blocks=all_blocks, seed=seeds,
          compute=st.booleans())  # fmt: skip
    def write_a_region(
        self, i: int, how: str, mode: Any, ends: list[int], blocks: Any, seed: int, compute: bool
    ) -> None:
        group = self.pick(i)
        old = self.model[group]
        assume(old.data_vars)
        whole = dataset(seed, self.names_of(group), (old["time"].values - FIRST) // DAY if "time" in old.dims else [],
                        old.sizes.get("x", 1))  # fmt: skip
        part = {}
        for dim, pair in (("time", ends[:2]), ("x", ends[2:])):
            if dim in whole.dims:
                first, last = sorted(end % old.sizes[dim] for end in pair)
                part[dim] = slice(first, last + 1)
        ds = whole.isel(part)
        region: Any = part if how == "slice" else "auto" if how == "all auto" else dict.fromkeys(part, "auto")
        if how == "slice":
            ds = ds.drop_vars(list(ds.coords))
        if how == "wrong":
            far = {"time": 1000 * DAY, "x": 1000.0}
            ds = ds.assign_coords({dim: ds[dim].values + far[dim] for dim in list(part)[:1]})
            with pytest.raises(LabelError):
                self.save(in_blocks(ds, blocks), group, region=region, mode=mode, compute=compute)
            return
        self.save(in_blocks(ds, blocks), group, region=region, mode=mode, compute=compute)
        new = written_to(old, ds, {dim: s.start for dim, s in part.items()}, old.coords)
        self.expect(group, new if mode is None else with_attrs(new, ds.attrs))

    # edits

    @precondition(lambda self: self.model)
    @rule(k=picks, i=picks, value=seeds)
    def update_attrs(self, k: int, i: int, value: int) -> None:
        group = self.pick(k)
        names = [None, *self.names_of(group), "x", "missing"]
        name = names[i % len(names)]
        ds = self.model[group].copy()
        if name is not None and name not in ds.variables:
            with pytest.raises(VariableNotFoundError):
                zarrds.update_attrs(self.store, {"n": value}, name, group=group, durable=False)
            return
        zarrds.update_attrs(self.store, {"n": value}, name, group=group, durable=False)
        (ds if name is None else ds[name]).attrs["n"] = value
        self.expect(group, ds)

    @precondition(lambda self: self.model)
    @rule(k=picks, i=picks, j=picks)
    def rename(self, k: int, i: int, j: int) -> None:
        group = self.pick(k)
        names = self.names_of(group)
        assume(names)
        name = names[i % len(names)]
        new = name[0] + ["", "2", "3"][j % 3]
        assume(new != name)
        if new in names:
            with pytest.raises(LabelError):
                zarrds.rename(self.store, {name: new}, group=group, durable=False)
            return
        zarrds.rename(self.store, {name: new}, group=group, durable=False)
        self.expect(group, self.model[group].rename({name: new}))

    @precondition(lambda self: self.model)
    @rule(k=picks, i=picks, n=st.integers(1, 2))
    def drop_vars(self, k: int, i: int, n: int) -> None:
        group = self.pick(k)
        names = self.names_of(group)
        assume(names)
        dropped = {names[k % len(names)] for k in range(i, i + n)}
        zarrds.drop_vars(self.store, dropped, group=group, durable=False)
        left = self.model[group].drop_vars(dropped)
        self.expect(group, left)

    # readers that opened a group some time ago

    @precondition(lambda self: self.model)
    @rule(k=picks)
    def open_lazily(self, k: int) -> None:
        group = self.pick(k)
        self.opened.append((group, xr.open_dataset(self.store, engine="zarrds", group=group, cache=False)))

    @precondition(lambda self: self.opened)
    @rule()
    def read_what_was_opened(self) -> None:
        """What is still there is read, as it is now; what was replaced is an error; nothing else can come of it."""
        group, ds = self.opened.pop(0)
        now = self.model.get(group, xr.Dataset())
        for name, old in ds.data_vars.items():
            try:
                found = old.variable.load()
            except ConflictError:
                continue
            part = now.variables[name].isel({dim: slice(size) for dim, size in old.sizes.items()})
            np.testing.assert_array_equal(found.values, part.values)
            for dim in old.dims:
                np.testing.assert_array_equal(now[dim].values[: old.sizes[dim]], ds[dim].values)


_SETTINGS = settings(
    max_examples=5,
    stateful_step_count=16,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
Machine.TestCase.settings = _SETTINGS
TestMachine = Machine.TestCase


@pytest.mark.slow
def test_more_sequences() -> None:
    run_state_machine_as_test(Machine, settings=settings(_SETTINGS, max_examples=20))
