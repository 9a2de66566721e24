"""Datasets through xarray: save, open, load and slice them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from array_engines import Array, has
from data import Bench, Size, real_files
from timing import Contender, Row

import zarrds
from zarrds.datasets.backend import ZarrdsBackendEntrypoint

Encoding = dict[Hashable, dict[str, Any]]
Chunks = Mapping[Hashable, tuple[int, ...]]  # by variable
Selection = tuple[int | slice, ...]

# what of an encoding says how values are stored, not how they are compressed
_CF_KEYS = ("dtype", "scale_factor", "add_offset", "_FillValue", "missing_value", "units", "calendar")
_MIB = 2**20


@dataclass(frozen=True)
class Engine:
    """How one library saves and opens; `storage` makes a variable's encoding from its stored dtype and chunks."""

    name: str
    uses: str
    suffix: str
    xarray_engine: Any
    storage: Callable[[np.dtype[Any], tuple[int, ...]], dict[str, Any]]
    save: Callable[[Any, Path, Any], object]

    def open(self, path: Path) -> xr.Dataset:
        """Open a dataset, lazily."""
        return xr.open_dataset(path, engine=self.xarray_engine)

    def open_tree(self, path: Path) -> xr.DataTree:
        """Open a tree, lazily."""
        return xr.open_datatree(path, engine=self.xarray_engine)

    def encoding(self, ds: xr.Dataset, chunks: Chunks) -> Encoding:
        """Chunks and compression for every array of numbers, and the CF encoding that it has."""
        found: Encoding = {}
        for name, variable in ds.variables.items():
            cf = {key: variable.encoding[key] for key in _CF_KEYS if key in variable.encoding}
            if variable.dtype.kind not in "OUS" and variable.ndim:
                cf |= self.storage(np.dtype(cf.get("dtype", variable.dtype)), chunks.get(name, variable.shape))
            found[name] = cf
        return found


def _zarr_storage(dtype: np.dtype[Any], chunks: tuple[int, ...]) -> dict[str, Any]:
    from zarr.codecs import BloscCodec

    shuffle: Any = "bitshuffle" if dtype.itemsize == 1 else "shuffle"
    codec = BloscCodec(cname="lz4", clevel=5, shuffle=shuffle, typesize=dtype.itemsize)
    return {"chunks": chunks, "compressors": (codec,)}


def _netcdf_storage(_dtype: np.dtype[Any], chunks: tuple[int, ...]) -> dict[str, Any]:
    return {"chunksizes": chunks, "zlib": True, "complevel": 1, "shuffle": True}


def _zarrds_save(durable: bool, obj: Any, path: Path, encoding: Any) -> None:
    zarrds.save(obj, path, encoding=encoding, durable=durable)


def _zarr_save(obj: Any, path: Path, encoding: Any) -> None:
    # consolidated is xarray's default for stores that it creates, with a warning for v3 unless asked for
    obj.to_zarr(path, encoding=encoding, zarr_format=3, consolidated=True)


def _netcdf_save(engine: str, obj: Any, path: Path, encoding: Any) -> None:
    obj.to_netcdf(path, engine=engine, encoding=encoding)


def engines() -> list[Engine]:
    """All that are installed, zarrds first."""
    blosc = "v3, Blosc LZ4 5 shuffle (bitshuffle for 1-byte items)"
    found = [
        Engine(
            "zarrds",
            f"{blosc}, crc32c",
            ".zarr",
            ZarrdsBackendEntrypoint,
            lambda _dtype, chunks: {"chunks": chunks},
            partial(_zarrds_save, False),
        )
    ]
    if has("zarr"):
        found.append(Engine("zarr engine", blosc, ".zarr", "zarr", _zarr_storage, _zarr_save))
    for name, module, engine in (("netCDF4", "netCDF4", "netcdf4"), ("h5netcdf", "h5netcdf", "h5netcdf")):
        if has(module):
            save = partial(_netcdf_save, engine)
            found.append(Engine(name, "HDF5, zlib 1, shuffle", ".nc", engine, _netcdf_storage, save))
    return found


