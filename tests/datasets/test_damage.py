"""What bad input gets, through xarray: an error of zarrds.errors that names the store, the key and what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.errors import (
    ChunkError,
    MetadataError,
    NodeNotFoundError,
    StoreExistsError,
    StoreNotFoundError,
    UnsupportedError,
    ZarrdsError,
)

FORMATS = [3, 2]


def load(path: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarrds", **options).load()


def original() -> xr.Dataset:
    values = np.random.default_rng(0).integers(0, 9, (8, 6)).astype("f4")
    return xr.Dataset({"v": (("y", "x"), values), "s": ("y", np.array(list("abcdefgh"), object))}, {"x": np.arange(6)})


@pytest.fixture(params=FORMATS, ids=["v3", "v2"])
def zarr_format(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def path(tmp_path: Path, zarr_format: int) -> Path:
    path = tmp_path / "x.zarr"
    zarrds.save(original(), path, zarr_format=zarr_format, encoding={"v": {"chunks": (4, 6)}})
    return path


def assert_says(error: ZarrdsError, path: Path, key: str | None, *words: str) -> None:
    text = str(error)
    assert error.path == str(path)
    assert str(path) in text
    assert error.key == key
    if key is not None:
        assert key in text
    for word in words:
        assert word in text


# what is no store


def nothing(path: Path) -> None: ...


def a_file(path: Path) -> None:
    path.write_text("x")


def an_empty_folder(path: Path) -> None:
    path.mkdir()


def other_files(path: Path) -> None:
    path.mkdir()
    (path / "readme.txt").write_text("x")


@pytest.mark.parametrize("make", [nothing, a_file, an_empty_folder, other_files])
def test_no_store(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    make(path)
    for options in ({}, {"consolidated": True}, {"consolidated": False}, {"zarr_format": 2}, {"group": "a"}):
        with pytest.raises(StoreNotFoundError) as caught:
            load(path, **options)
        mend = "zarrds.convert" if path.is_file() else "Check the path"
        assert_says(caught.value, path, None, "no Zarr store", mend)
        assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(StoreNotFoundError):
        xr.open_datatree(path, engine="zarrds")


def test_no_such_group(path: Path) -> None:
    for group, there in (("nowhere", "s, v, x"), ("v", "array, not a group"), ("a/b", "nothing")):
        for open_it in (load, lambda *args, **options: xr.open_datatree(*args, engine="zarrds", **options)):
            with pytest.raises(NodeNotFoundError) as caught:
                open_it(path, group=group)
            assert_says(caught.value, path, group, there)


def test_a_group_outside_of_the_store(path: Path) -> None:
    (path.parent / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    for group in ("..", "../x.zarr", "a/../..", "a\\b", "a//b"):
        with pytest.raises(ZarrdsError, match="not a valid key"):
            load(path, group=group)


def test_consolidated_metadata_that_is_not_there(path: Path) -> None:
    if (path / ".zmetadata").exists():
        (path / ".zmetadata").unlink()
    else:
        edit(path / "zarr.json", lambda document: document.pop("consolidated_metadata"))
    xr.testing.assert_identical(load(path), original())
    with pytest.raises(MetadataError) as caught:
        load(path, consolidated=True)
    assert_says(caught.value, path, None, "no consolidated metadata", "consolidated=None")


def test_the_wrong_format(path: Path, zarr_format: int) -> None:
    with pytest.raises(StoreNotFoundError, match=f"Zarr v{5 - zarr_format}"):
        load(path, zarr_format=5 - zarr_format)


# metadata


def edit(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


INVALID_JSON = [b"", b"{", b"\xff\xfe", b"null", b"[]", b'"x"', b"12", b'{"a": 1}}', b"[" * 100_000]


@pytest.mark.parametrize("content", INVALID_JSON, ids=lambda content: repr(content[:9]))
def test_invalid_json(path: Path, zarr_format: int, content: bytes) -> None:
    root, own = ("zarr.json", "v/zarr.json") if zarr_format == 3 else (".zmetadata", "v/.zarray")
    saved = (path / root).read_bytes()
    (path / root).write_bytes(content)
    with pytest.raises(MetadataError) as caught:
        load(path)
    assert_says(caught.value, path, root, "metadata document is not")
    (path / root).write_bytes(saved)
    (path / own).write_bytes(content)
    with pytest.warns(UserWarning, match="left out: 'v': metadata document is not"):
        opened = xr.open_dataset(path, engine="zarrds", consolidated=False)
    assert "v" not in opened
    for whoever_needs_it in (
        lambda: zarrds.save(opened.load(), path, mode="a"),
        lambda: zarrds.update_attrs(path, {"title": "x"}),
        lambda: zarrds.drop_vars(path, "v"),
    ):
        with pytest.raises(MetadataError) as caught:
            whoever_needs_it()
        assert_says(caught.value, path, own, "metadata document is not")
    assert (path / own).read_bytes() == content


DELETE = object()
# a member's place, what stands there instead, and words of the error
WRONG_V3 = [
    ("shape", DELETE, "shape"),
    ("shape", 5, "shape"),
    ("shape", [-8, 6], "from 0"),
    ("shape", [8.5, 6], "shape"),
    ("shape", [8], "shape"),
    ("shape", [2**70, 6], "shape"),
    ("data_type", DELETE, "data_type"),
    ("data_type", "float128x", "float128x"),
    ("data_type", {"name": "datetime", "configuration": {}}, "datetime"),
    ("data_type", 5, "data_type"),
    ("codecs", DELETE, "codecs"),
    ("codecs", [], "codec"),
    ("codecs", [{"name": "rot13"}], "rot13"),
    ("codecs", [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "numcodecs.pickle"}], "pickle"),
    ("codecs", "bytes", "codecs"),
    ("codecs", [{"configuration": {}}], "codec"),
    ("chunk_grid", DELETE, "chunk_grid"),
    ("chunk_grid", {"name": "rectilinear", "configuration": {}}, "chunk_shapes"),
    ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0, 6]}}, "chunk_shape"),
    ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [4]}}, "chunk_shape"),
    ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [4, "6"]}}, "chunk_shape"),
    ("chunk_grid", {"name": "regular"}, "chunk_shape"),
    ("chunk_key_encoding", {"name": "md5"}, "md5"),
    ("chunk_key_encoding", {"name": "default", "configuration": {"separator": "../"}}, "separator"),
    ("fill_value", DELETE, "fill_value"),
    ("fill_value", "many", "fill"),
    ("fill_value", [1], "fill"),
    ("dimension_names", ["y"], "dimension_names"),
    ("dimension_names", [1, 2], "dimension_names"),
    ("dimension_names", DELETE, "no names for its dimensions"),
    ("attributes", [], "attributes"),
    ("node_type", "table", "node_type"),
    ("zarr_format", 4, "zarr_format"),
    ("storage_transformers", [{"name": "encrypt"}], "storage transformers"),
    ("encryption", {"must_understand": True, "name": "aes"}, "encryption"),
    ("encryption", "aes", "encryption"),
]
WRONG_V2 = [
    ("shape", DELETE, "shape"),
    ("shape", [-8, 6], "from 0"),
    ("shape", [8], "shape"),
    ("chunks", DELETE, "chunks"),
    ("chunks", [0, 6], "chunks"),
    ("chunks", [4], "chunks"),
    ("dtype", DELETE, "dtype"),
    ("dtype", "<q9", "q9"),
    ("dtype", "|O", "codec"),
    ("dtype", [["a"]], "dtype"),
    ("compressor", {"id": "rot13"}, "rot13"),
    ("compressor", {"id": "pickle"}, "pickle"),
    ("compressor", "blosc", "codec is malformed"),
    ("compressor", {}, "codec is malformed"),
    ("filters", [{"id": "rot13"}], "rot13"),
    ("filters", 5, "filters"),
    ("order", "X", "order"),
    ("fill_value", DELETE, "fill_value"),
    ("fill_value", "many", "fill"),
    ("zarr_format", 4, "zarr_format"),
    ("dimension_separator", "../", "separator"),
]


def check_wrong(path: Path, zarr_format: int, member: str, value: Any, word: str) -> None:
    def change(document: dict[str, Any]) -> None:
        if value is DELETE:
            del document[member]
        else:
            document[member] = value

    own = "zarr.json" if zarr_format == 3 else ".zarray"
    edit(path / "v" / own, change)
    if zarr_format == 3:
        edit(path / "zarr.json", lambda document: change(document["consolidated_metadata"]["metadata"]["v"]))
    else:
        edit(path / ".zmetadata", lambda document: change(document["metadata"]["v/.zarray"]))
    for options in ({}, {"consolidated": False}):
        with pytest.warns(UserWarning, match="left out") as caught:
            found = load(path, **options)
        assert len(caught) == 1
        assert "'v'" in str(caught[0].message)
        assert word in str(caught[0].message)
        # the rest of the store can be had
        xr.testing.assert_identical(found, original().drop_vars("v"))
        xr.testing.assert_identical(load(path, drop_variables="v", **options), original().drop_vars("v"))


@pytest.mark.parametrize("zarr_format", [3])
@pytest.mark.parametrize(("member", "value", "word"), WRONG_V3, ids=lambda part: "-" if part is DELETE else None)
def test_wrong_member_v3(path: Path, zarr_format: int, member: str, value: Any, word: str) -> None:
    check_wrong(path, zarr_format, member, value, word)


@pytest.mark.parametrize("zarr_format", [2])
@pytest.mark.parametrize(("member", "value", "word"), WRONG_V2, ids=lambda part: "-" if part is DELETE else None)
def test_wrong_member_v2(path: Path, zarr_format: int, member: str, value: Any, word: str) -> None:
    check_wrong(path, zarr_format, member, value, word)


def test_unknown_extensions_are_unsupported(path: Path, zarr_format: int) -> None:
    own = path / "v" / ("zarr.json" if zarr_format == 3 else ".zarray")

    def change(document: dict[str, Any]) -> None:
        document["codecs" if zarr_format == 3 else "filters"] = (
            [{"name": "rot13"}] if zarr_format == 3 else [{"id": "rot13"}]
        )

    edit(own, change)
    with pytest.raises(UnsupportedError) as caught:
        zarrds.open_array(path, "r+", "v")
    assert isinstance(caught.value, NotImplementedError)
    assert_says(caught.value, path, caught.value.key, "rot13")


def test_dimensions_that_do_not_agree(path: Path, zarr_format: int) -> None:
    own = path / "x" / ("zarr.json" if zarr_format == 3 else ".zarray")

    def change(document: dict[str, Any]) -> None:
        document["shape"] = [5]

    edit(own, change)
    with pytest.raises(ValueError, match="conflicting sizes for dimension 'x'"):
        load(path, consolidated=False)


# chunks


def truncated(content: bytes) -> bytes:
    return content[:-5]


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def extended(content: bytes) -> bytes:
    return content + b"\0"


def emptied(content: bytes) -> bytes:
    return b""


def replaced(content: bytes) -> bytes:
    return b"not a chunk at all, but some text that is long enough"


def chunk_of(path: Path, zarr_format: int, name: str, *position: int) -> tuple[Path, str]:
    parts = [str(p) for p in position]
    key = f"{name}/c.{'.'.join(parts)}" if zarr_format == 3 else f"{name}/{'.'.join(parts)}"
    assert (path / key).exists()
    return path / key, key


CODECS: dict[str, Any] = {
    "default": {},
    "none": {"compressors": None},
    "gzip": {"compressors": [{"name": "gzip", "configuration": {"level": 1}}]},
    "zstd": {"compressors": [{"name": "zstd", "configuration": {"level": 1, "checksum": False}}]},
    "lz4": {"compressors": [{"name": "numcodecs.lz4", "configuration": {}}]},
    "zlib": {"compressors": [{"name": "numcodecs.zlib", "configuration": {"level": 1}}]},
    "fletcher32": {"filters": [{"name": "numcodecs.fletcher32", "configuration": {}}], "compressors": None},
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("damage", [truncated, halved, extended, emptied, replaced])
@pytest.mark.parametrize("name", ["v", "s"])
@pytest.mark.parametrize("codec", CODECS)
def test_damaged_chunk(
    tmp_path: Path, zarr_format: int, codec: str, name: str, damage: Callable[[bytes], bytes]
) -> None:
    if (codec, name, damage) == ("none", "s", extended):
        pytest.skip("vlen-utf8 says how long each string is, and not how long all of them are")
    path = tmp_path / "x.zarr"
    encoding = {"v": {"chunks": (4, 6), **CODECS[codec]}, "s": {} if codec == "fletcher32" else CODECS[codec]}
    zarrds.save(original(), path, zarr_format=zarr_format, encoding=encoding)
    file, key = chunk_of(path, zarr_format, name, *([1, 0] if name == "v" else [0]))
    file.write_bytes(damage(file.read_bytes()))
    for workers in (1, None):
        ds = xr.open_dataset(path, engine="zarrds", workers=workers)
        with pytest.raises(ChunkError) as caught:
            ds[name].load()
        assert_says(caught.value, path, key)
        ds.drop_vars(name).load()  # the rest is there
    np.testing.assert_array_equal(xr.open_dataset(path, engine="zarrds").v[:4], original().v[:4])


@pytest.mark.parametrize("name", ["v", "s", "x"])
def test_lost_chunk(path: Path, zarr_format: int, name: str) -> None:
    file, key = chunk_of(path, zarr_format, name, *([0, 0] if name == "v" else [0]))
    file.unlink()
    with pytest.raises(ChunkError) as caught:
        load(path)
    assert_says(caught.value, path, key, "a chunk is missing", "missing_chunks='fill'")
    # where another library wrote the array, it is a fill value, unless said
    foreign = path.parent / "foreign.zarr"
    original()[["v", "x"]].to_zarr(foreign, zarr_format=zarr_format)
    next(file for file in (foreign / "x").rglob("*") if file.name == "0").unlink()
    assert load(foreign).x.values.tolist() == [0] * original().sizes["x"]
    with pytest.raises(ChunkError, match="a chunk is missing"):
        load(foreign, missing_chunks="error")


@pytest.mark.parametrize("zarr_format", [3])
@pytest.mark.parametrize("name", ["v", "s", "x"])
def test_every_flipped_bit_is_found(path: Path, zarr_format: int, name: str) -> None:
    file, key = chunk_of(path, zarr_format, name, *([0, 0] if name == "v" else [0]))
    content = file.read_bytes()
    for bit in range(0, len(content) * 8, 7):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(ChunkError) as caught:
            load(path)
        assert_says(caught.value, path, key)
    file.write_bytes(content)
    xr.testing.assert_identical(load(path), original())


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2])
def test_flipped_bits_never_crash(path: Path, zarr_format: int) -> None:
    # v2 has no checksum, so not every one is found
    for name in ("v", "s"):
        file, _ = chunk_of(path, zarr_format, name, *([0, 0] if name == "v" else [0]))
        content = file.read_bytes()
        for bit in range(0, len(content) * 8, 5):
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            file.write_bytes(damaged)
            with suppress(ChunkError):
                load(path)
        file.write_bytes(content)


@pytest.mark.parametrize("codec", ["default", "none", "gzip", "zstd", "lz4"])
def test_a_chunk_of_another_size(tmp_path: Path, zarr_format: int, codec: str) -> None:
    # a valid chunk, but of an array with other chunks or another dtype
    one, two = tmp_path / "1.zarr", tmp_path / "2.zarr"
    ds = original()[["v"]]
    for path, chunks, dtype in ((one, (4, 6), "f4"), (two, (4, 3), "f4"), (tmp_path / "3.zarr", (4, 6), "f8")):
        encoding = {"v": {"chunks": chunks, "dtype": dtype, **CODECS[codec]}}
        zarrds.save(ds, path, zarr_format=zarr_format, encoding=encoding)
    for other in (two, tmp_path / "3.zarr"):
        file, key = chunk_of(one, zarr_format, "v", 0, 0)
        file.write_bytes(chunk_of(other, zarr_format, "v", 0, 0)[0].read_bytes())
        with pytest.raises(ChunkError) as caught:
            load(one)
        assert_says(caught.value, one, key, "expected")


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_a_link_out_of_the_store(path: Path, zarr_format: int) -> None:
    secret = path.parent / "secret"
    file, key = chunk_of(path, zarr_format, "v", 0, 0)
    secret.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(ZarrdsError, match="leads out of the store") as caught:
        load(path)
    assert_says(caught.value, path, key)


def test_an_unreadable_chunk(path: Path, zarr_format: int) -> None:
    file, key = chunk_of(path, zarr_format, "v", 0, 0)
    file.unlink()
    file.symlink_to(file.name)  # root may read everything; nobody can read this
    with pytest.raises(OSError, match="circle") as caught:
        load(path)
    assert isinstance(caught.value, ZarrdsError)
    assert_says(caught.value, path, key)


# saving where something stands


def test_saving_over_an_existing_store(path: Path) -> None:
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    for options in ({}, {"mode": "w-"}):
        with pytest.raises(StoreExistsError) as caught:
            zarrds.save(xr.Dataset({"new": 1}), path, **options)
        assert_says(caught.value, path, None, "mode='w'")
        assert isinstance(caught.value, FileExistsError)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
