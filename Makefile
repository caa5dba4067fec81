# Set-up, the demo, and what every change must pass.
PYTHON ?= python3.11
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadgroup --durations=20

.PHONY: demo experiment test test-all test-compose compose check lint types imports env system clean

demo: env  ## Evaluate gold, noop and a small real model on real instances; print the report's place.
	$(BIN)/harness doctor
	$(BIN)/harness eval -m gold -m noop -m openhands -s pypi-mini/test -p embedded --turns 2 --run-id demo

experiment: env  ## PI adapters, OPD, Top-K LSM and CHOP with small models, to one report; continues.
	$(BIN)/harness pipeline manifests/pipelines/embedded.yaml --jobs 2

test: env  ## Fast tests; those that need Docker run when an engine answers.
	$(PYTEST) -m "not slow"

test-all: env  ## Every test but those that bring up the compose project.
	$(PYTEST) -m "not compose"

test-compose: env  ## Bring the compose project up on the CPU, look at its report, take it down.
	$(BIN)/python -m pytest -m compose

compose:  ## A whole evaluation in containers, with the settings of .env.
	test -e .env || cp .env.example .env
	$(PYTHON) docker/prepare.py
	if docker compose version >/dev/null 2>&1; then docker compose up; else docker-compose up; fi

check: lint types imports test  ## What every change must pass.

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

imports: env
	$(BIN)/lint-imports

env: system $(STAMP)

# pip takes torch first: it knows wheels and indexes of this machine that uv does not read.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e ".[agents,embedded,train,cluster,dev]"
	touch $@

system:
	@command -v bwrap >/dev/null && command -v git >/dev/null || { \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq bubblewrap git; }

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
