# The targets of eqprop-analog. PYTHON=python3.12 selects the interpreter with which .venv is created.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## create .venv from requirements.lock, and install ngspice and libngspice
	@scripts/setup.sh

demo: setup ## train the main network on MNIST and verify it in ngspice
	@.venv/bin/eqprop-analog demo

test: setup ## run all tests
	@.venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

check: setup ## run ruff (lint and format) and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

docs: setup ## build the documentation as a site in docs/_build; a warning is an error
	@.venv/bin/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build

lock: setup ## renew requirements.lock from pyproject.toml
	@.venv/bin/python -m pip install --quiet 'uv<1'
	@.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra docs --extra bench --extra digits --extra fast --generate-hashes \
		--no-annotate --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

clean: ## remove .venv, builds and caches, but keep runs/
	@rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
