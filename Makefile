# A fresh machine needs make and Python 3.11, 3.12 or 3.13; every target sets up the rest in .venv
# (test-nightly in .venv-nightly).
#   make demo PYTHON=python3.12      another Python
#   make test PIP_ARGS="--index-url …"   another package index
#   make test ARGS="-x tests/test_demo.py"   arguments for what is run (test, parity, conformance, bench)
#   make conformance-pluggable KERAS_SOURCE=/path/to/keras   a checkout of Keras, see below
#   make conformance-hub KERAS_HUB_SOURCE=/path/to/keras-hub   one of KerasHub

SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(SUITABLE)' 2>/dev/null && echo $$p && break; done)
PIP_ARGS ?=
WORKERS ?= 2
MARKED := not slow
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
# The Keras before its release that test-nightly takes; named here alone. When this version is gone
# from the registry, take a newer one. When Keras 3.16 is released, take that: keras==3.16.0
NIGHTLY_KERAS := keras-nightly==3.16.0.dev2026102704
# The KerasHub that works with it; so far a nightly, too.
NIGHTLY_KERAS_HUB := keras-hub-nightly==0.33.0.dev202610250352
NIGHTLY := .venv-nightly
# Without what it requires: tensorflow-text brings a second TensorFlow beside tensorflow-cpu, and is
# needed for tokenizers alone. What else it imports is in the extra `test`.
KERAS_HUB := keras-hub==0.32.0
TF_TEXT := tensorflow-text>=2.20,<3
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

# What is tested and measured is this tree with its defaults, whatever the caller's shell exports.
unexport KERAS_BACKEND KERAS_HOME PYTHONPATH
unexport $(filter KERASVINO_%,$(.VARIABLES))
# Two test workers share the cores: one thread each for NumPy's and torch's own pools.
test parity conformance conformance-pluggable conformance-hub families fuzz fuzz-models: export OMP_NUM_THREADS := 1
test parity conformance conformance-pluggable conformance-hub families fuzz fuzz-models: export OPENBLAS_NUM_THREADS := 1

.PHONY: help demo docs test test-nightly lint parity scale conformance conformance-pluggable \
	conformance-hub families fuzz fuzz-models \
	bench clean

help:
	@echo "targets: demo docs test test-nightly lint parity scale conformance conformance-pluggable"
	@echo "         conformance-hub families fuzz fuzz-models bench clean"

demo: $(VENV)/.demo
	$(PY) examples/digits/demo.py

test: $(VENV)/.test
	$(PY) -m pytest -n $(WORKERS) -m "$(MARKED)" $(ARGS)

# Without the tests that do not depend on Keras's version; with them: make test VENV=.venv-nightly
test-nightly:
	$(MAKE) VENV=$(NIGHTLY) $(NIGHTLY)/.keras
	$(MAKE) VENV=$(NIGHTLY) test MARKED="not slow and not once"

parity: $(VENV)/.test
	$(PY) -m pytest -m slow tests/parity tests/training tests/generate \
		tests/backend/test_optimizers.py $(ARGS)

# Several processes: all cases of training together, and Ray.
scale: $(VENV)/.test
	$(PY) -m pytest tests/distribution tests/ray $(ARGS)

lint: $(VENV)/.test
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

docs: $(VENV)/.docs
	$(PY) -m sphinx -W --keep-going -q -b html docs site

conformance: $(VENV)/.test
	@mkdir -p docs
	$(PY) -m tests.conformance --workers $(WORKERS) --eager both --trainable \
		--write docs/conformance.md $(ARGS)

# Keras's own tests of the pluggable layout, with the code of the same checkout. Made by:
#   git clone --branch pluggable_backend https://github.com/keras-team/keras /path/to/keras
conformance-pluggable: $(VENV)/.test
	@if [ ! -d "$(KERAS_SOURCE)/keras/src" ]; then \
		echo "Name a checkout of Keras: make $@ KERAS_SOURCE=/path/to/keras" >&2; \
		exit 1; \
	fi
	@mkdir -p docs
	$(PY) -m tests.conformance --source "$(KERAS_SOURCE)" --workers $(WORKERS) --eager both \
		--trainable --compare numpy --compare jax --write docs/conformance.md $(ARGS)

