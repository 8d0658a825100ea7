# Two commands do all: `make demo` runs the study and draws its figure, `make test` checks the code.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TAG := tmlr-10
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint types unit format clean

demo: $(VENV)/.installed
	$(BIN)/asynctune study --experiment-tag $(TAG) --benchmark transformer_wikitext2 \
	  --backend simulated --n-workers 2,4,8 --num-seeds 5 --random-seed 2938702734 \
	  --scale-max-wallclock-time 1
	$(BIN)/asynctune plot $(TAG)
	$(BIN)/asynctune table $(TAG)
	$(BIN)/asynctune findings $(TAG)

test: lint types unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# One thread of linear algebra a process: more are slower here, and change the last bits.
unit: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; see PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) results .mypy_cache .ruff_cache .pytest_cache .hypothesis
