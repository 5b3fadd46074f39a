# Two commands set everything up: `make demo` and `make test`. All they need is Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable

.PHONY: demo test lint benchmarks lock clean

demo: $(VENV)/.demo
	$(BIN)/splare demo

# One thread a process: on two cores, two processes of two threads each take 1.4 times as long.
test: $(VENV)/.dev lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmarks: $(VENV)/.dev
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

lock: $(VENV)/.uv
	$(BIN)/uv pip compile --quiet --python-version 3.11 --extra dev --extra all --no-header --no-annotate pyproject.toml -o constraints.txt

$(VENV)/.uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==0.13.9
	touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.uv
	$(INSTALL) '.[small-model,pyserini]'
	touch $@

# Compiled once: a hundred tests start processes, where each would compile again if Python may not write its cache.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.uv
	$(INSTALL) '.[dev]' --compile-bytecode
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
