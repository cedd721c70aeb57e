# The two commands that matter: make demo, make test. Both set up what is missing first.
SHELL := /bin/bash
BIN := .venv/bin
KEEP ?=
.DEFAULT_GOAL := help
.PHONY: help setup check format test unit demo lab-down lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: ## install Debian packages and the virtual environment (idempotent)
	@scripts/setup

check: setup ## linters, strict types, import rules: under a minute
	@scripts/check

format: setup ## rewrite the sources as the formatter wants them
	@$(BIN)/ruff check --fix src tests scripts
	@$(BIN)/ruff format src tests scripts

test: check ## set-up, checks, then every test: unit, property, conformance, simulation, lab
	@$(BIN)/python -m pytest tests

unit: setup ## the quick tests only
	@$(BIN)/python -m pytest tests/unit tests/property

demo: setup ## the main job on this machine; KEEP=1 leaves the region running
	@$(BIN)/gemel demo $(if $(filter-out 0,$(KEEP)),--keep)

lab-down: ## remove the lab and everything that it started
	@$(BIN)/gemel lab down

lock: setup ## pin requirements*.txt anew from pyproject.toml
	@scripts/lock

clean: ## remove what was built (not guest images)
	rm -rf build/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
