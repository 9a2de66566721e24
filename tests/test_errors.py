"""The form of messages, the fields, and that errors travel."""

from __future__ import annotations

import copy
import errno
import os
import pickle
from typing import Any

import pytest

from zarrds import errors
from zarrds.errors import EncodingError, LabelError, MetadataError, StoreIOError, ZarrdsError

KINDS: list[type[ZarrdsError]] = [getattr(errors, name) for name in errors.__all__]
FIELDS: dict[str, Any] = {
    "path": "t2m.zarr",
    "key": "t2m/c/0",
    "codec": "blosc",
    "expected": (3, 4),
    "found": "nothing",
    "mend": "Restore it",
}
BUILTINS: dict[str, tuple[type[Exception], ...]] = {
    "StoreNotFoundError": (FileNotFoundError,),
    "StoreExistsError": (FileExistsError,),
    "StoreIOError": (OSError,),
    "ReadOnlyError": (PermissionError,),
    "NodeNotFoundError": (KeyError, FileNotFoundError),
    "InvalidKeyError": (ValueError,),
    "MetadataError": (ValueError,),
    "UndecodableError": (MetadataError, ValueError),
    "UnsupportedError": (MetadataError, NotImplementedError, ValueError),
    "ChunkError": (ValueError,),
    "SelectionError": (IndexError,),
    "EncodingError": (ValueError, TypeError),
    "BlocksOfTextError": (EncodingError,),
    "CarriedEncodingError": (EncodingError,),
    "VariableNotFoundError": (EncodingError, KeyError),
    "LabelError": (ValueError,),
    "LabelNotFoundError": (LabelError, KeyError),
    "ConflictError": (RuntimeError,),
    "QueryError": (ValueError,),
    "ResultSizeError": (MemoryError,),
    "LockTimeoutError": (StoreIOError, TimeoutError),
    "ReleaseError": (RuntimeError,),
}


def test_every_error_of_the_module_is_listed() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == set(errors.__all__)
    assert BUILTINS.keys() == defined - {"ZarrdsError"}


@pytest.mark.parametrize("name", BUILTINS)
def test_each_is_the_built_in_error_that_one_would_expect(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, ZarrdsError)
    for builtin in BUILTINS[name]:
        with pytest.raises(builtin):
            raise kind("a problem")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "it is wrong"),
        ({"path": "a.zarr"}, "it is wrong (in store 'a.zarr')"),
        ({"key": "k"}, "it is wrong (at 'k')"),
        ({"found": 0}, "it is wrong: found 0"),
        ({"expected": 1, "found": 0}, "it is wrong: expected 1, found 0"),
        ({"mend": "Mend it"}, "it is wrong. Mend it"),
        (
            FIELDS,
            "it is wrong (in store 't2m.zarr', at 't2m/c/0', codec 'blosc'): "
            "expected (3, 4), found nothing. Restore it",
        ),
    ],
)
def test_the_message_has_all_that_is_known(kind: type[ZarrdsError], fields: dict[str, Any], text: str) -> None:
    error = kind("it is wrong", **fields)
    assert str(error) == text
    assert error.problem == "it is wrong"
    for name in FIELDS:
        assert getattr(error, name) == fields.get(name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_pickles_with_all_its_fields(kind: type[ZarrdsError], protocol: int) -> None:
    error = kind("it is wrong", **FIELDS)
    error.add_note("a note")
    if isinstance(error, OSError):
        error.errno, error.strerror = errno.ENOSPC, os.strerror(errno.ENOSPC)
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.__notes__ == ["a note"]
        assert {name: getattr(again, name) for name in FIELDS} == FIELDS
        if isinstance(error, OSError):
            assert (again.errno, again.strerror) == (errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_reason_of_the_file_system_is_an_errno() -> None:
    error = StoreIOError("no space", path="a.zarr")
    assert error.errno is None
    error.errno = errno.ENOSPC
    assert pickle.loads(pickle.dumps(error)).errno == errno.ENOSPC
    assert str(error) == "no space (in store 'a.zarr')"


def test_located_fills_in_what_is_not_known_yet() -> None:
    error = ZarrdsError("it is wrong", key="inner")
    assert error.located(path="a.zarr", key="outer") is error
    assert (error.path, error.key) == ("a.zarr", "inner")
    error.located(path="b.zarr")
    assert error.path == "a.zarr"


def test_what_was_found_is_cut_short() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert str(ZarrdsError("it is wrong", found=deep)) == "it is wrong: found a deeply nested list"
    assert len(str(ZarrdsError("it is wrong", expected="x" * 10**6, found=[0] * 10**5))) < 1500
