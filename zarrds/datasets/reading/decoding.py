"""How xarray is to decode the arrays of a group, so that what is noted of them can be given back; and its decoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from zarrds.compat.xarray_internals import decode_cf_variables, guard_decoders
from zarrds.datasets.reading.notes import GroupNotes
from zarrds.errors import MetadataError, ZarrdsError
from zarrds.labels.kinds.table import decode_options
from zarrds.metadata.dtypes import JSON

__all__ = ["decode", "decoders_for"]


def decoders_for(notes: GroupNotes, asked: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Decoders for the arrays of a group, and the names of those that are then decoded as their descriptions have it.

    Parameters
    ----------
    notes : GroupNotes
    asked : mapping
        What the user passed to `xr.open_dataset`: it wins. An array that is not to be decoded, or otherwise, is opened
        as if nothing was noted of it.

    Returns
    -------
    dict
        As `asked`, with settings for some arrays.
    frozenset of str
    """
    masks: dict[str, bool] = {}
    times: dict[str, Any] = {}
    active = set()
    for name, description in notes.descriptions.items():
        # ends of intervals are decoded as their middles
        parts = [name, *(other for role, other in notes.companions.get(name, {}).items() if role == "bounds")]
        found = [_for_one(part, description, asked) for part in parts]
        if None in found:
            continue
        active.add(name)
        for part, options in zip(parts, found, strict=True):
            assert options is not None
            if "mask" in options:
                masks[part] = options["mask"]
            if "times" in options:
                times[part] = options["times"]
    decoders = dict(asked)
    characters = asked.get("concat_characters", True)
    if notes.single_bytes and characters is not False:
        given = characters if isinstance(characters, Mapping) else {}
        decoders["concat_characters"] = {**dict.fromkeys(notes.single_bytes, False), **given}
    for key, added in (("mask_and_scale", masks), ("decode_times", times)):
        if added:
            value = asked.get(key, True)
            decoders[key] = {**(value if isinstance(value, Mapping) else {}), **added}
    return decoders, frozenset(active)


def _for_one(name: str, description: Mapping[str, JSON], asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings for one array; None if the user does not want it decoded like this."""
    options = {} if description["dtype"] == "range" else decode_options(description)
    is_masked = _item(asked, "mask_and_scale", name, True)
    times = _item(asked, "decode_times", name, True)
    if is_masked is not True:
        return None
    result: dict[str, Any] = {}
    if options.get("mask_and_scale") is False:
        result["mask"] = False
    coding = {key: options[key] for key in ("time_unit", "use_cftime") if key in options}
    if coding and not _is_timedelta(description):  # of which xarray stores the unit itself
        if times is not True or _item(asked, "use_cftime", name, None) is not None:
            return None
        result["times"] = xr.coders.CFDatetimeCoder(**coding)
    return result


def _item(asked: Mapping[str, Any], key: str, name: str, default: Any) -> Any:
    value = asked.get(key, default)
    return value.get(name, default) if isinstance(value, Mapping) else value


def _is_timedelta(description: Mapping[str, JSON]) -> bool:
    subtype = description.get("subtype")
    dtype = subtype.get("dtype") if isinstance(subtype, dict) else description["dtype"]
    return str(dtype).startswith("timedelta64")


def decode(
    raw: Mapping[Any, xr.Variable],
    attributes: Mapping[str, Any],
    decoders: Mapping[str, Any],
    store: str,
    group: str = "",
) -> tuple[dict[Any, xr.Variable], Any, Any]:
    """What xarray's decoders make of stored variables: what an attribute may hold that is wrong is without end.

    Parameters
    ----------
    raw : mapping of name to Variable
    attributes : mapping
        Of the group.
    decoders : mapping
        Keywords of `xr.open_dataset`.
    store, group : str
        Where they are stored, for errors.

    Returns
    -------
    dict of name to Variable
    mapping
        The attributes of the group that are left.
    set of names
        What they make coordinates.

    Raises
    ------
    MetadataError
        If they cannot be decoded, now or when they are read; it names the variable.
    """
    try:
        variables, decoded_attributes, names = decode_cf_variables(raw, dict(attributes), **decoders)
    except ZarrdsError:
        raise
    except Exception as error:
        name, cause = _culprit(raw, decoders, error)
        raise _undecodable(store, _path(group, name), cause) from error
    for name, variable in variables.items():
        guard_decoders(variable, _Guarding(store, _path(group, name)))
    return dict(variables), decoded_attributes, names


def _path(group: str, name: Any) -> str:
    return "/".join(part for part in (group, "" if name is None else str(name)) if part)


def _culprit(raw: Mapping[Any, xr.Variable], decoders: Mapping[str, Any], error: Exception) -> tuple[Any, Exception]:
    """The variable that cannot be decoded by itself, and why; no name if that is of the group or of several."""
    for name, variable in raw.items():
        try:
            decode_cf_variables({name: variable.copy(deep=False)}, {}, **decoders)
        except Exception as own:
            return name, own
    return None, error


def _undecodable(store: str, path: str, error: Exception) -> MetadataError:
    problem = str(error).partition("\n")[0] or type(error).__name__
    name = path.rpartition("/")[2]
    if not name:
        mend = "Open it as it is stored, with decode_cf=False, or mend its attributes with zarrds.open_group"
        return MetadataError(f"group cannot be decoded: {problem}", path=store, key="/", mend=mend)
    return MetadataError(
        f"variable cannot be decoded: {problem}",
        path=store,
        key=path,
        mend=f"Open it as it is stored, with decode_times={{{name!r}: False}} or decode_cf=False, "
        f"or without it: drop_variables=[{name!r}]",
    )


@dataclass(frozen=True, slots=True)
class _Guarding:
    """Makes functions of a variable's elements raise errors of zarrds only."""

    store: str
    path: str

    def __call__(self, function: Callable[..., Any], dtype: Any) -> _Guarded:
        return _Guarded(function, dtype, self.store, self.path)


@dataclass(frozen=True, slots=True)
class _Guarded:
    function: Callable[..., Any]
    dtype: Any
    store: str
    path: str

    def __call__(self, values: Any) -> Any:
        try:
            result = self.function(values)
            # of no timedeltas xarray makes seconds, whatever it has said of them
            is_empty = getattr(result, "size", None) == 0 and result.dtype.kind == "m"
            return result.astype(self.dtype) if is_empty else result
        except ZarrdsError:
            raise
        except Exception as error:
            raise _undecodable(self.store, self.path, error) from error
