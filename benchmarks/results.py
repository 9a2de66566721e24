"""What a row gave, and what follows from it: medians, the best peer, the ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from benchmarks.contenders import OURS, OURS_DURABLE, Contender, Row

# rises of memory below this, in MB, are noise
_NOISE = 1.0


@dataclass
class Result:
    """What one row gave: for each contender a time in ms per round, and rises of memory in MB where they are known."""

    row: Row
    contenders: Mapping[str, Contender]
    times: dict[str, list[float]]
    rises: dict[str, list[float]] = field(default_factory=dict)

    def add_memory(self, name: str, megabytes: float | None) -> None:
        """Note how far memory rose, if that is known."""
        if megabytes is not None:
            self.rises.setdefault(name, []).append(megabytes)

    @property
    def medians(self) -> dict[str, float]:
        """Of the rounds, for each contender."""
        return {name: statistics.median(values) for name, values in self.times.items()}

    @property
    def memory(self) -> dict[str, float]:
        """The median rise, for each contender of which it is known."""
        return {name: statistics.median(values) for name, values in self.rises.items()}

    @property
    def best_peer(self) -> str | None:
        """The fastest of those that wait for the disk no more than zarrds does; None if zarrds is alone."""
        return self._fastest(lambda c: c.kind == "peer" and not c.durable)

    @property
    def ratio(self) -> float | None:
        """The best peer's time over that of zarrds: above 1, zarrds is ahead."""
        return self._quotient(self.best_peer, OURS)

    @property
    def durable_ratio(self) -> float | None:
        """The same among those that wait until all is on the disk."""
        return self._quotient(self._fastest(lambda c: c.kind == "peer" and c.durable), OURS_DURABLE)

    @property
    def floor_ratio(self) -> float | None:
        """The time of zarrds over that of the floor."""
        return self._quotient(OURS, self._fastest(lambda c: c.kind == "floor"))

    @property
    def memory_ratio(self) -> float | None:
        """The memory of zarrds over that of the best peer; None where both are too small to tell."""
        ours, peer = self.memory.get(OURS), self.memory.get(self.best_peer or "")
        if ours is None or peer is None or max(ours, peer) < _NOISE:
            return None
        return ours / max(peer, _NOISE / 10)

    def _fastest(self, among: Callable[[Contender], bool]) -> str | None:
        found = {name: value for name, value in self.medians.items() if among(self.contenders[name])}
        return min(found, key=found.__getitem__) if found else None

    def _quotient(self, upper: str | None, lower: str | None) -> float | None:
        medians = self.medians
        if upper is None or lower is None or not medians.get(lower):
            return None
        return medians[upper] / medians[lower]


def geometric_mean(results: Iterable[Result]) -> float | None:
    """Of the best peers' times over those of zarrds."""
    ratios = [result.ratio for result in results if result.ratio is not None]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None
