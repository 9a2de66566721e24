"""Object storage as Google has it: versions are generations, not ETags. The server is the tests' own.

No emulator of Google's that installs from PyPI knows the XML interface that obstore speaks: see docs/remote.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import zarrds
from tests.storage.other_clouds import append_side_by_side, check_conditions, check_life, data, kill_at_each
from tests.storage.s3_server import S3Server
from zarrds.errors import ConflictError

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

URL = "gs://bucket/t2m.zarr"


def options(server: S3Server) -> dict[str, Any]:
    key = {"gcs_base_url": server.url, "disable_oauth": True, "client_email": "", "private_key": ""}
    return {"token": {**key, "private_key_id": ""}, "endpoint_url": server.url}


def test_saved_changed_opened(server: S3Server) -> None:
    check_life(URL, options(server))


def test_conditional_puts_and_odd_keys(server: S3Server) -> None:
    check_conditions("gs://bucket/odd", options(server))


@pytest.mark.usefixtures("_as_machines")
def test_no_append_is_lost(server: S3Server) -> None:
    append_side_by_side(URL, options(server))


@pytest.mark.slow
@pytest.mark.usefixtures("_impatient")
def test_killed_at_each_request(server: S3Server) -> None:
    kill_at_each("gs://bucket/killed", options(server))


def test_bytes_that_are_put_again_are_another_version(server: S3Server) -> None:
    """As they are not on S3, where ETags are digests of them."""
    told = options(server)
    zarrds.save(data(0, 4), URL, storage_options=told, encoding={"t": {"chunks": (2, 4)}})
    group = zarrds.open_group(URL, "r+", storage_options=told)
    key = "t2m.zarr/zarr.json"
    value, etag, written = server.state.values[key]
    is_done = []

    def put_again(method: str, name: str, _who: str) -> None:
        if (method, name) == ("PUT", key) and not is_done:  # the claim of the root
            is_done.append(True)
            server.state.values[key] = value, etag, written + 1

    server.state.before = put_again
    with pytest.raises(ConflictError):
        group.attrs["a"] = 1
    server.state.before = None
    assert is_done
    np.testing.assert_array_equal(group["t"][...], data(0, 4).t)
    group.attrs["a"] = 2
