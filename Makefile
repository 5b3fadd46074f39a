# Two commands set everything up: `make demo` and `make test`. All they need is one of these Pythons.
VERSIONS := 3.11 3.12 3.13
VENV := .venv
BIN = $(VENV)/bin
CONSTRAINTS := --constraint constraints.txt
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python $(CONSTRAINTS) --editable
# One thread a process: on two cores, two processes of two threads each take 1.4 times as long.
# A process that dies ends the run at once: with another in its place, pytest-xdist 3.8 may wait for ever.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --max-worker-restart 0
FAST := -m 'not gpu and not slow and not java and not model'
SLOW := -m '(slow or model) and not gpu and not java'
JAVA := -m 'java and not gpu'
BY_FILE := --dist loadfile --no-loadscope-reorder --durations=20

# A command of this name may stand on the path and yet not work (pyenv's shims): each is tried.
CANDIDATES = $(or $(PYTHON),$(VERSIONS:%=python%) python3)
PROBE := import ensurepip, sys; sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])
MISSING = make needs Python (one of: $(VERSIONS)) with its venv module, and none of these is one: $(CANDIDATES); \
	install one, or name it with PYTHON=/path/to/python

.PHONY: help demo test check fast lint types bench benchmarks docs lock clean test-3.11 test-3.12 test-3.13 test-lowest

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z].*:.*## / {printf "  make %-31s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo ## install, then encode, index, search, compare with BM25 and explain, on bundled data
	$(BIN)/splare demo

# One after the other, for memory: processes that have started a JVM and loaded models keep gigabytes to their end.
test: lint types fast ## everything that continuous integration runs: lint, types and all tests
	$(PYTEST) $(BY_FILE) $(SLOW)
	$(PYTEST) $(BY_FILE) $(JAVA)

check: lint types fast ## before a commit: lint, types and the fast tests

fast: $(VENV)/.dev ## the tests that need no Java, no model and no patience
	$(PYTEST) $(FAST)

lint: $(VENV)/.dev ## ruff, its rules and its format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy
	$(BIN)/mypy

test-3.11 test-3.12 test-3.13: test-%: ## the fast tests on that Python, in .venv-3.12 and so on
	@$(MAKE) --no-print-directory fast VERSIONS=$* VENV=.venv-$*

test-lowest: ## the fast tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	@$(MAKE) --no-print-directory fast VERSIONS=3.11 VENV=.venv-lowest CONSTRAINTS='--resolution lowest-direct'

bench: $(VENV)/.dev ## the small version of every benchmark, in less than ten minutes, and one table of ratios
	$(BIN)/python benchmarks/run_all.py --small

benchmarks: $(VENV)/.dev ## every script of benchmarks/, which takes hours; records go to benchmarks/results
	$(BIN)/python benchmarks/run_all.py

docs: $(VENV)/.dev ## the documentation as a site in build/site; a broken link or anchor fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

lock: $(VENV)/.uv ## solve constraints.txt anew, for all Pythons at once
	$(BIN)/uv pip compile --quiet --universal --python-version $(firstword $(VERSIONS)) --extra dev --extra all \
		--no-header --no-annotate pyproject.toml -o constraints.txt

clean: ## remove environments and caches
	rm -rf .venv .venv-3.* .venv-lowest .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.uv:
	@found=; for python in $(CANDIDATES); do \
		if $$python -c '$(PROBE)' $(VERSIONS) 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo '$(MISSING)' >&2; exit 1; fi; \
	$$found -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv==0.13.9
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.uv
	$(INSTALL) '.[small-model,openvino,pyserini]'
	touch $@

# Compiled once: a hundred tests start processes, where each would compile again if Python may not write its cache.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.uv
	$(INSTALL) '.[dev]' --compile-bytecode
	touch $@
