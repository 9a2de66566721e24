"""New data in the encoding of a variable that is stored already, without altering a single value silently.

xarray's encoders do the encoding. They round, wrap around and change units without an error, so that what they give is
checked here: data in memory at once, dask blocks when they are computed.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from zarrds.compat.xarray_internals import decode_cf_variables, variable_of
from zarrds.datasets.encoding.exact.blocks import blockwise
from zarrds.datasets.encoding.exact.comparison import check_dims
from zarrds.datasets.encoding.exact.encoder import Encoder
from zarrds.datasets.encoding.exact.kinds import KINDS, kind_of_dtype
from zarrds.datasets.encoding.exact.lossy_codecs import proven
from zarrds.datasets.encoding.exact.packing import CF_KEYS
from zarrds.datasets.encoding.meaning import is_in_same_encoding
from zarrds.metadata.attributes import SCALE
from zarrds.metadata.model import ArrayMetadata

__all__ = ["as_stored", "encode_like"]


def encode_like(name: Hashable, variable: xr.Variable, stored: xr.Variable, metadata: ArrayMetadata) -> xr.Variable:
    """New data as the store would hold it.

    The encoding is the stored variable's, whatever the new one's own is. Floats that the store packs into integers are
    rounded to its precision, and floats to the precision of its floats; nothing else is altered.

    Parameters
    ----------
    name : hashable
    variable : Variable
        Decoded; of NumPy or dask arrays, which stay lazy and are checked when they are computed.
    stored : Variable
        Decoded, with the encoding of the store.
    metadata : ArrayMetadata
        Of the stored array.

    Returns
    -------
    Variable
        With the stored dimensions and dtype, and the attributes of the stored variable's encoding left out.

    Raises
    ------
    LabelError
        For other dimensions than the store has.
    EncodingError
        For another kind of data, and for values that the store cannot hold: out of range, not to be told from missing
        ones, times between the store's units, strings that are too long. With dask it is raised by the computation.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from zarrds.arrays.layout import new_array_metadata
    >>> stored = xr.Variable("x", [0.5], {}, {"dtype": np.dtype("i2"), "scale_factor": 0.5})
    >>> metadata = new_array_metadata(shape=(1,), dtype="int16")
    >>> encode_like("v", xr.Variable("x", [1.0, 7.5]), stored, metadata).values
    array([ 2, 15], dtype=int16)
    """
    check_dims(name, stored, variable)
    variable = variable.transpose(*stored.dims)
    dtype = metadata.data_type.dtype
    if is_in_same_encoding(variable, stored):
        return proven(name, variable_of(stored.dims, variable.data.astype(dtype, copy=False)), metadata)
    keys = (*CF_KEYS, "_Encoding")  # of strings that are stored as bytes
    encoding = {key: stored.encoding[key] for key in keys if stored.encoding.get(key) is not None}
    kind = _stored_kind(stored, metadata)
    for key in encoding.keys() & SCALE:
        factor = np.asarray(encoding[key]).reshape(())
        # short floats are counted in by readers, and times must be exact
        encoding[key] = factor[()] if kind in ("datetimes", "timedeltas") else factor.item()
    if kind == "datetimes" and "units" in encoding:
        # as it is read where none is said; xarray would write another, and they part in 1582, after some units begin
        encoding.setdefault("calendar", "standard")
    is_cftime = kind == "datetimes" and stored.dtype.kind == "O"
    encoder = Encoder(name, stored.dims, dtype, kind, encoding, is_cftime=is_cftime)
    encoder.check_dtype(variable.dtype)
    data = variable.data if variable.dtype == dtype and encoder.is_plain else blockwise(encoder, variable, dtype)
    return proven(name, variable_of(stored.dims, data), metadata)


def as_stored(name: Hashable, variable: xr.Variable, stored: xr.Variable, metadata: ArrayMetadata) -> xr.Variable:
    """Labels as they will read back from a store that packs them into integers; others as they are.

    Parameters and errors are those of `encode_like`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from zarrds.arrays.layout import new_array_metadata
    >>> stored = xr.Variable("x", [0.5], {}, {"dtype": np.dtype("i2"), "scale_factor": 0.5})
    >>> metadata = new_array_metadata(shape=(1,), dtype="int16")
    >>> as_stored("x", xr.Variable("x", [1.01, 7.5]), stored, metadata).values
    array([1. , 7.5])
    """
    attributes = {key: stored.encoding[key] for key in CF_KEYS if stored.encoding.get(key) is not None}
    if not variable.size or attributes.keys().isdisjoint(SCALE):
        return variable
    encoded = encode_like(name, variable, stored, metadata)
    raw = {"labels": xr.Variable(encoded.dims, encoded.data, attributes)}
    decoded, _, _ = decode_cf_variables(raw, {}, decode_timedelta=stored.dtype.kind == "m")
    return xr.Variable(encoded.dims, decoded["labels"].values, variable.attrs)


def _stored_kind(stored: xr.Variable, metadata: ArrayMetadata) -> str:
    """What the elements of a stored variable are when they are decoded, without reading any."""
    name, dtype = metadata.data_type.name, metadata.data_type.dtype
    if dtype.kind in "mM" or stored.dtype.kind in "mM":
        return KINDS[stored.dtype.kind]
    if dtype.kind in "iuf":
        if stored.dtype.kind == "O":  # by a factor that is a list of one number xarray makes objects
            return "floats" if "units" not in stored.encoding and stored.encoding.keys() & SCALE else "datetimes"
        return KINDS[stored.dtype.kind]
    if name in ("string", "bytes", "variable_length_bytes"):
        return "strings" if name == "string" else "bytes"
    if dtype.kind == "S" and "_Encoding" in stored.encoding:
        return "strings"
    return "objects" if dtype.kind == "O" else kind_of_dtype(dtype)
