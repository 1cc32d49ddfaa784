.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
TOOLS := .venv-tools
BIN := $(VENV)/bin
# A recipe never depends on what the caller's shell has activated or exported.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_REQUIRE_VIRTUALENV := 1
export PIP_USER := 0

# A lock names all there is. Python compiles what is imported, which is half of it, at the first import.
INSTALL := $(BIN)/python -m pip install --quiet --no-deps --no-compile --require-hashes --only-binary :all:

.PHONY: help demo up unit test test-pythons test-matrix test-containers check fmt coverage chaos bench audit lock

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/ready ## Run the whole system once, submit the documented request, show the answers and the rows. KEEP=1 leaves it running.
	@$(BIN)/bksi demo $(if $(filter-out 0,$(KEEP)),--keep)

up: $(VENV)/ready ## Run the whole system until Ctrl-C, on port 8080 with data in ./data (ARGS="--port 9000").
	@$(BIN)/bksi up --data-dir data $(ARGS)

# In one process: to load and to collect everything once more takes as long as a second one would save.
unit: $(VENV)/dev-ready ## The tests that need no server, quickly: no lint, few examples each.
	@$(BIN)/python -m pytest --quiet --hypothesis-profile quick tests/unit $(ARGS)

# Most tests wait for a server: three processes take turns, each with servers of its own and all with one stack. A file's
# tests stay together; the folders come as they stand, so that what takes minutes is begun first and what is left at the
# end are unit tests.
SIDE_BY_SIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: check test-only ## Lint, types, import rules and every test. Brings its own servers.

# Each interpreter that is found has an environment of its own; what is not found is named.
PYTHONS := 3.11 3.12 3.13 3.14
test-pythons: ## Every test on each Python that we claim, where PATH or pyenv has it (PYTHONS="3.13").
	@for version in $(PYTHONS); do \
	  python=; \
	  for candidate in $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python3 python$$version; do \
	    if $$candidate -c "" 2>/dev/null; then python=$$candidate; fi; \
	  done; \
	  if [ -z "$$python" ]; then echo "Python $$version is not here: skipped"; continue; fi; \
	  echo "Python $$version: $$python"; \
	  $(MAKE) --no-print-directory PYTHON="$$python" VENV=".venv-$$version" ARGS='$(ARGS)' test-only || exit 1; \
	done

test-only: $(VENV)/dev-ready
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-matrix: $(VENV)/dev-ready ## The integration tests against Debian's PostgreSQL, PgBouncer, Redis and RabbitMQ, which apt installs (as root).
	@$(BIN)/python -m tests.matrix $(SIDE_BY_SIDE) $(ARGS)

test-containers: $(VENV)/dev-ready ## Build the image and run docker-compose.yml as an operator would; as root with an engine of its own.
	@$(BIN)/python -m tests.containers $(ARGS)

check: $(VENV)/dev-ready ## Lint, types and import rules.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --disallow-any-expr tests/typing
	$(BIN)/lint-imports

fmt: $(VENV)/dev-ready ## Mend what can be mended by itself: imports, format, simple findings.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(VENV)/dev-ready ## Which lines the tests that need no server, and those in this process, run; a report, not a fence.
	$(BIN)/python -m coverage run -m pytest --quiet tests/unit tests/integration $(ARGS)
	$(BIN)/python -m coverage report

chaos: $(VENV)/dev-ready ## Break a system of its own at random, and judge (ARGS="--minutes 5", ARGS=--help).
	@$(BIN)/python -m chaos $(ARGS)

bench: $(VENV)/bench-ready ## Measure on this machine, side by side with plain peers (ARGS="--quick --only ours,taskiq").
	@$(BIN)/python -m benchmarks.compare $(ARGS)

# The peers only add to what the environment holds: bench.lock is resolved under dev.lock. crontab, which streaq needs, has
# no wheel anywhere; its source is checked against the lock like the rest.
$(VENV)/bench-ready: $(VENV)/dev-ready requirements/bench.lock
	$(INSTALL) --no-binary crontab -r requirements/bench.lock
	@touch $@

# What tests, lint and types need besides. The SDK of BlueKing's callers, which a test drives, has no wheel; its source is
# checked like the rest. Here start times are measured, so nothing is left to be compiled at its first import.
$(VENV)/dev-ready: $(VENV)/ready
	@echo "Adding what tests and lint need, once: about half a minute ..."
	$(INSTALL) --no-binary bkapi-component-open -r requirements/dev.lock
	$(BIN)/python -m pip check
	@$(BIN)/python -m compileall -q -j 0 -x '/site-packages/(pip|setuptools)/' $(VENV)/lib
	@touch $@

# What `make demo` and `make up` run, and nothing else: whoever tries it waits for this. An environment holds exactly what its
# locks name, each file checked against its hash, so that one is made anew when any of them changes. build.lock comes first: it
# has a newer pip, which takes the rest in two thirds of the time.
$(VENV)/ready: $(addprefix requirements/,build.lock up.lock dev.lock) pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3")'
	@echo "Installing into $(VENV) from the package index, once: about half a minute ..."
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) -r requirements/build.lock
	$(INSTALL) -r requirements/up.lock
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --no-build-isolation --editable clients/python --editable .
	@touch $@

# The client is this project's own and installed from its folder; what it needs is locked with the rest.
COMPILE := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package bksi-client \
	--custom-compile-command 'make lock'

audit: $(TOOLS)/ready ## Known vulnerabilities of what the locks name (asks PyPI).
	@for lock in requirements/*.lock; do echo "$$lock"; \
	  $(TOOLS)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes --requirement "$$lock" || failed=1; \
	done; [ -z "$$failed" ]

$(TOOLS)/ready: requirements/tools.lock
	$(PYTHON) -m venv --clear $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/tools.lock
	@touch $@

lock: $(TOOLS)/ready ## Resolve requirements/*.lock anew from pyproject.toml (UPGRADE=1 takes the newest versions).
	$(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml --extra devstack --extra tracing --group dev --output-file requirements/dev.lock
	$(COMPILE) --constraint requirements/dev.lock pyproject.toml --extra shim --extra worker --extra monitor --extra tracing --output-file requirements/run.lock
	$(COMPILE) --constraint requirements/dev.lock pyproject.toml --extra devstack --output-file requirements/up.lock
	$(COMPILE) --constraint requirements/dev.lock --group build --output-file requirements/build.lock
	$(COMPILE) --constraint requirements/dev.lock --group bench --output-file requirements/bench.lock
	$(COMPILE) --group tools --output-file requirements/tools.lock
