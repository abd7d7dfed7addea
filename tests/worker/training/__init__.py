"""Tests of the training code: no service, no database."""
