# make           set up .venv, then run the experiment `quick`; ARGS: more arguments of snakemake
# make test      set up .venv, then run the tests to run after every change
# make test-all  all tests: also with Slurm, a browser, whole archives, more random examples, peers
# make peers     the tests that compare ours with public packages, which are added to .venv
# make gpu       with a card: what only a card can show, the most valuable first, for MINUTES=60; again: goes on
# make gpu-plan  what of it fits into 10, 30 and 60 minutes and a day; needs no card
# make lock      resolve the versions in envs/ again, by the index that pip is configured for
SHELL := bash
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := .venv/bin
MINUTES ?= 60
# Some containers set it; then each of thousands of processes would compile the same modules.
unexport PYTHONDONTWRITEBYTECODE
# With an NVIDIA driver: the locked torch and its CUDA libraries, by hash. Without: by version only,
# because builds for the CPU have other hashes.
TORCH ?= $(if $(shell command -v nvidia-smi),--no-deps --requirement envs/torch-cuda.txt,torch==2.13.0)

.PHONY: all setup test test-all peers gpu gpu-plan lock

all: setup
	$(BIN)/snakemake --cores all --profile profiles/quiet $(ARGS)

setup: .venv/.ready

.venv/.ready: envs/requirements.txt envs/torch-cuda.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed; set PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement envs/requirements.txt
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

test: setup
	$(BIN)/python -m pytest -n 2

test-all: setup
	LRA_THOROUGH=1 $(BIN)/python -m pytest -n 3 -m "" # one for Slurm, which waits, and two
	$(MAKE) peers

peers: .venv/.peers
	$(BIN)/python -m pytest -n 2 tests/peers

gpu: .venv/.peers
	$(BIN)/python tests/gpu/run.py --budget $(MINUTES)

gpu-plan: setup
	@$(BIN)/python tests/gpu/run.py --plan

.venv/.peers: .venv/.ready
	$(BIN)/pip list --format=freeze --exclude-editable > .venv/installed.txt
	$(BIN)/pip install --quiet --constraint .venv/installed.txt --editable ".[peers]"
	touch $@

lock: setup
	$(BIN)/pip install --quiet pip-tools
	cat envs/requirements.txt envs/torch-cuda.txt > .venv/lock.txt
	$(BIN)/pip-compile --quiet --generate-hashes --extra test --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-options \
		--output-file .venv/lock.txt pyproject.toml
	$(BIN)/python envs/environment.py .venv/lock.txt
