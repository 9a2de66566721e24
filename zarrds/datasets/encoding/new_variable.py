"""What all that encodes new variables is handed: the variable, and what its encoding counts for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

__all__ = ["NewVariable"]


@dataclass(frozen=True, slots=True)
class NewVariable:
    """A variable that is new in its store.

    Attributes
    ----------
    name : str
    variable : Variable
    is_order : bool
        Whether its encoding is what the user asked for: what does not fit is an error. Else it is a hint that an
        earlier file left there: what does not fit gives way.
    """

    name: str
    variable: xr.Variable
    is_order: bool

    @property
    def encoding(self) -> Mapping[str, Any]:
        """That of the variable."""
        return self.variable.encoding
