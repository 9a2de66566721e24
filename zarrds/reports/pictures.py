"""A quicklook of a variable: a map, a line or bars, of at most a few chunks."""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any

import numpy as np
import xarray as xr

from zarrds.datasets.description.of_dataset import label_text
from zarrds.display.text import one_line
from zarrds.errors import UnsupportedError

__all__ = ["looked_at", "picture_of"]

_MAX_CHUNKS = 4
_MAX_POINTS = 500  # drawn along one edge
_MAX_NBYTES = 256 * 2**20  # of the chunks that are read
_MAX_BARS = 12


def looked_at(shape: tuple[int, ...], chunks: tuple[int, ...] | None, itemsize: int) -> tuple[int | slice, ...] | None:
    """What to read of an array: the last two dimensions, at most four chunks of them; None where that is too much.

    Along the other dimensions it is the position in the middle.

    Examples
    --------
    >>> looked_at((744, 721, 1440), (24, 100, 100), 4)
    (372, slice(0, 200, None), slice(0, 200, None))
    >>> looked_at((100,), None, 8)
    (slice(0, 100, None),)
    """
    if 0 in shape:
        return None
    sizes = chunks or shape
    shown = min(2, len(shape))
    per_dim = _MAX_CHUNKS if shown == 1 else 2
    key: list[int | slice] = [n // 2 for n in shape[: len(shape) - shown]]
    key += [slice(0, min(n, per_dim * c)) for n, c in zip(shape[-shown:], sizes[-shown:], strict=True)] if shown else []
    nbytes = int(np.prod(sizes, dtype=float)) * max(itemsize, 16 if itemsize == 0 else 1) * _MAX_CHUNKS
    return tuple(key) if nbytes <= _MAX_NBYTES else None


def picture_of(array: xr.DataArray) -> tuple[str, str] | None:
    """A picture as an ``img`` element without any address, and what it shows; None if there is nothing to draw.

    Raises
    ------
    UnsupportedError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError(
            "a report needs matplotlib", mend="Install it: python -m pip install 'zarrds[report]'"
        ) from error
    chunks = array.encoding.get("chunks")
    if not isinstance(chunks, tuple | list) or len(chunks) != array.ndim:
        chunks = array.shape
    key = looked_at(array.shape, tuple(chunks), array.dtype.itemsize)
    if key is None or array.ndim == 0:
        return None
    part = array[key].load()
    figure = Figure(figsize=(4.6, 2.6), dpi=100, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    if not _draw(axes, figure, part):
        return None
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # boxes stand for what the font does not have
        figure.savefig(file, format="png")
    data = base64.b64encode(file.getvalue()).decode()
    place = ", ".join(_place(d, k, n) for d, k, n in zip(array.dims, key, array.shape, strict=True))
    return f'<img alt="" width="460" height="260" src="data:image/png;base64,{data}">', place


def _place(dim: Any, key: int | slice, size: int) -> str:
    name = one_line(dim, 40)
    if isinstance(key, int):
        return f"{name} {key} of {size}"
    return f"all of {name}" if key.stop == size else f"{name} 0 to {key.stop - 1} of {size}"


def _draw(axes: Any, figure: Any, part: xr.DataArray) -> bool:
    values = np.asarray(part.values)
    kind = values.dtype.kind
    if kind in "OSTUb":
        _bars(axes, values)
        return True
    if kind == "c":
        values, kind = np.abs(values), "f"
    if kind in "mM":
        # in days, since a point that all know
        unit: Any = np.datetime_data(values.dtype)[0]
        day = np.timedelta64(1, "D") / np.timedelta64(1, unit)
        values = np.where(np.isnat(values), np.nan, values.view(np.int64) / day)
        axes.set_title("days since 1970-01-01" if kind == "M" else "days", fontsize=9)
    elif kind not in "iuf":
        return False
    with np.errstate(invalid="ignore"):  # NaN that signals, as those of VCF Zarr
        numbers = values.astype("f8")
        numbers[~np.isfinite(numbers)] = np.nan
    if np.isnan(numbers).all():
        return False
    if part.ndim == 1:
        step = max(1, numbers.size // (4 * _MAX_POINTS))
        axes.plot(np.arange(0, numbers.size, step), numbers[::step], linewidth=1)
        _label(part, 0, axes.set_xlabel, axes.set_xticks)
        axes.grid(alpha=0.3)
    else:
        steps = [max(1, n // _MAX_POINTS) for n in numbers.shape]
        image = axes.imshow(numbers[:: steps[0], :: steps[1]], aspect="auto", interpolation="nearest")
        figure.colorbar(image, ax=axes)
        _label(part, 0, axes.set_ylabel, axes.set_yticks, steps[0])
        _label(part, 1, axes.set_xlabel, axes.set_xticks, steps[1])
    return True


def _label(part: xr.DataArray, axis: int, name: Any, ticks: Any, step: int = 1) -> None:
    """The name of a dimension, and a few of its labels where it has such."""
    dim, size = part.dims[axis], part.shape[axis]
    name(one_line(dim, 30))
    if dim not in part.coords or part[dim].ndim != 1 or dim == part.name or size < 2:
        return
    places = np.unique(np.linspace(0, size - 1, 4).astype(int))
    texts = [one_line(text, 16).replace("$", r"\$") for text in _tick_texts(part[dim].values[places])]
    ticks(places / step, texts, fontsize=8)


def _tick_texts(labels: np.ndarray[Any, Any]) -> list[str]:
    """Labels as short texts: times without what they all have."""
    texts = [label_text(label) for label in labels]
    for same in (":00", " 00:00"):
        if labels.dtype.kind == "M" and all(text.endswith(same) for text in texts):
            texts = [text.removesuffix(same) for text in texts]
    return texts


def _bars(axes: Any, values: np.ndarray[Any, Any]) -> None:
    """How often each of the most frequent values is there."""
    names, counts = np.unique([one_line(value, 18) or "(empty)" for value in values.ravel()], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MAX_BARS]
    # a dollar would begin a formula
    labels = [str(names[i]).replace("$", r"\$") for i in order]
    axes.barh(np.arange(order.size), counts[order])
    axes.set_yticks(np.arange(order.size), labels, fontsize=8)
    axes.invert_yaxis()
    axes.xaxis.get_major_locator().set_params(integer=True)  # they are counted
