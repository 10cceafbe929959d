# The README's commands. Everything runs in .venv, made here from constraints.txt with nothing but Python and make.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL: # two pips in one environment would race

PYTHON ?= python3
# More arguments for Snakemake, such as: make reproduce ARGS="--dry-run"
ARGS ?=
# How long a second run waits for the first one, in seconds.
WAIT ?= 600
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help reproduce smoke rehearse rehearsals paper test test-plain lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

reproduce: .venv/.installed-run ## the default study, offline, on this machine: results/tiny
	@$(call snakemake,)

smoke: .venv/.installed-run ## the same workflow at its smallest sizes
	@$(call snakemake,--configfile config/smoke.yaml --replace-workflow-config)

rehearse: .venv/.installed-run ## whether a study reaches its end, in minutes: make rehearse CONFIG=config/paper.yaml
	@test -n "$(CONFIG)" || { echo "name the study: make rehearse CONFIG=config/paper.yaml (several files: CONFIG=\"a.yaml b.yaml\")" >&2; exit 2; }
	.venv/bin/python -m tracedlm rehearse $(CONFIG) $(ARGS)

paper: .venv/.installed-run ## tables and figures of the default study as one PDF, where TeX is installed: results/tiny/paper.pdf
	@command -v pdflatex >/dev/null || { echo "no PDF: pdflatex is not installed (Debian: texlive-latex-recommended)" >&2; exit 0; }; \
	$(call snakemake,paper)

test: .venv/.installed-test ## pytest, with the doctests of the equations
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2

# The vector instructions that NumPy and torch found are switched off: sums in another order, so other last bits.
PLAIN = NPY_DISABLE_CPU_FEATURES="$$(.venv/bin/python -c 'from numpy._core._multiarray_umath import __cpu_dispatch__ as d, __cpu_features__ as f; \
	print(*(name for name in d if f.get(name)))')" ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2

test-plain: .venv/.installed-test ## the equations' tests and the recorded numbers once more, without the processor's vector instructions
	$(PLAIN) OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2 src/tracedlm/theory tests/theory \
		tests/workflow/test_golden.py::test_the_study_gives_the_recorded_numbers

rehearsals: .venv/.installed-test ## the shipped studies run to their ends at tiny size
	.venv/bin/python -m pytest -q -n 0 -m rehearsal tests/rehearsal $(ARGS)

lint: .venv/.installed-test .venv/.installed-dev ## format, docstrings, types, the staircase of imports, the workflow
	@status=0; \
	for check in 'ruff check .' 'ruff format --check .' pyright 'lint-imports --no-logo --no-cache' \
		'snakefmt --check Snakefile workflow' 'snakemake --lint'; do \
		echo "== $$check"; $$check || status=1; \
	done; exit $$status

clean: ## remove results and caches; keeps .venv
	@$(take_lock); \
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +; \
	rm -rf .snakemake .pytest_cache .hypothesis .ruff_cache .coverage; \
	find src tests workflow -name __pycache__ -prune -exec rm -rf {} +

# Descriptor 9 belongs to this shell and to the Snakemake it becomes, so the lock is free exactly when both are gone,
# however they ended. Snakemake's own lock survives a kill; while we hold ours it can only be a dead run's, and is removed.
# A run that was asked to stop first finishes its jobs, hence the wait. Systems without flock keep Snakemake's lock alone.
define take_lock
if command -v flock >/dev/null; then \
	exec 9>.snakemake-run.lock; \
	flock -n 9 || { echo "another run is active in this directory; waiting for it up to $(WAIT) s (Ctrl-C gives up)" >&2; \
		flock -w $(WAIT) 9 || { echo "another run is still active: stop it (fuser -v .snakemake-run.lock) or try again later" >&2; exit 75; }; }; \
fi
endef

define snakemake
$(take_lock); \
run=(snakemake --cores all --workflow-profile workflow/profiles/default --rerun-incomplete $(1)); \
if command -v flock >/dev/null && compgen -G '.snakemake/locks/*' >/dev/null; then "$${run[@]}" --unlock; fi; \
exec "$${run[@]}" $(ARGS)
endef

# One environment, one stamp for each set of extras: run (none), test, dev, slurm, hub.
# torch comes first and alone: whichever build is there already (CPU or CUDA) or is the index's default stays; the rest fits around it.
.venv/.installed-%: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu install the package python3-venv, then run make again" >&2; exit 1; }
	.venv/bin/python -c 'import pip, sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt torch
	.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.$(if $(filter-out run,$*),[$*])'
	touch $@
