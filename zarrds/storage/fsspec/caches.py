"""fsspec's caches of files: what they keep is made whole, or forgotten."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

__all__ = ["CACHES", "download", "forget"]

# keep copies, and give old ones for what was written anew or removed
CACHES = frozenset({"blockcache", "cached", "filecache", "simplecache"})


def download(cache: Any, path: str) -> None:
    """Have simplecache keep a file, if it does not: itself it downloads to where others take it for the whole."""
    if cache.compression or cache._check_file(path):
        return
    kept = os.path.join(cache.storage[-1], cache._mapper(path))
    part = f"{kept}.{os.getpid()}-{threading.get_ident()}"
    try:
        cache.fs.get_file(path, part)
        os.replace(part, kept)
    except BaseException:
        with suppress(OSError):
            os.remove(part)
        raise


def forget(cache: Any, path: str) -> None:
    """Remove what a cache keeps of a file whose download broke off, and would give for the whole from then on.

    Of parts that could not be read blockcache would give zeros.
    """
    with suppress(OSError, AttributeError, TypeError):
        if "simplecache" in cache.protocol:
            os.remove(cache._check_file(path))
        else:
            cache.pop_from_cache(path)
