# Every target works in a fresh clone: it makes its virtual environment (.venv) when there is none.
#   make demo    install the package, run the example on the standard library, show the result
#   make test    install all that the tests need, run every test
#   make check   the quick round: ruff, mypy, import-linter, the fast tests
#   make bench   the figures of docs/performance.md      make soak   the long form of the fault tests
#   make docs    the documentation as HTML               make pins   renew the versions used for development

unexport PYTHONDONTWRITEBYTECODE   # each command would compile the package anew
SHELL := /bin/bash
.DEFAULT_GOAL := check
.DELETE_ON_ERROR:

PYTHON ?= $(shell .ci/python)
BIN := .venv/bin
WORKERS ?= 3
PINS := constraints/dev.txt
PACKAGE_STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev

.PHONY: demo test check lint types layers fast bench soak docs pins dist clean

demo: $(PACKAGE_STAMP)
	@bash examples/stdlib_metrics/demo.sh

# worksteal, not loadfile: with loadfile a test that kills its worker makes pytest-xdist 3.8 wait for ever.
test: $(DEV_STAMP)
	@.ci/programs
	@$(BIN)/python -m pytest -m "not soak" -n $(WORKERS) --dist worksteal $(ARGS)

check: lint types layers fast

lint: $(DEV_STAMP)
	@$(BIN)/ruff check .
	@twice=$$(find tests -name 'test_*.py' | sed 's|.*/||' | sort | uniq -d); \
		[ -z "$$twice" ] || { echo "pytest imports tests by these names, which two files have: $$twice"; exit 1; }
	@$(BIN)/ruff format --check --quiet . || { echo "these files want 'ruff format':"; $(BIN)/ruff format --check . ; }

types: $(DEV_STAMP)
	@$(BIN)/mypy

layers: $(DEV_STAMP)
	@$(BIN)/lint-imports

fast: $(DEV_STAMP)
	@$(BIN)/python -m pytest -q -m "not slow and not soak" -n $(WORKERS) --dist worksteal $(ARGS)

bench: $(DEV_STAMP)
	@$(BIN)/python -m benchmarks --peers $(ARGS)

soak: $(DEV_STAMP)
	@.ci/programs
	@$(BIN)/python -m pytest -m "soak or slow" --timeout 3600 $(ARGS)

docs: $(DEV_STAMP)
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

dist: $(DEV_STAMP)
	@$(BIN)/python -m build --outdir dist .

pins: $(DEV_STAMP)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --upgrade --group dev pyproject.toml --output-file $(PINS)

clean:
	rm -rf .venv dist build docs/_build demo-state .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage*

# The virtual environment is made by `uv` where it is installed, else by `python -m venv`.
$(BIN)/python:
	@.ci/venv "$(PYTHON)"

$(PACKAGE_STAMP): pyproject.toml $(PINS) | $(BIN)/python
	@.ci/install
	@touch $@

$(DEV_STAMP): pyproject.toml $(PINS) | $(BIN)/python
	@.ci/install --group dev
	@touch $@ $(PACKAGE_STAMP)
