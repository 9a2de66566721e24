"""What zarrds takes, beside others. Run from the project's root, as ``python -m benchmarks.compare``."""
