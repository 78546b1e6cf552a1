# Holdfast's commands. `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := .venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade)
LOCK := $(COMPILE) pyproject.toml requirements/runtime.in

REDOCLY := REDOCLY_SUPPRESS_UPDATE_NOTICE=true REDOCLY_TELEMETRY=off PATH="$(CURDIR)/$(BIN):$$PATH" \
	.venv/redocly/node_modules/.bin/redocly lint --config requirements/redocly/redocly.yaml .venv/openapi.json
CHROMIUM ?= /usr/bin/chromium
export CHROMIUM

.DEFAULT_GOAL := help
.PHONY: help run test test-browser test-clients simulate faults mutants model bench check lint-openapi format lock clean chromium

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/installed-dev ## run Holdfast with its own PostgreSQL and Valkey on this machine; PORT=8000 DATA_DIR=.data
	@exec $(BIN)/holdfast dev

test: .venv/installed-test ## run the tests on PostgreSQL and Redis servers that they start themselves
	@exec $(BIN)/python -m pytest -n 2 --dist worksteal

test-browser: chromium .venv/installed-outside ## test the documentation page in headless Chromium; CHROMIUM=/usr/bin/chromium
	@exec $(BIN)/python -m pytest tests/browser

test-clients: .venv/installed-outside ## generate a Python and a TypeScript client from the OpenAPI document, and book a seat with each
	@exec env PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest tests/clients

# scripts/with-options turns the names that a command takes into its options: SEEDS=500 into `--seeds 500`.

simulate: .venv/installed-test ## run the hold protocol in a seeded simulator; SEEDS=2000, or SEED=… to replay one; HELP=1
	@exec scripts/with-options 'SEEDS FIRST SEED' $(BIN)/python -m tests.simulation $(if $(SEED),--trace)

faults: .venv/installed-test ## inject faults under load, check the invariants; MINUTES=10 FAULTS=a,b, or SCENARIO=all; HELP=1
	@exec tests/faults/run $(BIN)/python

mutants: .venv/installed-test ## plant known bugs in a copy of the code, and report what detects each; NAMES="…" ALL=1; HELP=1
	@exec scripts/with-options '' $(BIN)/python -m tests.mutants $(NAMES) $(if $(ALL),--all-catchers)

model: .venv/installed-test ## check a model of the hold protocol in every order of steps; ARGS="…"; HELP=1
	@exec scripts/with-options '' $(BIN)/python -m tests.model $(ARGS)

bench: .venv/installed-dev ## measure against baselines in the same run; ROWS=a,b ROUNDS=5 SECONDS=3; HELP=1
	@exec scripts/with-options 'ROWS ROUNDS' $(BIN)/python -m benchmarks $(if $(SECONDS),--seconds $(SECONDS)) # bash has a SECONDS of its own

check: .venv/installed-test ## check lint, format, types, import rules, migrations, commit messages and the OpenAPI document
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.dev.check_migrations
	$(BIN)/python docs/clients/openapi.py .venv/openapi.json
	$(BIN)/openapi-spec-validator .venv/openapi.json
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory .venv/installed-redocly; then $(REDOCLY); \
		else echo "left out: the strict OpenAPI rules, which need npm; make lint-openapi installs it"; fi
	$(BIN)/python scripts/check_commit_messages.py

lint-openapi: .venv/installed-outside .venv/installed-redocly ## check the OpenAPI document against the strictest public rules, with npm from a wheel
	$(BIN)/python docs/clients/openapi.py .venv/openapi.json
	$(REDOCLY)

format: .venv/installed-test ## format the code and apply the linter's fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/lock/bin/uv ## pin the versions and hashes of all packages; UPGRADE=1 takes the newest versions
	$(LOCK) --output-file requirements/runtime.txt
	$(LOCK) --extra dev \
		--constraint requirements/runtime.txt --output-file requirements/dev.txt
	$(LOCK) --extra dev --extra test \
		--constraint requirements/dev.txt --output-file requirements/test.txt
	$(LOCK) --extra dev --extra test --extra outside \
		--constraint requirements/test.txt --output-file requirements/outside.txt
	$(COMPILE) --output-file docs/clients/python/requirements.txt docs/clients/python/requirements.in

clean: ## remove installed packages and caches; DATA_DIR is kept
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

chromium:
	@test -x "$(CHROMIUM)" || { echo "there is no Chromium at $(CHROMIUM): install one, or name it with CHROMIUM=/path/to/it" >&2; exit 2; }

# What is installed is known by stamp files, so that the second time is quick.

.venv/installed-%: requirements/%.txt pyproject.toml | .venv/bin/python
	@echo "installing $$(grep -c == $<) packages from $< into .venv; the first time takes a minute"
	@$(PIP) install --progress-bar off --only-binary :all: --require-hashes -r $<
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-redocly: requirements/redocly/package-lock.json | .venv/bin/python
	@mkdir -p .venv/redocly
	@cp requirements/redocly/package.json requirements/redocly/package-lock.json .venv/redocly
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix .venv/redocly ci --ignore-scripts --no-audit --no-fund \
		--no-update-notifier --loglevel=error --fetch-retries=1 --fetch-timeout=60000
	@touch $@

.venv/bin/python:
	@for python in $(PYTHON) python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
		then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Holdfast needs Python 3.11, 3.12 or 3.13 ($(PYTHON) is $$($(PYTHON) --version 2>&1)); name one: make PYTHON=/path/to/python" >&2; \
		exit 2; \
	fi; \
	echo "making .venv with $$($$found --version)"; \
	$$found -m venv .venv || { rm -rf .venv; echo "$$found cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 2; }

.venv/lock/bin/uv: | .venv/bin/python
	@echo "installing uv into .venv/lock"
	@$(BIN)/python -m venv .venv/lock
	@.venv/lock/bin/python -m pip --disable-pip-version-check install --quiet 'uv>=0.13,<0.14'
