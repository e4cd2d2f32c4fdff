# Two commands for newcomers: `make demo` and `make test`. Both first make .venv, where it is missing or out of date.

PYTHON ?= python3
VENV   ?= .venv
# The versions this was tested with; any torch >= 2.10 works: make demo TORCH="torch torchvision"
TORCH  ?= torch==2.14.1 torchvision==0.29.1
BIN    := $(VENV)/bin
# One process per core with one thread each is quicker than processes that fight for the cores. A file goes to one of
# them whole, so that what its tests share is made once; in the order of their names, the long ones come early.
PYTEST  = OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help install demo test docs format wheel clean

help:
	@echo "make demo    see the whole method work on this machine, in minutes"
	@echo "make test    ruff, mypy, import rules and pytest"
	@echo "make docs    the documentation as a site in build/site"
	@echo "make format  let ruff mend what it can"
	@echo "make wheel   build dist/*.whl"
	@echo "make clean   remove .venv and what was built"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or later is needed; name one with make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@

demo: install
	$(BIN)/histoproto demo

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "slow or not slow" tests src
	benchmarks/gpu_check.sh $(BIN)/python

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: install
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) dist build
