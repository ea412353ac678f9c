# Every target installs what it needs into .venv first; the second time that costs nothing.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
PY := $(BIN)/python
ONCE ?=

.PHONY: help install run play test lint format bench lock clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(PY):
	$(PYTHON) -m venv .venv

# A stamp for each set of requirements: newer than its file means installed.
.venv/.installed-%: requirements/%.txt $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

install: .venv/.installed-dev ## everything the other targets need

run: .venv/.installed-run ## the real bot, from .env
	$(PY) bot.py run

play: .venv/.installed-play ## the playground in a browser; ONCE=1 stops after one song
	$(PY) bot.py play $(if $(filter-out 0,$(ONCE)),--once)

test: .venv/.installed-dev ## all tests, with branch coverage
	$(PY) -m pytest -n auto --cov --cov-fail-under=95

lint: .venv/.installed-dev ## formatting, rules, types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: .venv/.installed-dev ## put the formatting right
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: .venv/.installed-dev ## what is measured, as ratios within one run
	$(PY) -m benchmarks

lock: .venv/.installed-dev ## write requirements/*.txt anew from pyproject.toml
	$(PY) -m requirements

clean: ## remove what the targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
