"""What zarrds takes, beside others.

Run as ``python -m benchmarks.compare`` from the project's root, or as ``python benchmarks/compare.py`` from anywhere.
"""
