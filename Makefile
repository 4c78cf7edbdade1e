# `make help` lists the targets. Python and all packages live in .venv; nothing else is touched.

PYTHON ?= python3
# Versions to hold to in development; empty (`make test CONSTRAINTS=`) for the newest that fit.
CONSTRAINTS ?= constraints.txt
# Processes that run tests.
WORKERS ?= 2
# Options for the program that a target runs, and the demo's task.
ARGS ?=
TASK ?=

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check \
	$(if $(CONSTRAINTS),-c $(CONSTRAINTS))

# Bytecode is kept, whatever the shell says: without it, every process that runs tests spends its first
# ten seconds on compiling, above all the test modules that pytest rewrites.
export PYTHONDONTWRITEBYTECODE :=

# MuJoCo draws through a window unless told otherwise. Without a display, EGL draws off screen; it is
# asked for only where its library is present, because MuJoCo cannot be imported otherwise.
ifeq ($(shell uname -s),Linux)
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY),)
ifneq ($(shell /sbin/ldconfig -p 2>/dev/null | grep -F libEGL.so.1),)
export MUJOCO_GL ?= egl
endif
endif
endif

.DEFAULT_GOAL := help
.PHONY: help demo test bench docs site lint types clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'ARGS="..." goes to the program that a target runs; PYTHON=... names the Python for .venv.'

demo: $(VENV)/.installed  ## Install, then run the demo (TASK=mountain-car chooses the task)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/persim-gym demo $(if $(TASK),--task $(TASK)) $(ARGS)

test: lint types  ## Everything that CI runs: lint, types and tests
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: $(VENV)/.installed-dev  ## Check style, format and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(VENV)/.installed-dev  ## Check types
	$(BIN)/mypy

bench: $(VENV)/.installed  ## Run the speed benchmarks
	$(BIN)/python benchmarks/run.py $(ARGS)

docs: site  ## Build the site, and run the code blocks of the documentation
	$(BIN)/python -m pytest tests/test_docs.py tests/site $(ARGS)
	@echo 'Read it: docs/_build/html/index.html'

site: $(VENV)/.installed-dev  ## Build the site alone, with the notebooks run; warnings are errors
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python tools/notebooks.py
	$(BIN)/python -m sphinx -b html -W --keep-going -d docs/_build/doctrees -q docs docs/_build/html

clean:  ## Remove caches and builds (.venv, runs and data stay)
	rm -rf build dist docs/_build htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . \( -path ./$(VENV) -o -path ./.git \) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
	find . \( -path ./$(VENV) -o -path ./.git \) -prune -o -type f -name MUJOCO_LOG.TXT -exec rm -f {} +

# pip is the last thing that venv makes, so a broken-off creation is taken up again.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/pip
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(CONSTRAINTS) | $(BIN)/pip
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed
