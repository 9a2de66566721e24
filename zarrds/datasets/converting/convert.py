"""``zarrds.convert``: files and stores to a store; several are joined along a dimension, one by one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import xarray as xr

from zarrds.arguments import (
    check_encoding,
    check_flags,
    check_given,
    check_mappings,
    check_several,
    check_sizes,
    check_texts,
    nearest,
)
from zarrds.datasets.converting.plan import Target, as_blocks, encoding_for, stored_labels
from zarrds.datasets.converting.sources import Source, is_file, open_dataset, open_groups, source_name
from zarrds.datasets.converting.without_dask import appended_parts, parts_without_dask, save_by_parts
from zarrds.datasets.writing.commit.new_store import find_target
from zarrds.datasets.writing.sources import check_not_inside
from zarrds.datasets.writing.writer import save
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import EncodingError, LabelError, StoreExistsError, StoreIOError, UnsupportedError, ZarrdsError
from zarrds.metadata.model import ZarrFormat
from zarrds.metadata.nodes.documents import spec_there
from zarrds.storage.commits.committer import as_durable
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store

__all__ = ["Conversion", "convert"]

_VCF = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
_LARGE = 64 * 2**20  # bytes in memory, from which on data is read in blocks


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `zarrds.convert` did.

    Attributes
    ----------
    target : str
        The store.
    written, skipped : tuple of str
        The inputs that were written, and those of which the store had all labels already.
    """

    target: str
    written: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.target}: {len(self.written)} written"
        return f"{text}, {len(self.skipped)} skipped, which were there already" if self.skipped else text


