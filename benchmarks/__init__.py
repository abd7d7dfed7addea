"""Measurements: run each with ``python -m benchmarks.<name>``; they print what docs/benchmarks.md shows."""
