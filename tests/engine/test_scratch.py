from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import zarrds
from zarrds.engine import scratch
from zarrds.engine.scratch import Scratch

MIB = 2**20


@pytest.fixture(autouse=True, scope="module")
def _others_are_collected() -> None:
    """Workers of other tests; to look at all that a long run has made takes half a second."""
    gc.collect()


@pytest.fixture(autouse=True)
def nothing_kept(_others_are_collected: None) -> Iterator[None]:
    gc.collect(1)
    scratch._kept.clear()
    yield
    scratch._kept.clear()


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_its_worker_is_gone() -> None:
    worker = Scratch()
    first = address(worker.take(MIB))
    assert address(worker.take(MIB)) != first  # as long as it is there, nobody else has it
    assert address(Scratch().take(MIB)) != first
    del worker
    again = Scratch()
    assert first in {address(again.take(MIB)), address(again.take(MIB - 7)), address(again.take(MIB))}


def test_what_was_never_made_whole_goes_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    scratch = Scratch.__new__(Scratch)  # as after Ctrl-C at the entry of `__init__`
    del scratch
    gc.collect()
    assert capfd.readouterr().err == ""


def test_what_is_kept_is_bounded() -> None:
    workers = [Scratch() for _ in range(40)]
    for worker in workers:
        worker.take(4 * MIB)
    Scratch().take(100 * MIB)
    Scratch().take(100)
    del workers, worker
    assert sum(memory.nbytes for memory in scratch._kept) <= 40 * MIB
    # much more than is wanted is not given away
    assert Scratch().take(MIB // 2).base.nbytes == MIB // 2


@pytest.mark.parametrize("dtype", ["f8", "M8[ns]", "S3", "?", [("a", "i2"), ("b", "f4")], "U5"])
def test_arrays_of_any_dtype(dtype: str) -> None:
    Scratch().take_array((100, 300), dtype).view("u1")[...] = 255
    array = Scratch().take_array((100, 299), dtype)
    assert array.shape == (100, 299)
    assert array.dtype == np.dtype(dtype)
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_objects_are_never_those_of_others() -> None:
    assert (Scratch().take_array((300, 300), object) == None).all()  # noqa: E711  # of each element
    assert not scratch._kept


def test_nothing_of_another_read_is_seen(tmp_path: Path) -> None:
    """Also not where less is decoded than there is memory: of the last chunk, of absent ones, in several threads."""
    values = np.random.default_rng(0).integers(0, 2**31, (300, 700)).astype("i4")
    arrays = []
    for k in range(4):
        array = zarrds.create_array(tmp_path / f"{k}", shape=values.shape, dtype="i4", chunks=(170, 300), fill_value=-1)
        array[:200] = values[:200] + k
        arrays.append(array)
    wrong = []

    def read(k: int) -> None:
        random = np.random.default_rng(k)
        for _ in range(60):
            which, row, column = (int(n) for n in random.integers([4, 290, 690]))
            expected = np.where(np.arange(300)[:, None] < 200, values + which, -1)
            found = arrays[which][row : row + 10, column : column + 10], arrays[which][row, column]
            if (
                not (found[0] == expected[row : row + 10, column : column + 10]).all()
                or found[1] != expected[row, column]
            ):
                wrong.append((which, row, column))

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert scratch._kept  # or nothing was tested


_WRITES = """
import resource, sys
import numpy as np
import zarrds

values = np.random.default_rng(0).random((1024, 8192), "f4")
array = zarrds.create_array(sys.argv[1], shape=values.shape, dtype="f4", chunks=(1024, 1024))
array[...] = values
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
array[...] = values
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="that it keeps what is freed is glibc's habit")
def test_memory_of_chunks_that_are_encoded_is_kept(tmp_path: Path) -> None:
    """A chunk of 4 MiB has 1024 pages, for each of which the system would be called."""
    # dask's workers, and who has started some, tell malloc what to keep
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", _WRITES, str(tmp_path / "a")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert int(done.stdout) < 8 * 1024 / 4
