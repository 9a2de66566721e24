"""What `zarrds.verify` finds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from zarrds.display.html import html_of
from zarrds.display.page import Page, Table
from zarrds.display.text import counted, nbytes_text, one_line
from zarrds.errors import ZarrdsError

__all__ = ["Finding", "Report", "Severity", "finding_of", "in_order"]

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    severity : {"error", "warning"}
        An error: something cannot be read, was lost, or is not what readers are told. A warning: something lies there
        that no reader sees.
    key : str
        Where: a key, the path of a group or array (``"/"`` is the root), or the name of a leftover file or folder.
    problem : str
        What is wrong, and what to do about it.
    mended : bool
        Whether ``repair=True`` has put it right.

    Examples
    --------
    >>> print(Finding("warning", "t2m/notes.txt", "is neither a document nor a chunk of the array"))
    warning: t2m/notes.txt: is neither a document nor a chunk of the array
    """

    severity: Severity
    key: str
    problem: str
    mended: bool = False

    def __str__(self) -> str:
        return f"{self.severity}: {self.key}: {self.problem}{' [mended]' if self.mended else ''}"


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What a store holds, and what is wrong with it. As text: a line for each finding, and one that sums up.

    Attributes
    ----------
    path : str
        The store, as the user named it.
    findings : tuple of Finding
        Sorted by key.
    n_groups, n_arrays : int
        Those that can be read.
    n_chunks : int
        Chunks (or shards) that are stored; all were read.
    n_bytes : int
        Of these, as they are stored.
    n_absent : int
        Chunks that are not stored and need not be: they hold the fill value.
    notes : tuple of str
        What is no fault: variables of which chunks changed after their statistics were noted.

    Examples
    --------
    >>> report = Report("t2m.zarr", (), n_groups=1, n_arrays=3, n_chunks=44, n_bytes=91_000_000, n_absent=0)
    >>> report.ok
    True
    >>> print(report)
    t2m.zarr: 1 group, 3 arrays, 44 chunks (91.0 MB), 0 absent: nothing is wrong
    """

    path: str
    findings: tuple[Finding, ...]
    n_groups: int
    n_arrays: int
    n_chunks: int
    n_bytes: int
    n_absent: int
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no error, but for those that were mended."""
        return not any(f.severity == "error" and not f.mended for f in self.findings)

    def __str__(self) -> str:
        held = (
            f"{counted(self.n_groups, 'group')}, {counted(self.n_arrays, 'array')}, {counted(self.n_chunks, 'chunk')} "
            f"({nbytes_text(self.n_bytes)}), {self.n_absent} absent"
        )
        notes = (f"note: {note}" for note in self.notes)
        return "\n".join([*map(str, self.findings), *notes, f"{self.path}: {held}: {self._sum()}"])

    def __repr__(self) -> str:
        return f"<zarrds.Report of {self.path!r}: {self._sum()}>"

    def _repr_html_(self) -> str:
        return html_of(self.page())

    def page(self) -> Page:
        """What is shown of it in HTML."""
        facts = (
            ("groups", str(self.n_groups)),
            ("arrays", str(self.n_arrays)),
            ("chunks", f"{self.n_chunks} ({nbytes_text(self.n_bytes)}), {self.n_absent} absent"),
            *(("note", one_line(note, 400)) for note in self.notes),
        )
        rows = tuple(
            (f.severity, one_line(f.key, 80), one_line(f.problem, 400), "yes" if f.mended else "")
            for f in self.findings
        )
        columns = ("severity", "key", "problem", "mended")
        return Page(f"{self.path}: {self._sum()}", facts, (Table("findings", columns, rows),))

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        numbers = ("n_groups", "n_arrays", "n_chunks", "n_bytes", "n_absent")
        return {
            "path": self.path,
            "ok": self.ok,
            **{name: getattr(self, name) for name in numbers},
            "findings": [
                {"severity": f.severity, "key": f.key, "problem": f.problem, "mended": f.mended} for f in self.findings
            ],
            "notes": list(self.notes),
        }

    def _sum(self) -> str:
        if not self.findings:
            return "nothing is wrong"
        n_errors = sum(f.severity == "error" for f in self.findings)
        n_mended = sum(f.mended for f in self.findings)
        text = f"{counted(n_errors, 'error')}, {counted(len(self.findings) - n_errors, 'warning')}"
        return f"{text}, {n_mended} of them mended" if n_mended else text


def finding_of(error: ZarrdsError, key: str, detail: str = "") -> Finding:
    """An error as a finding: at the key that it names, or else at `key`; its text, after `detail`."""
    # the report names the store, and the finding the key
    place, error.key, error.path = error.key or key, None, None
    return Finding("error", place or "/", f"{detail}{error}")


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by key, in which 2 comes before 10."""
    return tuple(sorted(findings, key=lambda f: (_split(f.key), f.severity, _split(f.problem))))


def _split(text: str) -> list[tuple[int, str]]:
    # numbers by their length first: they may be too long for int()
    parts = enumerate(re.split(r"([0-9]+)", text))
    return [(len(part.lstrip("0")), part.lstrip("0")) if i % 2 else (0, part) for i, part in parts]
