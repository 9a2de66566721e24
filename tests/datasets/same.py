"""Whether a dataset that came back is the one that was saved: more strictly than `identical` has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pandas.api.extensions import ExtensionDtype

__all__ = ["assert_same", "differences"]


def assert_same(saved: xr.Dataset, back: xr.Dataset) -> None:
    found = differences(saved, back)
    assert not found, "\n".join(found)


def differences(saved: xr.Dataset, back: xr.Dataset) -> list[str]:
    """What is not the same, a line each."""
    found = []
    if set(saved.variables) != set(back.variables):
        return [f"variables: {sorted(map(str, saved.variables))} -> {sorted(map(str, back.variables))}"]
    if set(saved.coords) != set(back.coords):
        found.append(f"coordinates: {sorted(map(str, saved.coords))} -> {sorted(map(str, back.coords))}")
    if dict(saved.sizes) != dict(back.sizes):
        found.append(f"sizes: {dict(saved.sizes)} -> {dict(back.sizes)}")
    indexes = [{str(name): type(index).__name__ for name, index in ds.xindexes.items()} for ds in (saved, back)]
    if indexes[0] != indexes[1]:
        found.append(f"indexes: {indexes[0]} -> {indexes[1]}")
    found += _attributes("the dataset", saved.attrs, back.attrs)
    for name, variable in saved.variables.items():
        found += _variable(str(name), variable, back.variables[name])
    return found


def _variable(name: str, saved: xr.Variable, back: xr.Variable) -> list[str]:
    if saved.dims != back.dims or saved.shape != back.shape:
        return [f"{name}: {dict(saved.sizes)} -> {dict(back.sizes)}"]
    found = _attributes(name, saved.attrs, back.attrs)
    one, two = saved.dtype, back.dtype
    # byte order is no property of values; text of a fixed width may come back as text
    if isinstance(one, np.dtype) and isinstance(two, np.dtype):
        one, two = (dtype if dtype.kind == "T" else dtype.newbyteorder("=") for dtype in (one, two))
        text = {dtype.kind for dtype in (one, two)} <= {"U", "O", "T"} and one.kind != "O"
        widths = one.kind == two.kind == "S" and two.itemsize >= 1
        plain = one.kind == "O" and two.kind != "O"  # objects may come back as what they all are
        if one != two and not (text or widths or plain):
            found.append(f"{name}: dtype {one} -> {two}")
    elif one != two:
        found.append(f"{name}: dtype {one} -> {two}")
    if len(_flat(saved)) != len(_flat(back)):
        return [f"{name}: holds other arrays"]
    for where, (a, b) in enumerate(zip(_flat(saved), _flat(back), strict=True)):
        if not _equal(a, b):
            found.append(f"{name}: element {where}: {a!r} -> {b!r}")
            break
    return found


def _flat(variable: xr.Variable) -> list[Any]:
    if isinstance(variable.dtype, ExtensionDtype):  # whose `values` xarray may make floats of
        return list(variable.to_index())
    values = variable.values
    if not isinstance(values, np.ndarray | np.generic):
        return list(values)
    flat = np.asarray(values).reshape(-1)
    return list(flat) if flat.dtype.kind in "mMO" else list(flat.tolist())


def _equal(a: Any, b: Any) -> bool:
    if _is_missing(a) or _is_missing(b):
        return _is_missing(a) and _is_missing(b)
    if isinstance(a, float) and isinstance(b, float):
        return a == b and np.signbit(a) == np.signbit(b)
    if isinstance(a, complex) and isinstance(b, complex):
        return _equal(a.real, b.real) and _equal(a.imag, b.imag)
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _is_missing(value: Any) -> bool:
    try:
        return bool(pd.isna(value)) and not isinstance(value, complex)
    except (TypeError, ValueError):
        return False


def _attributes(name: str, saved: dict[Any, Any], back: dict[Any, Any]) -> list[str]:
    if set(saved) != set(back):
        return [f"{name}: attributes {sorted(map(str, saved))} -> {sorted(map(str, back))}"]
    return [
        f"{name}: attribute {key!r}: {value!r} ({_type(value)}) -> {back[key]!r} ({_type(back[key])})"
        for key, value in saved.items()
        if not _same_attribute(value, back[key])
    ]


def _type(value: Any) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray | np.generic) else type(value).__name__


def _same_attribute(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray | np.generic) or isinstance(b, np.ndarray | np.generic):
        a_, b_ = np.asarray(a), np.asarray(b)
        same_kind = isinstance(a, np.ndarray) == isinstance(b, np.ndarray) and _type(a) == _type(b)
        return same_kind and a_.shape == b_.shape and all(map(_equal, a_.ravel().tolist(), b_.ravel().tolist()))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(_same_attribute, a.values(), b.values()))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same_attribute, a, b))
    return _equal(a, b)
