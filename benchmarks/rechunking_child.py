"""One job of `benchmarks.rechunking`, in a process of its own, with any Python that has what the contender needs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

if not __package__:  # as a script
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.memory import peak_rise

THREADS = 2


def zarrds_job(source: str, work: str, memory: int, side: int) -> Callable[[], object]:
    """`zarrds.rechunk`."""
    import zarrds

    n = zarrds.open_array(source, path="v").shape[0]
    encoding = {"v": {"chunks": (n, side, side)}}
    zarrds.rechunk_plan(source, encoding=encoding, max_memory=f"{memory}MB")  # what it imports is there before
    return lambda: zarrds.rechunk(
        source,
        f"{work}/target.zarr",
        encoding=encoding,
        max_memory=f"{memory}MB",
        workers=THREADS,
        durable=False,
    )


def rechunker_job(source: str, work: str, memory: int, side: int) -> Callable[[], object]:
    """`rechunker.rechunk` with dask's threads, each of which may take its share of the memory."""
    import dask
    import rechunker
    import zarr

    array = zarr.open(f"{source}/v", mode="r")

    def work_() -> None:
        plan = rechunker.rechunk(
            array,
            (array.shape[0], side, side),
            f"{memory // THREADS}MB",
            f"{work}/target.zarr/v",
            temp_store=f"{work}/temporary.zarr",
        )
        with dask.config.set(scheduler="threads", num_workers=THREADS):
            plan.execute()

    return work_


def p2p_job(source: str, work: str, memory: int, side: int) -> Callable[[], object]:
    """dask's p2p, which needs a cluster: one worker in this process. It knows no bound of the memory."""
    import dask
    import dask.array
    import numcodecs
    import zarr
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.admin.log-level": "error", "logging.distributed": "error"})
    cluster = LocalCluster(  # type: ignore[no-untyped-call]  # it has no types
        n_workers=1,
        threads_per_worker=THREADS,
        processes=False,
        dashboard_address=None,
        local_directory=work,
        memory_limit=0,
    )
    Client(cluster)  # type: ignore[no-untyped-call]  # the same

    def work_() -> None:
        given = dask.array.from_zarr(f"{source}/v")
        chunks = (given.shape[0], side, side)
        target = zarr.create_array(
            f"{work}/target.zarr/v",
            shape=given.shape,
            chunks=chunks,
            dtype=given.dtype,
            zarr_format=2,
            compressors=numcodecs.Blosc("lz4", 5, 1),
        )
        dask.array.store(given.rechunk(chunks, method="p2p"), target, lock=False)

    return work_


JOBS = {"zarrds": zarrds_job, "rechunker": rechunker_job, "dask p2p": p2p_job}


def main() -> None:
    """Do it, and print how long it took and how far memory rose."""
    name, source, work, memory, side = sys.argv[1:]
    job = JOBS[name](source, work, int(memory), int(side))

    def timed() -> dict[str, float]:
        begin, used = time.perf_counter(), time.process_time()
        job()
        return {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - used}

    mb, told = peak_rise(timed)
    print(json.dumps({**told, "mb": mb}), flush=True)
    os._exit(0)  # clusters take their time to end


if __name__ == "__main__":
    main()
