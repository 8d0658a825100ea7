# Two commands do all: `make demo` runs the study and draws its figure, `make test` checks the code.
# `make demo-real DATA=FOLDER` tunes for real, on this machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TAG := tmlr-10
# Of `make demo-real`: a folder with train.txt, valid.txt and test.txt, and how long it tunes.
DATA ?=
DEMO_SECONDS ?= 300
DEMO_TAG := demo-real$(if $(filter-out 300,$(DEMO_SECONDS)),-$(DEMO_SECONDS))
PEERS := optuna botorch smac syne-tune ray
# Syne Tune 0.13 needs a numpy that newer versions of Python do not have.
PEERS_PYTHON ?= python3.11
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo demo-real demo-data test lint types unit format peers clean

demo: $(VENV)/.installed
	$(BIN)/asynctune study --experiment-tag $(TAG) --benchmark transformer_wikitext2 \
	  --backend simulated --n-workers 2,4,8 --num-seeds 5 --random-seed 2938702734 \
	  --scale-max-wallclock-time 1
	$(BIN)/asynctune plot $(TAG)
	$(BIN)/asynctune table $(TAG)
	$(BIN)/asynctune findings $(TAG)

demo-real: demo-data $(VENV)/.installed-train
	$(BIN)/asynctune run --experiment-tag $(DEMO_TAG) --backend local \
	  --benchmark transformer_wikitext2_mini --method MOBSTER --n-workers 2 \
	  --gpus none --max-wallclock-time $(DEMO_SECONDS) --random-seed 2938702734 \
	  -- --data "$(DATA)" --cache results/$(DEMO_TAG)/text
	$(BIN)/asynctune curves $(DEMO_TAG)/MOBSTER-2w-0

demo-data:
	@test -f "$(DATA)/train.txt" || { echo "make demo-real needs the text of WikiText-2:" \
	  "DATA=FOLDER, which holds train.txt, valid.txt and test.txt; got DATA=$(DATA)" >&2; exit 1; }

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

# What the benchmarks compare with, each in an environment of its own; `make -k peers` goes on
# where one cannot be installed.
peers: $(PEERS:%=.peers/%/.installed)

.peers/%/.installed: benchmarks/peers/requirements/%.txt
	test -x $(@D)/bin/python || $(PEERS_PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; see PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-train: $(VENV)/.installed
	$(PIP) --editable '.[train]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev,train]'
	touch $@

clean:
	rm -rf $(VENV) results .mypy_cache .ruff_cache .pytest_cache .hypothesis
