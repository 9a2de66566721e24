"""The examples of all docstrings run, and show what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from importlib.metadata import entry_points

import pytest

import zarrds

MODULES = ["zarrds", *(module.name for module in pkgutil.walk_packages(zarrds.__path__, "zarrds."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("zarrds.datasets") and not entry_points(group="xarray.backends", name="zarrds"):
        pytest.skip("xarray finds the engine of an installed zarrds only: python -m pip install -e .")
    monkeypatch.chdir(tmp_path_factory.mktemp("examples"))  # an example may write files
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_there_are_modules_and_examples() -> None:
    assert {"zarrds.errors", "zarrds.codecs.blosc"} <= set(MODULES)
    finder = doctest.DocTestFinder()
    assert any(found.examples for found in finder.find(importlib.import_module("zarrds.errors")))
