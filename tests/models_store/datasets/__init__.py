"""Tests of uploads: reading, validation, splits, storage."""
