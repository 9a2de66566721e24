"""A stored array as it will be, for what is added to it."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from zarrds.metadata.fields import JSONObject
from zarrds.metadata.model import ArrayMetadata

__all__ = ["Made"]


@dataclass(frozen=True, slots=True)
class Made:
    """A stored array as it will be, its elements as they are then, what is noted of it, and new elements if others."""

    metadata: ArrayMetadata
    variable: xr.Variable
    description: JSONObject
    new: xr.Variable | None = None