def convert(
    inputs: Source | Iterable[Source],
    target: str | os.PathLike[str] | Store,
    *,
    concat_dim: str | None = None,
    group: str | None = None,
    chunks: Mapping[str, int] | None = None,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    compressors: Sequence[Any] | None = None,
    zarr_format: ZarrFormat | None = None,
    overwrite: bool = False,
    statistics: bool | None = None,
    durable: bool = True,
    progress: ProgressOption = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Conversion:
    """Write netCDF, GRIB, VCF and Zarr as a store.

    One input becomes a store with all its groups, which appears when all of it is written. Several are joined along
    `concat_dim`: the first makes the store, and each of the others is appended by itself, after its labels, units,
    variables and dtypes were compared with what is stored. Such a run that was stopped can be started again: inputs of
    which the store has all labels are skipped.

    Parameters
    ----------
    inputs : str, os.PathLike, Store, Dataset, or an iterable of such
        Paths of files that xarray opens (GRIB with cfgrib), of VCF files (``.vcf``, ``.vcf.gz``, ``.bcf``), and paths
        and URLs of stores.
    target : str, os.PathLike or Store
    concat_dim : str, optional
        The dimension along which several inputs follow each other, in the order in which they are given. It needs
        labels, for a run to be started again.
    group : str, optional
        The group of each input to read, if not all, and of `target` to write.
    chunks : mapping of str to int, optional
        Elements of a chunk along dimensions, -1 for all; along others, those of the input, or else all.
    encoding : mapping, optional
        For variables, as of `zarrds.save`: it takes the place of the encoding that the input has.
    compressors : sequence, optional
        Codecs for all variables without an encoding of their own, as ``encoding["compressors"]``.
    zarr_format : {3, 2}, optional
    overwrite : bool
        Replace what stands at `target`; else that is an error, unless it is a run to be gone on with.
    statistics : bool, optional
        As of `zarrds.save`: note what is in each chunk, for `zarrds.find` and `zarrds.aggregate`.
    durable : bool
        As of `zarrds.save`.
    progress : bool, "rich" or callable
        Show a progress bar (needs tqdm, or rich), or call ``progress(done, total)``: of several inputs with their
        numbers, of one with numbers of chunks, of VCF with numbers of records.
    storage_options : mapping, optional
        As of `zarrds.save`, for inputs and target that are URLs.

    Returns
    -------
    Conversion

    Raises
    ------
    StoreExistsError
        If something stands at `target`.
    UnsupportedError
        If an input cannot be opened, or a package that it needs is not installed.
    LabelError, EncodingError
        If an input does not fit what is stored; the input is named, and those before it are stored.
    StoreIOError
        If the file system refuses.

    Notes
    -----
    Inputs of more than 64 MiB are read in blocks of 32 MiB a thread by dask (extra ``dask``). Without it they are read
    in parts of 32 MiB along one dimension, into a hidden store beside the target, which is then brought into the chunks
    that are wanted; variables of numbers without that dimension are written block by block, other variables without it
    must fit into memory then.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> days = [xr.Dataset({"t2m": ("time", [280.5 + day])}, {"time": [day]}) for day in range(3)]
    >>> store = zarrds.MemoryStore()
    >>> print(zarrds.convert(days[:2], store, concat_dim="time").written)
    ('xarray.Dataset', 'xarray.Dataset')
    >>> again = zarrds.convert(days, store, concat_dim="time")
    >>> len(again.written), len(again.skipped)
    (1, 2)
    """
    check_texts(group=group, concat_dim=concat_dim)
    check_sizes(chunks=chunks)
    check_encoding(encoding)
    check_mappings(storage_options=storage_options)
    check_flags(overwrite=overwrite, statistics=statistics, durable=durable)
    if not _is_source(inputs):
        check_given(inputs=inputs)
        check_several(inputs=inputs)
    each: list[Source] = [inputs] if _is_source(inputs) else list(inputs)  # type: ignore[arg-type, list-item]  # by _is_source
    if not each:
        raise EncodingError("nothing to convert", expected="at least one input")
    if len(each) > 1 and concat_dim is None:
        raise EncodingError("several inputs need a dimension to be joined along", mend="Pass concat_dim (--concat)")
    store = as_store(target, storage_options if isinstance(target, str | os.PathLike) else None)
    for one in each:
        if not isinstance(one, xr.Dataset | xr.DataArray | xr.DataTree) and not is_file(one):
            check_not_inside(store, as_store(one, storage_options if _is_url(one) else None))
    goal = Target(store, group, "w" if overwrite else "w-", zarr_format, statistics, durable, progress)
    wanted = _Wanted(chunks, encoding, compressors, storage_options)
    if any(isinstance(one, str | os.PathLike) and os.fspath(one).lower().endswith(_VCF) for one in each):
        return _convert_vcf(each, goal, wanted)
    if concat_dim is None:
        _save_one(each[0], goal, wanted)
        return Conversion(store.path, (source_name(each[0]),))
    return _join(each, goal, concat_dim, wanted)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How the user wants variables to be stored."""

    chunks: Mapping[str, int] | None
    encoding: Mapping[str, Mapping[str, Any]] | None
    compressors: Sequence[Any] | None
    storage_options: Mapping[str, Any] | None

    def prepared(self, ds: xr.Dataset) -> tuple[xr.Dataset, dict[Any, dict[str, Any]]]:
        """The dataset, large variables in blocks, and the encoding to ask for."""
        encoding = encoding_for(ds, self.chunks, self.encoding, self.compressors)
        return as_blocks(ds, encoding) if ds.nbytes > _LARGE else ds, encoding

    def options_of(self, source: Source) -> Mapping[str, Any] | None:
        """What opens a source that is a URL."""
        return self.storage_options if _is_url(source) else None


def _is_url(source: Source) -> bool:
    """Whether a source is a URL, which takes `storage_options`."""
    return isinstance(source, str) and "://" in source


def _is_source(inputs: object) -> bool:
    return isinstance(inputs, str | os.PathLike | Store | xr.Dataset | xr.DataArray | xr.DataTree)


def _convert_vcf(inputs: list[Source], target: Target, wanted: _Wanted) -> Conversion:
    """One VCF file as VCF Zarr."""
    if len(inputs) > 1:
        raise UnsupportedError("several VCF files cannot be joined", mend="Use bcftools concat or bcftools merge")
    if target.group or wanted.encoding or wanted.compressors:
        raise UnsupportedError("a VCF file takes chunks= only, and is written to the root of a store")
    from zarrds.datasets.vcf.convert import convert_vcf  # which needs cyvcf2

    (source,) = inputs
    found = find_target(as_durable(target.store, target.durable), "", target.mode, target.zarr_format)
    convert_vcf(source_name(source), found, wanted.chunks, statistics=target.statistics, progress=target.progress)
    return Conversion(target.store.path, (source_name(source),))


def _save_one(source: Source, target: Target, wanted: _Wanted) -> None:
    """One input with all its groups, or with the one that was named."""
    with open_groups(source, wanted.options_of(source)) as groups:
        if target.group is not None:
            path = f"/{target.group.strip('/')}"
            if path not in groups:
                raise EncodingError("no such group", path=source_name(source), key=path, found=sorted(groups))
            groups = {path: groups[path]}
        prepared = {path: wanted.prepared(ds) for path, ds in groups.items()}
        with _naming(source):
            _save_new(prepared, target)


def _save_new(groups: Mapping[str, tuple[xr.Dataset, dict[Any, dict[str, Any]]]], target: Target) -> None:
    """Save datasets with the encodings that are asked for: one, or by path."""
    if any(parts_without_dask(ds) for ds, _ in groups.values()) and target.is_new:
        save_by_parts(groups, target)
        return
    data: xr.Dataset | xr.DataTree
    encoding: dict[Any, Any]
    if len(groups) == 1:
        ((data, encoding),) = groups.values()
    else:
        data = _tree({path: ds for path, (ds, _) in groups.items()})
        encoding = {path: asked for path, (_, asked) in groups.items()}
    save(
        data,
        target.store,
        group=target.group,
        mode=target.mode,
        encoding=encoding,
        zarr_format=target.zarr_format,
        durable=target.durable,
        progress=target.progress,
        statistics=target.statistics,
    )


def _tree(groups: Mapping[str, xr.Dataset]) -> xr.DataTree:
    try:
        return xr.DataTree.from_dict(groups)
    except ValueError as error:
        raise EncodingError(
            f"its groups do not share the labels of their parents: {str(error).splitlines()[0]}",
            mend="Convert group by group, each to a store of its own",
        ) from error


def _join(inputs: list[Source], target: Target, dim: str, wanted: _Wanted) -> Conversion:
    """Several inputs, one behind the other along a dimension; those are skipped of which the store has all labels."""
    store, group = target.store, target.group
    written: list[str] = []
    skipped: list[str] = []
    is_there = spec_there(store) is not None and target.mode == "w-"
    labels = stored_labels(store, group, dim) if is_there else None
    if is_there and labels is None:
        raise StoreExistsError(
            f"a store exists here, in which {dim!r} has no labels: nobody can tell what of it is there already",
            path=store.path,
            mend="Pass overwrite=True to begin anew",
        )
    with progress_bar(len(inputs), "convert", enabled=target.progress, unit="input") as advance:
        for source in inputs:
            with open_dataset(source, group, wanted.options_of(source)) as ds, _naming(source):
                if dim not in ds.dims:
                    mend = nearest(dim, ds.dims) if group or ds.dims else _group_with(dim, source, wanted)
                    raise LabelError(f"has no dimension {dim!r}", mend=mend)
                is_stored = labels is not None and labels.has_all(ds)
                if not is_stored:
                    ds, encoding = wanted.prepared(ds)
                    if is_there:
                        _append(ds, target, dim)
                    else:
                        _save_new({f"/{group or ''}": (ds, encoding)}, replace(target, progress=False))
                    is_there = True
            (skipped if is_stored else written).append(source_name(source))
            if advance is not None:
                advance(1)
    return Conversion(store.path, tuple(written), tuple(skipped))


def _group_with(dim: str, source: Source, wanted: _Wanted) -> str:
    """What to do about an input without the dimension at its root."""
    with open_groups(source, wanted.options_of(source)) as groups:
        having = [path.lstrip("/") for path, ds in groups.items() if dim in ds.dims]
        dims = {d for ds in groups.values() for d in ds.dims}
    if not having:
        return nearest(dim, dims)
    return f"Its groups have it, which are joined one by one: pass group= (--group), of {', '.join(map(repr, having))}"


def _append(ds: xr.Dataset, target: Target, dim: str) -> None:
    on_overlap: Literal["skip", "error"] = "skip" if dim in ds.coords else "error"
    for part in appended_parts(ds, dim):
        save(
            part,
            target.store,
            group=target.group,
            append_dim=dim,
            on_overlap=on_overlap,
            durable=target.durable,
            statistics=target.statistics,
        )


@contextmanager
def _naming(source: Source) -> Iterator[None]:
    """Around work on one input: errors name it."""
    try:
        yield
    except ZarrdsError as error:
        error.problem = f"{source_name(source)}: {error.problem}"
        raise
    except (OSError, RuntimeError) as error:
        if not is_file(source):
            raise
        # what netCDF4 and h5netcdf say of damaged data
        raise StoreIOError(f"it cannot be read: {error}", path=source_name(source)) from error
