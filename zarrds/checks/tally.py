"""What a check has found and counted so far."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TypeAlias

from zarrds.checks.report import Finding, Severity

__all__ = ["MAX_LISTED", "Tally"]

MAX_LISTED = 1000
"""Findings of one sort that are listed of one array or group; of more, only the number is told."""

# a path, a sort, and how bad it is
_Place: TypeAlias = tuple[str, str, Severity]


class Tally:
    """What was found and counted; any thread may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listed: list[tuple[_Place, Finding]] = []
        self._sorts: Counter[_Place] = Counter()
        self.n_bytes = 0
        self.n_chunks = 0
        self.n_absent = 0

    def add(self, path: str, sort: str, finding: Finding) -> None:
        """Add a finding about the node at `path`; of a sort that has many, it is only counted."""
        place = (path, sort, finding.severity)
        with self._lock:
            if self._sorts[place] < MAX_LISTED:
                self._listed.append((place, finding))
            self._sorts[place] += 1

    def add_more(self, path: str, sort: str, severity: Severity, n: int) -> None:
        """Count findings, of which enough are listed already."""
        with self._lock:
            self._sorts[path, sort, severity] += n

    def add_bytes(self, n: int) -> None:
        """Count bytes that were read."""
        with self._lock:
            self.n_bytes += n

    def merge(self, other: Tally) -> None:
        """Take over what another has."""
        for place, finding in other._listed:
            self.add(*place[:2], finding)
        listed = Counter(place for place, _ in other._listed)
        with self._lock:
            self._sorts.update({place: n - listed[place] for place, n in other._sorts.items() if n > listed[place]})
            self.n_absent += other.n_absent

    @property
    def findings(self) -> list[Finding]:
        """All findings; of each sort, what was only counted is one more."""
        return [finding for _, finding in self._listed] + [
            Finding(severity, path or "/", f"{n - MAX_LISTED} more {sort}")
            for (path, sort, severity), n in self._sorts.items()
            if n > MAX_LISTED
        ]
