# Everything runs in an environment of its own, .venv, made with the machine's python3
# (another: make PYTHON=python3.12 …). Nothing outside this folder is written.
PYTHON ?= python3
BIN := .venv/bin
NB ?=
# To make itself, AS is the assembler.
AS :=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help book test lab notebooks address zip keep replace lint format verified links colab lock clean
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: _build/html/.built ## build the book into _build/html (the first time: a minute)
	@printf '\nThe book is ready:\n  %s\n  file://%s\n' _build/html/index.html '$(CURDIR)/_build/html/index.html'

test: book lint ## check everything: code, parity with other libraries, notebooks, pages
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n3 --dist=loadfile --no-loadscope-reorder --nbval --nbval-current-env tests book

lab: .venv/.all ## open the chapters in JupyterLab
	JUPYTER_CONFIG_PATH="$(CURDIR)/.ci$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" $(BIN)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) book

notebooks: .venv/.all ## execute the chapters anew and store their outputs (one: NB=book/05_attention.ipynb)
	$(BIN)/python .ci/notebooks.py $(NB)

address: .venv/.book ## write the repository's address wherever it is needed: URL=https://github.com/OWNER/REPO (take it back: URL=)
	$(BIN)/python .ci/address.py $(if $(PUBLISH),--publish) $(if $(filter command,$(origin URL)),"$$URL")

zip: book ## put the built book into _build/vit-book.zip, which opens by double-click
	$(BIN)/python .ci/book_zip.py

keep: .venv/.all ## take finished runs into the package, for the chapters: RUNS="runs/a-0 runs/a-1" (models too: MODELS=1 or AS=name)
	$(BIN)/python .ci/keep.py $(RUNS) $(if $(MODELS),--models) $(if $(AS),--as $(AS)) $(if $(REPLACE),--replace)

replace: ## put a run's model in the place of one that the book shows, and renew the book: RUNS=runs/fashion-0 AS=fashion
	$(MAKE) keep REPLACE=1
	$(MAKE) notebooks
	$(BIN)/python .ci/sneaker.py
	$(MAKE) book
	$(BIN)/python .ci/moving_picture.py

lint: .venv/.all ## find what ruff would write otherwise, and what types forbid
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ty check --python .venv

format: .venv/.all ## let ruff write it
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

verified: .venv/.all ## execute the chapters, compare, and note in the book with which versions
	$(BIN)/python -m pytest --nbval --nbval-current-env book
	$(BIN)/python .ci/verified.py 'make verified'

links: .venv/.book ## ask every address outside the book that its pages link to whether it is still there
	$(BIN)/python .ci/links.py

colab: .venv/.all ## run the chapters as Colab does, with Python 3.12 (its libraries: 7 GB; one: NB=book/05_attention.ipynb)
	$(BIN)/python .ci/colab.py $(NB)

lock: .venv/.made ## resolve the exact versions anew, from pyproject.toml
	$(BIN)/python .ci/lock.py

clean: ## remove all that these commands have made
	rm -rf _build .venv .colab *.egg-info .pytest_cache .ruff_cache

# The environment, in three steps. A stamp is younger than what it was made from.
.venv/.made:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there: install Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, and $(PYTHON) is {v[0]}.{v[1]}. Name another one: make PYTHON=python3.12 …"); v < (3, 14) or print(f"Note: the book is checked with Python 3.11, 3.12 and 3.13. Python {v[0]}.{v[1]} has not been tried; if something fails, name another one: make PYTHON=python3.13 …")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments: install its venv module (Debian, Ubuntu: apt install python3-venv)."; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.book: book/requirements.txt .venv/.made
	$(BIN)/python -m pip install -r book/requirements.txt
	@touch $@

.venv/.all: requirements.txt pyproject.toml .venv/.book
	$(BIN)/python -m pip install -r requirements.txt
	@touch $@

# The pages. Built from nothing, for it takes seconds, and a page that has lost its source must not
# stay; every warning is an error. The API page is made from the package's docstrings.
FIGURES := $(wildcard vit_tutorial/assets/*.safetensors) $(shell find vit_tutorial/widgets -type f -not -name '*.pyc')
PACKAGE := $(shell find vit_tutorial -name '*.py')
_build/html/.built: .venv/.book _config.yml _toc.yml $(FIGURES) $(PACKAGE) $(shell find book -type f -not -path '*/.*' -not -name '*.pyc')
	rm -rf _build
	$(BIN)/jupyter-book build . -n -W --keep-going
	@touch $@
