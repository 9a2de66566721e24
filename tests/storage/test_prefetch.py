"""Appends in a loop fetch at once what the one before needed: nothing is gone by that is not looked at again."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server
from tests.storage.s3_writers import MARKER, ROOT, URL, data, opened, options, set_n
from zarrds.errors import LabelError, StoreIOError
from zarrds.storage.obstore.changes.prefetch import keys_of_last, note_keys
from zarrds.threads import MOST

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")

_COORDINATE = {"x": np.arange(3)}  # labels that stay, of which no append puts a chunk


def _save_with_labels(server: S3Server) -> None:
    zarrds.save(data().assign_coords(_COORDINATE), URL, storage_options=options(server))


def _append(server: S3Server, start: int, n: int, who: str = "AKIATEST") -> None:
    part = data(start, n).assign_coords(_COORDINATE)
    zarrds.save(part, URL, append_dim="time", storage_options=options(server, who))


def _check(server: S3Server, n: int) -> None:
    xr.testing.assert_equal(opened(server)[["t2m"]].drop_vars("x"), data(0, n))
    assert MARKER not in server.state.values


def test_the_second_append_is_a_round_trip_less(server: S3Server) -> None:
    """What it reads, it reads before the marker is put again, and once; it need not look at the root meanwhile."""
    _save_with_labels(server)
    _append(server, 4, 2)
    server.state.requests.clear()
    _append(server, 6, 2)
    asked = list(server.state.requests)
    assert ("HEAD", ROOT) not in asked
    read = [key for method, key in asked if method == "GET"]
    assert len(read) == len(set(read))
    again = [number for number, each in enumerate(asked) if each == ("PUT", MARKER)][1]
    # those of one round trip come in any order
    assert all(method != "GET" for method, _ in asked[again:])
    assert len(asked) == 36, asked  # who needs fewer lowers the number
    _check(server, 8)


def _edit(server: S3Server) -> None:
    set_n(server, 5, "t2m")


def _label(server: S3Server) -> None:
    """A region, which changes no document: the chunk of labels that no append puts."""
    zarrds.open_array(URL, "r+", path="x", storage_options=options(server))[2] = 7


def _edge(server: S3Server) -> None:
    zarrds.open_array(URL, "r+", path="t2m", storage_options=options(server))[5] = -1


def _add(server: S3Server) -> None:
    zarrds.save(xr.Dataset({"pr": ("x", np.ones(3))}), URL, mode="a", storage_options=options(server))


def _document(server: S3Server) -> None:
    """By another library, which leaves the root's document as it is."""
    key = "t2m.zarr/t2m/zarr.json"
    text = server.state.values[key][0].rstrip().removesuffix(b"}") + b', "attributes": {"by": "another"}}'
    server.state.values[key] = text, '"other"', 0.0


def _folder(server: S3Server) -> None:
    """As `_document`: an array that the root's document does not tell of."""
    text = server.state.values["t2m.zarr/x/zarr.json"][0].rstrip()
    server.state.values["t2m.zarr/other/zarr.json"] = text, '"other"', 0.0


