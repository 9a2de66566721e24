"""What must hold in any object storage, whoever serves it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.errors import ConflictError
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.storage.protocol import ValueChangedError
from zarrds.stores import as_store

ENCODING = {"t": {"chunks": (2, 4)}}


def data(start: int, n: int) -> xr.Dataset:
    values = np.arange(4.0 * start, 4.0 * (start + n)).reshape(n, 4)
    return xr.Dataset({"t": (("time", "x"), values)}, {"time": np.arange(start, start + n)})


def opened(url: str, options: Mapping[str, Any], **more: Any) -> xr.Dataset:
    return xr.open_dataset(url, engine="zarrds", storage_options=options, **more)


def check_life(url: str, options: Mapping[str, Any]) -> None:
    """A store is saved, appended to, edited, written into and replaced."""
    zarrds.save(data(0, 5), url, storage_options=options, encoding=ENCODING)
    zarrds.save(data(5, 4), url, storage_options=options, append_dim="time")
    zarrds.update_attrs(url, {"a": 1}, storage_options=options)
    for consolidated in (None, False):
        found = opened(url, options, consolidated=consolidated).load()
        xr.testing.assert_identical(found, data(0, 9).assign_attrs(a=1))
    part = data(0, 3)[["t"]].drop_vars("time") + 1
    zarrds.save(part, url, storage_options=options, region={"time": slice(1, 4)})  # parts of two chunks
    np.testing.assert_array_equal(opened(url, options).t[1:4], part.t)
    zarrds.save(data(2, 6), url, storage_options=options, mode="w", encoding=ENCODING)
    xr.testing.assert_identical(opened(url, options).load(), data(2, 6))
    zarrds.open_array(url, "r+", path="t", storage_options=options).resize((5, 4))
    zarrds.save(data(9, 2), url, storage_options=options, group="below")
    assert opened(url, options, group="below").sizes["time"] == 2
    zarrds.drop_vars(url, "t", storage_options=options)
    assert set(opened(url, options).variables) == {"time"}
    assert zarrds.verify(url, storage_options=options).ok


def check_conditions(url: str, options: Mapping[str, Any]) -> None:
    """Values are put over what was seen of them only; keys may have any characters."""
    store: Any = as_store(url, options)
    key, objects = "k%20 é#b", store._objects
    first = objects.put_if(key, b"value", None)
    assert list(store.list_prefix()) == [key]
    for expected in (None, {"e_tag": '"other"', "version": "1"}):
        with pytest.raises(ValueChangedError):
            objects.put_if(key, b"new", expected)
    second = objects.put_if(key, b"second", first)
    assert second != first
    with pytest.raises(ValueChangedError):
        objects.put_if(key, b"third", first)
    assert bytes(store.get(key)) == b"second"
    assert bytes(store.get_range(key, -3, 3)) == b"ond"
    store.delete(key)
    store.delete(key)
    with pytest.raises(ValueChangedError):
        objects.put_if(key, b"third", second)
    assert store.get(key) is None


def append_side_by_side(url: str, options: Mapping[str, Any], n: int = 3) -> None:
    """Some write at once, each until it has come through; none of what they wrote is lost."""
    zarrds.save(data(0, 1), url, storage_options=options, encoding=ENCODING)

    def append(number: int) -> None:
        while True:
            try:
                step = data(number, 1)
                zarrds.save(step, url, storage_options=options, append_dim="time", on_unordered="append")
                return
            except ConflictError:
                pass

    # they are as other machines with the fixture `_as_machines`
    threads = [threading.Thread(target=append, args=(number,)) for number in range(1, n + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    xr.testing.assert_identical(opened(url, options).load().sortby("time"), data(0, n + 1))


class Killed(BaseException):
    pass


def kill_at_each(url: str, options: Mapping[str, Any]) -> None:
    """A writer ends at each of its requests: old or new, and the next one goes on."""
    asked = ObstoreObjects._asked
    for last in range(1000):
        here, count = f"{url}-{last}.zarr", 0

        def ask(self: ObstoreObjects, doing: str, act: Any, **more: Any) -> Any:
            nonlocal count
            if more.get("writing"):
                count += 1
                if count > last:  # noqa: B023  # called in this round only
                    raise Killed
            return asked(self, doing, act, **more)

        zarrds.save(data(0, 3), here, storage_options=options, encoding=ENCODING)
        with patch.object(ObstoreObjects, "_asked", ask):
            try:
                zarrds.save(data(3, 2), here, storage_options=options, append_dim="time")
                is_killed = False
            except Killed:
                is_killed = True
        n = opened(here, options).sizes["time"]
        xr.testing.assert_identical(opened(here, options).load(), data(0, n))
        assert n == 5 or (is_killed and n == 3)
        zarrds.save(data(n, 2), here, storage_options=options, append_dim="time")
        xr.testing.assert_identical(opened(here, options).load(), data(0, n + 2))
        if not is_killed:
            return
