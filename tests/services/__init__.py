"""Whole-service tests: real API, worker, broker and database."""
