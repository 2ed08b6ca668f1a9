# Two commands on a fresh machine with Python, pip and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo demo-full test test-all smoke check torture docs setup clean

VERSIONS := 3.11 3.12 3.13
SMOKE := tests/annotations tests/augment tests/losses tests/metrics tests/nn tests/sources tests/splits \
	tests/images tests/training/test_loop.py tests/training/test_checkpoint.py tests/cli/test_commands.py \
	tests/cli/test_defaults.py tests/workflows/prepare/test_prepare.py tests/test_catalog.py tests/test_files.py

setup: $(READY)

# Reused while pyproject.toml and constraints.txt stay as they are.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)  ## the whole story on drawn phantoms; the last lines are the report's path and the command that serves its model
	$(BIN)/hilum demo --out demo

demo-full: $(READY)  ## the whole study on drawn phantoms: four methods, two baselines, three shares of the labels
	$(BIN)/hilum demo --full --out demo-full

test: $(READY)  ## everything but the long tests
	$(BIN)/python -m pytest -n auto --dist worksteal -q

test-all:  ## a short set of tests on each version of Python that is on the path, in .venv-VERSION
	@for version in $(VERSIONS); do \
		if python$$version -c '' 2>/dev/null; \
		then $(MAKE) --no-print-directory smoke PYTHON=python$$version VENV=.venv-$$version || exit 1; \
		else echo "python$$version is not on the path: left out"; fi; done

smoke: $(READY)
	$(BIN)/python -V
	$(BIN)/python -m pytest -n auto --dist worksteal -q $(SMOKE)

check: $(READY)  ## format, lint, types, layers, structure
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/structure.py

docs: $(READY)  ## the documentation as a site with offline search, in build/site; a warning is an error
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/sphinx-build --fail-on-warning --quiet -c docs -b html . build/site
	@echo build/site/docs/index.html

torture: $(READY)  ## the long tests: many kills, large fuzzing
	$(BIN)/python -m pytest -q -m torture --timeout 7200

clean:
	rm -rf $(VENV) .venv-3.* build dist demo demo-full .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
