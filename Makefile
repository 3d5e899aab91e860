# diffect: `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# A process for each core. Each takes a stretch of the tests, as they stand in the files that share a small run, and
# then what another has left to do.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install lock demo paper test test-fast test-long lint format types check clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"diffect needs Python 3.11 or newer; $(PYTHON) is {v.major}.{v.minor}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(STAMP)  ## make .venv with the pinned versions

lock: $(STAMP)  ## constraints.txt anew, with the newest versions that pyproject.toml allows and the same torch
	CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --upgrade --upgrade-package "$$(grep '^torch==' constraints.txt)" \
	  --extra dev --extra joblib --extra slurm --strip-extras --allow-unsafe --no-emit-options --output-file constraints.txt pyproject.toml
	sed -i.bak 's/+cpu$$//' constraints.txt && rm constraints.txt.bak  # the build without CUDA is a choice of the index

demo: $(STAMP)  ## run a small noise-schedule study on the built-in textures, to its tables and figures
	$(BIN)/diffect train experiment=demo
	$(BIN)/diffect report experiment=demo out=outputs/demo/report

paper: $(STAMP)  ## STUDY=NAME: its report, if there is none yet, and experiments/NAME/paper.pdf
	@test -n "$(STUDY)" || { echo "say which study: make paper STUDY=noise_schedules"; exit 1; }
	@command -v pdflatex >/dev/null || { echo "there is no pdflatex here: install TeX Live (Debian: apt install texlive-latex-recommended)"; exit 1; }
	@test -f experiments/$(STUDY)/paper.tex || $(BIN)/diffect report experiment=$(STUDY)
	@cd experiments/$(STUDY) && for pass in 1 2 3; do \
	  pdflatex -interaction=nonstopmode -halt-on-error paper.tex >/dev/null || { grep -A 9 '^!' paper.log; exit 1; }; \
	  if test $$pass = 1 && grep -q '^.bibdata' paper.aux && grep -q '^.citation' paper.aux; then bibtex -terse paper || exit 1; fi; \
	done; rm -f paper.aux paper.bbl paper.blg paper.log paper.out
	@echo "the paper is experiments/$(STUDY)/paper.pdf"

test: $(STAMP)  ## all tests
	$(PYTEST)

test-fast: $(STAMP)  ## the tests that need no training, in under a minute
	$(PYTEST) -m 'not slow and not long'

test-long: $(STAMP)  ## what takes minutes: all simulated studies of the statistics again
	$(PYTEST) -m long

lint: $(STAMP)  ## ruff, codespell, and the layers of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-cache --no-logo

format: $(STAMP)  ## ruff: rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

check: lint types test  ## all of it

clean:  ## remove the environment and the tools' caches, never outputs/
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
