# Short targets, which the README and CI use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install demo s3-demo site site-serve browser test test-fast check train bench clean

install: $(VENV)/installed  ## create .venv with the versions of constraints.txt

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: install  ## pull, load, play and plot, then retrain one run to the same hashes
	$(BIN)/python benchmarks/demo.py

s3-demo: install  ## start a real S3 server, push the catalogue, and read it back without a key
	$(BIN)/python benchmarks/s3_demo.py

site: install  ## build the site into site/
	$(BIN)/rllte-hub site

site-serve: site  ## build the site and show it at http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000

browser:  ## install Chromium, which the tests of the site use, where it is missing (Debian, as root)
	command -v chromium > /dev/null || command -v google-chrome > /dev/null || \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium)

test: install  ## run the whole test suite
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder

test-fast: install  ## the tests that are quick, without training runs, real servers and simulators side by side
	$(BIN)/pytest -n 2 -m "not slow"

check: install  ## check format, lint and types, and run the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

train: install  ## train what is stale or missing for the next release; after a stop, it resumes from there
	$(BIN)/rllte-hub run --release

# The peer on Atari needs ale-py, which is under the GPL. Only this benchmark uses it, so no extra installs it.
bench: $(VENV)/bench-installed  ## measure env steps per second beside stable-baselines3's; takes an hour
	$(BIN)/python benchmarks/throughput.py

$(VENV)/bench-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]" ale-py
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache demo.png site
