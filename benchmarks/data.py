"""The data that the benchmark works on: random, the same in every run, and like real data to a compressor."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

T = TypeVar("T")
Array = npt.NDArray[Any]

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Size:
    """How large everything is, and whether to let the disk settle before each write."""

    settle: bool
    cube: tuple[int, int, int]  # float32: 520 MB if full
    cube_chunks: dict[str, tuple[int, ...]]  # by the name that the rows give them
    shards: tuple[int, int, int]  # in elements; four of them are stored
    inner_chunks: tuple[int, int, int]
    climate: tuple[int, int, int]  # float32: 185 MB if full
    climate_chunks: tuple[int, int, int]
    small_climate_chunks: tuple[int, int, int]
    box: int
    n_points: int
    n_steps: int  # that are appended, one by one
    n_variables: int
    n_groups: int
    genotypes: tuple[int, int]  # variants, samples; times two int8: 160 MB if full
    genotype_chunks: tuple[int, int, int]
    n_labels: int
    n_texts: int
    real_files: tuple[str, ...]

    @property
    def cube_nbytes(self) -> int:
        """Bytes of the cube."""
        return 4 * prod(self.cube)

    @property
    def climate_nbytes(self) -> int:
        """Bytes of the climate dataset's variable."""
        return 4 * prod(self.climate)

    @property
    def genotypes_nbytes(self) -> int:
        """Bytes of the genotypes."""
        return 2 * prod(self.genotypes)


SIZES = {
    "full": Size(
        settle=True,
        cube=(500, 510, 510),
        cube_chunks={
            "4MB": (100, 102, 102),
            "400kB": (20, 51, 102),
            "64kB": (10, 30, 51),
            "slab": (1, 510, 510),
        },
        shards=(32, 128, 256),
        inner_chunks=(4, 8, 8),
        climate=(1000, 215, 215),
        climate_chunks=(50, 86, 86),
        small_climate_chunks=(25, 20, 20),
        box=40,
        n_points=200,
        n_steps=20,
        n_variables=500,
        n_groups=50,
        genotypes=(160_000, 500),
        genotype_chunks=(8000, 100, 2),
        n_labels=20_000_000,
        n_texts=300_000,
        real_files=("eraint_uvz.nc", "era5_t2m_uk_2019-03.nc", "basin_mask.nc"),
    ),
    "small": Size(
        settle=False,
        cube=(40, 40, 40),
        cube_chunks={"4MB": (20, 20, 20), "400kB": (8, 8, 20), "64kB": (8, 16, 16), "slab": (1, 40, 40)},
        shards=(8, 16, 32),
        inner_chunks=(4, 8, 8),
        climate=(40, 15, 17),
        climate_chunks=(10, 8, 9),
        small_climate_chunks=(8, 4, 5),
        box=6,
        n_points=20,
        n_steps=3,
        n_variables=12,
        n_groups=4,
        genotypes=(400, 20),
        genotype_chunks=(100, 10, 2),
        n_labels=20_000,
        n_texts=300,
        real_files=("basin_mask.nc",),
    ),
}


@dataclass
class Bench:
    """A size, a folder to work in, and what was made already for rows before."""

    size: Size
    folder: Path
    _made: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns, made at the first call with this key."""
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])

    def cube(self) -> Array:
        """A float32 cube of the plain-array rows."""
        return self.once("cube", lambda: temperatures(self.size.cube))

    def climate(self) -> xr.Dataset:
        """One variable ``t2m`` (time, latitude, longitude) with its coordinates."""
        return self.once("climate", lambda: climate(self.size.climate))

    def many(self) -> xr.Dataset:
        """Many small variables."""
        return self.once("many", lambda: many_variables(self.size.n_variables))

    def tree(self) -> xr.DataTree:
        """Many small groups."""
        return self.once("tree", lambda: many_groups(self.size.n_groups))

    def labels(self) -> xr.Dataset:
        """``depth`` along many sorted labels."""
        return self.once("labels", lambda: many_labels(self.size.n_labels))

    def texts(self) -> xr.Dataset:
        """Many strings of different lengths."""
        return self.once("texts", lambda: many_texts(self.size.n_texts))

    def genotypes(self) -> xr.Dataset:
        """``call_genotype`` (variants, samples, ploidy) with positions, and the samples' names as labels."""
        return self.once("genotypes", lambda: genotypes(*self.size.genotypes))


