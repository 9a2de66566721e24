"""How xarray is to decode the arrays of a group, so that what is noted of them can be given back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from zarrds.datasets.reading.notes import GroupNotes
from zarrds.labels.kinds.table import decode_options
from zarrds.metadata.dtypes import JSON

__all__ = ["decoders_for"]


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
