"""The kernel's C under AddressSanitizer and UndefinedBehaviorSanitizer, on inputs that are changed towards new ways."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses /dev/shm and options of GNU's linker"),
]

HERE = Path(__file__).parents[1] / "native"
KERNEL = Path(__file__).parents[3] / "zarrds" / "engine" / "kernel" / "native"
CHECKED = ["-g", "-O1", "-std=gnu11", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", f"-I{KERNEL}"]
# of each target, how often it is run, and what stands before calls to the C library
TARGETS: dict[str, tuple[int, list[str]]] = {
    "fuzz": (40_000, []),
    "fuzz_write": (5_000, ["-Wl,--wrap=fsync,--wrap=renameat,--wrap=mkdirat"]),
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The kernel, built with the sanitizers, so that each step that it takes is told."""
    folder = tmp_path_factory.mktemp("fuzz")
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    nothing = ["gcc", *CHECKED, "-x", "c", "-", "-o", str(folder / "nothing")]
    if subprocess.run(nothing, input=b"int main(void) { return 0; }", capture_output=True, check=False).returncode:
        pytest.skip("gcc has no sanitizers here")
    for source in sorted(KERNEL.glob("*.c")):
        told = ["-fsanitize-coverage=trace-pc", "-c", str(source), "-o", f"{folder}/{source.stem}.o"]
        done = subprocess.run(["gcc", *CHECKED, *told], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return [str(place) for place in sorted(folder.glob("*.o"))]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_goes_wrong(target: str, objects: list[str], tmp_path: Path) -> None:
    runs, wrapped = TARGETS[target]
    program = tmp_path / target
    sources = [str(HERE / "guided.c"), str(HERE / f"{target}.c")]
    subprocess.run(["gcc", *CHECKED, *wrapped, *sources, *objects, "-o", str(program)], check=True)
    done = subprocess.run([str(program), str(runs), "1"], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{runs} runs")
