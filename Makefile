# Short targets; the README and CI call the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install demo test check train clean

install: $(VENV)/installed  ## create .venv with the versions of constraints.txt

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: install  ## pull, load, play, plot, and train one run again to the same hashes
	$(BIN)/python benchmarks/demo.py

test: install  ## the whole test suite
	$(BIN)/pytest -n 2 --dist loadscope

check: install  ## format, lint, types and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

train: install  ## train what is missing or stale; stop it at any moment, it goes on from there
	$(BIN)/dvc repro

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache demo.png
