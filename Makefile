# make        set up .venv, run the quick experiment
# make test   set up .venv, run the tests
# make peers  set up .venv, add the other implementations, compare ours with them
# make lock   resolve envs/requirements.txt anew from pyproject.toml
SHELL := bash
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := .venv/bin

.PHONY: all setup test peers lock

all: setup
	$(BIN)/snakemake --cores all

setup: .venv/.ready

.venv/.ready: envs/requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed; set PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement envs/requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

test: setup
	$(BIN)/python -m pytest -n 2

peers: setup
	$(BIN)/pip install --quiet --constraint envs/requirements.txt --editable ".[peers]"
	$(BIN)/python -m pytest tests/peers

lock: setup
	$(BIN)/pip install --quiet pip-tools
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --extra test --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-options --no-annotate \
		--output-file envs/requirements.txt pyproject.toml
	$(BIN)/python envs/environment.py