def temperatures(shape: tuple[int, int, int], seed: int = 0) -> Array:
    """Temperatures in K, float32 (time, latitude, longitude): smooth waves and a noise of 0.25 K."""
    rng = np.random.default_rng(seed)
    year, y, x = (np.linspace(0.0, 1.0, n, dtype=np.float32) for n in shape)
    season = 8 * np.sin(6 * np.pi * year)[:, None, None] * np.sin(np.pi * (y - 0.5))[:, None]
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= np.float32(0.25)
    values += 265 + 25 * np.cos(np.pi * (y - 0.5))[:, None] + 4 * np.sin(6 * np.pi * x)
    values += season
    return values


def climate(shape: tuple[int, int, int]) -> xr.Dataset:
    n_times, n_latitudes, n_longitudes = shape
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), temperatures(shape), {"units": "K"})},
        {
            "time": np.datetime64("2019-03-01", "ns") + np.arange(n_times) * np.timedelta64(1, "h"),
            "latitude": ("latitude", np.linspace(60, 50, n_latitudes), {"units": "degrees_north"}),
            "longitude": ("longitude", np.linspace(-8, 2, n_longitudes), {"units": "degrees_east"}),
        },
    )


def many_variables(n: int) -> xr.Dataset:
    rng = np.random.default_rng(1)
    return xr.Dataset(
        {
            f"v{i:03}": (("y", "x"), rng.standard_normal((20, 30)).astype("f4"), {"units": "m", "number": i})
            for i in range(n)
        },
        {"y": np.arange(20.0), "x": np.arange(30.0)},
    )


def many_groups(n: int) -> xr.DataTree:
    rng = np.random.default_rng(2)

    def group(i: int) -> xr.Dataset:
        names = ("u", "v", "t")
        return xr.Dataset(
            {name: (("time", "x"), rng.standard_normal((24, 30)).astype("f4"), {"units": "1"}) for name in names},
            {"time": np.arange(24.0), "x": np.arange(30.0)},
            {"run": i},
        )

    return xr.DataTree.from_dict({f"run{i:02}": group(i) for i in range(n)})


def many_labels(n: int) -> xr.Dataset:
    rng = np.random.default_rng(4)
    steps = rng.integers(1, 100, n)
    return xr.Dataset({"depth": ("position", (steps % 40).astype("i1"))}, {"position": np.cumsum(steps)})


def many_texts(n: int) -> xr.Dataset:
    rng = np.random.default_rng(5)
    texts = np.array([f"rs{number}" for number in rng.integers(1, 10**9, n)], dtype=object)
    return xr.Dataset({"variant_id": ("variants", texts)})


def genotypes(n_variants: int, n_samples: int) -> xr.Dataset:
    rng = np.random.default_rng(3)
    frequency = rng.beta(0.2, 2, (n_variants, 1, 1)).astype("f4")
    calls = (rng.random((n_variants, n_samples, 2), dtype="f4") < frequency).astype("i1")
    return xr.Dataset(
        {"call_genotype": (("variants", "samples", "ploidy"), calls)},
        {
            "variant_position": ("variants", np.cumsum(rng.integers(1, 300, n_variants)).astype("i4")),
            "samples": np.array([f"HG{i:05}" for i in range(n_samples)], dtype=object),
        },
    )


def real_files(size: Size) -> list[Path]:
    """The real netCDF files of a size, as far as they are on this machine."""
    return [path for name in size.real_files if (path := REAL_DATA / name).is_file()]
