"""Tests of the tasks: parse, encode, decode, score."""
