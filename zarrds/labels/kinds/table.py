"""All kinds of labels that pandas has: to plain arrays, and back.

One table, `_KINDS`, has a row for each kind; what a row does is in the module that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray, ExtensionDtype

from zarrds.errors import EncodingError, MetadataError
from zarrds.labels.kinds.arrow import ARROW, as_arrow, as_pandas
from zarrds.labels.kinds.categories import CATEGORY, category_options, restore_categories, store_categories
from zarrds.labels.kinds.intervals import INTERVAL, interval_unit, restore_intervals, store_intervals
from zarrds.labels.kinds.nullable import MASKED, fits_masked, masked_options, restore_masked, store_masked
from zarrds.labels.kinds.objects import (
    OBJECTS,
    STRINGS,
    holds_objects,
    objects_options,
    restore_objects,
    restore_strings,
    store_objects,
    store_strings,
)
from zarrds.labels.kinds.periods import PERIODS, period_unit, restore_periods, store_periods
from zarrds.labels.kinds.plain import (
    Array,
    Description,
    Labels,
    Plain,
    StoredKind,
    described_dtype,
    is_missing,
    mismatch,
    other_kind,
)
from zarrds.labels.kinds.recognised import Values, all_missing, as_index, missing_times
from zarrds.labels.kinds.texts import TEXTS, holds_text, marked_texts, restore_texts, store_texts, text_options
from zarrds.labels.kinds.times import (
    TIMES,
    is_cftime,
    restore_cftime,
    restore_times,
    store_cftime,
    store_times,
    time_unit,
)

__all__ = [
    "Plain",
    "StoredKind",
    "added_attributes",
    "array_from_plain",
    "companion_names",
    "decode_options",
    "from_plain",
    "to_plain",
]


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of labels.

    Attributes
    ----------
    dtypes : re.Pattern
        The dtypes that descriptions of the kind name.
    holds : callable
        Whether an index is of the kind.
    store : callable
        An index, and what the store has already, to plain arrays; None where nothing need be said.
    restore : callable
        A description, decoded values and companions (all 1-D, bounds 2-D), to the index.
    options : callable
        A description, to how xarray must decode the array. Raises `MetadataError` for members of it that are malformed.
    is_extension : bool
        Whether xarray holds data of the kind as an extension array.
    needs_description : callable
        Whether an index cannot be written to an array that has no description.
    fits : callable
        Whether an index can be written to an array of the kind whose dtype is given; only those it holds by default.
    companions : tuple of str
        The roles of what is stored beside the array.
    attributes : frozenset of str
        That other readers are told of.
    """

    dtypes: re.Pattern[str]
    holds: Callable[[Labels], bool]
    store: Callable[[Any, StoredKind | None], Plain | None]
    restore: Callable[[Description, Array, Mapping[str, Any]], Labels]
    options: Callable[[Description], dict[str, Any]]
    is_extension: bool = False
    needs_description: Callable[[Any], bool] = lambda labels: True
    fits: Callable[[Labels, str], bool] | None = None
    companions: tuple[str, ...] = ()
    attributes: frozenset[str] = frozenset()


def _of_dtype(kind: type[ExtensionDtype]) -> Callable[[Labels], bool]:
    return lambda labels: isinstance(labels.dtype, kind)


