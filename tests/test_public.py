"""The public names, and what importing them costs."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zarrds

PROJECT = Path(__file__).resolve().parents[1]


def test_names() -> None:
    assert set(zarrds.__all__) == {
        "Array",
        "Conversion",
        "Diff",
        "Difference",
        "Explanation",
        "Finding",
        "Group",
        "Info",
        "LocalStore",
        "MemoryStore",
        "RegionIndex",
        "RemoteStore",
        "Report",
        "Store",
        "Versions",
        "__version__",
        "aggregate",
        "convert",
        "copy",
        "create_array",
        "create_group",
        "diff",
        "drop_vars",
        "errors",
        "export",
        "find",
        "index",
        "info",
        "open_array",
        "open_group",
        "rechunk",
        "rechunk_plan",
        "rename",
        "report",
        "save",
        "statistics",
        "update_attrs",
        "verify",
    }
    assert all(hasattr(zarrds, name) for name in zarrds.__all__)


def test_version() -> None:
    assert zarrds.__version__ == importlib.metadata.version("zarrds")
    for file, line in (("CITATION.cff", "version: {}"), ("recipe/meta.yaml", '{{% set version = "{}" %}}')):
        assert line.format(zarrds.__version__) in (PROJECT / file).read_text()


KEYWORD = inspect.Parameter.KEYWORD_ONLY
NOTHING = inspect.Parameter.empty

SIGNATURES: dict[str, dict[str, Any]] = {
    "save": {
        "obj": NOTHING,
        "store": NOTHING,
        "group": None,
        "mode": None,
        "encoding": None,
        "append_dim": None,
        "region": None,
        "zarr_format": None,
        "compute": True,
        "durable": True,
        "storage_options": None,
        "progress": False,
    },
    "open_group": {"store": NOTHING, "mode": "r", "path": ""},
    "open_array": {"store": NOTHING, "mode": "r", "path": ""},
    "create_group": {"store": NOTHING, "path": ""},
    "create_array": {
        "store": NOTHING,
        "shape": NOTHING,
        "dtype": NOTHING,
        "chunks": "auto",
        "shards": None,
        "codecs": None,
        "fill_value": None,
        "dimension_names": None,
        "attributes": None,
        "zarr_format": 3,
        "path": "",
        "overwrite": False,
    },
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    parameters = inspect.signature(getattr(zarrds, name)).parameters
    promised = SIGNATURES[name]
    assert {n: p.default for n, p in parameters.items() if n in promised} == promised
    assert [n for n in parameters if n in promised] == list(promised)
    n_positional = {"save": 2, "open_group": 3, "open_array": 3, "create_group": 1, "create_array": 1}[name]
    assert all(p.kind is KEYWORD for p in list(parameters.values())[n_positional:])
    assert all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def test_members() -> None:
    array = "shape dtype chunks shards ndim size nbytes attrs dimension_names oindex vindex resize append".split()
    assert all(hasattr(zarrds.Array, name) for name in [*array, "__getitem__", "__setitem__"])
    group = "attrs groups arrays create_group create_array tree".split()
    assert all(hasattr(zarrds.Group, name) for name in [*group, "__getitem__", "__contains__", "__iter__", "__len__"])
    assert list(inspect.signature(zarrds.Array.append).parameters) == ["self", "values", "axis"]
    assert list(inspect.signature(zarrds.Array.resize).parameters) == ["self", "shape"]


def test_import_brings_no_extras() -> None:
    extras = "zarr dask distributed netCDF4 tensorstore matplotlib tqdm cyvcf2 cftime fsspec".split()
    # with the star, all public names: each is imported when it is first used
    code = f"import sys; from zarrds import *; print([name for name in {extras} if name in sys.modules])"
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    loaded = printed.strip()
    # xarray itself imports what it finds of these; zarrds adds nothing
    code = f"import sys, xarray, xarray.backends.api; print([name for name in {extras} if name in sys.modules])"
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    assert loaded == printed.strip()
    assert not {"zarr", "dask", "tensorstore", "matplotlib", "netCDF4"} & set(eval(loaded))


def test_arrays_are_made_in_groups_as_elsewhere() -> None:
    """The same parameters and defaults, but for those that the group knows."""
    anywhere, in_group = (inspect.signature(f).parameters for f in (zarrds.create_array, zarrds.Group.create_array))
    known = {"store", "path", "zarr_format", "workers", "storage_options"}
    assert list(in_group)[:2] == ["self", "name"]
    assert list(in_group.values())[2:] == [each for name, each in anywhere.items() if name not in known]
