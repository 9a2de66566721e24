"""The second pass: records to chunks of arrays, a thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from math import prod
from typing import Any

import numpy as np

from zarrds.arrays.layout import new_array_metadata
from zarrds.chunk_statistics.keeping import put_statistics
from zarrds.datasets.vcf.fields import FLOAT_MISSING, open_vcf
from zarrds.datasets.vcf.scan import Scan, records_of, scan
from zarrds.datasets.vcf.values import MISSING, Uses, set_rows, set_texts, texts_of
from zarrds.datasets.writing.commit.new_store import Target, staged
from zarrds.datasets.writing.commit.noting import all_of, with_statistics
from zarrds.engine.elements import Elements
from zarrds.engine.executor import memory_nbytes
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import EncodingError, locating
from zarrds.metadata.extension import Marks, new_id, with_marks
from zarrds.metadata.formats import Format
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.storage.commits.committer import committer_of

__all__ = ["convert_vcf"]

_VARIANTS, _SAMPLES = 1000, 10_000  # of a chunk, as bio2zarr has them
_INDEX = "region_index"
_SPECIFICATION = "0.5"
Arrays = dict[str, tuple[tuple[str, ...], np.ndarray[Any, Any]]]


def convert_vcf(
    path: str,
    target: Target,
    chunks: Mapping[str, int] | None,
    *,
    statistics: bool | None = None,
    progress: ProgressOption = False,
) -> None:
    """Write a VCF file as VCF Zarr; the store appears when all of it is written.

    The file is read twice. Memory is needed for one chunk of records of all fields.

    Parameters
    ----------
    path : str
    target : Target
        Of the whole store, whose root becomes the dataset.
    chunks : mapping, optional
        Of ``variants`` and ``samples``.
    statistics : bool, optional
        Note what is in each chunk, as by `zarrds.save`.
    progress : bool, "rich" or callable
        As of `zarrds.convert`.
    """
    sizes = _chunk_sizes(chunks)
    with locating(path):
        found = scan(path)
        fixed = _fixed(found)
        buffers = _buffers(found, min(sizes["variants"], found.n))
        n_batches = -(-found.n // sizes["variants"])
        arrays = {
            **{name: _metadata(dims, a, a.shape, sizes, "", target.spec) for name, (dims, a) in fixed.items()},
            **{
                name: _metadata(dims, a, (found.n, *a.shape[1:]), sizes, _described(found, name), target.spec)
                for name, (dims, a) in buffers.items()
            },
        }
        arrays = {name: with_statistics(metadata, statistics) for name, metadata in arrays.items()}
        touched = {name: each for name, metadata in arrays.items() if (each := all_of(name, metadata)) is not None}
    attributes = {
        "vcf_zarr_version": _SPECIFICATION,
        "source": f"zarrds-{version('zarrds')}",
        "vcf_meta_information": [list(pair) for pair in found.header.meta],
    }
    nodes: dict[str, Node] = {"": GroupMetadata(attributes, zarr_format=target.spec.zarr_format), **arrays}
    # how many rows it will have is known at the end
    nodes[_INDEX] = _index_metadata(np.zeros((n_batches, 6), "i4"), sizes, target.spec)
    committer_of(target.store).clean()
    with (
        staged(target, nodes, n_batches * len(buffers)) as stage,
        locating(path),
        progress_bar(found.n, "convert", enabled=progress, unit="record") as advance,
    ):
        index: list[tuple[int, ...]] = []
        for start, stop in _filled(path, found, buffers):
            for name, (_, values) in buffers.items():
                elements = Elements(stage, name, arrays[name], is_private=True)
                seen = touched[name].written if name in touched else None
                elements.write((slice(start, stop),), values[: stop - start], seen=seen)
            index += _index_rows(start // sizes["variants"], buffers, stop - start)
            if advance is not None:
                advance(stop - start)
        for name, (_, values) in fixed.items():
            Elements(stage, name, arrays[name], is_private=True).write(..., values)
        put_statistics(stage, stage, touched.values())
        rows = np.array(index, "i4").reshape(-1, 6)
        nodes[_INDEX] = index_metadata = _index_metadata(rows, sizes, target.spec)
        Elements(stage, _INDEX, index_metadata, is_private=True).write(..., rows)


def _index_metadata(rows: np.ndarray[Any, Any], sizes: Mapping[str, int], spec: Format) -> ArrayMetadata:
    return _metadata(("region_index_values", "region_index_fields"), rows, rows.shape, sizes, "", spec)


def _chunk_sizes(chunks: Mapping[str, int] | None) -> dict[str, int]:
    sizes = {"variants": _VARIANTS, "samples": _SAMPLES, **(chunks or {})}
    for dim, size in sizes.items():
        if dim not in ("variants", "samples"):
            raise EncodingError("no such dimension", key=dim, expected="variants or samples")
        if size < 1:
            raise EncodingError("chunks of a VCF are given in numbers", key=dim, found=size, expected="at least 1")
    return sizes


def _metadata(
    dims: tuple[str, ...],
    like: np.ndarray[Any, Any],
    shape: tuple[int, ...],
    sizes: Mapping[str, int],
    description: str,
    spec: Format,
) -> ArrayMetadata:
    chunks = tuple(max(1, min(n, sizes.get(dim, n))) for dim, n in zip(dims, shape, strict=True))
    plain = new_array_metadata(
        shape=shape,
        dtype="string" if like.dtype.kind == "O" else like.dtype,
        chunks=chunks,
        dimension_names=dims,
        attributes={"description": description} if description else {},
        zarr_format=spec.zarr_format,
    )
    return with_marks(plain, Marks(id=new_id(), complete=shape))


def _described(found: Scan, name: str) -> str:
    return next((field.description for field in found.header.fields if field.array == name), "")


def _texts(values: Any) -> np.ndarray[Any, Any]:
    return np.array([str(value) for value in values] or [], object)


def _fixed(found: Scan) -> Arrays:
    """What does not depend on records."""
    header = found.header
    arrays: Arrays = {
        "contig_id": (("contigs",), _texts(found.contigs)),
        "filter_id": (("filters",), _texts(name for name, _ in header.filters)),
        "filter_description": (("filters",), _texts(text for _, text in header.filters)),
        "sample_id": (("samples",), _texts(header.samples)),
    }
    if header.contig_lengths is not None and len(header.contig_lengths) == len(found.contigs):
        arrays["contig_length"] = (("contigs",), np.array(header.contig_lengths, "i8"))
    return arrays


def _buffers(found: Scan, n: int) -> Arrays:
    """An array for `n` records of each variable."""
    left = memory_nbytes()
    arrays: Arrays = {}
    for name, (dims, shape, dtype) in _forms(found, n).items():
        left -= prod(shape) * dtype.itemsize
        values = None
        if left >= 0:
            with suppress(MemoryError, ValueError):
                values = np.empty(shape, dtype)
        if values is None:
            raise EncodingError(
                "a chunk of records does not fit in memory",
                key=name,
                found=f"an array of {shape}",
                mend="Pass smaller chunks, for example chunks={'variants': 10}, or leave the field out of the file: "
                "bcftools annotate -x",
            )
        arrays[name] = (dims, values)
    return arrays


def _forms(found: Scan, n: int) -> dict[str, tuple[tuple[str, ...], tuple[int, ...], np.dtype[Any]]]:
    """Dimensions, shape and dtype of each variable of `n` records."""
    header, n_samples = found.header, len(found.header.samples)
    of_variant, of_call = ("variants",), ("variants", "samples")
    contig = np.dtype("i1") if not found.contigs else _range_dtype(len(found.contigs))
    text, flag, single = np.dtype(object), np.dtype(bool), np.dtype("f4")
    forms: dict[str, tuple[tuple[str, ...], tuple[int, ...], np.dtype[Any]]] = {
        "variant_contig": (of_variant, (n,), contig),
        "variant_position": (of_variant, (n,), found.ranges["variant_position"].dtype),
        "variant_length": (of_variant, (n,), found.ranges["variant_length"].dtype),
        "variant_id": (of_variant, (n,), text),
        "variant_id_mask": (of_variant, (n,), flag),
        "variant_allele": ((*of_variant, "alleles"), (n, found.n_alleles), text),
        "variant_quality": (of_variant, (n,), single),
        "variant_filter": ((*of_variant, "filters"), (n, len(header.filters)), flag),
    }
    for field in header.fields:
        if field.category == "FORMAT" and not n_samples:
            continue
        last = found.last_dim(field)
        dims = of_variant if field.category == "INFO" else of_call
        shape: tuple[int, ...] = (n,) if field.category == "INFO" else (n, n_samples)
        kinds = {"Integer": found.ranges[field.array].dtype, "Float": single, "Flag": flag}
        if last is not None:
            dims, shape = (*dims, last[0]), (*shape, last[1])
        forms[field.array] = (dims, shape, kinds.get(field.kind, text))
    if header.has_genotypes and n_samples:
        alleles = (n, n_samples, found.ploidy)
        forms["call_genotype"] = ((*of_call, "ploidy"), alleles, found.ranges["call_genotype"].dtype)
        forms["call_genotype_mask"] = ((*of_call, "ploidy"), alleles, flag)
        forms["call_genotype_phased"] = (of_call, (n, n_samples), flag)
    return forms


def _range_dtype(n: int) -> np.dtype[Any]:
    return np.min_scalar_type(-max(n, 1) - 1)  # signed, and holds n


def _filled(path: str, found: Scan, buffers: Arrays) -> Iterator[tuple[int, int]]:
    """Fill the buffers again and again; yields the places of the records that they hold."""
    size = len(buffers["variant_contig"][1])
    arrays = {name: values for name, (_, values) in buffers.items()}
    uses = _uses(found, arrays)
    filters = {name: i for i, (name, _) in enumerate(found.header.filters)}
    n = 0
    for n, record in enumerate(records_of(open_vcf(path), path), 1):
        i = (n - 1) % size
        if i == 0:  # most fields of most records are absent
            _clear(arrays)
        _set_fixed(arrays, i, record, found.contigs, filters)
        uses.add(i, record)
        if i + 1 == size:
            uses.flush()
            yield n - size, n
    if n != found.n:
        raise EncodingError("the file was changed meanwhile", path=path, expected=f"{found.n} records", found=n)
    if n % size:
        uses.flush()
        yield n - n % size, n


def _uses(found: Scan, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Uses:
    """What fills the buffers."""
    uses = Uses()
    for field in found.header.fields:
        if (array := arrays.get(field.array)) is None:
            continue
        is_number = field.kind in ("Integer", "Float")
        if field.category == "FORMAT":
            use = uses.gather(partial(set_rows, array)).add_calls if is_number else partial(_set_calls, array)
            uses.calls[field.name] = (field.kind, use)
        elif is_number:
            uses.info[field.name] = uses.gather(partial(set_rows, array)).add_info
        else:
            uses.info[field.name] = partial(_set_flag if field.kind == "Flag" else _set_info, array)
    if "call_genotype" in arrays:
        uses.genotypes = uses.gather(partial(_set_genotypes, arrays)).add_calls
    return uses


def _clear(arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    for name, values in arrays.items():
        values[...] = True if name == "call_genotype_mask" else MISSING[values.dtype.kind]


def _set_flag(array: np.ndarray[Any, Any], i: int, _raw: object) -> None:
    array[(i, 0) if array.ndim > 1 else i] = True


def _set_info(array: np.ndarray[Any, Any], i: int, raw: Any) -> None:
    texts = texts_of(raw)
    if array.ndim == 1:
        array[i] = texts[0]
    else:
        set_texts(array[i], texts)


def _set_calls(array: np.ndarray[Any, Any], i: int, raw: np.ndarray[Any, Any]) -> None:
    rows = [texts_of(text) for text in raw.tolist()]
    if array.ndim == 2:
        array[i] = [texts[0] for texts in rows]
    else:
        for row, texts in zip(array[i], rows, strict=True):
            set_texts(row, texts)


def _set_fixed(
    arrays: Mapping[str, np.ndarray[Any, Any]],
    i: int,
    record: Any,
    contigs: Mapping[str, int],
    filters: Mapping[str, int],
) -> None:
    arrays["variant_contig"][i] = contigs[record.CHROM]
    arrays["variant_position"][i] = record.POS
    arrays["variant_length"][i] = record.end - record.start
    arrays["variant_id"][i] = "." if record.ID is None else record.ID
    arrays["variant_id_mask"][i] = record.ID is None
    set_texts(arrays["variant_allele"][i], [record.REF, *record.ALT])
    arrays["variant_quality"][i] = FLOAT_MISSING if record.QUAL is None else record.QUAL
    passed = arrays["variant_filter"]
    for name in record.FILTERS or ():
        if name not in filters:
            raise EncodingError("a filter is not declared in the header", found=name, mend="Use bcftools reheader")
        passed[i, filters[name]] = True


def _set_genotypes(arrays: Mapping[str, np.ndarray[Any, Any]], rows: list[int], called: np.ndarray[Any, Any]) -> None:
    alleles, phased = called[..., :-1], called[..., -1].astype(bool)
    array = arrays["call_genotype"]
    # of one allele there is nothing to be phased with
    arrays["call_genotype_phased"][rows] = True if array.shape[-1] == 1 else phased
    set_rows(array, rows, alleles)
    arrays["call_genotype_mask"][rows] = array[rows] < 0


def _index_rows(chunk: int, buffers: Arrays, n: int) -> list[tuple[int, ...]]:
    """Of each contig in a chunk: the chunk, the contig, first and last position, the largest end, how many records."""
    contig, first, length = (
        buffers[f"variant_{name}"][1][:n].astype("i8") for name in ("contig", "position", "length")
    )
    rows: list[tuple[int, ...]] = []
    for code in dict.fromkeys(contig.tolist()):
        here = contig == code
        ends = first[here] + length[here] - 1
        rows.append((chunk, code, int(first[here][0]), int(first[here][-1]), int(ends.max()), int(here.sum())))
    return rows
