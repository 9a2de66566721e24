"""Regions of stores in object storage: what is compared, and how little is asked for."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server
from tests.storage.s3_writers import URL, data, opened, options, save
from zarrds.datasets.writing.sources import reads_from
from zarrds.errors import ConflictError, LabelError, StoreIOError, ZarrdsError
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")


def write(server: S3Server, ds: xr.Dataset, start: int, stop: int) -> None:
    zarrds.save(ds, URL, region={"time": slice(start, stop)}, storage_options=options(server))


def part(n: int = 3, value: float = 7.0) -> xr.Dataset:
    return xr.Dataset({"t2m": (("time", "x"), np.full((n, 3), value))})


def change(server: S3Server, key: str, **members: object) -> None:
    """As another library does that leaves consolidated metadata as it is."""
    value, _, _ = server.state.values[f"t2m.zarr/{key}"]
    server.state.values[f"t2m.zarr/{key}"] = json.dumps(json.loads(value) | members).encode(), f'"{key}"', 0.0


def test_only_what_is_written_is_looked_at(server: S3Server) -> None:
    save(server)
    for number in range(4):
        zarrds.save(xr.Dataset({f"v{number}": ("x", np.ones(3))}), URL, mode="a", storage_options=options(server))
    server.state.requests.clear()
    write(server, part(), 0, 3)
    asked = [request for request in server.state.requests if request[0] != "PUT"]
    names = [key.removeprefix("t2m.zarr/") for _, key in asked]
    assert sorted(names[:3]) == [".commit.zarrds-partial", "t2m/zarr.json", "zarr.json"]  # at once
    assert asked[3:] == [("HEAD", "t2m.zarr/t2m/zarr.json")]
    assert (opened(server).t2m[:3] == 7).all()
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_all_variables_at_once(server: S3Server) -> None:
    save(server)
    write(server, data(0, 3).assign(t2m=data(0, 3).t2m + 1), 0, 3)
    xr.testing.assert_equal(opened(server).isel(time=slice(3)), data(0, 3).assign(t2m=data(0, 3).t2m + 1))


def test_what_is_written_is_compared_by_its_own_document(server: S3Server) -> None:
    save(server)
    change(server, "t2m/zarr.json", attributes={"units": "K"})
    with pytest.raises(ZarrdsError, match="units"):
        write(server, part().assign(t2m=part().t2m.assign_attrs(units="degC")), 0, 3)
    with pytest.raises(LabelError, match="time"):
        write(server, part().assign_coords(time=[1, 2, 3]), 0, 3)
    assert opened(server).t2m[0, 0] == 0


def test_what_the_root_does_not_tell_of_is_looked_for(server: S3Server) -> None:
    save(server)
    for key in [key for key in server.state.values if key.startswith("t2m.zarr/t2m/")]:
        server.state.values[key.replace("/t2m/", "/new/")] = server.state.values[key]
    write(server, part().rename(t2m="new"), 0, 3)
    found = xr.open_dataset(URL, engine="zarrds", consolidated=False, storage_options=options(server))
    assert (found.new[:3] == 7).all()


def test_what_has_grown_unseen_is_written_to(server: S3Server) -> None:
    save(server)
    change(server, "t2m/zarr.json", shape=[6, 3])
    change(server, "time/zarr.json", shape=[6])
    before = server.state.values["t2m.zarr/t2m/c.1.0"]
    write(server, part(), 3, 6)
    assert server.state.values["t2m.zarr/t2m/c.1.0"] != before


def test_categories_are_written_with_their_codes(server: S3Server) -> None:
    kinds = xr.Dataset({"kind": ("x", pd.Categorical(["a", "b", "a", "b"]))}, {"x": np.arange(4)})
    zarrds.save(kinds, URL, storage_options=options(server))
    new = xr.Dataset({"kind": ("x", pd.Categorical(["b", "b"], categories=["b", "a"]))})
    zarrds.save(new, URL, region={"x": slice(0, 2)}, storage_options=options(server))
    assert list(opened(server).kind.values) == ["b", "b", "a", "b"]


@pytest.mark.parametrize("how", ["other options", "a store of obstore", "a store of zarr-python"])
def test_a_region_of_itself_that_is_reached_in_another_way(server: S3Server, how: str) -> None:
    """What is still to be read is staged: else each block would be written over what another is about to read."""
    from obstore.store import S3Store
    from zarr.storage import ObjectStore

    n = 40
    encoding = {"t2m": {"chunks": (2, 3)}}
    zarrds.save(data(0, n), URL, encoding=encoding, storage_options=options(server))
    given = S3Store(
        "bucket",
        prefix="t2m.zarr",
        endpoint=server.url,
        access_key_id="AKIAOTHER",
        secret_access_key="verysecretvalue",
        client_options={"allow_http": True},
    )
    if how == "a store of zarr-python":
        ds = xr.open_dataset(ObjectStore(given), engine="zarr", chunks={"time": 2})  # type: ignore[type-var]  # it takes any of obstore's
    elif how == "a store of obstore":
        ds = xr.open_dataset(given, engine="zarrds", chunks={"time": 2})
    else:
        told = options(server, "AKIAOTHER")
        ds = xr.open_dataset(URL, engine="zarrds", storage_options=told, chunks={"time": 2})
    reverse = ds[["t2m"]].isel(time=slice(None, None, -1)).drop_vars("time")
    zarrds.save(reverse, URL, region={"time": slice(0, n)}, storage_options=options(server))
    np.testing.assert_array_equal(opened(server).t2m, data(0, n).t2m[::-1])


@pytest.mark.parametrize("is_written", [False, True])
def test_the_last_look_fails(server: S3Server, is_written: bool) -> None:
    """The error says that all is written; of a write that failed, that is told, and not the look."""
    save(server)

    def fault(method: str, key: str) -> Fault | None:
        if method == "PUT":
            return None if is_written else Fault(400, body=b"<Error><Code>OddRequest</Code></Error>")
        return Fault(403) if (method, key) == ("HEAD", "t2m.zarr/t2m/zarr.json") else None

    server.state.fault = fault
    with pytest.raises(StoreIOError, match="All of the data is written" if is_written else "OddRequest"):
        write(server, part(), 0, 3)
    server.state.fault = None
    assert (opened(server).t2m[:3] == 7).all() == is_written


def test_of_a_region_that_fails_it_is_not_said_that_nothing_is_written(server: S3Server) -> None:
    """Also where another has changed the array meanwhile, which may be the reason."""
    zarrds.save(data(0, 6), URL, encoding={"t2m": {"chunks": (3, 3)}}, storage_options=options(server))

    def fault(method: str, key: str) -> Fault | None:
        if (method, key) != ("PUT", "t2m.zarr/t2m/c.1.0"):
            return None
        change(server, "t2m/zarr.json", attributes={"by": "another"})
        return Fault(400)

    server.state.fault = fault
    with pytest.raises(ConflictError, match="some of the data of this save may be written"):
        write(server, part(6), 0, 6)


def test_what_is_read_from_elsewhere_is_not_of_the_same_place(server: S3Server) -> None:
    save(server)
    here, beside = (as_store(url, options(server)) for url in (URL, f"{URL}2"))
    other_server = as_store(URL, options(server) | {"endpoint_url": "http://127.0.0.1:9"})
    for who in ("AKIATEST", "AKIAOTHER"):
        ds = xr.open_dataset(URL, engine="zarrds", storage_options=options(server, who))
        assert reads_from([ds.t2m.variable], here)
        assert not reads_from([ds.t2m.variable], beside)
        assert not reads_from([ds.t2m.variable], other_server)
