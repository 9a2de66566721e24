"""Whether an installed zarrds works: saves and reads, with or without the native kernel. A script, not a test module.

``--kernel`` makes it an error if the kernel is not there, ``--no-kernel`` if it is.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
import xarray as xr

import zarrds
from zarrds.engine.kernel.library import compressor, library


def main(arguments: list[str]) -> None:
    kernel = library()
    if "--kernel" in arguments:
        assert kernel is not None, "the kernel was not built"
        assert kernel.can_check, "the kernel computes no checksums"
        assert compressor("blosc") is not None, "numcodecs does not export what the kernel needs"
    if "--no-kernel" in arguments:
        assert kernel is None, "there is a kernel"
    ds = xr.Dataset({"t": (("time", "x"), np.arange(6000.0).reshape(20, 300))}, {"time": np.arange(20)})
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.zarr"
        zarrds.save(ds, path, encoding={"t": {"chunks": (3, 70)}})
        with xr.open_dataset(path, engine="zarrds") as again:
            xr.testing.assert_identical(ds, again.load())
        array = zarrds.open_array(path, "r+", "t")
        array[2:5, 60:80] = -1
        assert array[...].sum() == ds.t.values.sum() - ds.t.values[2:5, 60:80].sum() - 60
        array.store.set(array.elements.chunk_key((0, 0)), b"no chunk")
        try:
            array[0, 0]
        except zarrds.errors.ChunkError:
            pass
        else:
            raise AssertionError("a damaged chunk was read")
        assert zarrds.verify(path).ok is False
    print(f"zarrds {zarrds.__version__} {'without' if kernel is None else 'with'} the kernel saves and reads")


if __name__ == "__main__":
    main(sys.argv[1:])
