# Two commands are the whole set-up: `make demo` to see it, `make test` to prove it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(VENV)/.run
DEV    := $(VENV)/.dev
FAST   := tests/unit tests/test_architecture.py tests/test_docs.py

.PHONY: help demo test unit lint bench pipeline docs lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      a whole incident on a local page: no account, no Docker, no JVM"
	@echo "make test      every test, on real Kafka, Connect, registry, PostgreSQL, Prometheus, Alertmanager, Chromium"
	@echo "make unit      the fast tests only"
	@echo "make pipeline  a real CDC pipeline with the bot beside it, to play with; BOT=no: without the bot, to set it up"
	@echo "make bench     speed, as ratios in one run"

# Versions and hashes come from the locks alone: pip refuses a file whose hash is not in them.
PIP    := $(BIN)/python -m pip --disable-pip-version-check install -q
LOCKED := $(PIP) --require-hashes

$(RUN): pyproject.toml requirements.lock requirements-build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cdc-oncall needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(LOCKED) -r requirements.lock -r requirements-build.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): $(RUN) requirements-dev.lock
	@echo "installing what the tests need ..."
	@$(LOCKED) -r requirements-dev.lock
	@touch $@

# After a change of pyproject.toml. It keeps every version that still fits; `make lock UPGRADE=--upgrade` takes the newest.
COMPILE := UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile -q --universal --python-version 3.11 \
           --generate-hashes $(UPGRADE)

lock: $(DEV)
	@$(COMPILE) pyproject.toml -o requirements.lock
	@$(COMPILE) -c requirements.lock --group build -o requirements-build.lock
	@$(COMPILE) -c requirements.lock -c requirements-build.lock --group dev -o requirements-dev.lock

demo: $(RUN)
	@$(BIN)/cdc drill schema-break || test $$? -eq 1

lint: $(DEV)
	@$(BIN)/ruff check bot tests
	@$(BIN)/ruff format --check -q bot tests
	@$(BIN)/mypy

unit: $(DEV)
	@$(BIN)/pytest -q -n auto $(FAST)

test: lint
	@$(BIN)/python -m tests.system.fetch
	@$(BIN)/pytest -q -n auto $(FAST)
	@$(BIN)/pytest tests/test_packaging.py tests/test_deploy.py tests/drill tests/crash tests/system

bench: $(DEV)
	@$(BIN)/python -m tests.system.fetch
	@$(BIN)/python -m tests.bench

pipeline: $(DEV)
	@$(BIN)/python -m tests.system.fetch
	@$(BIN)/python -m tests.system.play $(if $(filter no,$(BOT)),--without-bot)

docs: $(DEV)
	@$(BIN)/python -m tests.reference
	@$(BIN)/python -m tests.rules_page

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist build
