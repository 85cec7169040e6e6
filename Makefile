# Two commands to know: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STORE ?= store

# Compile what commands import, on all cores: pip uses one, and Python itself writes nothing where
# PYTHONDONTWRITEBYTECODE is set. What cannot be compiled is left, as pip leaves it.
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib harness plugins || true

.PHONY: install demo benchmark claims bench docs-tables site test tests lint style types format clean

## demo: install, run the quick profile of the embedded benchmark, show its leaderboard
demo: $(VENV)/compiled
	$(BIN)/backbench run --profile quick --store $(STORE)

## install: install into .venv, and nothing else
install: $(VENV)/compiled

## benchmark: run the whole embedded benchmark
benchmark: $(VENV)/compiled
	$(BIN)/backbench run --store $(STORE)

## claims: run the cells that the claims are about, and judge them; undecided (3) is no error
claims: $(VENV)/compiled
	$(BIN)/backbench run --profile claims --store $(STORE)
	$(BIN)/backbench claims --store $(STORE) || test $$? -eq 3

## bench: time it beside its peers, and write docs/results/performance.md; see benchmarks/README.md
bench: $(VENV)/compiled
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m benchmarks $(PARTS) --page

## docs-tables: read TABLES (quick linear knn claims …) from the store, and write them into the pages
docs-tables: $(VENV)/compiled
	$(BIN)/python -m benchmarks.tables $(TABLES) --store $(STORE)

## site: build the documentation as a site in build/site/; a warning is an error
site: $(VENV)/compiled-dev
	$(BIN)/python -m pip install --quiet --group docs
	$(BIN)/python -m docs.site build/site

## test: lint, types, import rules and every test; what takes minutes runs side by side
test:
	$(MAKE) --jobs 2 style types tests

## lint: ruff, mypy --strict, import-linter
lint: style types

style: $(VENV)/compiled-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/compiled-dev
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/compiled-dev
	$(BIN)/pytest

format: $(VENV)/compiled-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@echo "Installing backbench and torch: the first time, this downloads up to several GB."
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-compile --group dev
	touch $@

# What came first is compiled while pip, on one core, installs the rest.
$(VENV)/compiled: $(VENV)/installed
	$(COMPILE)
	touch $@

$(VENV)/compiled-dev: $(VENV)/compiled $(VENV)/installed-dev
	$(COMPILE)
	touch $@

clean:
	rm -rf $(VENV) dist build