# KerasHub's own tests, with the code of a checkout of it. Made by:
#   git clone https://github.com/keras-team/keras-hub /path/to/keras-hub
conformance-hub: $(VENV)/.hub
	@if [ ! -d "$(KERAS_HUB_SOURCE)/keras_hub/src" ]; then \
		echo "Name a checkout of KerasHub: make $@ KERAS_HUB_SOURCE=/path/to/keras-hub" >&2; \
		exit 1; \
	fi
	@mkdir -p docs
	PYTHONPATH="$(CURDIR)/$(VENV)/hub" $(PY) -m tests.conformance --hub "$(KERAS_HUB_SOURCE)" \
		--workers $(WORKERS) --trainable --compare torch --write docs/conformance.md $(ARGS)

# Every family of KerasHub's generating models, beside Keras on torch.
families: $(VENV)/.test
	$(PY) -m tests.generate.table docs/generating-families.md $(ARGS)

fuzz: $(VENV)/.test
	$(PY) -m tests.fuzz --cases 20000 --seed 1 $(ARGS)

fuzz-models: $(VENV)/.test
	$(PY) -m tests.model_fuzz --cases 300 --seed 1 --workers $(WORKERS) $(ARGS)

bench: $(VENV)/.bench
	$(PY) benchmarks/import_time.py $(ARGS)
	$(PY) benchmarks/eager.py $(ARGS)
	$(PY) benchmarks/predict.py $(ARGS)
	$(PY) benchmarks/narrow.py $(ARGS)
	$(PY) benchmarks/fit.py $(ARGS)
	$(PY) benchmarks/memory.py $(ARGS)
	$(PY) benchmarks/serving.py --http MLP $(ARGS)
	$(PY) benchmarks/random_numbers.py $(ARGS)
	$(PY) benchmarks/generate.py $(ARGS)
	$(PY) benchmarks/distributed.py $(ARGS)

clean:
	rm -rf $(VENV) $(NIGHTLY) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@if ! "$(PYTHON)" -c '$(SUITABLE)' 2>/dev/null; then \
		found=$$("$(or $(PYTHON),python3)" --version 2>&1); \
		echo "kerasvino needs Python 3.11, 3.12 or 3.13; found: $${found:-none}." >&2; \
		echo "Install one, or name it: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
	"$(PYTHON)" -m venv $(VENV)

# A stamp for each set of extras, older than pyproject.toml when they have to be installed again.
$(VENV)/.demo: pyproject.toml | $(PY)
	$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(PY)
	$(INSTALL) --editable '.[test,lint]'
	$(INSTALL) --no-deps $(KERAS_HUB)
	@touch $@ $(VENV)/.demo

# The packages that need Keras have pip install a released one: the nightly one takes its place after
# them. Both hold the module `keras`, so neither may be left when the other is installed.
$(NIGHTLY)/.keras: Makefile $(VENV)/.test
	$(PY) -m pip uninstall --quiet --yes keras keras-nightly keras-hub keras-hub-nightly
	$(INSTALL) --no-deps '$(NIGHTLY_KERAS)' '$(NIGHTLY_KERAS_HUB)'
	@touch $@

# Tokenizers of KerasHub need tensorflow-text, which is kept apart: it requires a second TensorFlow.
$(VENV)/.hub: Makefile $(VENV)/.test
	$(INSTALL) --no-deps --upgrade --target $(VENV)/hub '$(TF_TEXT)'
	@touch $@

$(VENV)/.docs: pyproject.toml | $(PY)
	$(INSTALL) --editable '.[docs]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(PY)
	$(INSTALL) --editable '.[bench]'
	$(INSTALL) --no-deps $(KERAS_HUB)
	@touch $@
