"""The conda recipe says what `pyproject.toml` says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jinja2
import yaml

PROJECT = Path(__file__).resolve().parents[1]
TOLD = tomllib.loads((PROJECT / "pyproject.toml").read_text())
RECIPE = (PROJECT / "recipe/meta.yaml").read_text()

# what packages of PyPI are called at conda-forge
AT_CONDA = {"blosc": "python-blosc", "dask": "dask-core", "matplotlib": "matplotlib-base"}


def test_the_recipe_is_what_the_project_is() -> None:
    project = TOLD["project"]
    recipe = rendered()
    assert recipe["package"] == {key: project[key] for key in ("name", "version")}
    assert recipe["about"]["summary"] == project["description"]
    assert recipe["about"]["license"] == project["license"]
    assert [recipe["about"]["license_file"]] == project["license-files"]
    assert recipe["build"]["entry_points"] == [f"{name} = {target}" for name, target in project["scripts"].items()]
    assert {f"{name} info" for name in project["scripts"]} <= set(recipe["test"]["commands"])
    assert recipe["build"]["script"].startswith("python -m pip install .")
    assert (PROJECT / "recipe" / recipe["source"]["path"]).samefile(PROJECT)


def test_the_recipe_needs_what_the_project_needs() -> None:
    project = TOLD["project"]
    needed = rendered()["requirements"]
    assert {"gcc", "sysroot"} <= set(needed["build"])  # of the kernel
    assert set(needed["host"]) == {"python", "pip", *map(_at_conda, TOLD["build-system"]["requires"])}
    assert set(needed["run"]) == {"python", *map(_at_conda, project["dependencies"])}
    extras = project["optional-dependencies"]
    users = [requirement for name in ("dask", "remote", "cli", "report", "all") for requirement in extras[name]]
    assert set(needed["run_constrained"]) == {_at_conda(requirement) for requirement in users if ">=" in requirement}
    (oldest,) = re.findall(r"skip: true  # \[py<(\d)(\d+)\]\n", RECIPE)
    assert project["requires-python"] == ">={}.{}".format(*oldest)


def rendered() -> Any:
    names = {"PYTHON": "python", "target_platform": "linux-64"}
    functions = {"compiler": lambda _: "gcc", "stdlib": lambda _: "sysroot"}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    return yaml.safe_load(environment.from_string(RECIPE).render(names | functions))


def _at_conda(requirement: str) -> str:
    """``dask[array]>=2025.5`` as ``dask-core >=2025.5``."""
    found = re.match(r"([\w-]+)(?:\[.*?\])?(>=[\w.]+)", requirement)
    assert found is not None, requirement
    return f"{AT_CONDA.get(found[1], found[1])} {found[2]}"
