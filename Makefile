# Every target does its own set-up in .venv. Extra words: make quickstart ARGS="--seed 1", make test ARGS="-k tags".
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help quickstart test test-all test-verl check docs fix setup clean

PYTHON ?=
ARGS ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
# Two OpenMP threads on two busy cores can be six times slower than one; two processes of tests are not, each with whole files.
# Bytecode is kept even where the environment says not to: the tests start dozens of Python processes.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest -q --numprocesses 2 --dist loadfile

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

quickstart: $(VENV)/.installed  ## the whole pipeline in a micro world, in minutes on two CPU cores
	@$(VENV)/bin/zerosearch quickstart $(ARGS)

test: setup  ## the tests, but for the slow ones
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: setup  ## every test
	@$(PYTEST) $(ARGS)

test-verl: $(VENV)-verl/.installed  ## the tests of the cluster path, with verl and Ray in .venv-verl
	@OMP_NUM_THREADS=1 $(VENV)-verl/bin/python -m pytest -q -p no:asyncio -p no:rerunfailures tests/integrations tests/verl_cpu $(ARGS)

check: setup  ## lint, format, types, rooms
	@scripts/check

docs: $(VENV)/.installed-docs  ## the documentation site, in build/site; a dead link is an error
	@$(VENV)/bin/python scripts/docs_reference.py && $(VENV)/bin/zensical build --clean --strict --config-file mkdocs.yml \
		&& $(VENV)/bin/python scripts/docs_links.py build/site

fix: setup  ## let ruff mend what it can
	@scripts/fix

setup: $(VENV)/.installed-dev  ## .venv with everything a developer needs

clean:  ## remove .venv and every cache (runs/ stays)
	rm -rf $(VENV) $(VENV)-verl .pytest_cache .ruff_cache .hypothesis build dist
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-docs: $(VENV)/.installed
	@echo "Installing what builds the documentation into $(VENV)"
	@$(PIP) --editable '.[docs]'
	@touch $@

# The stamps: as long as they are newer than the two files that name the packages, set-up is done.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "Installing zerosearch and what it needs into $(VENV): torch, transformers, … (a minute or two, once)"
	@$(PIP) --editable '.[view]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "Installing zerosearch, what it needs and the developer's tools into $(VENV): torch, transformers, pytest, … (a minute or two, once)"
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed && touch $@ $(VENV)/.installed-docs

$(VENV)-verl/.installed: pyproject.toml constraints-verl.txt
	@echo "Installing zerosearch with verl, Ray, torch, … into $(VENV)-verl (minutes, once)"
	@python=$$(scripts/find-python $(PYTHON)) && "$$python" -m venv --clear $(VENV)-verl
	@$(VENV)-verl/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints-verl.txt \
		--editable '.[verl]' pytest hypothesis beartype jaxtyping
	@touch $@

$(VENV)/.made:
	@python=$$(scripts/find-python $(PYTHON)) && "$$python" -m venv --clear $(VENV)
	@touch $@
