"""The datasets that the rows share, and the files in which each engine has saved them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from benchmarks.data import Bench
from benchmarks.dataset_engines import Chunks, Engine


@dataclass(frozen=True)
class Source:
    """A dataset of the benchmark: its name, how to get it, the chunks of its large variables, Blosc's inner codec."""

    name: str
    get: Callable[[Bench], Any]
    chunks: Callable[[Bench], Chunks] = lambda _bench: {}
    cname: str = "lz4"

    def encoding(self, engine: Engine, bench: Bench) -> Any:
        """What to give to `engine.save`; for a tree, by group."""
        obj = self.get(bench)
        if isinstance(obj, xr.DataTree):
            return {node.path: engine.encoding(node.to_dataset(inherit=False), {}, self.cname) for node in obj.subtree}
        return engine.encoding(obj, self.chunks(bench), self.cname)

    def stored(self, engine: Engine, bench: Bench) -> Path:
        """The file or store in which the engine has saved it."""
        path = bench.folder / f"{self.name}-{engine.name.replace(' ', '-')}{engine.suffix}"
        bench.once(path, lambda: engine.save(self.get(bench), path, self.encoding(engine, bench)))
        return path

    def uses(self, engine: Engine, bench: Bench) -> str:
        """What to tell of an engine that saved it: codec and chunks."""
        chunks = ", ".join(f"{name} {chunk}" for name, chunk in self.chunks(bench).items())
        uses = engine.uses.replace("Blosc", f"Blosc {self.cname.upper()} 5")
        return f"{uses}, chunks {chunks}" if chunks else uses


CUBE = Source("cube", Bench.climate, lambda bench: {"t2m": bench.size.climate_chunks})
CUBE_40KB = Source("cube-40kB", Bench.climate, lambda bench: {"t2m": bench.size.small_climate_chunks})
MANY = Source("many", Bench.many)
TREE = Source("tree", Bench.tree)
LABELS = Source(
    "labels", Bench.labels, lambda bench: dict.fromkeys(("position", "depth"), (bench.size.n_labels // 160,))
)
TEXTS = Source("texts", Bench.texts)
GENOTYPES = Source("genotypes", Bench.genotypes, lambda bench: {"call_genotype": bench.size.genotype_chunks}, "zstd")
