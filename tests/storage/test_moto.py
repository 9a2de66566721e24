"""Object storage as moto has it: a server that others have written knows what ours knows."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.errors import StoreIOError
from zarrds.storage.protocol import ValueChangedError
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")
moto = pytest.importorskip("moto.server", reason="its server is in moto[server]")

URL = "s3://bucket/t2m.zarr"


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/bucket", method="PUT")).close()
    yield {"endpoint_url": f"http://{host}:{port}", "key": "AKIATEST", "secret": "hush"}
    server.stop()


@pytest.mark.slow
def test_saved_appended_replaced(options: dict[str, str]) -> None:
    ds = xr.Dataset({"t": (("time", "x"), np.arange(40.0).reshape(10, 4))}, {"time": np.arange(10)})
    zarrds.save(ds, URL, storage_options=options, encoding={"t": {"chunks": (2, 4)}})
    more = ds.assign_coords(time=ds.time + 10)
    zarrds.save(more, URL, storage_options=options, append_dim="time")
    found = xr.open_dataset(URL, engine="zarrds", storage_options=options).load()
    xr.testing.assert_identical(found, xr.concat([ds, more], "time"))
    zarrds.save(ds, URL, storage_options=options, mode="w")
    for consolidated in (None, False):
        found = xr.open_dataset(URL, engine="zarrds", storage_options=options, consolidated=consolidated)
        xr.testing.assert_identical(found.load(), ds)
    zarrds.open_array(URL, "r+", path="t", storage_options=options)[1:2] = 7
    assert zarrds.open_array(URL, path="t", storage_options=options)[1].tolist() == [7.0] * 4


def test_conditional_puts_and_odd_keys(options: dict[str, str]) -> None:
    store = as_store("s3://bucket/odd", options)
    store.set("k%20 é#b", b"value")
    assert list(store.list_prefix()) == ["k%20 é#b"]
    assert bytes(store.get("k%20 é#b")) == b"value"
    for expected in (None, {"e_tag": '"other"'}):
        with pytest.raises(ValueChangedError):
            store._objects.put_if("k%20 é#b", b"new", expected)
    assert bytes(store.get("k%20 é#b")) == b"value"
    with pytest.raises(StoreIOError, match="no such bucket"):
        as_store("s3://elsewhere/a.zarr", options).get("zarr.json")
