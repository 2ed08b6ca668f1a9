# Two commands on a fresh machine with Python, pip and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo demo-full test check torture setup clean
setup: $(READY)

# Reused while pyproject.toml and constraints.txt stay as they are.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)  ## the whole story on drawn phantoms; the last line is the report's path
	$(BIN)/hilum demo --out demo

demo-full: $(READY)  ## the whole study on drawn phantoms: four methods, two baselines, three shares of the labels
	$(BIN)/hilum demo --full --out demo-full

test: $(READY)  ## everything but the long tests
	$(BIN)/python -m pytest -n auto --dist worksteal -q

check: $(READY)  ## format, lint, types, layers, structure
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/structure.py

torture: $(READY)  ## the long tests: many kills, large fuzzing
	$(BIN)/python -m pytest -q -m torture --timeout 7200

clean:
	rm -rf $(VENV) build dist demo demo-full .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
