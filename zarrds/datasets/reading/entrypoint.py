"""What xarray finds under the name ``zarrds``: the engine, or with too old an xarray or pandas what says so.

xarray leaves out an engine that cannot be imported, with a warning that few see, and then says "unrecognized engine".
"""

from __future__ import annotations

from typing import Any, NoReturn

from xarray.backends import BackendEntrypoint

from zarrds.accessor import register
from zarrds.errors import ReleaseError

__all__ = ["ZarrdsBackendEntrypoint"]


def _refusing(problem: ReleaseError) -> type[BackendEntrypoint]:
    def refuse(self: Any, filename_or_obj: Any, *, drop_variables: Any = None, **options: Any) -> NoReturn:
        raise problem

    names = ("open_dataset", "open_datatree", "open_groups_as_dict")
    members = dict.fromkeys(names, refuse) | {
        "description": str(problem),
        "open_dataset_parameters": ("filename_or_obj", "drop_variables"),
        "__doc__": str(problem),
    }
    return type("ZarrdsBackendEntrypoint", (BackendEntrypoint,), members)


def _engine() -> type[BackendEntrypoint]:
    try:
        from zarrds.datasets.reading.backend import ZarrdsBackendEntrypoint as Engine
    except ReleaseError as problem:
        return _refusing(problem)
    return Engine


register()
ZarrdsBackendEntrypoint = _engine()
