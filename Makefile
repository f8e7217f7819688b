# Short targets; the README and CI call the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install demo s3-demo test check train bench clean

install: $(VENV)/installed  ## create .venv with the versions of constraints.txt

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: install  ## pull, load, play, plot, and train one run again to the same hashes
	$(BIN)/python benchmarks/demo.py

s3-demo: install  ## start a real S3 server, push the catalogue, read it back as anybody
	$(BIN)/python benchmarks/s3_demo.py

test: install  ## the whole test suite
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder

check: install  ## format, lint, types and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

train: install  ## train what is stale or missing for the next release; stop it at any moment, it goes on from there
	$(BIN)/rllte-hub run --release

# The peer on Atari plays with ale-py, which is under the GPL: a tool of this benchmark, and so in no extra
bench: $(VENV)/bench-installed  ## env steps a second beside stable-baselines3's; takes an hour
	$(BIN)/python benchmarks/throughput.py

$(VENV)/bench-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]" ale-py
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache demo.png
