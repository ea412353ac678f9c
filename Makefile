# Every target installs what it needs into .venv first; the second time that costs nothing.
ifeq ($(OS),Windows_NT)
PYTHON ?= py
PY := .venv/Scripts/python.exe
else
PYTHON ?= python3
PY := .venv/bin/python
endif
# In two steps: if both are one command, 1.1.0 loses what the workers counted. The tests' own branches
# are not counted, so pytest is left as it is.
COVER := $(PY) -m slipcover
COVERED := .coverage.json
ONCE ?=
# The tests start hundreds of processes, each of which would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
# They measure, so they come after the others and one after the other.
LOADS := tests/reliability/test_load.py tests/reliability/test_soak.py

.PHONY: help install run play test test-long mutants lint format bench lock clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# A venv that is incomplete (Debian packages part of it separately) is not left behind.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and sys.version \
		+ ": Songwright needs Python 3.11 to 3.14. Name one: make PYTHON=python3.13 ...")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# The pip that Python brings may be years old, and take half as long again for this set.
.venv/.installed-dev: .venv/.installed-pip

# A stamp for each set of requirements: newer than its file means installed.
.venv/.installed-%: requirements/%.txt $(PY)
	@echo "Installing $< into .venv"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		-r $< || { echo "$< could not be installed. Where pip says \"No matching distribution\"," \
		"that part has no wheel for this Python on this platform: see \"Where it runs\" in" \
		"README.md." >&2; exit 1; }
	@touch $@

install: .venv/.installed-dev ## everything the other targets need

run: .venv/.installed-run ## the real bot, from .env
	$(PY) bot.py run

play: .venv/.installed-play ## the playground in a browser; ONCE=1 stops after one song
	$(PY) bot.py play $(if $(filter-out 0,$(ONCE)),--once)

test: .venv/.installed-dev ## all tests, with branch coverage
	$(COVER) --json --out $(COVERED) --dont-wrap-pytest -m pytest -n auto --maxschedchunk 4
	$(COVER) --merge $(COVERED) --out $(COVERED) --fail-under 97

test-long: .venv/.installed-dev ## what breaks, in full: every crash, fault and load (under 40 min)
	$(PY) -m pytest -n 4 --maxschedchunk 1 --long tests/reliability tests/security \
		tests/unit/services/credits/test_machine.py \
		$(LOADS:%=--ignore %)
	$(PY) -m pytest -n 0 --long $(LOADS)

mutants: .venv/.installed-dev ## whether the tests notice each broken guarantee
	$(PY) -m tests.mutants

lint: .venv/.installed-dev ## formatting, rules, types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: .venv/.installed-dev ## put the formatting right
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: .venv/.installed-dev ## what is measured, as ratios within one run
	$(PY) -m benchmarks

lock: .venv/.installed-dev ## update requirements/*.txt from pyproject.toml
	$(PY) -m requirements

clean: ## remove what the targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis $(COVERED)
