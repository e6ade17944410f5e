# From a fresh clone, each target is enough by itself: it installs what it needs into .venv first.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev,docs,mujoco,minari,web,data,postgres,contrib,zoo,cluster,explain,wandb,trackio,prose,transformers
# Where torch comes from. The default holds CPU builds, which spares Linux gigabytes of CUDA; for a GPU, `make clean` and
# name one of the indexes at https://download.pytorch.org/whl instead. Where it is empty or cannot be reached, pip's own
# configuration decides.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# The build of torch in requirements.lock: a backend of uv's, or an index of one's own as `--index URL`.
LOCKED_TORCH ?= --torch-backend cpu
# More arguments for the command of `make test` or `make benchmark`.
ARGS ?=

DEMO_ENV ?= rlhf/Driving-v1
DEMO_ANSWERS ?= 100
DEMO_TIMESTEPS ?= 500000
DEMO_SEED ?= 0
DEMO_RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# What a browser runs; quoted, because the formatter expands it.
SCRIPTS := 'rlhf_envs/**/*.{js,css}'

.DEFAULT_GOAL := help
.PHONY: help install lock demo test check docs format benchmark hooks clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*  ## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

install: $(INSTALLED)  ## make .venv with the library (editable) and its tools

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 11) or \
	    sys.exit("Python 3.11 or newer is needed, but $(PYTHON) is " + v + "; name another one: make install PYTHON=python3.11")'
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@index=; \
	if [ -n "$(TORCH_INDEX)" ]; then \
	    if $(BIN)/python -c 'import urllib.request; urllib.request.urlopen("$(TORCH_INDEX)/torch/", timeout=3)' 2>/dev/null; \
	    then index="--extra-index-url $(TORCH_INDEX)"; \
	    else echo "$(TORCH_INDEX) cannot be reached: taking torch from where pip is configured to look."; fi; \
	fi; \
	echo "Installing into $(VENV); the first time this takes a few minutes."; \
	$(BIN)/pip install --quiet --constraint constraints.txt $$index torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

lock: $(INSTALLED)  ## write requirements.lock again, from setup.cfg and constraints.txt
	@{ sed -n '/^#/!q;p' requirements.lock && $(BIN)/uv pip compile setup.cfg --constraint constraints.txt --all-extras \
	    --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --quiet $(LOCKED_TORCH); } > requirements.new
	@mv requirements.new requirements.lock

demo: $(INSTALLED)  ## train on a scripted annotator, evaluate, and say where the report lies
	$(BIN)/python -m scripts.train --env $(DEMO_ENV) --feedback oracle --answers $(DEMO_ANSWERS) \
	    --timesteps $(DEMO_TIMESTEPS) --seed $(DEMO_SEED) --run-dir $(DEMO_RUN)
	$(BIN)/rlhf-envs evaluate --run-dir $(DEMO_RUN) --against random
	@test -f $(DEMO_RUN)/report.html
	@echo "The report: $(CURDIR)/$(DEMO_RUN)/report.html"

test: $(INSTALLED)  ## run every test, the slow ones too
	$(BIN)/python -m pytest -n 2 --dist loadfile --timeout 600 $(ARGS)

check: $(INSTALLED)  ## format, lint and types, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/oxfmt --check $(SCRIPTS)
	$(BIN)/oxlint --deny-warnings rlhf_envs

docs: $(INSTALLED)  ## build the documentation, build/docs/index.html; notebooks are run, warnings are errors
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html -d build/doctrees docs build/docs
	@echo "The documentation: $(CURDIR)/build/docs/index.html"

format: $(INSTALLED)  ## format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/oxfmt $(SCRIPTS)
	$(BIN)/oxlint --fix rlhf_envs

benchmark: $(INSTALLED)  ## regenerate the tables of the documentation
	$(BIN)/python -m scripts.benchmark all --write-docs $(ARGS)

hooks: $(INSTALLED)  ## run `make check` before every commit
	$(BIN)/pre-commit install

clean:  ## remove .venv, builds and caches; runs/ is kept
	rm -rf $(VENV) build dist requirements.new *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find rlhf_envs agents scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
