"""``ds.zarrds``: what zarrds does with a dataset, as methods of it.

xarray is slow to import and must not be imported with zarrds. So the accessor is registered at once where xarray is
there already, and else in the moment in which it has been imported, by a finder that then takes itself away.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # importlib.abc brings tempfile, shutil and random with it
    from importlib.abc import Loader, MetaPathFinder
    from importlib.machinery import ModuleSpec
else:
    Loader = MetaPathFinder = object

__all__ = ["Accessor", "register"]


class Accessor:
    """``ds.zarrds`` of a Dataset, DataArray or DataTree.

    Examples
    --------
    >>> import xarray as xr
    >>> import zarrds
    >>> store = zarrds.MemoryStore()
    >>> xr.Dataset({"v": ("x", [1, 2])}).zarrds.save(store)
    >>> xr.open_dataset(store, engine="zarrds").v.values
    array([1, 2])
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    @property
    def save(self) -> Callable[..., Any]:
        """`zarrds.save` of this, which takes the store and all that comes after it."""
        return MethodType(import_module("zarrds").save, self._data)

    @property
    def find(self) -> Callable[..., Any]:
        """`zarrds.find` in this, which takes the query and all that comes after it."""
        return MethodType(import_module("zarrds").find, self._data)

    @property
    def info(self) -> Callable[..., Any]:
        """`zarrds.info` of this."""
        return MethodType(import_module("zarrds").info, self._data)


def register() -> None:
    """Give the accessor to xarray's objects, now or as soon as xarray is imported."""
    xarray = sys.modules.get("xarray")
    if xarray is None:
        sys.meta_path.insert(0, _Waiting())
    elif hasattr(xarray, "register_datatree_accessor"):  # else it is being imported at this moment
        _register(xarray)


def _register(xarray: ModuleType) -> None:
    if hasattr(xarray.Dataset, "zarrds"):
        return
    for kind in ("dataset", "dataarray", "datatree"):
        getattr(xarray, f"register_{kind}_accessor")("zarrds")(Accessor)


class _Waiting(MetaPathFinder):
    """Finds nothing; but when xarray is looked for, it lets it be found by others and be imported by `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "xarray":
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads a module as another loader does, and registers the accessor afterwards."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _register(module)
