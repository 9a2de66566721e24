"""What the kernel is told of an array, once for all batches of one thread."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from zarrds.codecs.base import AnyArray
from zarrds.engine.kernel.applies import NativeCodecs, NativeStore
from zarrds.engine.kernel.library import Job
from zarrds.engine.planning.plans import Plan, ProductPlan
from zarrds.engine.scratch import Scratch

__all__ = ["NativeJob", "Template", "address"]


def address(array: AnyArray) -> int:
    """Where an array's memory begins."""
    found: int = array.__array_interface__["data"][0]
    return found


class Template:
    """What is the same for all reads or writes of an array.

    Parameters
    ----------
    place : NativeStore, optional
        Where the chunks are; None if they are only encoded.
    prefix : str
        What stands before a chunk's numbers in its key.
    separator : str
        What stands between them.
    chunk : tuple of int
        The shape of a chunk, or of an inner chunk of a shard, in elements.
    grid : tuple of int, optional
        Inner chunks along each dimension of a shard.
    codecs : NativeCodecs
    """

    def __init__(
        self,
        place: NativeStore | None,
        prefix: str,
        separator: str,
        chunk: tuple[int, ...],
        grid: tuple[int, ...] | None,
        codecs: NativeCodecs,
    ) -> None:
        self.place, self.codecs = place, codecs
        blosc = codecs.blosc
        self._numbers = np.array([chunk, grid or chunk], np.int64)
        at = address(self._numbers)
        typesize = 1 if blosc is None or codecs.chunk_nbytes % blosc.typesize else blosc.typesize
        self.job = Job(
            nbytes=ctypes.sizeof(Job),
            root=os.fsencode(os.sep if place is None else place.folder.root),
            prefix=os.fsencode(prefix if place is None else place.prefix + prefix),
            separator=ord(separator),
            ndim=len(chunk),
            grid=None if grid is None else at + 8 * len(chunk),
            chunk=at,
            chunk_nbytes=codecs.chunk_nbytes,
            codec=codecs.codec,
            checksum=codecs.checksum,
            decompress=codecs.decompress,
            compress=codecs.compress,
            cname=None if blosc is None else blosc.cname.encode("ascii"),
            level=codecs.level or 0,
            shuffle=codecs.shuffle(),
            typesize=typesize,
            blocksize=0 if blosc is None else blosc.blocksize,
        )


class NativeJob:
    """A `Job`, and the memory that it points to. For one thread.

    Parameters
    ----------
    template : Template
    array : ndarray
        What is read into or written from, of the plan's ``buffer_shape``.
    plan : Plan
    """

    def __init__(self, template: Template, array: AnyArray, plan: Plan) -> None:
        ndim = array.ndim
        directions = [table.out_step for table in plan.tables] if isinstance(plan, ProductPlan) else [1] * ndim
        numbers = np.array([*array.shape, *array.strides, *directions], np.int64)
        at = address(numbers)
        self._kept: list[Any] = [array, template, numbers]
        self.job = Job.from_buffer_copy(template.job)
        self.job.itemsize = array.itemsize
        self.job.array, self.job.shape = address(array), at
        self.job.strides, self.job.directions = at + 8 * ndim, at + 16 * ndim
        self.reference = ctypes.addressof(self.job)

    def give_memory(self, encoded_nbytes: int, scratch_nbytes: int, *, in_blocks: bool = False) -> None:
        """Give it room for an encoded chunk (bytes), and for a decoded one."""
        memory = Scratch()
        encoded, scratch = memory.take(encoded_nbytes), memory.take(scratch_nbytes)
        self._kept += [memory, encoded, scratch]
        self.job.encoded, self.job.encoded_nbytes = address(encoded), encoded_nbytes
        self.job.scratch = address(scratch)
        if in_blocks:
            frame = memory.take(encoded_nbytes)
            self._kept.append(frame)
            self.job.frame, self.job.in_blocks = address(frame), 1

    def give_fill(self, fill: AnyArray) -> None:
        """Let chunks hold that element outside of the array."""
        fill = np.ascontiguousarray(fill)
        self._kept.append(fill)
        self.job.fill = address(fill)

    def new_chunk(self, shape: tuple[int, ...]) -> AnyArray:
        """Memory for a decoded chunk of that shape."""
        array: AnyArray = self._kept[0]
        return np.empty(shape, array.dtype)
