"""Groups as a DataTree, and which of them does not fit those above it where they are none."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from zarrds.compat.xarray_internals import datatree_from_dict_with_io_cleanup
from zarrds.errors import LabelError

__all__ = ["tree_of"]


def tree_of(groups: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """A DataTree of groups, by path.

    Raises
    ------
    LabelError
        A ValueError: for a dimension that has another size in a group than in one above it.
    """
    try:
        return datatree_from_dict_with_io_cleanup(groups)
    except ValueError as error:
        if (misfit := _misfit({f"/{path.strip('./')}": ds for path, ds in groups.items()})) is None:
            raise
        raise misfit from error


def _misfit(groups: Mapping[str, xr.Dataset]) -> LabelError | None:
    """What keeps groups from being a tree, if that is a size."""
    for path, ds in groups.items():
        for above in groups:
            if above == path or not path.startswith(f"{above.rstrip('/')}/"):
                continue
            for dim in ds.sizes.keys() & groups[above].sizes.keys():
                if ds.sizes[dim] != groups[above].sizes[dim]:
                    return LabelError(
                        f"group {path!r} is not aligned with its parents: dimension {dim!r} has another size than in "
                        f"{above!r}, and one in a DataTree",
                        key=path.strip("/"),
                        expected=groups[above].sizes[dim],
                        found=ds.sizes[dim],
                        mend="Open the groups by themselves, with xr.open_groups or group=, or rename the dimension "
                        "in one of them with zarrds.rename",
                    )
    return None
