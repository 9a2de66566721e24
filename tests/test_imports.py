"""What is imported when: who reads a dataset does not wait for what writes one."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds

PROJECT = Path(__file__).parents[1]

# what reading local files through xarray has no use for
UNNEEDED = (
    "zarrds.arrays.create zarrds.arrays.group zarrds.arrays.layout zarrds.checks.stores zarrds.datasets.editing.names "
    "zarrds.datasets.encoding.variables zarrds.datasets.encoding.chunks zarrds.datasets.encoding.codecs "
    "zarrds.datasets.reading.stored_labels zarrds.datasets.writing.commit.transaction zarrds.checks.verify "
    "zarrds.datasets.writing.writer zarrds.labels.sorted.lazy_index zarrds.labels.genomics.regions "
    "zarrds.storage.memory zarrds.storage.commits.overlay zarrds.storage.fsspec.store zarrds.display.page "
    "zarrds.display.html zarrds.arrays.pages zarrds.reports.page zarrds.cli.main blosc.test dask.array fsspec numcodecs"
).split()
# modules of zarrds for that: who adds one here makes everybody wait for it
MOST_FOR_OPENING = 117


def imported_after(code: str) -> set[str]:
    """The modules of a new process that ran `code`."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imports") / "t2m.zarr"
    times = pd.date_range("2019", periods=4, freq="h")
    dims = ("time", "latitude", "longitude")
    ds = xr.Dataset(
        {"t2m": (dims, np.arange(24, dtype="f4").reshape(4, 2, 3))},
        {"time": times, "latitude": [51.5, 50.5], "longitude": [-0.25, 0.0, 0.25]},
    )
    zarrds.save(ds, path)
    return path


def test_the_package_alone_imports_next_to_nothing() -> None:
    loaded = imported_after("import zarrds")
    assert {name for name in loaded if name.partition(".")[0] == "zarrds"} == {
        "zarrds",
        "zarrds.accessor",
        "zarrds.errors",
    }
    assert not loaded & {"blosc", "dask", "numpy", "pandas", "xarray"}
    # about what Python imports itself
    assert not loaded & {"dataclasses", "importlib.abc", "inspect", "json", "random", "tempfile"}


@pytest.mark.one_in(9)
@pytest.mark.parametrize("order", ["import zarrds, xarray as xr", "import xarray as xr, zarrds", "import xarray as xr"])
def test_the_accessor_is_there_in_any_order(order: str, path: Path, tmp_path: Path) -> None:
    other = str(tmp_path / "other.zarr")
    code = f"""
import sys, warnings
warnings.simplefilter("error")
{order}
before = len(sys.meta_path)
ds = xr.open_dataset({str(path)!r}, engine="zarrds")
ds.zarrds.save({other!r})
ds.t2m.zarrds.save({other!r}, mode="w")
xr.DataTree(ds).zarrds.save({other!r}, mode="w")
assert "t2m" in str(ds.zarrds.info()), ds.zarrds.info()
assert type(xr.__spec__.loader).__module__ != "zarrds.accessor", xr.__spec__
assert not any(type(finder).__module__ == "zarrds.accessor" for finder in sys.meta_path)
"""
    assert "zarrds.datasets.writing.writer" in imported_after(code)


def test_opening_imports_no_more_than_it_uses(path: Path) -> None:
    loaded = imported_after(
        f"import xarray as xr\nds = xr.open_dataset({str(path)!r}, engine='zarrds')\n"
        "assert ds.variables['t2m'][1, 1, 2].values == 11, ds"
    )
    assert "zarrds.datasets.reading.backend" in loaded
    assert loaded.isdisjoint(UNNEEDED)
    ours = {name for name in loaded if name.partition(".")[0] == "zarrds"}
    assert len(ours) <= MOST_FOR_OPENING, sorted(ours)


@pytest.mark.parametrize("written", ["array[:] = VALUE", "array[1:3] = VALUE", "array[2] = VALUE"])
@pytest.mark.parametrize(("dtype", "value"), [("f8", "1.0"), ("M8[ns]", "'2000-01-01'")])
def test_writing_chunks_imports_nothing(tmp_path: Path, dtype: str, value: str, written: str) -> None:
    """A process that is forked while a thread imports what it needs too waits for that thread for ever."""
    zarrds.create_array(tmp_path / "a.zarr", shape=8, dtype=dtype, chunks=4)
    opened = f"import sys, zarrds\narray = zarrds.open_array({str(tmp_path / 'a.zarr')!r}, 'r+')\narray[:]\n"
    before, after = (imported_after(opened + act) for act in ("", written.replace("VALUE", value)))
    assert {name for name in after - before if name.startswith("zarrds")} == set()


def test_the_tests_of_blosc_are_there_for_who_wants_them() -> None:
    loaded = imported_after("import zarrds.codecs.blosc, blosc\nassert callable(blosc.test)")
    assert "blosc" in loaded
    assert "blosc.test" not in loaded
    loaded = imported_after(
        "import zarrds.codecs.blosc\nfrom blosc.test import run\nassert run.__module__ == 'blosc.test'"
    )
    assert "blosc.test" in loaded


def test_each_name_can_be_imported_by_itself() -> None:
    for name in zarrds.__all__:
        assert name in dir(zarrds)
    names = [name for name in zarrds.__all__ if not name.startswith("_")]
    loaded = imported_after(
        "import zarrds\nfor name in " + repr(names) + ":\n    exec(f'from zarrds import {name}')\n"
        "assert zarrds.save is save and zarrds.errors is errors"
    )
    assert "zarrds.datasets.writing.writer" in loaded


def test_there_are_no_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'zarrds' has no attribute 'open'"):
        zarrds.open  # noqa: B018  # to look at it is the test
    with pytest.raises(AttributeError, match=r"module 'zarrds\.stores' has no attribute 'DirectoryStore'"):
        import_module("zarrds.stores").DirectoryStore  # noqa: B018  # the same
