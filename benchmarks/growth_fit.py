"""How a cost grows: the exponent b of a·nᵇ, and the table that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.growth_cost import Figures

# what the kernel says of memory is off by that much
_LEAST_MB = 1.0
# 0.15 is a factor of 1.4 over ten times the size: less than that, two processes may differ
_TOLERANCE = 0.15


@dataclass(frozen=True)
class Fit:
    """The exponents over all sizes and over the last step, None if there are no two sizes of a cost above the least."""

    overall: float | None
    last: float | None

    @property
    def word(self) -> str:
        """What the larger of the two exponents says."""
        if self.overall is None or self.last is None:
            return "–"
        exponent = max(self.overall, self.last)
        if exponent <= _TOLERANCE:
            return "flat"
        if exponent < 1 - _TOLERANCE:
            return "less than linear"
        return "linear" if exponent <= 1 + _TOLERANCE else "worse"


def fit(sizes: Sequence[int], costs: Sequence[float], least: float = 0.0) -> Fit:
    """Least squares on the logarithms, of costs above `least`."""
    points = [(n, y) for n, y in zip(sizes, costs, strict=True) if y > least]
    return Fit(_exponent(points), _exponent(points[-2:]))


def _exponent(points: Sequence[tuple[int, float]]) -> float | None:
    if len({n for n, _ in points}) < 2:
        return None
    n, y = np.log(np.array(points, dtype=float)).T
    return float(np.polyfit(n, y, 1)[0])


def growth_of(results: Mapping[int, Figures]) -> dict[str, Fit]:
    """The growth of each column."""
    return {
        column: fit(
            list(results), [row[column] for row in results.values()], _LEAST_MB if column.endswith("(MB)") else 0.0
        )
        for column in next(iter(results.values()))
    }


def speedup_of(results: Mapping[int, Figures]) -> dict[int, dict[str, float]]:
    """For each size, by what factor less its columns of time are than those of the first size."""
    first = next(iter(results.values()))
    return {
        size: {column: first[column] / row[column] for column in row if column.endswith("(ms)")}
        for size, row in results.items()
    }


def growth_table(unit: str, results: Mapping[int, Figures]) -> str:
    """A Markdown table; its last rows tell how each column grows."""
    fits = growth_of(results)
    return "\n".join(
        [
            *_table(unit, results),
            _line("exponent", (_signed(f.overall) for f in fits.values())),
            _line("last step", (_signed(f.last) for f in fits.values())),
            _line("growth", (f.word for f in fits.values())),
        ]
    )


def speedup_table(unit: str, results: Mapping[int, Figures]) -> str:
    """A Markdown table; its last rows tell the speedup over the first."""
    columns = list(next(iter(results.values())))
    rows = [
        _line(f"speedup, {size:,}", (f"{factors[c]:.2f}" if c in factors else "–" for c in columns))
        for size, factors in speedup_of(results).items()
    ]
    return "\n".join([*_table(unit, results), *rows[1:]])


def _table(unit: str, results: Mapping[int, Figures]) -> list[str]:
    columns = list(next(iter(results.values())))
    head = [_line(unit, columns), "| ---: |" + " ---: |" * len(columns)]
    return head + [_line(f"{size:,}", (_figure(row[c]) for c in columns)) for size, row in results.items()]


def _line(first: str, cells: Iterable[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