MEANWHILE = {
    "an edit": _edit,
    "a label": _label,
    "an edge": _edge,
    "an array": _add,
    "a document": _document,
    "a folder": _folder,
    "an append": lambda server: _append(server, 6, 3),
}


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("is_root_late", [False, True])
@pytest.mark.parametrize("name", MEANWHILE)
def test_what_changes_between_the_reading_and_the_marker_is_seen(
    server: S3Server, name: str, is_root_late: bool
) -> None:
    """All is done anew; also where the root's document is that of after the change."""
    _save_with_labels(server)
    _append(server, 4, 2)
    changed = threading.Event()
    errors: list[Exception] = []

    def before(method: str, key: str, who: str) -> None:
        if who != "AKIASECON" or changed.is_set():
            return
        if (method, key) == ("PUT", MARKER) or (is_root_late and (method, key) == ("GET", ROOT)):
            changed.wait(20)

    def run() -> None:
        try:
            _append(server, 40, 2, "AKIASECON")
        except Exception as error:
            errors.append(error)

    def has_read() -> bool:
        """All but what is held back: documents of three arrays and their notes, and three chunks."""
        return len([key for method, key in server.state.requests if method == "GET" and key.count("/") > 1]) >= 9

    server.state.requests.clear()
    server.state.before = before
    thread = threading.Thread(target=run)
    thread.start()
    for _ in range(2000):
        if has_read():
            break
        changed.wait(0.005)
    changed.wait(0.1)  # until they are answered
    MEANWHILE[name](server)
    changed.set()
    thread.join()
    server.state.before = None
    if name == "a label":
        assert [type(error) for error in errors] == [LabelError]
        assert MARKER not in server.state.values
        assert opened(server).sizes["time"] == 6
        return
    assert not errors, errors
    found = opened(server)
    n = 9 if name == "an append" else 6
    np.testing.assert_array_equal(found.time, [*range(n), 40, 41])
    expected = np.arange(n * 3.0).reshape(n, 3)
    expected[5] = -1 if name == "an edge" else expected[5]
    np.testing.assert_array_equal(found.t2m[:n], expected)
    np.testing.assert_array_equal(found.t2m[n:], data(40, 2).t2m)
    assert MARKER not in server.state.values
    if name == "an edit":
        assert found.t2m.attrs == {"n": 5}
    if name == "an array":
        assert (found.pr == 1).all()
    if name == "a document":
        by_documents = xr.open_dataset(URL, engine="zarrds", storage_options=options(server), consolidated=False)
        assert by_documents.t2m.attrs == {"by": "another"}
    assert name in ("a folder", "a document") or zarrds.verify(URL, storage_options=options(server)).ok


@pytest.mark.usefixtures("_without_locks")
def test_what_was_needed_and_is_gone_is_not_gone_by(server: S3Server) -> None:
    """The store was replaced by one of the other format, or with other arrays, since."""
    _save_with_labels(server)
    _append(server, 4, 2)
    more = options(server)
    other = xr.Dataset({"t2m": (("time", "x"), np.zeros((1, 3)))}, {"time": [0], **_COORDINATE})
    for zarr_format in (2, 3):
        zarrds.save(other, URL, mode="w", zarr_format=zarr_format, storage_options=more)
        _append(server, 40, 2)
        found = opened(server)
        np.testing.assert_array_equal(found.time, [0, 40, 41])
        np.testing.assert_array_equal(found.t2m[1:], data(40, 2).t2m)


def test_what_fails_later_is_not_tried_again(server: S3Server) -> None:
    """Once a chunk may be there, an error is one: nobody knows what was done."""
    _save_with_labels(server)
    _append(server, 4, 2)
    n_puts: list[str] = []

    def fault(method: str, key: str) -> Fault | None:
        if method == "PUT" and key.startswith("t2m.zarr/t2m/c"):
            n_puts.append(key)
            return Fault(400)
        return None

    server.state.fault = fault
    with pytest.raises(StoreIOError):
        _append(server, 6, 2)
    server.state.fault = None
    assert len(n_puts) == 1
    _check(server, 6)


def test_labels_that_do_not_fit_are_still_refused(server: S3Server) -> None:
    _save_with_labels(server)
    _append(server, 4, 2)
    before = {key: value.rstrip() for key, (value, *_) in server.state.values.items()}
    with pytest.raises(LabelError):
        _append(server, 3, 2)
    assert {key: value.rstrip() for key, (value, *_) in server.state.values.items()} == before
    _append(server, 6, 2)
    _check(server, 8)


def test_few_names_of_few_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.storage.obstore.changes.prefetch._keys_by_name", {})
    for number in range(100):
        note_keys(f"append to {number}", [str(number)])
    assert keys_of_last("append to 99") == ("99",)
    assert not keys_of_last("append to 0")
    note_keys("append to 99", list(map(str, range(MOST))))
    assert not keys_of_last("append to 99")
