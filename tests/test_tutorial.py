"""The code of the tutorials and of README.md does what they show."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.releases import PANDAS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def code_of(text: str) -> str:
    """The text with all but its Python blocks blanked, so that line numbers stay those of the document."""
    blanked, end = "", 0
    for block in _BLOCK.finditer(text):
        blanked += "\n" * text.count("\n", end, block.start(1)) + block[1]
        end = block.end(1)
    return blanked


@pytest.mark.parametrize(
    ("page", "modules"),
    [
        ("rechunk", []),
        ("queries", []),
        ("tutorial", ["dask", "zarr"]),
        ("from-netcdf", ["netCDF4"]),
        ("from-vcf", ["cyvcf2"]),
        ("labels", ["zarr"]),
        ("regions", ["cyvcf2", "zarr"]),
    ],
)
def test_tutorial(page: str, modules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"docs/{page}.md uses {module}, which is not installed")
    if page in ("labels", "queries") and PANDAS < (3,):
        pytest.skip("the page shows times and zones as pandas 3 has them: update pandas")
    monkeypatch.chdir(tmp_path)
    path = DOCS / f"{page}.md"
    text = path.read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest(code_of(text), {}, path.name, str(path), 0)
    assert examples.examples
    assert len(examples.examples) == text.count("\n>>> ")  # none is outside of a block, or lost
    shown: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=shown.append)
    assert result.failed == 0, "".join(shown)
    assert result.attempted == len(examples.examples)


# the README leaves it to Python to close the netCDF file, which xarray warns of
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("netCDF4", reason="README.md opens a netCDF file, and netCDF4 is not installed")
    monkeypatch.chdir(tmp_path)
    days = pd.date_range("2019-03-01", periods=10)
    t2m = xr.DataArray(
        np.arange(260.0, 300).reshape(10, 2, 2), {"time": days, "latitude": [52, 51.25], "longitude": [-1, 0]}
    )
    t2m.to_dataset(name="t2m").to_netcdf("era5.nc", engine="netcdf4")
    genome = {"variant_contig": [0, 0, 2], "variant_position": [999_990, 2_000_001, 5], "variant_length": [11, 1, 1]}
    contigs = xr.Dataset({"contig_id": ("contigs", ["chr20", "chr21", "chrX"])})
    zarrds.save(contigs.assign_coords({name: ("variants", each) for name, each in genome.items()}), "genome.zarr")

    names: dict[str, Any] = {}
    found = []
    for block in _BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8")):
        *lines, last = block[1].split("\n")[:-1]
        exec("\n".join(lines), names)
        found.append(eval(last, names))
    series, records, hot = found
    assert series.values.tolist() == [279.0, 283.0, 287.0]
    assert records.variant_position.values.tolist() == [999_990, 5]
    assert hot.t2m.values.tolist() == [298.0, 299.0]
