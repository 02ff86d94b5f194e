# `make run` runs the main job, `make test` the tests; both set up the environment that they need.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

# More than the two cores of a small machine, as many tests wait; those of a file share what its fixtures make.
TEST_PROCESSES ?= 3
PYTEST = $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

# Each job would compile every import again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test unit others faults chaos lint lock sbom clean

run: $(READY)
	$(BIN)/snakemake --cores all
	@$(BIN)/lightloom summary

# Files in this order, the long ones first, so that all processes end at about the same time.
test: $(READY) lint
	$(PYTEST) --no-loadscope-reorder $(addprefix tests/,integration workflow end_to_end faults benchmarks unit)

unit: $(READY)
	$(PYTEST) tests/unit

# Every fault of every service with three seeds, every service replayed, and runs on two releases compared.
faults: export FAULT_SEEDS = 3
faults: export TWO_RELEASES = 1
faults: $(READY)
	$(PYTEST) tests/faults/test_fault_matrix.py tests/faults/test_replayed_faults.py tests/end_to_end/test_two_releases.py

# Runs that are killed, starved and cut off, CHAOS_TRIALS of them; needs root (docs/faults.md).
CHAOS_TRIALS ?= 100
chaos: export PYTHONPATH = scripts:tests
chaos: $(READY)
	$(BIN)/python tests/faults/chaos.py --trials $(CHAOS_TRIALS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

# Every package has a hash in the lock file; compiled at once, as each job imports them anew.
$(READY): envs/requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --require-hashes --no-deps --requirement envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q -j 0 .venv/lib scripts || true
	touch $@

# Packages that do not resolve together with the project's have an environment each; their tests are skipped without.
OTHERS := lightkurve hats-import
others: $(OTHERS:%=.venv/%/ready)
.venv/%/ready: envs/%.lock | $(READY)
	$(PYTHON) -m venv .venv/$*
	.venv/$*/bin/python -m pip install --quiet --no-compile --require-hashes --no-deps --requirement envs/$*.lock
	touch $@

# What is installed, with licences and hashes, as sbom.cdx.json (CycloneDX); fails if a licence is not allowed.
sbom: $(READY)
	$(PYTEST) --numprocesses 0 tests/unit/test_sbom.py
	$(BIN)/python -m lightloom.sbom sbom.cdx.json

# Needs uv (https://docs.astral.sh/uv).
COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate --upgrade --quiet
lock:
	$(COMPILE) pyproject.toml --group dev --output-file envs/requirements.lock
	for name in $(OTHERS); do $(COMPILE) envs/$$name.in --output-file envs/$$name.lock || exit 1; done

clean:
	rm -rf .venv .snakemake results sky
