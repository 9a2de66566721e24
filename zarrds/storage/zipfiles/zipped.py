"""A store in a ZIP file by path: read where it lies, and written as a whole, never in parts."""

from __future__ import annotations

import os
import zipfile
from typing import Any, NoReturn, Self

from zarrds.errors import ReadOnlyError, StoreExistsError, StoreIOError
from zarrds.storage.local import staging, syncing
from zarrds.storage.local.store import LocalStore
from zarrds.storage.read_only import ReadOnlyStore
from zarrds.storage.traits import folder_of
from zarrds.storage.zipfiles.archive import ZipSource

__all__ = ["ZipStore"]

# in the staged folder, where no store has keys
_PACKED = ".packed.zarrds-partial"


class ZipStore(ReadOnlyStore):
    """A store in a ZIP file.

    A save of all of it fills a hidden folder beside the file, packs that into another file, members as they are
    (chunks are compressed already), and renames it to its name: readers see the old file or the new one. So room for
    twice the store is needed meanwhile.

    Parameters
    ----------
    path : str
    durable : bool
        Whether the file is on the disk before it gets its name.

    Raises
    ------
    StoreIOError
        If a file stands there that is no ZIP file.
    ReadOnlyError
        By all that changes a part of it.

    Examples
    --------
    >>> import tempfile, xarray as xr, zarrds
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     zarrds.save(xr.Dataset({"t2m": ("x", [280.5])}), f"{folder}/t2m.zarr.zip")
    ...     xr.open_dataset(f"{folder}/t2m.zarr.zip", engine="zarrds").t2m.values
    array([280.5])
    """

    def __init__(self, path: str, durable: bool = False) -> None:
        super().__init__(ZipSource(path))
        self._file, self._durable = os.path.abspath(path), durable

    def as_durable(self, durable: bool = True) -> Self:
        """Return the same store, whose file is on the disk before it gets its name."""
        return type(self)(self.path, durable)

    def stage(self) -> Any:
        """Return a new, empty folder for what will be packed; see `Committer.stage`."""
        try:
            os.makedirs(os.path.dirname(self._file), exist_ok=True)
            folder = LocalStore(staging.make_beside(self._file))
            folder.path = self.path  # of which errors are to tell
            return folder
        except OSError as error:
            raise StoreIOError(f"cannot write beside the file: {error}", path=self.path) from error

    def publish(self, staged: Any, *, replace: bool = True) -> None:
        """Pack what was staged, and put it in the place of the file; see `Committer.publish`."""
        folder = folder_of(staged)
        if folder is None or os.path.dirname(folder) != os.path.realpath(os.path.dirname(self._file)):
            raise ValueError(f"the store was not staged for {self!r}")
        try:
            packed = os.path.join(folder, _PACKED)
            _pack(staged, folder, packed)
            if self._durable:
                with open(packed, "rb+") as file:
                    os.fsync(file.fileno())
            _rename(packed, self._file, replace=replace)
            if self._durable:
                syncing.sync_folder(os.path.dirname(self._file))
        except FileExistsError as error:
            mend = "Pass mode='w' to replace it"
            raise StoreExistsError("a file came to stand here meanwhile", path=self.path, mend=mend) from error
        except OSError as error:
            raise StoreIOError(f"cannot write the file: {error}", path=self.path) from error
        self.discard(staged)
        self._source = ZipSource(self.path)

    def discard(self, staged: Any) -> None:
        """Remove a folder that was staged; see `Committer.discard`."""
        if (folder := folder_of(staged)) is not None:
            staging.remove(folder)

    def recover(self) -> None:
        """Do nothing: a file is replaced by one rename."""

    def clean(self, *, repair: bool = False) -> list[str]:
        """Remove what dead writers staged beside the file; see `Committer.clean`."""
        return staging.clean(self._file)

    def check_parts(self) -> NoReturn:
        """Raise `ReadOnlyError`: see `zarrds.storage.traits.WrittenWhole`."""
        raise ReadOnlyError(
            "a ZIP file is only written as a whole",
            path=self.path,
            mend="Save all of it anew with mode='w', or add to a folder and pack that with zarrds.copy(folder, file)",
        )

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        self.check_parts()

    set = delete = stage_changes = link = apply_changes = _refuse


def _pack(staged: LocalStore, folder: str, packed: str) -> None:
    """Write all values of a folder into a ZIP file, the documents first, as they are read first."""
    keys = sorted(staged.list_prefix(), key=lambda key: (key.count("/") > 0, key))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for key in keys:
            archive.write(os.path.join(folder, *key.split("/")), key)


def _rename(packed: str, target: str, *, replace: bool) -> None:
    """Give a file its name. Raises `FileExistsError` if something stands there that is not to be replaced."""
    if replace:
        os.replace(packed, target)
        return
    try:
        os.link(packed, target)  # which replaces nothing
    except FileExistsError:
        raise
    except OSError:  # of a file system without links
        if os.path.exists(target):
            raise FileExistsError(target) from None
        os.rename(packed, target)
