"""Documents of stores changed in every way: whatever is done with the store ends well, or in an error of zarrds."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zarrds
from tests.checks.fuzzed import MADE, do_all, fuzzed, saved

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="what hangs is found by an alarm")

UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def check(data: st.DataObject, name: str, zarr_format: int) -> None:
    store, changed = fuzzed(name, zarr_format, lambda choices: data.draw(st.sampled_from(choices)))
    for key in changed:
        value = store.get(key)
        data.draw(st.just(f"{key}: {value and bytes(value)!r}"), "changed")  # told where the test fails
    do_all(store, saved(name, zarr_format)[1])


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", MADE)
def test_whole_stores_are_no_fault(name: str, zarr_format: int) -> None:
    store, _ = saved(name, zarr_format)
    assert zarrds.verify(store).ok
    copy, _ = fuzzed(name, zarr_format, lambda choices: choices[0])  # the first document by its first odd value
    assert not zarrds.verify(copy).ok


@pytest.mark.one_in(3)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", MADE)
@settings(max_examples=4, **UNTIMED)
@given(data=st.data())
def test_some_changes(name: str, zarr_format: int, data: st.DataObject) -> None:
    check(data, name, zarr_format)


@pytest.mark.sweep
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", MADE)
@settings(max_examples=400, **UNTIMED)
@given(data=st.data())
def test_many_changes(name: str, zarr_format: int, data: st.DataObject) -> None:
    check(data, name, zarr_format)
