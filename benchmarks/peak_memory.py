"""Print the peak memory of one library reading one array: ``peak_memory.py ENGINE SMALL_ARRAY ARRAY``.

A process of its own for each measurement. The small array is read first, so that modules, thread pools and the like
do not count. The peak is the kernel's high-water mark of this process's resident memory; ``ru_maxrss``, the same
mark, would not do, since a child inherits its parent's.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path

from array_engines import all_engines


def _status(name: str) -> int:
    """A number of bytes from what Linux says of this process."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status does not tell {name}")
    return int(found[1]) * 1024


def main(name: str, small: str, large: str) -> None:
    engine = next(e for e in all_engines() if e.name == name)
    engine.read(Path(small))
    Path("/proc/self/clear_refs").write_text("5")  # the mark begins anew
    before = _status("VmRSS")
    values = engine.read(Path(large))
    peak = _status("VmHWM") - before
    print(json.dumps({"peak": peak, "checksum": zlib.crc32(values.data)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