_KINDS = (
    Kind(
        TIMES,
        lambda labels: isinstance(labels, pd.DatetimeIndex | pd.TimedeltaIndex),
        store_times,
        restore_times,
        time_unit,
        needs_description=lambda labels: isinstance(labels.dtype, pd.DatetimeTZDtype),
    ),
    Kind(
        re.compile("cftime"),
        lambda labels: labels.dtype == object and is_cftime(labels),
        store_cftime,
        restore_cftime,
        lambda description: {"use_cftime": True},
        needs_description=lambda labels: False,
        fits=lambda labels, dtype: labels.dtype == object and (is_cftime(labels) or bool(is_missing(labels).all())),
    ),
    Kind(PERIODS, _of_dtype(pd.PeriodDtype), store_periods, restore_periods, period_unit, is_extension=True),
    Kind(
        INTERVAL,
        _of_dtype(pd.IntervalDtype),
        store_intervals,
        restore_intervals,
        interval_unit,
        is_extension=True,
        companions=("bounds",),
    ),
    Kind(
        CATEGORY,
        _of_dtype(pd.CategoricalDtype),
        lambda labels, like: store_categories(labels, like, _companion),
        restore_categories,
        category_options,
        is_extension=True,
        companions=("categories",),
        attributes=frozenset({"_FillValue", "flag_values", "flag_meanings"}),
    ),
    Kind(
        MASKED,
        lambda labels: isinstance(labels.dtype, ExtensionDtype) and MASKED.fullmatch(labels.dtype.name) is not None,
        store_masked,
        restore_masked,
        masked_options,
        is_extension=True,
        fits=fits_masked,
        attributes=frozenset({"_FillValue"}),
    ),
    Kind(
        TEXTS,
        holds_text,
        store_texts,
        restore_texts,
        text_options,
        needs_description=lambda labels: False,
        attributes=frozenset({"missing_value"}),
    ),
    Kind(
        OBJECTS,
        holds_objects,
        store_objects,
        restore_objects,
        objects_options,
        needs_description=lambda labels: pd.api.types.infer_dtype(labels, skipna=True) != "bytes",
        fits=lambda labels, dtype: labels.dtype == object,
        attributes=frozenset({"_FillValue"}),
    ),
    Kind(
        STRINGS,
        lambda labels: False,  # of arrays alone; an index of them is one of objects
        store_texts,
        restore_texts,
        text_options,
        fits=lambda labels, dtype: holds_text(labels),
        attributes=frozenset({"missing_value"}),
    ),
)


def to_plain(values: Values, like: StoredKind | None = None) -> Plain | None:
    """What is stored of labels, or of the data of a variable.

    Parameters
    ----------
    values : Index, ExtensionArray or ndarray
        An array of objects may have any number of dimensions; what pandas' scalars are in it is recognised.
    like : StoredKind, optional
        What the store has already, where these are appended or written to a region: then its description counts, its
        categories are used, and no encoding is asked for.

    Returns
    -------
    Plain or None
        Of the shape of `values`; bounds have a last dimension of 2. None where a plain array of these values says all
        that there is to say; objects that are text are marked as that, so that nobody needs to look at them again.

    Raises
    ------
    LabelError
        For labels that are not of the kind of the store's.
    EncodingError
        For labels that no plain array can hold.

    Notes
    -----
    Float32 and Float64 do not tell NaN from what is missing, nor does text that is missing as None from NaN.
    Any number of threads may call this, and all functions of this module.

    Examples
    --------
    >>> plain = to_plain(pd.CategoricalIndex(["low", "high", "low"], categories=["low", "high"]))
    >>> plain.values, plain.description
    (array([0, 1, 0], dtype=int8), {'dtype': 'category', 'ordered': False})
    >>> plain.attrs["flag_meanings"], plain.companions["categories"].values.tolist()
    ('low high', ['low', 'high'])
    """
    if isinstance(values, pd.MultiIndex):
        raise TypeError("the levels of a MultiIndex are stored one by one")
    if (arrow := as_pandas(values)) is not None:
        return _plain_of_arrow(*arrow, like)
    is_described = like is not None and bool(like.description)
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OMmT" and not is_described:
        return None  # at once: these may be large
    if isinstance(values, np.ndarray) and values.dtype.kind == "T" and like is None:
        return store_strings(values)
    if like is None and (texts := marked_texts(values)) is not None:
        return Plain(texts)  # at once too
    labels = as_index(values)
    if like is not None and is_described and labels is not None and values.dtype == object and labels.isna().all():
        labels = all_missing(pd.Index(labels, dtype=object), like)  # pd.NA alone has made text of them
    elif like is None and labels is not None and isinstance(values, np.ndarray):
        labels = missing_times(labels)
    kind = None if labels is None else next((kind for kind in _KINDS if kind.holds(labels)), None)
    if labels is not None and kind is None and isinstance(labels.dtype, ExtensionDtype):
        raise EncodingError(
            "labels of this dtype cannot be stored",
            found=labels.dtype,
            mend="Convert them with astype, geometries with to_wkb or to_wkt",
        )
    if like is not None and is_described:
        plain = _as_described(values, labels, kind, like)
    elif labels is None or kind is None:
        from zarrds.labels.kinds.mixtures import of_one_type  # which readers do not need

        is_mixed = labels is not None and labels.dtype == object
        same = of_one_type(np.asarray(values), is_added=like is not None) if is_mixed else None
        plain = None if same is None else Plain(same)
    elif like is not None:
        if kind.needs_description(labels):
            raise other_kind(like, values.dtype)
        if not isinstance(labels.dtype, pd.StringDtype):
            return None
        plain = Plain(labels.to_numpy(dtype=object, na_value=np.nan))
    else:
        plain = kind.store(labels, None)
    return None if plain is None else _shaped(plain, values.shape)


