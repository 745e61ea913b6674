# Two commands do all set-up: `make demo` and `make test`. Everything else is listed by `make help`.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
# the first interpreter that really runs and is 3.11 or 3.12
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do $$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3,11),(3,12)))' >/dev/null 2>&1 && echo $$p && break; done)
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet
# no component of the house calls home
export DAGSTER_DISABLE_TELEMETRY := 1
export GX_ANALYTICS_ENABLED := False
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help demo test prove-venue simulate soak ui check bench leaks clean distclean browser-test lock

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.demo  ## bars -> features -> model -> promotion -> protected simulated paper session, in one go
	@$(BIN)/alphatrade demo

ui: $(VENV)/.demo  ## Dagster (webserver + daemon) and MLflow on loopback
	@$(BIN)/alphatrade ui

test: $(VENV)/.dev  ## the whole test suite, in two processes
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

browser-test: $(VENV)/.dev  ## only the tests that need Chromium
	@$(BIN)/python -m pytest tests/browser

prove-venue: $(VENV)/.dev  ## the long form of the venue's property tests: 600 random lives of an account, 600 hostile requests a kind
	@VENUE_EXAMPLES=600 $(BIN)/python -m pytest tests/venue/exchange/test_properties.py tests/venue/server/test_hostile_fuzz.py --timeout 0

simulate: $(VENV)/.dev  ## 500 simulated sessions with every fault, some nine minutes on two cores
	@$(BIN)/alphatrade simulate --sessions 500 --seed 1

soak: $(VENV)/.dev  ## 10,000 simulated sessions with every fault
	@$(BIN)/alphatrade simulate --sessions 10000 --seed 1

prove-models: $(VENV)/.dev  ## the long form of the planted truth: 200 noises and 20 edges from bars to the gate, with the measured rates
	@MODELS_SEEDS=200 $(BIN)/python -m pytest tests/models/test_planted_truth.py -s --timeout 0

check: $(VENV)/.dev  ## lint, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev  ## benchmarks, medians of side-by-side runs
	@$(BIN)/python -m benchmarks

# where the market data for tests are; the sample alone needs none
DATA ?= $(or $(ALPHATRADE_DATA),../shared/data)
LEAKS := $(BIN)/alphatrade leaks --thorough
INTRADAY := --timezone America/New_York --time-column ts

leaks: $(VENV)/.dev  ## the long leak hunt: the house and every planted leak, on the sample and on daily, hourly and 5-minute files
	@ALPHATRADE_MARKET__SOURCE=sample $(LEAKS)
	@if [ -d "$(DATA)" ]; then \
		$(LEAKS) --bars "$(DATA)/sp500_daily/panel.parquet" --time-column date --rows 1500 && \
		$(LEAKS) --bars "$(DATA)/lean_hourly/hourly.parquet" --timeframe 1Hour $(INTRADAY) --rows 1500 && \
		$(LEAKS) --bars "$(DATA)/intraday_5min_2025/bars_5min.parquet" --timeframe 5Min $(INTRADAY) --rows 1500; \
	else echo "no market data at $(DATA): only the sample was probed"; fi

lock: $(VENV)/.dev  ## re-resolve both lock files (hashes, no index address)
	@$(INSTALL) uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra sample pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra sample --extra redis --extra postgres --extra scale --extra tuning --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:  ## remove caches and build leftovers; keeps your data, models and journals
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis catboost_info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## also remove the environment; state under .alphatrade stays yours to delete
	rm -rf $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "AlphaTrade needs Python 3.11 or 3.12 on PATH; set PYTHON=/path/to/python" >&2; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# the demo needs less than the tests; a developer's environment serves both
$(VENV)/.demo: pyproject.toml requirements.lock | $(BIN)/python
	@if [ -e $(VENV)/.dev ]; then $(MAKE) --no-print-directory $(VENV)/.dev; else \
		echo "installing locked packages (a few minutes, once)"; \
		$(INSTALL) --no-deps --require-hashes -r requirements.lock && $(INSTALL) --no-deps -e .; fi
	@touch $@

$(VENV)/.dev: pyproject.toml requirements-dev.lock | $(BIN)/python
	@echo "installing locked packages for development (a few minutes, once)"
	@$(INSTALL) --no-deps --require-hashes -r requirements-dev.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.demo
