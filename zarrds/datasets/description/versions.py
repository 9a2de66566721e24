"""What is installed: what a report of a bug must say."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from zarrds.display.html import html_of
from zarrds.display.page import Page, Table
from zarrds.display.text import text_of
from zarrds.engine.kernel.library import library

__all__ = ["Versions", "versions"]

_PACKAGES = (
    "numpy pandas xarray blosc numcodecs crc32c filelock dask distributed fsspec obstore zarr netCDF4 h5netcdf cftime "
    "cyvcf2 cfgrib matplotlib tqdm rich"
).split()


@dataclass(frozen=True, slots=True, repr=False)
class Versions:
    """What ``zarrds.info()`` returns.

    Attributes
    ----------
    zarrds, python, machine : str
    packages : tuple of (str, str)
        Those that are installed, of those that zarrds uses.
    zarr_formats : tuple of int
        That can be read and written.
    kernel : str
        What decodes chunks: native code, or Python.
    """

    zarrds: str
    python: str
    machine: str
    packages: tuple[tuple[str, str], ...]
    zarr_formats: tuple[int, ...]
    kernel: str

    def __str__(self) -> str:
        return text_of(self.page())

    def __repr__(self) -> str:
        return f"<zarrds.Versions: zarrds {self.zarrds}, Python {self.python}>"

    def _repr_html_(self) -> str:
        return html_of(self.page())

    def page(self) -> Page:
        """What text, HTML and the command line draw."""
        facts = (
            ("python", self.python),
            ("machine", self.machine),
            ("zarr formats", ", ".join(map(str, self.zarr_formats))),
            ("kernel", self.kernel),
        )
        return Page(f"zarrds {self.zarrds}", facts, (Table("packages", ("name", "version"), self.packages),))

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "zarrds": self.zarrds,
            "python": self.python,
            "machine": self.machine,
            "packages": dict(self.packages),
            "zarr_formats": list(self.zarr_formats),
            "kernel": self.kernel,
        }


def versions() -> Versions:
    """The versions of zarrds, Python and all that zarrds may use; of all that, only the kernel is loaded."""
    return Versions(
        version("zarrds"),
        platform.python_version(),
        f"{platform.system()} {platform.machine()}",
        tuple((name, found) for name in _PACKAGES if (found := _version(name)) is not None),
        (2, 3),
        "Python" if library() is None else "native",
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
