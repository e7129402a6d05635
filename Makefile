# Two commands are the whole set-up: `make demo` to see it, `make test` to prove it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(VENV)/.run
DEV    := $(VENV)/.dev
FAST   := tests/unit tests/test_architecture.py tests/test_docs.py

.PHONY: help demo test unit lint bench pipeline docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      a whole incident on a local page: no account, no Docker, no JVM"
	@echo "make test      every test, on real Kafka, Connect, registry, PostgreSQL, Prometheus, Alertmanager, Chromium"
	@echo "make unit      the fast tests only"
	@echo "make pipeline  a real CDC pipeline with the bot beside it, to play with; BOT=no: without the bot, to set it up"
	@echo "make bench     speed, as ratios in one run"

$(RUN): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cdc-oncall needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -q -e .
	@touch $@

$(DEV): $(RUN)
	@echo "installing what the tests need ..."
	@$(BIN)/python -m pip install -q --group dev
	@touch $@

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
	@$(BIN)/pytest tests/test_packaging.py tests/drill tests/crash tests/system

bench: $(DEV)
	@$(BIN)/python -m tests.system.fetch
	@$(BIN)/python -m tests.bench

pipeline: $(DEV)
	@$(BIN)/python -m tests.system.fetch
	@$(BIN)/python -m tests.system.play $(if $(filter no,$(BOT)),--without-bot)

docs: $(DEV)
	@$(BIN)/python -m tests.reference

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist build
