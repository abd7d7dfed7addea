"""Tests of what is durable, and of the torch-free half of every task."""
