"""Tests of the measurements: what they print, not what they measure."""
