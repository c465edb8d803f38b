# make help            what there is
# Needs make and python3 >= 3.11 (PYTHON=python3.12 chooses another); everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
DEV := $(VENV)/.installed-dev
DEMO := $(VENV)/.installed-demo

# The tests start hundreds of processes in three workers: where bytecode is not kept, each compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo test test-trainers check wheel fix docs bench bench-peers bench-requant soak fuzz clean

help:
	@echo "make demo    a real model, a Workbench that calls tools, and what toollog makes of it"
	@echo "make test    everything that has to pass: check, wheel, then all tests"
	@echo "make test-trainers  what TRL, Axolotl and LLaMA-Factory make of our training files (installs 3 GB)"
	@echo "make check   lint, format, types, layers, generated docs"
	@echo "make fix     mend lint and format"
	@echo "make docs    generate the generated docs"
	@echo "make bench   measure"
	@echo "make bench-peers  how fast the proxy is beside LiteLLM (installs 750 MB into .venv-peers)"
	@echo "make bench-requant  does the re-quantized fine-tune beat the base? (installs 1.5 GB)"
	@echo "make soak    load and random faults for SOAK_SECONDS (default 600), and what was lost (nothing)"
	@echo "make fuzz    look for inputs that break the decoder (FUZZ_SECONDS for each target, default 60)"
	@echo "make venv    only install into .venv"
	@echo "make clean   remove what was generated (not .venv)"

venv: $(DEV)

demo: $(DEMO)
	@$(PY) -m examples.demo

# pytest comes last, so that its summary is the last line.
test: check wheel
	@sh scripts/system_packages.sh
	@$(PY) examples/local_model/launch.py --install
	@PYTHON="$(PYTHON)" sh scripts/consumers.sh ci
	$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-trainers: $(DEV)
	@PYTHON="$(PYTHON)" sh scripts/consumers.sh ci
	@PYTHON="$(PYTHON)" sh scripts/consumers.sh trainers
	TOOLLOG_TRAINERS=1 $(PY) -m pytest tests/consumers

check: $(DEV)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) scripts/docs.py --check

wheel: $(DEV)
	$(PY) scripts/check_wheel.py

fix: $(DEV)
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

docs: $(DEV)
	$(PY) scripts/docs.py

bench: $(DEV)
	$(PY) -m bench

bench-peers: $(DEV)
	@test -x .venv-peers/bin/litellm || { PYTHON="$(PYTHON)" sh scripts/venv.sh .venv-peers && .venv-peers/bin/pip install --quiet --disable-pip-version-check 'litellm[proxy]'; }
	$(PY) -m bench speed peers

bench-requant: $(DEV)
	@PYTHON="$(PYTHON)" bash scripts/requant.sh

soak: $(DEV)
	$(PY) -m bench.soak --seconds $(or $(SOAK_SECONDS),600)

# atheris is a wheel for Linux on x86-64 only; where it cannot be had, fuzz says what to do instead.
fuzz: $(DEV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --only-binary :all: atheris || true
	$(PY) -m fuzz --seconds $(or $(FUZZ_SECONDS),60)

clean:
	rm -rf artifacts demo-out build dist bench/out fuzz/corpus fuzz/findings .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# The stamps: installed once, and again when pyproject.toml changes. The dev install includes the demo's.
$(DEV): pyproject.toml
	@PYTHON="$(PYTHON)" sh scripts/venv.sh $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev,demo]'
	@touch $(DEMO) $(DEV)

$(DEMO): pyproject.toml
	@PYTHON="$(PYTHON)" sh scripts/venv.sh $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $(DEMO)