def save_engines() -> list[tuple[Engine, dict[str, Any]]]:
    """All that save, with the options of `zarrds.save`: as the others, which wait for no disk, and durable."""
    ours, *others = engines()
    durable = replace(ours, name="zarrds durable", save=partial(_zarrds_save, True))
    return [(ours, {"durable": False}), (durable, {"durable": True}), *((engine, {}) for engine in others)]


# --------------------------------------------------------------------------------------------- datasets and their files


@dataclass(frozen=True)
class Source:
    """A dataset of the benchmark: its name, how to get it, and the chunks of its large variables."""

    name: str
    get: Callable[[Bench], Any]
    chunks: Callable[[Bench], Chunks] = lambda _bench: {}

    def encoding(self, engine: Engine, bench: Bench) -> Any:
        """What to give to `engine.save`; for a tree, by group."""
        obj = self.get(bench)
        if isinstance(obj, xr.DataTree):
            return {node.path: engine.encoding(node.to_dataset(inherit=False), {}) for node in obj.subtree}
        return engine.encoding(obj, self.chunks(bench))

    def stored(self, engine: Engine, bench: Bench) -> Path:
        """The file or store in which the engine has saved it."""
        path = bench.folder / f"{self.name}-{engine.name.replace(' ', '-')}{engine.suffix}"
        bench.once(path, lambda: engine.save(self.get(bench), path, self.encoding(engine, bench)))
        return path


def _read_real(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, engine="netcdf4") as ds:
        return ds.load()


