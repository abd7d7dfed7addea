"""Turns a job into a published model."""
