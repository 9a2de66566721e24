# All is in pyproject.toml; this is for the tools that still look for a setup.py.
from setuptools import setup

setup()
