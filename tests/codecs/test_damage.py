"""Damaged and forged chunks: a `ChunkError`, or a result of the right shape where nothing can tell."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codecs.cases import CASES, Case, array_of, default_pipeline, encoded, pipeline_of
from zarrds.codecs.blosc import Blosc
from zarrds.codecs.pipeline import Pipeline
from zarrds.codecs.registry import kind
from zarrds.errors import ChunkError

ROOT = Path(__file__).resolve().parents[2]
FIRST_OF_EACH = list({case.name: case for case in CASES}.values())
BLOSC_OF_EACH = [case for case in CASES if case.name == "blosc" and case.configuration["shuffle"] == "shuffle"]


def outcome(pipeline: Pipeline, data: bytes) -> bool:
    """Whether `data` was refused; what was not must be of the chunk's shape."""
    try:
        decoded = pipeline.decode(data)
    except ChunkError as error:
        return bool(str(error))
    assert decoded.shape == pipeline.spec.shape
    decoded.tolist()
    return False


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_truncated_at_every_length(case: Case) -> None:
    pipeline = pipeline_of(case, case.dtypes[0], (12,))
    data = encoded(pipeline, array_of(case.dtypes[0], (12,), "ramp"))
    for length in range(len(data)):
        assert outcome(pipeline, data[:length]), f"{length} of {len(data)} bytes were taken for a chunk"


# behind the end of these, nobody looks: numcodecs says itself how many bytes it wants
_DEAF_TO_MORE = ("numcodecs.lz4", "vlen-utf8", "vlen-bytes")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bytes_too_many(case: Case) -> None:
    pipeline = pipeline_of(case, case.dtypes[0], (12,))
    data = encoded(pipeline, array_of(case.dtypes[0], (12,), "ramp"))
    for more in (b"\xff", b"abcdefgh", data):
        assert outcome(pipeline, data + more) or case.name in _DEAF_TO_MORE


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_flipped_bit(case: Case) -> None:
    pipeline = pipeline_of(case, case.dtypes[0], (12,))
    data = encoded(pipeline, array_of(case.dtypes[0], (12,), "ramp"))
    refused = [outcome(pipeline, flipped(data, bit)) for bit in range(8 * len(data))]
    if case.checked:
        assert all(refused)


@pytest.mark.parametrize("dtype", ["?", "i1", "<i4", ">f8", "<M8[s]", "S3", "<U2", "string", "bytes"])
def test_the_default_codecs_find_every_flipped_bit(dtype: str) -> None:
    for content in ("constant", "random"):
        pipeline = default_pipeline(dtype, (30,))
        data = encoded(pipeline, array_of(dtype, (30,), content))
        assert all(outcome(pipeline, flipped(data, bit)) for bit in range(8 * len(data)))


@given(st.sampled_from(FIRST_OF_EACH), st.binary(max_size=80))
def test_garbage(case: Case, data: bytes) -> None:
    outcome(pipeline_of(case, case.dtypes[0], (5,)), data)


@given(st.sampled_from(BLOSC_OF_EACH), st.data())
def test_forged_headers_of_blosc(case: Case, data: st.DataObject) -> None:
    pipeline = pipeline_of(case, "<i4", (40,))
    chunk = bytearray(encoded(pipeline, array_of("<i4", (40,), "ramp")))
    field = data.draw(st.sampled_from([(1, "B"), (2, "B"), (3, "B"), (4, "I"), (8, "I"), (16, "I"), (20, "I")]))
    value = data.draw(st.integers(0, 255 if field[1] == "B" else 2**32 - 1))
    if field[0] + struct.calcsize(field[1]) <= len(chunk):
        struct.pack_into("<" + field[1], chunk, field[0], value)
    outcome(pipeline, bytes(chunk))


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [
        (0, "B", 3),
        (3, "B", 0),
        (4, "I", 0),
        (4, "I", 159),
        (4, "I", 161),
        (4, "I", 2**31 - 1),
        (4, "I", 2**32 - 1),
        (8, "I", 0),
        (8, "I", 161),
        (8, "I", 2**32 - 1),
        (12, "I", 15),
        (12, "I", 0),
        (12, "I", 2**32 - 1),
    ],
)
@pytest.mark.parametrize("case", BLOSC_OF_EACH, ids=str)
def test_headers_of_blosc_that_lie_are_refused(case: Case, offset: int, layout: str, value: int) -> None:
    pipeline = pipeline_of(case, "<i4", (40,))
    chunk = bytearray(encoded(pipeline, array_of("<i4", (40,), "constant")))
    struct.pack_into("<" + layout, chunk, offset, value)
    assert outcome(pipeline, bytes(chunk))


@pytest.mark.parametrize("csize", [0, -1, 2**23 + 1, 2**31 - 1])
def test_splits_of_blosclz_that_are_larger_compressed_are_refused(csize: int) -> None:
    nbytes = 2**23
    body = bytes(2**23 + 64)
    frame = (
        struct.pack("<BBBBIII", 2, 1, 0x10, 1, nbytes, nbytes, 24 + len(body)) + struct.pack("<Ii", 20, csize) + body
    )
    with pytest.raises(ChunkError, match="impossible size"):
        Blosc("blosclz", 5, "noshuffle", 1).decode(frame, nbytes)


def test_characters_that_do_not_exist_are_refused() -> None:
    for dtype, data in (("<U1", b"\x00\x00\x11\x00"), (">U1", b"\x00\x11\x00\x00")):
        case = Case("bytes")
        assert outcome(pipeline_of(case, dtype, ()), data)
        assert not outcome(pipeline_of(case, dtype, ()), bytes.fromhex("0000000000")[:4])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "3",
        '"ab"',
        "[]",
        "[[1]]",
        '["|O",[]]',
        '[1,2,"|O",[]]',
        '[1,"|O",[2]]',
        '[1,2,3,"|O",[2]]',
        '[1,2,"|O",2]',
        '[1,2,"|O",' + "[" * 900 + "]" * 900 + "]",
        "[" * 10**5,
        "\ud800",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_json_that_is_no_chunk(text: str) -> None:
    case = next(case for case in CASES if case.dtypes == ("json",))
    for shape in ((), (2,), (1, 2)):
        assert outcome(pipeline_of(case, "json", shape), text.encode("utf-8", "surrogatepass")) or shape == ()


def run_child(name: str, *arguments: str) -> list[str]:
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert child.returncode == 0, child.stderr[-4000:]
    return child.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "2"])
def test_thousands_of_damaged_chunks_in_a_process_of_their_own(seed: str) -> None:
    assert run_child("damage_child.py", seed, "40") == ["done"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited and measured as Linux does it")
def test_small_chunks_that_claim_to_be_large_take_no_memory() -> None:
    assert run_child("memory_child.py") == ["done"]


def test_the_table_has_checksums_and_filters() -> None:
    assert {kind(case.name) for case in CASES} == {"array_array", "array_bytes", "bytes_bytes"}
    assert np.sum([case.checked for case in CASES]) >= 4


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_what_a_signal_raises_is_no_damage() -> None:
    """It comes when a codec's library has returned, as if that had raised it."""
    assert run_child("signals_child.py") == ["AlarmError"] * 4 + ["TimeoutError"] * 4
