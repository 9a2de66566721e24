"""Who reads and writes a bucket: zarrds, xarray's zarr engine over its two stores of URLs, and bare requests."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Protocol

import obstore
import xarray as xr
import zarr
from obstore.store import S3Store
from zarr.codecs import BloscCodec
from zarr.storage import ObjectStore

import zarrds
from zarrds.threads import MOST

BUCKET = "bucket"
AT_ONCE = MOST  # requests, as zarrds makes them

Chunks = Mapping[str, tuple[int, ...]]  # by variable


class Library(Protocol):
    """What is compared. A path is that of a store in the bucket."""

    @property
    def name(self) -> str:
        """As it stands in the table."""

    def settings(self) -> AbstractContextManager[Any]:
        """What it is used in."""

    def open(self, path: str, *, consolidated: bool = True) -> xr.Dataset:
        """Open a dataset, lazily."""

    def open_tree(self, path: str) -> xr.DataTree:
        """Open a tree, lazily."""

    def save(self, ds: xr.Dataset, path: str, chunks: Chunks, *, mode: Any = "w-") -> None:
        """Save a whole dataset."""

    def change(self, ds: xr.Dataset, path: str, **how: Any) -> None:
        """Save into a store that is there: `append_dim`, `region` or `mode="a"`."""


class Zarrds:
    """zarrds, by URL."""

    name = "zarrds"

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def settings(self) -> AbstractContextManager[Any]:
        """None."""
        return nullcontext()

    def open(self, path: str, *, consolidated: bool = True) -> xr.Dataset:
        """Open a dataset, lazily."""
        return xr.open_dataset(_url(path), engine="zarrds", storage_options=self.options)

    def open_tree(self, path: str) -> xr.DataTree:
        """Open a tree, lazily."""
        return xr.open_datatree(_url(path), engine="zarrds", storage_options=self.options)

    def save(self, ds: xr.Dataset | xr.DataTree, path: str, chunks: Chunks, *, mode: Any = "w-") -> None:
        """Save a whole dataset."""
        encoding = {name: {"chunks": sizes} for name, sizes in chunks.items()}
        zarrds.save(ds, _url(path), mode=mode, encoding=encoding, storage_options=self.options)

    def change(self, ds: xr.Dataset, path: str, **how: Any) -> None:
        """Save into a store that is there."""
        zarrds.save(ds, _url(path), storage_options=self.options, **how)


class ZarrEngine:
    """xarray's zarr engine, over s3fs by URL or over a store object of obstore; `at_once` is zarr-python's setting."""

    def __init__(self, options: dict[str, Any], *, over: str, at_once: int | None = None) -> None:
        self.name = f"zarr over {over}" + (f", {at_once} at once" if at_once else "")
        self._options, self._over, self._at_once = options, over, at_once

    def settings(self) -> AbstractContextManager[Any]:
        """How many requests it makes at once, where that is not its default."""
        return zarr.config.set({"async.concurrency": self._at_once}) if self._at_once else nullcontext()

    def open(self, path: str, *, consolidated: bool = True) -> xr.Dataset:
        """Open a dataset, lazily."""
        return xr.open_dataset(self._store(path), engine="zarr", consolidated=consolidated, **self._keywords())

    def open_tree(self, path: str) -> xr.DataTree:
        """Open a tree, lazily."""
        return xr.open_datatree(self._store(path), engine="zarr", consolidated=True, **self._keywords())

    def save(self, ds: xr.Dataset, path: str, chunks: Chunks, *, mode: Any = "w-") -> None:
        """Save a whole dataset."""
        codec = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
        encoding = {name: {"chunks": sizes, "compressors": (codec,)} for name, sizes in chunks.items()}
        ds.to_zarr(self._store(path), mode=mode, encoding=encoding, consolidated=True, **self._keywords())

    def change(self, ds: xr.Dataset, path: str, **how: Any) -> None:
        """Save into a store that is there."""
        ds.to_zarr(self._store(path), consolidated=True, **how, **self._keywords())

    def _store(self, path: str) -> Any:
        if self._over == "s3fs":
            return _url(path)
        return object_store(self._options, path)

    def _keywords(self) -> dict[str, Any]:
        return {"storage_options": self._options} if self._over == "s3fs" else {}


class Floor:
    """Bare requests of obstore, as many at once as zarrds makes: what no library can do without."""

    name = "floor"

    def __init__(self, options: dict[str, Any]) -> None:
        self._store = _bucket(options["endpoint_url"], options["key"], options["secret"], "")
        self._pool = ThreadPoolExecutor(AT_ONCE)

    def get(self, *steps: list[str]) -> None:
        """Get all of one step, then all of the next."""
        for keys in steps:
            list(self._pool.map(lambda key: obstore.get(self._store, key).bytes(), keys))

    def put(self, *steps: list[str], size: int) -> None:
        """Put so many bytes to each key of one step, then of the next."""
        for keys in steps:
            list(self._pool.map(lambda key: obstore.put(self._store, key, bytes(size)), keys))


def libraries(options: dict[str, Any]) -> list[Zarrds | ZarrEngine]:
    """All of them, zarrds first."""
    return [
        Zarrds(options),
        ZarrEngine(options, over="s3fs"),
        ZarrEngine(options, over="obstore"),
        ZarrEngine(options, over="obstore", at_once=AT_ONCE),
    ]


def _url(path: str) -> str:
    return f"s3://{BUCKET}/{path}"


def object_store(options: Mapping[str, Any], path: str) -> ObjectStore[S3Store]:
    """A store of zarr-python over obstore."""
    return _object_store(options["endpoint_url"], options["key"], options["secret"], path)


def _bucket(endpoint: str, key: str, secret: str, prefix: str) -> S3Store:
    client: Any = {"allow_http": True}
    return S3Store(
        BUCKET,
        prefix=prefix,
        endpoint=endpoint,
        access_key_id=key,
        secret_access_key=secret,
        client_options=client,
    )


@cache
def _object_store(endpoint: str, key: str, secret: str, path: str) -> ObjectStore[S3Store]:
    return ObjectStore(_bucket(endpoint, key, secret, path))