def _pieces(variable: xr.Variable) -> tuple[int, ...]:
    """Chunks of at most 1 MiB in memory, the longest dimension halved until they are."""
    chunks = list(variable.shape)
    while np.prod(chunks) * variable.dtype.itemsize > _MIB:
        longest = chunks.index(max(chunks))
        chunks[longest] = -(-chunks[longest] // 2)
    return tuple(chunks)


def _real(path: Path) -> Source:
    def get(bench: Bench) -> xr.Dataset:
        return bench.once(path, partial(_read_real, path))

    return Source(path.stem, get, lambda bench: {n: _pieces(v) for n, v in get(bench).variables.items()})


CLIMATE = Source("climate", Bench.climate, lambda bench: {"t2m": bench.size.climate_chunks})
MANY = Source("many", Bench.many)
TREE = Source("tree", Bench.tree)
LABELS = Source(
    "labels", Bench.labels, lambda bench: dict.fromkeys(("position", "depth"), (bench.size.n_labels // 160,))
)
TEXTS = Source("texts", Bench.texts)
GENOTYPES = Source("genotypes", Bench.genotypes, lambda bench: {"call_genotype": bench.size.genotype_chunks})


# ------------------------------------------------------------------------------------------------------------- the work


def _check_dataset(expected: Any, found: Any) -> None:
    """Raise unless all values are equal, and close what was open."""
    try:
        xr.testing.assert_equal(expected, found.load())
    finally:
        found.close()


def _uses(engine: Engine, sources: list[Source], bench: Bench) -> str:
    if len(sources) > 1:
        return f"{engine.uses}, chunks of at most 1 MiB in memory"
    chunks = ", ".join(f"{name} {chunk}" for name, chunk in sources[0].chunks(bench).items())
    return f"{engine.uses}, chunks {chunks}" if chunks else engine.uses


def _save(sources: list[Source], bench: Bench, _stack: ExitStack) -> list[Contender]:
    def contender(engine: Engine) -> Contender:
        output = bench.folder / "saved"
        work = [
            (source.get(bench), output / f"{source.name}{engine.suffix}", source.encoding(engine, bench))
            for source in sources
        ]

        def run(_k: int) -> None:
            output.mkdir()
            for obj, path, encoding in work:
                engine.save(obj, path, encoding)

        def check(_k: int, _result: None) -> None:
            for obj, path, _ in work:
                _check_dataset(obj, engine.open_tree(path) if isinstance(obj, xr.DataTree) else engine.open(path))

        return Contender(engine.name, _uses(engine, sources, bench), run, check, output=output)

    return [contender(e) for e, _ in save_engines()]


def _open(source: Source, bench: Bench, _stack: ExitStack) -> list[Contender]:
    def contender(engine: Engine) -> Contender:
        expected, path = source.get(bench), source.stored(engine, bench)
        opener: Callable[[Path], Any] = engine.open_tree if isinstance(expected, xr.DataTree) else engine.open
        return Contender(
            engine.name,
            _uses(engine, [source], bench),
            opener,
            lambda _k, found: _check_dataset(expected, found),
            prepare=lambda _k: path,
        )

    return [contender(e) for e in engines()]


def _load(sources: list[Source], bench: Bench, _stack: ExitStack) -> list[Contender]:
    def contender(engine: Engine) -> Contender:
        paths = [source.stored(engine, bench) for source in sources]

        def check(_k: int, found: list[xr.Dataset]) -> None:
            for source, ds in zip(sources, found, strict=True):
                _check_dataset(source.get(bench), ds)

        return Contender(
            engine.name,
            _uses(engine, sources, bench),
            lambda datasets: [ds.load() for ds in datasets],
            check,
            prepare=lambda _k: [engine.open(path) for path in paths],
        )

    return [contender(e) for e in engines()]


def _select(
    source: Source, variable: str, place: Callable[[Bench, int], Selection], bench: Bench, stack: ExitStack
) -> list[Contender]:
    """A selection on a dataset that stays open, somewhere else at each call but for all contenders the same."""
    expected: Array = source.get(bench)[variable].values

    def contender(engine: Engine) -> Contender:
        array = stack.enter_context(engine.open(source.stored(engine, bench)))[variable]

        def check(k: int, found: Array) -> None:
            if not np.array_equal(found, expected[place(bench, k)]):
                raise AssertionError("the selection is not what was saved")

        return Contender(
            engine.name,
            _uses(engine, [source], bench),
            lambda selection: array[selection].values,
            check,
            prepare=partial(place, bench),
        )

    return [contender(e) for e in engines()]


def _points(bench: Bench, k: int) -> dict[str, xr.DataArray]:
    """200 points, each somewhere else."""
    random = np.random.default_rng(k)
    return {
        name: xr.DataArray(random.integers(0, n, 200), dims="points")
        for name, n in zip(("time", "latitude", "longitude"), bench.size.climate, strict=True)
    }


def _every_tenth(bench: Bench, k: int) -> dict[str, slice]:
    return {"time": slice(k % 10, None, 10)}


def _isel(place: Callable[[Bench, int], Any], bench: Bench, stack: ExitStack) -> list[Contender]:
    """As `_select`, by names of dimensions."""
    expected = bench.climate().t2m

    def contender(engine: Engine) -> Contender:
        array = stack.enter_context(engine.open(CLIMATE.stored(engine, bench))).t2m

        def check(k: int, found: Array) -> None:
            if not np.array_equal(found, expected.isel(place(bench, k)).values):
                raise AssertionError("the selection is not what was saved")

        return Contender(
            engine.name,
            _uses(engine, [CLIMATE], bench),
            lambda selection: array.isel(selection).values,
            check,
            prepare=partial(place, bench),
        )

    return [contender(e) for e in engines()]


def _open_labels(bench: Bench, _stack: ExitStack) -> list[Contender]:
    """Open a dataset and select between two of its labels, elsewhere at each call."""
    ds = bench.labels()
    positions, depths = ds.position.values, ds.depth.values

    def contender(engine: Engine) -> Contender:
        path = LABELS.stored(engine, bench)

        def start(k: int) -> int:
            return _numbers(k, positions.size - 1000)[0]

        def run(k: int) -> Array:
            begin = start(k)
            ends = slice(int(positions[begin]), int(positions[begin + 999]))
            with engine.open(path) as opened:
                return opened.depth.sel(position=ends).values

        def check(k: int, found: Array) -> None:
            if not np.array_equal(found, depths[start(k) : start(k) + 1000]):
                raise AssertionError("the selection is not what was saved")

        return Contender(engine.name, _uses(engine, [LABELS], bench), run, check)

    return [contender(e) for e in engines()]


def _numbers(k: int, *limits: int) -> list[int]:
    """For each limit a number below it, random but for every call `k` the same."""
    return [int(n) for n in np.random.default_rng(k).integers(limits)]


def _point(bench: Bench, k: int) -> Selection:
    y, x = _numbers(k, *bench.size.climate[1:])
    return slice(None), y, x


def _map(bench: Bench, k: int) -> Selection:
    return tuple(_numbers(k, bench.size.climate[0]))


def _box(bench: Bench, k: int) -> Selection:
    width = bench.size.box
    starts = _numbers(k, *(n - width + 1 for n in bench.size.climate))
    return tuple(slice(start, start + width) for start in starts)


def _region(bench: Bench, k: int) -> Selection:
    n_variants, n_samples = bench.size.genotypes
    variant, sample = _numbers(k, n_variants - n_variants // 20 + 1, n_samples - n_samples // 5 + 1)
    return slice(variant, variant + n_variants // 20), slice(sample, sample + n_samples // 5)


def _cube_nbytes(size: Size) -> int:
    return 3 * size.climate_nbytes


def _genotypes_nbytes(size: Size) -> int:
    return 3 * size.genotypes_nbytes


def _labels_nbytes(size: Size) -> int:
    return 3 * 9 * size.n_labels


def _some_nbytes(_size: Size) -> int:
    return 32 * _MIB


def _real_nbytes(_size: Size) -> int:
    return 128 * _MIB


def rows() -> list[Row]:
    def row(
        name: str,
        about: str,
        contenders: Callable[[Bench, ExitStack], list[Contender]],
        nbytes: Callable[[Size], int] = _some_nbytes,
        repeat: int = 1,
    ) -> Row:
        return Row("datasets", name, about, contenders, repeat, nbytes)

    series, one_map, box = (partial(_select, CLIMATE, "t2m", place) for place in (_point, _map, _box))
    region = partial(_select, GENOTYPES, "call_genotype", _region)
    part = "a region of 5 % of the variants, 20 % of the samples"
    found = [
        row("save-cube", "Save a 100 MB dataset", partial(_save, [CLIMATE]), _cube_nbytes),
        row("load-cube", "Load it, opened before", partial(_load, [CLIMATE]), _cube_nbytes),
        row("open-cube", "Open it", partial(_open, CLIMATE), repeat=5),
        row("point-series", "On it, open: all times at one point", series, repeat=5),
        row("one-map", "On it, open: all points at one time", one_map, repeat=10),
        row("small-box", "On it, open: a box of 40×40×40", box, repeat=10),
        row("scattered-points", "On it, open: 200 points", partial(_isel, _points), repeat=3),
        row("every-tenth", "On it, open: every 10th time", partial(_isel, _every_tenth), _cube_nbytes),
        row("save-500-variables", "Save 500 small variables", partial(_save, [MANY])),
        row("open-500-variables", "Open them", partial(_open, MANY)),
        row("load-500-variables", "Load them, opened before", partial(_load, [MANY])),
        row("save-tree", "Save a tree of 50 groups with 3 variables each", partial(_save, [TREE])),
        row("open-tree", "Open it", partial(_open, TREE)),
        row("save-labels", "Save 20 million sorted labels", partial(_save, [LABELS]), _labels_nbytes),
        row("open-labels", "Open them, and select a slice of 1,000", _open_labels, _labels_nbytes),
        row("save-texts", "Save 300,000 strings", partial(_save, [TEXTS])),
        row("load-texts", "Load them, opened before", partial(_load, [TEXTS])),
        row("save-genotypes", "Save 100 MB of genotypes", partial(_save, [GENOTYPES]), _genotypes_nbytes),
        row("read-genotypes", f"On them, open: {part}", region, repeat=5),
    ]
    if files := real_files():
        sources = [_real(path) for path in files]
        found.append(row("save-real", f"Save {len(files)} real netCDF files", partial(_save, sources), _real_nbytes))
        found.append(row("load-real", "Load them, opened before", partial(_load, sources), _real_nbytes))
    return found
