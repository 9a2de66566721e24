"""Two writers of one store in object storage, of whatever kinds: all is as if one had come after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import zarrds
from tests.storage.s3_server import S3Server
from tests.storage.s3_writers import URL, append, append_staged, data, opened, options, replace, save, set_n
from tests.storage.test_overtaken_writers import run_in_turns
from zarrds.errors import ConflictError, LabelError, StoreExistsError
from zarrds.storage.fsspec import commits
from zarrds.storage.obstore.changes import committing

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

Act = Callable[[S3Server, str, int], object]


def _add(server: S3Server, who: str, number: int) -> None:
    new = xr.Dataset({f"pr{number}": ("x", np.arange(3.0) + number)})
    zarrds.save(new, URL, mode="a", storage_options=options(server, who))


def _grow(server: S3Server, who: str, number: int) -> None:
    zarrds.open_array(URL, "r+", path="x0", storage_options=options(server, who)).append(np.full(2, number))


def _overwrite(server: S3Server, who: str, number: int) -> None:
    """Elements at the edge, in a chunk that appends put as well: no document tells of it, and no marker."""
    part = xr.Dataset({"t2m": (("time", "x"), np.full((1, 3), -1.0 - number))})
    zarrds.save(part, URL, region={"time": slice(3, 4)}, storage_options=options(server, who))


ACTS: Mapping[str, Act] = {
    "append": lambda server, who, number: append(server, 4 + 10 * number, 3, who),
    "append with holes": lambda server, who, number: append_staged(server, 4 + 10 * number, 3, who),
    "attribute": lambda server, who, number: set_n(server, 7 + number, None, who),
    "attribute of a variable": lambda server, who, number: set_n(server, 7 + number, "t2m", who),
    "variable": _add,
    "grow": _grow,
    "region": _overwrite,
    "replace": lambda server, who, number: replace(server, _begun(20 + number), who),
}


def _begun(start: int = 0) -> xr.Dataset:
    return data(start).assign(x0=("y", np.zeros(2)))


def _start(server: S3Server) -> None:
    server.clear()
    save(server)
    zarrds.save(_begun()[["x0"]], URL, mode="a", storage_options=options(server))


def _one_by_one(server: S3Server, acts: Sequence[Callable[[str], object]]) -> xr.Dataset | None:
    """What is there after some acts, one after the other; None if one of them fails."""
    _start(server)
    for act in acts:
        try:
            act("AKIATEST")
        except (LabelError, ConflictError):
            return None
    return opened(server)


PLANS = st.lists(st.tuples(st.booleans(), st.integers(1, 25)), max_size=12)


@pytest.mark.slow
@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("patience", [0.0, 20.0])
@given(names=st.tuples(st.sampled_from(sorted(ACTS)), st.sampled_from(sorted(ACTS))), plan=PLANS)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_two_writers_are_as_if_one_had_come_after_the_other(
    running: S3Server, names: tuple[str, str], plan: list[tuple[bool, int]], patience: float
) -> None:
    # of a region, some may be in the new store, as its error says; and copies know no conditions
    assume("region" not in names or {*names}.isdisjoint({"replace", "append with holes"}))
    acts = [lambda who, n=n, name=name: ACTS[name](running, who, n) for n, name in enumerate(names)]
    _start(running)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(commits, "_PATIENCE", patience)
        patched.setattr(commits, "_POLL", 0.002)
        if patience:  # each takes the other for another process, which is alive
            patched.setattr(committing, "process_id", lambda: "elsewhere")
        errors = run_in_turns(running, [who for who, n in plan for _ in range(n)], *acts)
    assert all(error is None or isinstance(error, ConflictError | LabelError | StoreExistsError) for error in errors)
    found = opened(running)
    by_documents = xr.open_dataset(URL, engine="zarrds", consolidated=False, storage_options=options(running)).load()
    xr.testing.assert_identical(found, by_documents)
    report = zarrds.verify(URL, storage_options=options(running))
    # holes that are asked for are none that are found
    assert report.ok or "append with holes" in names, report
    made = [act for act, error in zip(acts, errors, strict=True) if error is None]
    expected = [_one_by_one(running, order) for order in itertools.permutations(made)]
    assert any(each is not None and found.identical(each) for each in expected), (found, expected, errors)
