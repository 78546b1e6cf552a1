# Holdfast's commands. `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := .venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header
LOCK := $(COMPILE) pyproject.toml requirements/runtime.in

REDOCLY := REDOCLY_SUPPRESS_UPDATE_NOTICE=true REDOCLY_TELEMETRY=off PATH="$(CURDIR)/$(BIN):$$PATH" \
	.venv/redocly/node_modules/.bin/redocly
CHROMIUM ?= /usr/bin/chromium
export CHROMIUM

.DEFAULT_GOAL := help
.PHONY: help run test test-browser test-clients simulate faults mutants model check lint-openapi format lock clean chromium

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/installed-dev ## the whole of Holdfast on this machine; PORT, DATA_DIR, … from the environment
	@exec $(BIN)/holdfast dev

test: .venv/installed-test ## every test, on real PostgreSQL and Redis that it starts itself
	@exec $(BIN)/python -m pytest -n 2 --dist worksteal

test-browser: chromium .venv/installed-outside ## the docs page in headless Chromium; CHROMIUM names another than /usr/bin/chromium
	@exec $(BIN)/python -m pytest tests/browser

test-clients: .venv/installed-outside ## generate clients in Python and TypeScript from the OpenAPI document, and sell with them
	@exec env PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest tests/clients

simulate: .venv/installed-test ## the shipped protocol under a seeded scheduler, without I/O; SEEDS=, FIRST=, or SEED= to replay one; figures add up in .figures
	@exec $(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) --trace,\
		--seeds $(or $(SEEDS),2000) --first $(or $(FIRST),0))

faults: .venv/installed-test ## break a real stack under load and judge it; MINUTES, SEED, FAULTS, WORKLOADS, or SCENARIO=all; HELP=1 explains
	@$(if $(SCENARIO),exec $(BIN)/python -m tests.faults.scenarios \
		$(if $(HELP),--help) $(filter-out all,$(SCENARIO)),:)
	@$(if $(SCENARIO),:,exec $(BIN)/python -m tests.faults) $(if $(HELP),--help) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(WORKLOADS),--workloads $(WORKLOADS)) \
		$(if $(EPISODES),--episodes $(EPISODES)) $(if $(FIRST),--first $(FIRST))

mutants: .venv/installed-test ## plant each known fault in a copy of the code, and tell what catches it; NAMES="…" for some, ALL=1 to ask every catcher
	@exec $(BIN)/python -m tests.mutants $(NAMES) $(if $(ALL),--all-catchers)

model: .venv/installed-test ## explore the hold protocol, every order of steps; ARGS="confirm -fence_raise" explores one world, ARGS=--list names all
	@exec $(BIN)/python -m tests.model $(ARGS)

bench: .venv/installed-dev ## measure against baselines of the same run; ROWS=a,b, ROUNDS, SECONDS; HELP=1 explains and lists the rows
	@exec $(BIN)/python -m benchmarks $(if $(HELP),--help) $(if $(ROWS),--rows $(ROWS)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS))

check: .venv/installed-test ## check lint, format, types, import rules, migrations, commit messages and the OpenAPI document
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.dev.check_migrations
	$(BIN)/python scripts/check_commits.py
	$(BIN)/python docs/clients/openapi.py .venv/openapi.json
	$(BIN)/openapi-spec-validator .venv/openapi.json
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory .venv/installed-redocly; \
		then $(REDOCLY) lint --config requirements/redocly/redocly.yaml .venv/openapi.json; \
		else echo "the strict OpenAPI rules are left out here, as they need npm: make lint-openapi brings one"; fi

lint-openapi: .venv/installed-outside .venv/installed-redocly ## the OpenAPI document against the strictest public rules
	$(BIN)/python docs/clients/openapi.py .venv/openapi.json
	$(REDOCLY) lint --config requirements/redocly/redocly.yaml .venv/openapi.json

format: .venv/installed-test ## put the code into its one form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/lock/bin/uv ## pin the newest versions that pyproject.toml allows; UPGRADE=1 moves known pins too
	$(LOCK) $(if $(UPGRADE),--upgrade) --output-file requirements/runtime.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra dev \
		--constraint requirements/runtime.txt --output-file requirements/dev.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra dev --extra test \
		--constraint requirements/dev.txt --output-file requirements/test.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra dev --extra test --extra outside \
		--constraint requirements/test.txt --output-file requirements/outside.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade) \
		--output-file docs/clients/python/requirements.txt docs/clients/python/requirements.in

clean: ## remove what was installed and cached; DATA_DIR stays
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
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix .venv/redocly ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
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