def _as_described(values: Values, labels: Labels | None, kind: Kind | None, like: StoredKind) -> Plain | None:
    """What is stored of labels that are of the kind that the store describes; else a `LabelError`."""
    dtype = described_dtype(like.description)
    expected = _kind_of(dtype)
    fits = expected.fits or (lambda labels, dtype: kind is expected)
    if labels is not None and fits(labels, dtype):
        return expected.store(labels, like)
    objects = np.ravel(np.asarray(values)) if values.dtype == object else None
    if objects is not None and is_cftime(objects):
        raise other_kind(like, "dates of cftime", mend="Convert them first, with convert_calendar")
    raise other_kind(like, values.dtype if objects is None else f"objects: {pd.api.types.infer_dtype(objects)}")


def _plain_of_arrow(labels: Labels, name: str, like: StoredKind | None) -> Plain | None:
    plain = to_plain(labels, like)
    if like is not None:
        return plain
    if plain is None:
        plain = Plain(labels.to_numpy(), {"dtype": str(labels.dtype)})
    return replace(plain, description={**plain.description, ARROW: name})


def _companion(labels: Labels, like: StoredKind | None = None) -> Plain:
    return to_plain(labels, like) or Plain(labels.to_numpy())


def _shaped(plain: Plain, shape: tuple[int, ...]) -> Plain:
    if len(shape) == 1:
        return plain
    companions = {
        role: replace(each, values=each.values.reshape(*shape, 2)) if role == "bounds" else each
        for role, each in plain.companions.items()
    }
    return replace(plain, values=plain.values.reshape(shape), companions=companions)


def _kind_of(dtype: str) -> Kind:
    kind = next((kind for kind in _KINDS if kind.dtypes.fullmatch(dtype)), None)
    if kind is None:
        raise mismatch("description of labels names an unknown dtype", found=dtype)
    return kind


