"""How xarray is to decode the arrays of a group, so that what is noted of them can be given back; and its decoders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import CF_RELATED_DATA, guard_decoders
from zarrds.compat.xarray_loading import decode_opened
from zarrds.datasets.reading.notes import GroupNotes
from zarrds.datasets.reading.strange import path_of
from zarrds.errors import MetadataError, UndecodableError, ZarrdsError
from zarrds.labels.kinds.plain import Description
from zarrds.labels.kinds.table import decode_options
from zarrds.metadata.attributes import MARKERS, SCALE, array_of
from zarrds.metadata.times import CF_UNITS, is_since

__all__ = ["Decoded", "decode", "decode_all", "decoders_for", "without_times"]

# attributes that name other variables, which xarray looks into
_NAMES = ("coordinates", *CF_RELATED_DATA)
# what is left out of decoding a variable that cannot be decoded as it is, from little to all
_Less: TypeAlias = Literal["names", "times", "times and names", "packing and times", "packing, times and names", "all"]
_LESS: tuple[_Less, ...] = get_args(_Less)


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


def _for_one(name: str, description: Description, asked: Mapping[str, Any]) -> dict[str, Any] | None:
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


def _is_timedelta(description: Description) -> bool:
    subtype = description.get("subtype")
    dtype = subtype.get("dtype") if isinstance(subtype, dict) else description["dtype"]
    return str(dtype).startswith("timedelta64")


@dataclass(frozen=True, slots=True)
class Decoded:
    """What `decode_all` makes of the variables of a group.

    Attributes
    ----------
    variables : mapping of name to Variable
    attributes : mapping
        Of the group, those that are left.
    names : set of names
        What they make coordinates.
    undecoded : mapping of name to str
        Variables that are given as they are stored, wholly or in part, and why.
    """

    variables: Mapping[Any, xr.Variable]
    attributes: Any
    names: Any
    undecoded: Mapping[Any, str] = field(default_factory=dict)


def decode_all(
    raw: Mapping[Any, xr.Variable],
    attributes: Mapping[str, Any],
    decoders: Mapping[str, Any],
    store: str,
    group: str = "",
) -> Decoded:
    """As `decode`, but a variable that cannot be decoded is given as it is stored, and hides no other.

    Bounds that have the units of such a variable, and no own, are given so too.

    Raises
    ------
    MetadataError
        If it is the group that cannot be decoded, or a variable when it is read.
    """
    raw = {name: _with_float_factor(name, variable, decoders) for name, variable in raw.items()}
    if uncounted := [
        n for n, v in raw.items() if str(v.attrs.get("units")) in CF_UNITS and _is_uncounted(n, v, decoders)
    ]:
        decoders = _without("decode_timedelta", uncounted, raw, decoders, unless_said=None)
    beside = {v.attrs["bounds"] for v in raw.values() if isinstance(v.attrs.get("bounds"), str)}
    # xarray writes units into the attributes of bounds, also where it fails afterwards
    fresh = {name: variable.copy(deep=False) if name in beside else variable for name, variable in raw.items()}
    try:
        # what xarray only sees when elements are read
        if not any(_element_problem(name, variable, decoders) for name, variable in raw.items()):
            return Decoded(*decode(fresh, attributes, decoders, store, group))
        found = _undecodable_ones(raw, decoders)
    except MetadataError as error:
        if error.__cause__ is None:  # of the store, not of the decoders
            raise
        found = _undecodable_ones(raw, decoders)
        if not found:
            raise
    problems = {name: problem for name, (_, problem) in found.items()}
    less = {name: _least(name, variable, decoders) for name, (variable, _) in found.items()}
    untimed = [name for name, what in less.items() if "times" in what]
    packed = [name for name, what in less.items() if "packing" in what]
    joint = _without("mask_and_scale", packed, raw, without_times(untimed, raw, decoders), unless_said=True)
    kept = {name: variable.copy(deep=False) for name, variable in raw.items() if less.get(name) != "all"}
    kept |= {name: _without_names(kept[name]) for name, what in less.items() if "names" in what}
    variables, decoded_attributes, names = decode(kept, attributes, joint, store, group)
    for name, what in less.items():
        if what == "all":
            variables[name] = raw[name].copy(deep=False)
            continue
        attrs = variables[name].attrs
        for key in {"units", "calendar"} & attrs.keys() - raw[name].attrs.keys() if "times" in what else ():
            del attrs[key]  # those of what it is the bounds of
        attrs.update((key, raw[name].attrs[key]) for key in raw[name].attrs.keys() - kept[name].attrs.keys())
    return Decoded({name: variables[name] for name in raw}, decoded_attributes, names, problems)


def _with_float_factor(name: Any, variable: xr.Variable, decoders: Mapping[str, Any]) -> xr.Variable:
    """A variable whose whole factor is a float, if integers of it may be missing: xarray has no NaN for integers.

    Of floats it makes integers by such a factor.
    """
    if not isinstance(variable.attrs.get("scale_factor"), int | np.integer) or variable.dtype.kind not in "iuf":
        return variable
    is_marked = any(variable.attrs.get(key) is not None for key in MARKERS)
    if not (is_marked or variable.dtype.kind == "f") or not _is_on("mask_and_scale", name, decoders):
        return variable
    from zarrds.datasets.encoding.exact.packing import with_float_factors  # imported late: hardly any reader needs it

    changed = variable.copy(deep=False)
    changed.attrs = with_float_factors(variable.attrs)
    return changed


def _is_uncounted(name: Any, variable: xr.Variable, decoders: Mapping[str, Any]) -> bool:
    """Whether integers in units of time stay numbers, of which xarray masks some as if they became durations."""
    said = _item(decoders, "decode_timedelta", name, None)
    is_by_units = getattr(xr.coders.CFTimedeltaCoder() if said is None else said, "decode_via_units", said)
    is_by_dtype = "timedelta64" in str(variable.attrs.get("dtype"))
    return variable.dtype.kind in "iu" and not is_by_dtype and not is_by_units


def _undecodable_ones(
    raw: Mapping[Any, xr.Variable], decoders: Mapping[str, Any]
) -> dict[Any, tuple[xr.Variable, str]]:
    """Variables that cannot be decoded, each by itself or as the bounds of another, with its units; and why."""
    found: dict[Any, tuple[xr.Variable, str]] = {}
    for name, variable in raw.items():
        if (problem := _problem(name, variable, decoders)) is not None:
            found[name] = variable, problem
    for owner in raw.values():
        bounds = owner.attrs.get("bounds")
        if isinstance(bounds, str) and bounds in raw and bounds not in found and is_since(owner.attrs.get("units")):
            shared = {key: owner.attrs[key] for key in ("units", "calendar") if key in owner.attrs}
            variable = raw[bounds].copy(deep=False)
            variable.attrs = {**shared, **variable.attrs}
            if (problem := _problem(bounds, variable, decoders)) is not None:
                found[bounds] = variable, problem
    return found


def _problem(name: Any, variable: xr.Variable, decoders: Mapping[str, Any]) -> str | None:
    """Why a variable cannot be decoded by itself; None if it can be."""
    if (problem := _element_problem(name, variable, decoders)) is not None:
        return problem
    try:
        decode_opened({name: variable.copy(deep=False)}, {}, **decoders)
    except ZarrdsError:
        raise
    except Exception as error:  # whatever xarray makes of what an attribute may hold
        return _first_line(error)
    return None


def _element_problem(name: Any, variable: xr.Variable, decoders: Mapping[str, Any]) -> str | None:
    """What is wrong with the decoding of elements that xarray only sees when they are read.

    A factor or an offset must be one number, and that of numbers; an encoding is one of bytes.
    """
    if (
        "_Encoding" in variable.attrs
        and variable.dtype.kind not in "SO"
        and _is_on("concat_characters", name, decoders)
    ):
        return f"_Encoding is that of bytes, which {variable.dtype} is not"
    if variable.attrs.keys().isdisjoint(SCALE) or not _is_on("mask_and_scale", name, decoders):
        return None
    for key in sorted(variable.attrs.keys() & SCALE):
        value = array_of(variable.attrs[key])
        if value is None or value.dtype.kind not in "biuf" or value.size != 1:
            return f"{key} is no number: {variable.attrs[key]!r:.40}"
        if variable.dtype.kind not in "biufc":
            return f"{key} is that of numbers, which {variable.dtype} is not"
    return None


def _is_on(key: str, name: Any, decoders: Mapping[str, Any]) -> bool:
    """Whether a decoder is one of those that decode a variable."""
    return decoders.get("decode_cf") is not False and _item(decoders, key, name, True) is not False


def _least(name: Any, variable: xr.Variable, decoders: Mapping[str, Any]) -> _Less:
    """What to leave out of decoding a variable for the rest to succeed."""
    timeless = {**decoders, "decode_times": False, "decode_timedelta": False}
    as_stored = {**timeless, "mask_and_scale": False}
    for what in _LESS[:-1]:
        plain = _without_names(variable) if "names" in what else variable
        others = as_stored if "packing" in what else timeless if "times" in what else decoders
        if _problem(name, plain, others) is None:
            return what
    return "all"


def _without_names(variable: xr.Variable) -> xr.Variable:
    """A variable without the attributes that name others in no way that there is, or else without all of them."""
    named = {key: value for key, value in variable.attrs.items() if key in _NAMES}
    wrong = {key for key, value in named.items() if not isinstance(value, str)} or named.keys()
    plain = variable.copy(deep=False)
    plain.attrs = {key: value for key, value in variable.attrs.items() if key not in wrong}
    return plain


def without_times(
    names: Collection[Any], raw: Mapping[Any, xr.Variable], decoders: Mapping[str, Any]
) -> dict[str, Any]:
    """Decoders that leave times, of some variables, the numbers that they are stored as."""
    timed = _without("decode_times", names, raw, decoders, unless_said=True)
    return _without("decode_timedelta", names, raw, timed, unless_said=None)


def _without(
    key: str,
    names: Collection[Any],
    raw: Mapping[Any, xr.Variable],
    decoders: Mapping[str, Any],
    *,
    unless_said: bool | None,
) -> dict[str, Any]:
    """Decoders of which one is switched off for some of the variables."""
    given = decoders.get(key, unless_said)
    if given is False or not names:
        return dict(decoders)
    each = given if isinstance(given, Mapping) else dict.fromkeys(raw, given)
    return {**decoders, key: {**each, **dict.fromkeys(names, False)}}


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
    # of these, where they are bounds of times, xarray makes no times, but gives them the calendar all the same
    untimed = [n for n, v in raw.items() if not is_since(v.attrs.get("units", " since ")) and "calendar" not in v.attrs]
    try:
        variables, decoded_attributes, names = decode_opened(raw, dict(attributes), **decoders)
    except ZarrdsError:
        raise
    except Exception as error:
        name, cause = _culprit(raw, decoders, error)
        raise _undecodable(store, path_of(group, name), cause) from error
    for name in untimed:
        if name in variables:
            variables[name].attrs.pop("calendar", None)
    for name, variable in variables.items():
        guard_decoders(variable, partial(_guarded, store, group, name, variable.encoding))
    return dict(variables), decoded_attributes, names


def _culprit(raw: Mapping[Any, xr.Variable], decoders: Mapping[str, Any], error: Exception) -> tuple[Any, Exception]:
    """The variable that cannot be decoded by itself, and why; no name if that is of the group or of several."""
    for name, variable in raw.items():
        try:
            decode_opened({name: variable.copy(deep=False)}, {}, **decoders)
        except Exception as own:
            return name, own
    return None, error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _undecodable(store: str, path: str, error: Exception) -> MetadataError:
    problem = _first_line(error)
    name = path.rpartition("/")[2]
    if not name:
        mend = "Open it as it is stored, with decode_cf=False, or mend its attributes with zarrds.open_group"
        return MetadataError(f"group cannot be decoded: {problem}", path=store, key="/", mend=mend)
    return UndecodableError(
        f"variable cannot be decoded: {problem}",
        path=store,
        key=path,
        mend=f"Open it as it is stored, with decode_times={{{name!r}: False}} or decode_cf=False, "
        f"or without it: drop_variables=[{name!r}]",
    )


def _guarded(
    store: str, group: str, name: Any, encoding: Mapping[Any, Any], function: Callable[..., Any], dtype: Any
) -> _Guarded:
    is_masked = dtype == np.float64 and encoding.keys().isdisjoint((*SCALE, "units"))
    markers = tuple(encoding[key] for key in MARKERS if is_masked and encoding.get(key) is not None)
    return _Guarded(function, dtype, store, path_of(group, name), markers)


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A function of a variable's elements that raises errors of zarrds only."""

    function: Callable[..., Any]
    dtype: Any
    store: str
    path: str
    masked: tuple[Any, ...]  # what is missing, where nothing else is done to numbers than that floats are made of them

    def __call__(self, values: Any) -> Any:
        if getattr(values, "size", None) == 0 and isinstance(self.dtype, np.dtype):
            # of no timedeltas xarray makes seconds, whatever it has said of them; of no dates of cftime an error
            return np.empty(np.shape(values), self.dtype)
        try:
            decoded = self.function(values)
        except ZarrdsError:
            raise
        except Exception as error:
            raise _undecodable(self.store, self.path, error) from error
        if self.masked and getattr(values, "dtype", np.dtype(bool)).newbyteorder("=") in (np.int64, np.uint64):
            from zarrds.datasets.reading.rounded import tell_of_rounded  # which few datasets need

            tell_of_rounded(np.asarray(values), np.asarray(decoded), self.masked, self.store, self.path)
        return decoded
