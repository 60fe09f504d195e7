# The only commands anyone types. `make` prints them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
MEMBERS := libs/events libs/chassis services/claims services/workflow services/oa-connector \
           services/directory-sync services/notifier deploy/local cli
export PATH := $(CURDIR)/$(BIN):$(PATH)
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
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ./,$(MEMBERS))
	@touch $@

.PHONY: lock
lock: ## Resolve requirements.lock again from the pyproject files
	uv pip compile --universal --generate-hashes --python-version 3.11 --quiet --no-header --no-annotate \
		$(addsuffix /pyproject.toml,$(MEMBERS)) --group pyproject.toml:dev --group pyproject.toml:bench \
		--no-emit-package tonglu-events --no-emit-package tonglu-chassis --no-emit-package tonglu-local \
		--output-file requirements.lock
