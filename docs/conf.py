"""Sphinx configuration: `sphinx-build -W docs docs/_build/html`."""

import sys
import tomllib
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))  # the docs are those of this checkout, installed or not

project = "zarrds"
author = "zarrds developers"
copyright = "2026, zarrds developers"
release = version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"zarrds {version}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False  # xarray's docstrings are not ours to publish, nor to keep free of warnings
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
