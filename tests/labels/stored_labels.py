"""Labels through a real store: xarray encodes and decodes them, as it does for other readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import zarrds
from zarrds.labels.kinds.table import Plain, array_from_plain, companion_names, decode_options, from_plain, to_plain


def _variables(name: str, plain: Plain, dims: tuple[str, ...]) -> dict[str, Any]:
    """The arrays of labels by name, and the names of companions in the descriptions."""
    variables = {name: (xr.Variable(dims, plain.values, plain.attrs, plain.encoding), plain.description)}
    for role, companion in plain.companions.items():
        beside = f"{name}_{role}"
        plain.description[role] = beside
        extra = (*dims, "bounds") if role == "bounds" else (f"{beside}_dim",)
        variables |= _variables(beside, companion, extra)
    return variables


def save(path: Path, plain: Plain, **options: Any) -> dict[str, Any]:
    """Save labels as `v`; gives the description of each array."""
    dims = tuple(f"d{axis}" for axis in range(plain.values.ndim))
    variables = _variables("v", plain, dims)
    zarrds.save(xr.Dataset({name: variable for name, (variable, _) in variables.items()}), path, **options)
    return {name: description for name, (_, description) in variables.items()}


def decoded(path: Path, name: str, description: Any) -> Any:
    """One array, decoded as its description (or that of the labels it is beside) asks for."""
    options = dict(decode_options(description)) if description else {}
    masking = options.pop("mask_and_scale", True)
    with xr.open_dataset(
        path, engine="zarrds", mask_and_scale=masking, decode_times=xr.coders.CFDatetimeCoder(**options)
    ) as dataset:
        return dataset[name].values


def restored(path: Path, descriptions: dict[str, Any], name: str = "v", *, is_data: bool = False) -> Any:
    description = descriptions[name]
    values = decoded(path, name, description)
    if not description:
        return pd.Index(values, dtype=values.dtype)
    names = companion_names(description)
    companions: dict[str, Any] = {}
    if "bounds" in names:
        companions["bounds"] = decoded(path, names["bounds"], description)
    if "categories" in names:
        companions["categories"] = restored(path, descriptions, names["categories"])
    return (array_from_plain if is_data else from_plain)(description, values, companions)


def round_trip(path: Path, labels: Any, *, is_data: bool = False, **options: Any) -> Any:
    plain = to_plain(labels) or Plain(np.asarray(labels))
    return restored(path, save(path, plain, mode="w", **options), is_data=is_data)
