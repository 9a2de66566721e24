"""What users name -> groups of lazily opened datasets: stores, netCDF, GRIB, whatever xarray opens."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import xarray as xr

from zarrds.datasets.converting.strange import decoded_groups, without_strange
from zarrds.errors import StoreIOError, StoreNotFoundError, UnsupportedError
from zarrds.metadata.nodes.documents import spec_there
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store
from zarrds.storage.secrets import without_secrets

__all__ = ["Source", "is_file", "is_store", "open_dataset", "open_groups", "source_name"]

Source = str | os.PathLike[str] | Store | xr.Dataset | xr.DataArray | xr.DataTree
# `xr.open_groups` does not heed decode_cf
_UNDECODED = dict.fromkeys(
    ("mask_and_scale", "decode_times", "concat_characters", "decode_coords", "decode_timedelta"), False
)
_GRIB = (".grib", ".grib2", ".grb", ".grb2", ".grib1", ".grb1")


def source_name(source: Source) -> str:
    """How a source is called in messages."""
    if isinstance(source, xr.Dataset | xr.DataArray | xr.DataTree):
        return f"xarray.{type(source).__name__}"
    if isinstance(source, str):
        return without_secrets(source)
    name = _file_name(source)
    return as_store(source).path if name is None else name


def _file_name(source: object) -> str | None:
    """What may be the name of a file; None for URLs and store objects, of whatever library."""
    if isinstance(source, str):
        return None if "://" in source else source
    # a UPath is as a path, but need not be one
    return os.fspath(source) if isinstance(source, os.PathLike) and not hasattr(source, "storage_options") else None


def is_file(source: object) -> bool:
    """Whether a source is a file that is no store, as a ZIP file is."""
    if not isinstance(source, str | os.PathLike) or not os.path.isfile(source):
        return False
    name: str = os.fspath(source)
    return not name.lower().endswith(".zip")


def is_store(source: Source, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Whether a source is a Zarr store."""
    if isinstance(source, xr.Dataset | xr.DataArray | xr.DataTree):
        return False
    name = _file_name(source)
    if name is not None and is_file(name):
        return False
    return spec_there(as_store(source, storage_options)) is not None


@contextmanager
def open_groups(
    source: Source, storage_options: Mapping[str, Any] | None = None, **options: Any
) -> Iterator[dict[str, xr.Dataset]]:
    """All groups of a source by path (``"/"`` is the root), lazily; closed at the end if they were opened here.

    Raises
    ------
    StoreNotFoundError
        If there is neither a store nor a file.
    UnsupportedError
        If xarray has no engine for the file.
    StoreIOError
        If the file cannot be read.
    """
    if isinstance(source, xr.DataArray):
        source = source.to_dataset(name="array" if source.name is None or source.name in source.coords else source.name)
    if isinstance(source, xr.Dataset):
        yield {"/": source}
        return
    if isinstance(source, xr.DataTree):
        yield {node.path: node.to_dataset(inherit=False) for node in source.subtree}
        return
    groups = _opened(source, storage_options, options)
    try:
        yield groups
    finally:
        for ds in groups.values():
            ds.close()


@contextmanager
def open_dataset(
    source: Source, group: str | None = None, storage_options: Mapping[str, Any] | None = None, **options: Any
) -> Iterator[xr.Dataset]:
    """One group of a source, lazily, as by `open_groups`."""
    with open_groups(source, storage_options, **options) as groups:
        path = f"/{(group or '').strip('/')}"
        if path not in groups:
            raise StoreNotFoundError("no such group", path=source_name(source), key=path, found=sorted(groups))
        yield groups[path]


def _opened(
    source: str | os.PathLike[str] | Store, storage_options: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> dict[str, xr.Dataset]:
    name = _file_name(source)
    if name is not None and is_file(name):
        return _opened_file(name, options)
    if name is not None and not os.path.lexists(os.path.expanduser(name)):
        raise StoreNotFoundError("there is no such file, and no Zarr store", path=name, mend="Check the path")
    store: Any = as_store(source, storage_options)
    return dict(xr.open_groups(store, engine="zarrds", **options))


def _opened_file(name: str, options: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    more: dict[str, Any] = {}
    if name.lower().endswith(_GRIB):
        if find_spec("cfgrib") is None:
            raise UnsupportedError("GRIB needs cfgrib", path=name, mend="Install it: python -m pip install cfgrib")
        more = {"engine": "cfgrib", "backend_kwargs": {"indexpath": ""}}  # no index beside the user's file
    try:
        is_flat = bool(more) or _is_flat(name)
    except OSError as error:
        raise StoreIOError(f"the file cannot be read: {error.strerror}", path=name) from error
    try:
        return without_strange(name, _groups_of_file(name, is_flat, {**more, **options}))
    except (ValueError, OSError, TypeError, AttributeError, ImportError) as error:
        problem = error
    try:
        # one variable that cannot be decoded must not hide the others
        raw = _groups_of_file(name, is_flat, {**more, **options, **({"decode_cf": False} if is_flat else _UNDECODED)})
    except (ValueError, OSError, TypeError, AttributeError, ImportError):
        raise UnsupportedError(
            f"xarray cannot open the file: {_first_sentence(problem)}",
            path=name,
            mend="netCDF needs netCDF4 (python -m pip install netCDF4); check that the file is complete",
        ) from problem
    return decoded_groups(name, without_strange(name, raw))


def _first_sentence(problem: Exception) -> str:
    """What is wrong, without what xarray says of its own parameters."""
    text = str(problem).partition("\n")[0].partition(" Consider ")[0].rstrip(". ")
    return text or type(problem).__name__


def _groups_of_file(name: str, is_flat: bool, options: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    return {"/": xr.open_dataset(name, **options)} if is_flat else dict(xr.open_groups(name, **options))


def _is_flat(name: str) -> bool:
    """Whether a file is of a format without groups: netCDF 3."""
    with open(name, "rb") as file:
        return file.read(3) == b"CDF"
