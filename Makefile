# One command each; `make` alone lists them.
#   PYTHON     the interpreter that environments are made with, 3.11 or newer
#   WORKERS    processes that the tests run in
#   SECONDS_OF_FUZZING  of each target of make fuzz
#   PIP_FLAGS  more words for every pip install, such as an index that has torch without CUDA

PYTHON    ?= $(shell python3.11 -c 'import sys; print(sys.executable)' 2>/dev/null || command -v python3)
PIP_FLAGS ?=
WORKERS ?= 2
SECONDS_OF_FUZZING ?= 60

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Environments: the package as users get it, the same with the tests' tools, and an editable one.
DEMO := .venv
TEST := .venv-test
DEV  := .venv-dev
SITE := .venv-docs
AUDIT := .venv-audit

INSTALL  = -m pip install --disable-pip-version-check --quiet $(PIP_FLAGS) -c constraints.txt
PACKAGE := pyproject.toml constraints.txt README.md LICENSE $(shell find vqaudio -type f -not -path '*/__pycache__/*')

.PHONY: help demo docs screenshots tested man test test-heavy test-pythons check format dev fuzz audit lock sbom clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "make %-11s %s\n", $$1, $$2}'

demo: $(DEMO)/.stamp ## install into .venv and hear the codec: encode and decode a clip
	$(DEMO)/bin/vqaudio demo

test: ## check, then the whole test suite, on the package installed into a fresh environment
	rm -rf $(TEST)
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python $(INSTALL) '.[test]'
	$(call lint,$(TEST))
	$(TEST)/bin/pytest -n $(WORKERS) --dist worksteal

test-heavy: ## the tests that need large packages (Ray, Gradio), which are added to the environment of make test
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python $(INSTALL) '.[test,ray,studio]'
	$(TEST)/bin/pytest -m heavy

test-pythons: ## the wheel on each Python from 3.11 to 3.13 that is found: it installs, and codes speech without PyTorch
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python $(INSTALL) nox
	$(TEST)/bin/nox

check: $(DEV)/.stamp ## lint, format and types, changing nothing
	$(call lint,$(DEV))

format: $(DEV)/.stamp ## apply the formatter and the linter's safe fixes
	$(DEV)/bin/ruff check --fix
	$(DEV)/bin/ruff format

dev: $(DEV)/.stamp ## install into .venv-dev to work in: editable, with the tools
	@echo "ready: source $(DEV)/bin/activate"

docs: ## build the documentation into build/site
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python $(INSTALL) '.[docs]'
	$(SITE)/bin/mkdocs build --quiet

screenshots: $(DEV)/.stamp ## take the pictures of the studio and the documentation anew: docs/images (needs Chromium)
	$(DEV)/bin/python $(INSTALL) -e '.[dev,studio]'
	PYTHONPATH=tests $(DEV)/bin/python recipes/screenshots/take.py

tested: $(DEV)/.stamp ## list in docs/tested.md what of the documentation which test runs
	$(DEV)/bin/python tests/snippets.py

man: $(DEV)/.stamp ## write the manual page to build/man/vqaudio.1
	mkdir -p build/man
	$(DEV)/bin/python -m vqaudio.cli.manual > build/man/vqaudio.1

fuzz: $(DEV)/.stamp ## hostile bytes for every door of the package, SECONDS_OF_FUZZING=60 for each
	$(DEV)/bin/python tests/fuzz/campaign.py --seconds $(SECONDS_OF_FUZZING)

audit: $(AUDIT)/.stamp ## known vulnerabilities of the versions in constraints.txt (asks PyPI)
	$(AUDIT)/bin/pip-audit --no-deps --disable-pip --requirement constraints.txt

lock: $(AUDIT)/.stamp ## write requirements.txt: the basic install, each file by its hash, in the versions of constraints.txt
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(AUDIT)/bin/uv pip compile pyproject.toml --quiet --constraints constraints.txt \
		--universal --python-version 3.11 --generate-hashes --no-annotate --output-file requirements.txt

sbom: $(AUDIT)/.stamp ## the list of components, CycloneDX, into build/sbom.json
	mkdir -p build
	$(AUDIT)/bin/cyclonedx-py requirements constraints.txt --output-reproducible --output-file build/sbom.json

clean: ## remove environments, builds and caches
	rm -rf $(DEMO) $(TEST) $(DEV) $(SITE) $(AUDIT) build dist .nox *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

define lint
$(1)/bin/ruff check
	$(1)/bin/ruff format --check
	$(1)/bin/mypy
endef

# A stamp is as new as the last install, so that nothing is installed twice.
$(DEMO)/.stamp: $(PACKAGE)
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(INSTALL) .
	touch $@

$(DEV)/.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python $(INSTALL) -e '.[dev]'
	touch $@

$(AUDIT)/.stamp:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --disable-pip-version-check --quiet $(PIP_FLAGS) 'pip-audit==2.10.1' 'cyclonedx-bom==7.5.0' 'uv==0.13.9'
	touch $@