def from_plain(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `to_plain` was given.

    Parameters
    ----------
    description : mapping
        As it was found in the store: nothing in it is believed unchecked.
    values : ndarray
        The array, 1-D, decoded by xarray as `decode_options` says.
    companions : mapping
        By role: ``"categories"`` is an Index, ``"bounds"`` an array of shape ``(n, 2)``, decoded as the array itself.

    Returns
    -------
    Index
        For cftime an index of objects, of which xarray makes a CFTimeIndex. A frequency that labels no longer have is
        left out.

    Raises
    ------
    MetadataError
        If the description is malformed, or does not fit the arrays.

    Examples
    --------
    >>> starts = np.array(["2024-01-01", "2024-02-01"], "M8[s]")
    >>> from_plain({"dtype": "period[M]"}, starts, {})
    PeriodIndex(['2024-01', '2024-02'], dtype='period[M]')
    """
    kind = _kind_of(described_dtype(description))
    if values.ndim != 1:
        raise mismatch("array of labels has other than one dimension", found=values.shape)
    try:
        return as_arrow(kind.restore(description, values, companions), description)
    except MetadataError:
        raise
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError, Warning) as error:  # pandas' and zoneinfo's
        raise mismatch(f"array is not what is described: {error}", expected=description["dtype"]) from error


def array_from_plain(description: Description, values: Array, companions: Mapping[str, Any]) -> ExtensionArray | Array:
    """What xarray holds of the data of a variable that `to_plain` was given.

    Parameters
    ----------
    description, values, companions
        As for `from_plain`, but `values` may have any number of dimensions, and bounds one more.

    Returns
    -------
    ExtensionArray or ndarray
        An extension array for categories, periods, intervals, nullable numbers, and what is Arrow-backed, if it has
        one dimension. Else an array: of objects for those, for times with a zone, and for text that is missing as
        pd.NA or NaN.

    Raises
    ------
    MetadataError

    Examples
    --------
    >>> array_from_plain({"dtype": "Int64", "missing": -1}, np.array([3, -1]), {})
    <IntegerArray>
    [3, <NA>]
    Length: 2, dtype: Int64
    >>> array_from_plain({"dtype": "datetime64[s, Europe/London]"}, np.array(["2024-07-01T12:00:00"], "M8[s]"), {})
    array([Timestamp('2024-07-01 13:00:00+0100', tz='Europe/London')],
          dtype=object)
    """
    kind = _kind_of(described_dtype(description))
    flat = dict(companions)
    bounds = flat.get("bounds")
    if isinstance(bounds, np.ndarray):
        if bounds.shape != (*values.shape, 2):
            raise mismatch("bounds have another shape", expected=(*values.shape, 2), found=bounds.shape)
        flat["bounds"] = bounds.reshape(-1, 2)
    if described_dtype(description) == "StringDType":
        return restore_strings(description, values)
    # an array has no freq, and one that is Arrow-backed has one dimension
    left_out = {"freq"} if values.ndim == 1 else {"freq", ARROW}
    index = from_plain({k: v for k, v in description.items() if k not in left_out}, values.reshape(-1), flat)
    if values.ndim == 1 and (kind.is_extension or isinstance(index.dtype, pd.ArrowDtype)):
        return index.array
    if isinstance(index.dtype, ExtensionDtype):
        return np.asarray(index.astype(object)).reshape(values.shape)
    return index.to_numpy().reshape(values.shape)


def decode_options(description: Description) -> Mapping[str, Any]:
    """How xarray must decode the array, and the bounds beside it, so that `from_plain` can read them.

    These are ``time_unit`` (of the coders of datetimes and timedeltas), ``use_cftime`` and ``mask_and_scale``. Raises
    `MetadataError`.

    Examples
    --------
    >>> decode_options({"dtype": "datetime64[us, UTC]"}), decode_options({"dtype": "boolean"})
    ({'time_unit': 'us'}, {'mask_and_scale': False})
    """
    return _kind_of(described_dtype(description)).options(description)


def companion_names(description: Description) -> dict[str, str]:
    """By role, the names of the arrays that the caller has put into the description.

    Raises
    ------
    MetadataError
        If one is missing, or could not be that of an array of the same group.

    Examples
    --------
    >>> companion_names({"dtype": "category", "ordered": False, "categories": "x_categories"})
    {'categories': 'x_categories'}
    """
    names = {}
    for role in _kind_of(described_dtype(description)).companions:
        name = description.get(role)
        if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
            raise mismatch(f"description does not name the array of {role}", found=f"{name!r:.80}")
        names[role] = name
    return names


def added_attributes(description: Description) -> frozenset[str]:
    """The attributes that `to_plain` may have added, none of the user's. Raises `MetadataError`.

    Examples
    --------
    >>> sorted(added_attributes({"dtype": "Int64"}))
    ['_FillValue']
    """
    return _kind_of(described_dtype(description)).attributes
