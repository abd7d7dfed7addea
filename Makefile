# Thawline. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp's name holds the hash of what is to be installed: where neither the locked versions nor the project's own
# table (what comes before the tools' settings) changed, nothing is installed again.
LOCK := $(shell { sed '/^\[tool\./,$$d' pyproject.toml; cat constraints.txt; } | sha256sum | cut -c1-16)
STAMP := $(VENV)/.installed-$(LOCK)

# The page is built once, by the Node.js that came with the other tools; while the service runs nothing is.
PAGE := api/web/index.html
NPM := cd web && PATH="$(abspath $(BIN)):$$PATH" npm --silent

.PHONY: help setup demo serve test test-browser docs check format lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-8s %s\n", $$1, $$2 }'

setup: $(STAMP) $(PAGE) ## Create .venv, install the locked dependencies, build the page

$(STAMP):
	@echo "Installing into $(VENV) (once; torch is large, this takes a minute or several)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,embedded,worker,dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps openapi-python-client
	@rm -f $(VENV)/.installed-* && touch $@

web/node_modules: web/package-lock.json | $(STAMP)
	@$(NPM) ci --no-audit --no-fund --ignore-scripts
	@touch $@

$(PAGE): web/node_modules web/build.mjs $(wildcard web/src/*)
	@$(NPM) run build

demo: $(STAMP) $(PAGE) ## Train all three sample models and ask them
	@$(BIN)/python examples/demo.py

serve: $(STAMP) $(PAGE) ## Run API, worker and broker on 127.0.0.1:8000 until Ctrl-C
	@exec $(BIN)/thawline serve

test: $(STAMP) $(PAGE) ## Run the whole test suite
	@$(BIN)/python -m pytest

test-browser: $(STAMP) $(PAGE) ## Install Chromium (Debian) and try the page in it
	@command -v chromium > /dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }
	@$(BIN)/python -m pytest tests/browser

docs: $(STAMP) ## Build the documentation's site in build/site; a broken link fails
	@$(BIN)/python -m scripts.docs

check: $(STAMP) web/node_modules ## Lint, format check, types, architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(NPM) run check

format: $(STAMP) ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: ## Resolve the newest dependencies anew and write constraints.txt
	@$(PYTHON) scripts/lock.py

clean: ## Remove .venv and caches (the data in .thawline stays)
	@rm -rf $(VENV) api/web web/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
