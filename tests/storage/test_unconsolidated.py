"""Stores in object storage without consolidated metadata: what is asked for, and that all notes are found."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import S3Server
from tests.storage.s3_writers import URL, options, paused_when
from zarrds.errors import ConflictError

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

NOTES = ".zarrds/.zarrds.json"


def strip(server: S3Server) -> None:
    """As a tool does that writes the root's document and knows nothing of consolidated metadata."""
    value, _, _ = server.state.values["t2m.zarr/zarr.json"]
    root = json.loads(value)
    del root["consolidated_metadata"]
    server.state.values["t2m.zarr/zarr.json"] = json.dumps(root).encode(), '"stripped"', 0.0


def opened(server: S3Server, **more: Any) -> xr.Dataset:
    return xr.open_dataset(URL, engine="zarrds", storage_options=options(server), **more)


def labelled() -> xr.Dataset:
    kinds = pd.CategoricalIndex(["a", "b", "a"], categories=["b", "a", "c"])
    values = {f"v{i}": ("x", np.arange(3.0) + i) for i in range(9)}
    return xr.Dataset(values, {"x": kinds, "y": ("x", pd.array([1, None, 3], dtype="Int64"))})


@pytest.mark.parametrize("consolidated", [None, False])
def test_notes_are_found(server: S3Server, consolidated: bool | None) -> None:
    zarrds.save(labelled(), URL, storage_options=options(server))
    strip(server)
    xr.testing.assert_identical(opened(server, consolidated=consolidated).load(), labelled())


def test_what_others_have_written_has_no_notes_that_are_asked_for(server: S3Server) -> None:
    zarrds.save(
        labelled()[["v0", "v1", "v2"]].drop_vars("x").assign_coords(x=[3, 1, 2]), URL, storage_options=options(server)
    )
    for key in [key for key in server.state.values if key.endswith(NOTES)]:
        del server.state.values[key]
    strip(server)
    server.state.requests.clear()
    assert opened(server).v2.sel(x=1) == 3
    asked = [key for method, key in server.state.requests if key.endswith(NOTES)]
    assert sorted(asked) == [f"t2m.zarr/x/{NOTES}", f"t2m.zarr/y/{NOTES}"]  # the last of each kind
    server.state.requests.clear()
    assert opened(server, consolidated=False).v2.sel(x=1) == 3  # who asks for each document gets it
    assert len([key for method, key in server.state.requests if key.endswith(NOTES)]) == 5


def test_a_writer_looks_at_all_of_them(server: S3Server) -> None:
    """Where another tool has written the coordinates anew, they alone do not tell."""
    told = options(server)
    zarrds.save(labelled()[["v0"]].drop_vars("x").assign_coords(x=[3, 1, 2]), URL, storage_options=told)
    del server.state.values[f"t2m.zarr/x/{NOTES}"]
    strip(server)
    note = json.loads(server.state.values[f"t2m.zarr/v0/{NOTES}"][0])
    zarrds.update_attrs(URL, {"a": 1}, storage_options=told)
    assert json.loads(server.state.values[f"t2m.zarr/v0/{NOTES}"][0]) == note
    root = json.loads(server.state.values["t2m.zarr/zarr.json"][0])
    assert root["consolidated_metadata"]["zarrds"]["v0"] == note


@pytest.mark.usefixtures("_impatient", "_without_locks")
@pytest.mark.parametrize("how", ["consolidated", "not consolidated", "format 2"])
def test_chunks_of_a_change_are_not_read_by_the_document_from_before(server: S3Server, how: str) -> None:
    """A staged change copies chunks first: times in other units, of which the array's own document says nothing."""
    before = xr.Dataset({"n": ("time", np.arange(6).astype("M8[s]"))}, {"time": np.arange(6)})
    later = xr.Dataset({"n": ("time", np.array([1001]).astype("M8[ms]"))}, {"time": [6]})
    zarrds.save(before, URL, zarr_format=2 if how == "format 2" else 3, storage_options=options(server))
    if how == "not consolidated":
        strip(server)
    reader = opened(server, consolidated=False)
    document = "t2m.zarr/n/.zarray" if how == "format 2" else "t2m.zarr/n/zarr.json"

    def read() -> None:
        with pytest.raises(ConflictError):
            reader.n.load()

    paused_when(
        server,
        lambda method, key: (method, key) == ("COPY", document),
        lambda: zarrds.save(later, URL, append_dim="time", storage_options=options(server, "AKIAPAUSE")),
        read,
    )
    assert ("COPY", document) in server.state.requests
    xr.testing.assert_equal(opened(server).load(), xr.concat([before, later], "time"))
