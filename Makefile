# Every target does its own set-up: Python >= 3.11 and make are enough.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8080
CONFIG ?= config/gateway.yaml

VENV := .venv
BIN := $(VENV)/bin

CLIENTS := newest frameworks oldest

.PHONY: serve test test-clients check bench docs clean

serve: $(VENV)/serve
	$(BIN)/rerank-gateway serve --config $(CONFIG) --host $(HOST) --port $(PORT)

test: $(VENV)/develop
	$(BIN)/python -m pytest

# Each group of client packages has an environment of its own: they exclude each other's versions.
test-clients: $(VENV)/develop $(CLIENTS:%=.venv-clients-%/done)
	$(BIN)/python tests/clients/run.py

.venv-clients-%/done: pyproject.toml
	$(PYTHON) -m venv .venv-clients-$*
	.venv-clients-$*/bin/python -m pip install --quiet --upgrade pip
	.venv-clients-$*/bin/python -m pip install --quiet --group clients-$*
	touch $@

check: $(VENV)/develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/develop
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m benchmarks.gateway --json docs/performance.json --plot docs/performance.svg

docs: $(VENV)/develop
	$(BIN)/python -m docs.generate

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/serve: $(BIN)/python pyproject.toml
	@echo "Installing the gateway with its local engine; the first time takes a few minutes."
	$(BIN)/python -m pip install --quiet --quiet --editable '.[local]'
	touch $@

$(VENV)/develop: $(VENV)/serve
	$(BIN)/python -m pip install --quiet --quiet --group test --group check
	touch $@

clean:
	rm -rf $(VENV) .venv-clients-* tests/clients/node/node_modules
