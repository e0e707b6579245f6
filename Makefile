# A machine with Python 3.11 or later and make needs nothing else: `make run`, `make test`.

VENV   ?= .venv
PYTHON ?= python3
ARGS   ?=

BIN := $(VENV)/bin
PIP  = "$(BIN)/python" -m pip --disable-pip-version-check --quiet --no-input

.PHONY: help run demo test check bench fuzz clean
.DEFAULT_GOAL := help

help:
	@echo 'make run      start the gateway on SQLite in ./var'
	@echo 'make demo     play one order from the RIS to the EHR with simulated parties'
	@echo 'make test     run every test; installs what the tests need where it may'
	@echo 'make check    format, lint, types, import contracts'
	@echo 'make fuzz     a hundred thousand broken messages (FUZZ_INPUTS, FUZZ_SEED); some minutes'
	@echo 'make bench    print figures beside peers: mapping, HL7, search, worklist, storage'
	@echo 'make clean    remove $(VENV) and what tools left behind; ./var stays'
	@echo
	@echo 'ARGS="..." is passed on to the gateway or to pytest. VENV and PYTHON can be set.'

run: $(VENV)/.installed
	@exec "$(BIN)/gateway" serve $(ARGS)

demo: $(VENV)/.installed
	@exec "$(BIN)/gateway" demo $(ARGS)

test: $(VENV)/.installed-dev
	@.ci/peers "$(BIN)/python"
	@"$(BIN)/python" tests/fhir/make_validators.py "$(VENV)/validators" || echo 'Skipped: tests with the FHIR validators.'
	@"$(BIN)/python" tests/road/make_sekmet.py "$(VENV)/sekmet" || echo 'Skipped: tests with the EHR sekmet-fhir.'
	FHIR_VALIDATORS="$(VENV)/validators" SEKMET="$(VENV)/sekmet/bin/sekmet" \
		"$(BIN)/pytest" --numprocesses=logical --dist=worksteal $(ARGS)

check: $(VENV)/.installed-dev
	"$(BIN)/ruff" format --check .
	"$(BIN)/ruff" check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"

bench: $(VENV)/.installed-dev
	@"$(BIN)/python" tests/bench/bench_mapping.py
	@"$(BIN)/python" tests/bench/bench_search.py
	@"$(BIN)/python" tests/bench/bench_mllp.py
	@"$(BIN)/python" tests/bench/bench_fhir.py
	@"$(BIN)/python" tests/bench/bench_deliver.py
	@"$(BIN)/python" tests/bench/bench_storage.py
	@"$(BIN)/python" tests/bench/bench_worklist.py

fuzz: $(VENV)/.installed-dev
	FUZZ_INPUTS="$${FUZZ_INPUTS:-60000}" "$(BIN)/pytest" tests/fuzz $(ARGS)

clean:
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find gateway tests -type d -name __pycache__ -prune -exec rm -rf {} +

# setuptools is pinned in requirements.txt, so nothing is fetched to install the package itself.
$(VENV)/.installed: requirements.txt pyproject.toml .ci/venv
	@.ci/venv "$(VENV)" "$(PYTHON)"
	@echo 'Installing requirements.txt into $(VENV).'
	@$(PIP) install --requirement requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch "$@"

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo 'Installing requirements-dev.txt into $(VENV).'
	@$(PIP) install --requirement requirements-dev.txt
	@touch "$@"
