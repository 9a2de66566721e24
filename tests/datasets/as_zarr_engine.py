"""xarray's tests of its zarr engine, run on zarrds: ``to_zarr`` is ``zarrds.save``, and the engine "zarr" is ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from xarray.backends import plugins

import zarrds
from zarrds.datasets.reading.backend import ZarrdsBackendEntrypoint

zarr = pytest.importorskip("zarr", reason="these are tests of the engine for zarr-python")


# what older releases of xarray hand on to the engine, always as None
_OF_ZARR_PYTHON_2 = ("chunk_store", "synchronizer", "zarr_version")


class Engine(ZarrdsBackendEntrypoint):
    """zarrds, with the parameters as the zarr engine takes them."""

    def open_dataset(  # type: ignore[override]  # what is named is what differs
        self,
        filename_or_obj: Any,
        *,
        mode: str = "r",
        use_zarr_fill_value_as_mask: object = None,
        **options: Any,
    ) -> xr.Dataset:
        # the fill value option: the zarr engine takes it, and does as if it were None
        assert mode == "r"
        given = {name: option for name, option in options.items() if name not in _OF_ZARR_PYTHON_2}
        return super().open_dataset(filename_or_obj, **given)


def to_zarr(
    obj: Any,
    store: Any = None,
    mode: Any = None,
    group: Any = None,
    encoding: Any = None,
    *,
    zarr_format: Any = None,
    consolidated: bool | None = None,
    safe_chunks: bool = True,
    align_chunks: bool = False,
    **options: Any,
) -> Any:
    """`zarrds.save` as a method; metadata is always consolidated, chunks always safe, and blocks always aligned."""
    if zarr_format is None and zarr.config.get("default_zarr_format") == 2:
        zarr_format = 2
    return zarrds.save(obj, store, mode=mode, group=group, encoding=encoding, zarr_format=zarr_format, **options)


def put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test is over, xarray's own way to zarr-python leads to zarrds."""
    # the first is where xarray looks for its own engines, the second is what it guesses an engine from
    engines = plugins.list_engines()  # made, and kept, before it could be made of what is put in place here
    monkeypatch.setitem(plugins.BACKEND_ENTRYPOINTS, "zarr", ("zarr", Engine))
    monkeypatch.setitem(engines, "zarr", Engine())
    for kind in (xr.Dataset, xr.DataArray, xr.DataTree):
        monkeypatch.setattr(kind, "to_zarr", to_zarr)


def leave_out(request: pytest.FixtureRequest) -> None:
    """Skip what xarray marks with ``skip_if_param``, as its own conftest does."""
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    for mark in request.node.iter_markers("skip_if_param"):
        cases = {name: value for name, value in mark.kwargs.items() if name not in ("reason", "condition")}
        if mark.kwargs.get("condition", True) and any(params.get(name) == value for name, value in cases.items()):
            pytest.skip(mark.kwargs["reason"])


class Folder:
    """Targets in a folder of the test's own."""

    @pytest.fixture(autouse=True)
    def _set_folder(self, tmp_path: Path) -> None:
        self._folder, self._n_targets = tmp_path, 0

    @contextmanager
    def create_zarr_target(self) -> Iterator[str]:
        self._n_targets += 1
        yield str(self._folder / f"{self._n_targets}.zarr")
