"""The examples run from the command line, as a newcomer runs them."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # the checkout's own package; UTF-8 wherever it runs
    path = os.environ.get("PYTHONPATH", str(EXAMPLES.parent))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=300, check=False)


def png_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def check_output(output: str, folder: Path, name: str) -> xr.Dataset:
    """Check what was printed and drawn; return what was saved."""
    store, picture = folder / f"{name}.zarr", folder / f"{name}.png"
    for step in ("save", "open", "read all"):
        assert re.search(rf"^{step} +\d+\.\d{{3}} s   ", output, re.MULTILINE), step
    (on_disk,) = re.findall(rf"{re.escape(str(store))}, (\S+) MB on disk", output)
    assert float(on_disk) == pytest.approx(
        sum(f.stat().st_size for f in store.rglob("*") if f.is_file()) / 1e6, abs=0.01
    )
    assert "identical to what was saved" in output
    assert f"picture   {picture}\n" in output
    width, height = png_size(picture)
    assert 800 < width < 3000
    assert 300 < height < 2000
    assert picture.stat().st_size > 20_000  # an empty picture of this size has about 5 kB
    with xr.open_dataset(store, engine="zarr") as by_zarr, xr.open_dataset(store, engine="zarrds") as by_zarrds:
        xr.testing.assert_identical(by_zarr.load(), by_zarrds.load())
    return by_zarrds


# ------------------------------------------------------------------------------------------ climate


@pytest.fixture(scope="module")
def _climate() -> None:
    for module in ("matplotlib", "tqdm", "netCDF4", "zarr"):
        pytest.importorskip(module, reason=f"examples/climate.py is tested with {module}, which is not installed")


@pytest.fixture(scope="module")
def made_up(_climate: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, str]:
    """The dataset that examples/climate.py makes, and what it prints."""
    folder = tmp_path_factory.mktemp("climate")
    done = run("climate.py", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert "save: 100%" in done.stderr  # the progress bar
    return check_output(done.stdout, folder, "made-up"), done.stdout


@pytest.mark.slow
def test_climate_prints_what_it_did(made_up: tuple[xr.Dataset, str]) -> None:
    ds, output = made_up
    assert f"t2m: time 744 × latitude 41 × longitude 61, {ds.nbytes / 1e6:.2f} MB in memory" in output
    assert "latitude = 50, longitude = 3" in output
    window = ds.t2m.sel(time=slice("2019-03-11T08:00", "2019-03-16T12:00"))
    assert f"2019-03-11 08:00 to 2019-03-16 12:00, mean {np.mean(window.values):.4g} K" in output


def test_climate_makes_a_climate_that_one_can_believe(made_up: tuple[xr.Dataset, str]) -> None:
    ds, _ = made_up
    assert set(ds.coords) == {"time", "latitude", "longitude", "valid_time", "number", "step", "surface"}
    assert ds.t2m.sel(latitude=slice(45, 40)).mean() > ds.t2m.sel(latitude=slice(60, 55)).mean() + 3
    by_hour = ds.t2m.groupby("time.hour").mean("time")
    land, sea = by_hour.sel(latitude=50, longitude=3), by_hour.sel(latitude=50, longitude=-10)
    assert 13 <= int(land.idxmax("hour")) <= 16
    assert land.max() - land.min() > 3 * (sea.max() - sea.min())


@pytest.mark.slow
def test_climate_without_output_uses_a_temporary_folder(
    made_up: tuple[xr.Dataset, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path))
    done = run("climate.py")
    assert done.returncode == 0, done.stderr
    (picture,) = tmp_path.glob("zarrds-*/made-up.png")
    again = check_output(done.stdout, picture.parent, "made-up")
    xr.testing.assert_identical(again, made_up[0])  # the same each time


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("eraint_uvz", ["month 2 × level 3 × latitude 241", "latitude = 0, longitude = 0", "month from 1 to 7"]),
        ("basin_mask", ["Z 33 × Y 180 × X 360", "Y = 0.5, X = 180.5", "Z from 300 to 800"]),
        ("era5_t2m_uk_2019-03", ["time 744 × latitude 33", "latitude = 54, longitude = -4", "mean 280.9 K"]),
    ],
)
def test_climate_with_real_data(name: str, facts: list[str], data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / f"{name}.nc"
    done = run("climate.py", path, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    for fact in facts:
        assert fact in done.stdout
    saved = check_output(done.stdout, tmp_path, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # eraint_uvz.nc has fill values that do not fit its data
        original = xr.load_dataset(path, engine="netcdf4")
    xr.testing.assert_identical(saved, original)


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
@pytest.mark.parametrize("kind", ["a calendar without leap days", "one point in time", "nothing but a map"])
def test_climate_with_other_netcdf_files(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ds = xr.Dataset(
        {"flag": ("lat", list("abcdefgh")), "tos": (("time", "lat", "lon"), rng.random((24, 8, 9)))},
        {
            "time": xr.date_range("2000-01-01", periods=24, freq="MS", calendar="noleap", use_cftime=True),
            "lat": np.linspace(-80, 80, 8),
            "lon": np.linspace(0, 320, 9),
        },
    )
    if kind == "one point in time":
        ds = ds.isel(time=[0])
    elif kind == "nothing but a map":
        ds = ds.isel(time=0, drop=True)
    ds.to_netcdf(tmp_path / "other.nc", engine="netcdf4")
    done = run("climate.py", tmp_path / "other.nc", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    check_output(done.stdout, tmp_path, "other")


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
def test_climate_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "text.nc").write_text("not netCDF", encoding="utf-8")
    xr.Dataset({"a": ("x", [1, 2])}).to_netcdf(tmp_path / "no-map.nc", engine="netcdf4")
    for name, message in (
        ("nowhere.nc", "there is no file"),
        ("text.nc", "cannot use"),
        ("no-map.nc", "no variable of numbers over latitude and longitude"),
    ):
        done = run("climate.py", tmp_path / name, "--output", tmp_path / "out")
        assert done.returncode == 2
        assert message in done.stderr
        assert name in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").is_dir() or not list((tmp_path / "out").iterdir())


# ------------------------------------------------------------------------------------------ labels


def check_labels(output: str, folder: Path, name: str) -> xr.DataTree:
    """Check what examples/labels.py printed and drew; return what it saved."""
    store, picture = folder / f"{name}-labels.zarr", folder / f"{name}-labels.png"
    for step in ("save", "append", "open", "read all", "elsewhere"):
        assert re.search(rf"^{step} +\d+\.\d{{3}} s   ", output, re.MULTILINE), step
    assert "identical to what was made, indexes too" in output
    assert "sees day as datetime64[ns], and its bounds as 'day_bounds'" in output
    assert f"picture   {picture}\n" in output
    assert png_size(picture) == (1430, 528)
    assert picture.stat().st_size > 20_000
    return xr.load_datatree(store, engine="zarrds")


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
def test_labels_with_real_data(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "era5_t2m_uk_2019-03.nc"
    done = run("labels.py", path, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "7 days after the 24 that are there" in done.stdout
    assert "the day that has 2019-03-16 21:00:00+00:00 in it begins at 2019-03-16 00:00:00+00:00" in done.stdout
    tree = check_labels(done.stdout, tmp_path, path.stem)
    kinds = {f"{at}/{dim}": type(i).__name__ for at, g in tree.children.items() for dim, i in g.ds.indexes.items()}
    assert kinds["hourly/time"] == "DatetimeIndex"
    assert (kinds["daily/day"], kinds["histogram/mean"]) == ("IntervalIndex", "IntervalIndex")
    assert (kinds["weekly/week"], kinds["warmth/warmth"]) == ("PeriodIndex", "CategoricalIndex")
    assert kinds["coldest/event"] == "MultiIndex"
    # the day on which the clocks change, and all others, once more from the file and without pandas' labels
    t2m = xr.load_dataset(path).t2m.values
    days = [slice(24 * day, 24 * day + 24) for day in range(30)] + [slice(720, 743)]
    np.testing.assert_allclose(tree["daily"].t2m, [t2m[day].mean(axis=0) for day in days])
    london = tree["coldest"].t2m.sel(place="London")
    everywhere = tree["daily"].t2m.sel(latitude=51.5, longitude=-0.25)
    np.testing.assert_array_equal(london, np.sort(everywhere)[:5])
    assert tree["histogram"].cells.sum() == everywhere.size * 33 * 49


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
def test_labels_in_another_time_zone(tmp_path: Path) -> None:
    done = run("labels.py", "--output", tmp_path, "--zone", "Asia/Tokyo")
    assert done.returncode == 0, done.stderr
    tree = check_labels(done.stdout, tmp_path, "made-up")
    assert str(tree["daily"].ds.indexes["day"][0].left) == "2019-03-02 00:00:00+09:00"
    assert tree["daily"].sizes["day"] == 30  # the first and the last 31 days of there are not whole


@pytest.mark.slow
@pytest.mark.usefixtures("_climate")
def test_labels_says_what_is_wrong(tmp_path: Path) -> None:
    def field(n: int, **kind: object) -> xr.Dataset:
        hours = xr.date_range("2000-01-01", periods=n, freq="6h", **kind)
        values = np.arange(n * 4.0).reshape(n, 2, 2)
        return xr.Dataset({"t": (("time", "lat", "lon"), values)}, {"time": hours, "lat": [0, 1], "lon": [0, 1]})

    field(8).to_netcdf(tmp_path / "short.nc", engine="netcdf4")
    field(80, calendar="noleap", use_cftime=True).to_netcdf(tmp_path / "noleap.nc", engine="netcdf4")
    (tmp_path / "text.nc").write_text("not netCDF", encoding="utf-8")
    for arguments, message in (
        (["nowhere.nc"], "there is no file"),
        (["text.nc"], "cannot use"),
        (["short.nc"], "fewer than 9 days"),
        (["noleap.nc"], "no times that pandas knows"),
        (["short.nc", "--zone", "Europe/Atlantis"], "there is no time zone 'Europe/Atlantis'"),
    ):
        done = run("labels.py", tmp_path / arguments[0], *arguments[1:], "--output", tmp_path / "out")
        assert done.returncode == 2, arguments
        assert message in done.stderr
        assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------ genomics

VCF = """\
##fileformat=VCFv4.2
##contig=<ID=X,length=1000>
##contig=<ID=Y,length=1000>
##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="depth">
#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT one two three
X 10 . A T . . . GT 0/1 1 1|1
X 20 . AC A,ACC . . . GT ./. 0/2 1/2
X 20 . G C . . . DP 3 4 5
X 30 . G . . . . GT 0/0 0/0 ./0
Y 5 . C T . . . GT 0 1 .
"""


@pytest.fixture(scope="module")
def _genomics() -> None:
    for module in ("cyvcf2", "matplotlib", "tqdm", "zarr"):
        pytest.importorskip(module, reason=f"examples/genomics.py is tested with {module}, which is not installed")


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
def test_genomics_reads_every_kind_of_record(tmp_path: Path) -> None:
    (tmp_path / "small.vcf").write_text(
        "".join(line if line.startswith("##") else line.replace(" ", "\t") for line in VCF.splitlines(keepends=True)),
        encoding="utf-8",
    )
    for _ in range(2):  # the second run replaces what the first one saved
        done = run("genomics.py", tmp_path / "small.vcf", "--output", tmp_path)
        assert done.returncode == 0, done.stderr
    ds = check_output(done.stdout, tmp_path, "small")
    # by hand: -1 is not called, -2 is no call at all (a haploid one has one)
    np.testing.assert_array_equal(
        ds.call_genotype,
        [
            [[0, 1], [1, -2], [1, 1]],
            [[-1, -1], [0, 2], [1, 2]],
            [[-1, -1], [-1, -1], [-1, -1]],
            [[0, 0], [0, 0], [-1, 0]],
            [[0, -2], [1, -2], [-1, -2]],
        ],
    )
    assert ds.call_genotype.dtype == "int8"
    assert ds.variant_allele.values.tolist() == [
        ["A", "T", ""],
        ["AC", "A", "ACC"],
        ["G", "C", ""],
        ["G", "", ""],
        ["C", "T", ""],
    ]
    assert ds.variant_contig.values.tolist() == ["X", "X", "X", "X", "Y"]
    assert ds.variant_position.values.tolist() == ds.variants.values.tolist() == [10, 20, 20, 30, 5]
    assert ds.sample_id.values.tolist() == ds.samples.values.tolist() == ["one", "two", "three"]
    one = ds.isel(variants=ds.variant_contig.values == "X")
    assert one.call_genotype.sel(samples="three", variants=slice(15, 30)).values.tolist() == [[1, 2], [-1, -1], [-1, 0]]
    assert "contig X, 20 to 30: 3 variants" in done.stdout
    assert re.search(r"X:20 +AC 0.250, A 0.250, ACC 0.500  of 4 alleles", done.stdout)


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("chr22", {"variants": 100, "samples": 100, "ploidy": 2, "alleles": 3}),
        ("multi_contig", {"variants": 4665, "samples": 0, "ploidy": 2, "alleles": 1}),
        ("NA12878.prod.chr20snippet.g", {"variants": 301_778, "samples": 1, "ploidy": 2, "alleles": 5}),
    ],
)
def test_genomics_with_real_data(name: str, sizes: dict[str, int], data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / f"{name}.vcf.gz"
    done = run("genomics.py", path, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    ds = check_output(done.stdout, tmp_path, name)
    assert dict(ds.sizes) == sizes
    # read the file once more, as text
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = [line.rstrip("\n").split("\t") for line in file if not line.startswith("##")]
    header, *records = records
    assert ds.samples.values.tolist() == header[9:]
    assert ds.variant_contig.values.tolist() == [record[0] for record in records]
    assert ds.variants.values.tolist() == [int(record[1]) for record in records]
    alleles = [[record[3], *(record[4].split(",") if record[4] != "." else ())] for record in records]
    assert [[a for a in row if a] for row in ds.variant_allele.values.tolist()] == alleles
    calls = [re.split(r"[/|]", field.split(":")[0].replace(".", "-1")) for record in records for field in record[9:]]
    np.testing.assert_array_equal(ds.call_genotype.values.reshape(-1, 2), np.array(calls, int).reshape(-1, 2))


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
def test_genomics_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "text.vcf").write_text("not VCF", encoding="utf-8")
    (tmp_path / "empty.vcf").write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    for name, message in (
        ("nowhere.vcf", "there is no file"),
        ("text.vcf", "not a VCF file"),
        ("empty.vcf", "no records"),
    ):
        done = run("genomics.py", tmp_path / name, "--output", tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
        assert name in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.zarr"))


@pytest.mark.usefixtures("_genomics")
def test_genomics_says_how_to_install_cyvcf2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a module that cannot be imported, found before the real one
    (tmp_path / "cyvcf2.py").write_text("raise ImportError", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(EXAMPLES.parent)]))
    done = run("genomics.py", tmp_path / "any.vcf")
    assert done.returncode == 1
    assert "python -m pip install '.[genomics]'" in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------ regions


def check_regions(output: str, folder: Path, name: str) -> xr.Dataset:
    """Check what examples/regions.py printed and drew; return what it saved."""
    store, picture = folder / f"{name}-regions.zarr", folder / f"{name}-regions.png"
    for step in ("read VCF", "save", "open", "select", "random", "check", "read all"):
        assert re.search(rf"^{step} +\d+\.\d{{3}} s   ", output, re.MULTILINE), step
    assert "the same that a look at each record finds" in output
    assert "identical to what was saved" in output
    assert png_size(picture) == (1430, 550)
    assert picture.stat().st_size > 15_000
    return xr.load_dataset(store, engine="zarrds")


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
@pytest.mark.parametrize(
    ("name", "region", "facts"),
    [
        # 28 of 301,778 records, counted with awk
        pytest.param(
            "NA12878.prod.chr20snippet.g",
            "20:150,000-150,200",
            ["28 records, from 149,996 to 150,205", "20: 301,778"],
            marks=pytest.mark.sweep,
        ),
        (
            "multi_contig",
            "3:900-",
            ["3:900-: 34 records, from 900 to 933", "4,665 intervals on 5 contigs", "    4: 933"],
        ),
        ("chr22", "chr22", ["chr22: 100 records"]),
    ],
)
def test_regions_with_real_data(name: str, region: str, facts: list[str], data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / f"{name}.vcf.gz"
    done = run("regions.py", path, "--region", region, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    for fact in facts:
        assert fact in done.stdout
    ds = check_regions(done.stdout, tmp_path, name)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = [line.split("\t") for line in file if not line.startswith("#")]
    assert ds.contig_id.values[ds.variant_contig.values].tolist() == [record[0] for record in records]
    assert ds.variant_position.values.tolist() == [int(record[1]) for record in records]
    ends = [re.search(r"(?:^|;)END=(\d+)", record[7]) for record in records]
    lengths = [int(e[1]) - int(r[1]) + 1 if e else len(r[3]) for e, r in zip(ends, records, strict=True)]
    assert ds.variant_length.values.tolist() == lengths
    assert ds.region_index.values[:, 5].sum() == len(records)


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
def test_regions_chooses_a_region_where_none_is_given(data_dir: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second run replaces what the first one saved
        done = run("regions.py", data_dir / "multi_contig.vcf.gz", "--output", tmp_path)
        assert done.returncode == 0, done.stderr
    assert "0:417-517: 101 records, from 417 to 517" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
def test_regions_says_what_is_wrong(tmp_path: Path) -> None:
    header = "##fileformat=VCFv4.2\n##contig=<ID=X,length=99>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    line = "X\t{}\t.\tA\tT\t.\t.\t.\n"
    (tmp_path / "text.vcf").write_text("not VCF", encoding="utf-8")
    (tmp_path / "empty.vcf").write_text(header, encoding="utf-8")
    (tmp_path / "unsorted.vcf").write_text(header + line.format(9) + line.format(5), encoding="utf-8")
    (tmp_path / "good.vcf").write_text(header + line.format(5) + line.format(9), encoding="utf-8")
    for name, region, message in (
        ("nowhere.vcf", "X", "there is no file"),
        ("text.vcf", "X", "not a VCF file"),
        ("empty.vcf", "X", "no records"),
        ("unsorted.vcf", "X", "not sorted"),
        ("good.vcf", "chrX:1-5", "there is no such contig"),
        ("good.vcf", "X:5-1", "its start is after its stop"),
    ):
        done = run("regions.py", tmp_path / name, "--region", region, "--output", tmp_path / "out")
        assert done.returncode == 2, name
        assert message in done.stderr
        assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------ queries


@pytest.mark.slow
@pytest.mark.parametrize("is_real", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_queries(is_real: bool, data_dir: Path, tmp_path: Path) -> None:
    for module in ("matplotlib", "netCDF4"):
        pytest.importorskip(module, reason=f"examples/queries.py is tested with {module}, which is not installed")
    done = run("queries.py", *([data_dir / "era5_t2m_uk_2019-03.nc"] if is_real else []), "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    total, pruned = map(int, re.findall(r"t2m: (\d+) chunks, (\d+) pruned", done.stdout)[0])
    assert pruned > total / 2
    (query,) = re.findall(r"^t2m > (\S+)$", done.stdout, re.MULTILINE)
    (n_found,) = re.findall(r"^found +(\d+) hours", done.stdout, re.MULTILINE)
    with xr.open_dataset(tmp_path / "queries.zarr", engine="zarrds") as ds:
        assert int((ds.t2m > float(query)).sum()) == int(n_found)
    width, height = png_size(tmp_path / "queries.png")
    assert width > height > 300
