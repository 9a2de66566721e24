"""bio2zarr and vcztools: VCF Zarr, both ways."""

# needs: bio2zarr[vcf] vcztools
# python: python3.11

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import zarrds

pytest.importorskip("bio2zarr")
pytest.importorskip("vcztools")


def viewed(path: Path) -> list[str]:
    command = [sys.executable, "-m", "vcztools", "view", "--no-version", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line for line in found.stdout.splitlines() if not line.startswith("##")]


def test_a_converted_file_is_viewed(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "chr22.vcf.gz"  # of one contig: bio2zarr asks for an index of others
    zarrds.convert(source, tmp_path / "ours.vcz", zarr_format=2)
    subprocess.run(
        [sys.executable, "-m", "bio2zarr", "vcf2zarr", "convert", "--force", str(source), str(tmp_path / "theirs.vcz")],
        capture_output=True,
        check=True,
    )
    lines = viewed(tmp_path / "ours.vcz")
    assert len(lines) > 10
    assert lines == viewed(tmp_path / "theirs.vcz")
