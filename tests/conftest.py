"""Shared fixtures: real servers, a tiny real encoder, and models trained once per session."""

from __future__ import annotations

import os

from models_store.settings import Settings

# Before anything reads the settings: a test must not see the developer's own environment or .env file.
Settings.model_config["env_file"] = None
for _name in [name for name in os.environ if name.startswith("THAWLINE_")]:
    del os.environ[_name]

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # some tests import onnxruntime before anything of ours

pytest_plugins = [
    "tests.fixtures.receiver",
    "tests.fixtures.scripted",
    "tests.fixtures.servers",
    "tests.fixtures.leftovers",
    "tests.fixtures.encoders",
    "tests.fixtures.hub",
    "tests.fixtures.models",
]
