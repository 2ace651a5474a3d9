# The project's commands. `make` alone lists them.
PYTHON ?= python3
UV_VERSION := 0.13.9
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
# Set by tools that wrap make; uv must not follow it into another project's environment.
unexport VIRTUAL_ENV

UV := .uv/bin/uv
BIN := .venv/bin
ARGS ?=
SEEDS ?= 20
SEED ?= $(shell date +%s)
SEED := $(SEED)
ONLY ?=

.DEFAULT_GOAL := help
.PHONY: help setup up test test-fast test-random test-slow test-long faults faults-long upgrades crowd alerts growth bench screenshots check compose-check fmt deploy-files audit dist version lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Darkroom needs Python 3.11 or newer; '$(PYTHON)' is older. Name another: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv .uv || { echo "Python cannot make a virtual environment here. On Debian: apt-get install python3-venv"; exit 1; }
	@.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: $(UV) uv.lock pyproject.toml client/pyproject.toml
	@$(UV) sync --quiet --locked --all-extras --all-groups --all-packages --compile-bytecode --python $(PYTHON)
	@$(BIN)/python -m compileall -q api client/src cli sandbox shared worker
	@touch $@

setup: .venv/.ready ## install everything from the lock file into .venv

up: setup ## start the whole service here, generate one image, run until Ctrl-C (ARGS="--port 8000 …")
	@exec $(BIN)/darkroom up $(ARGS)

test: setup ## run the tests, against real parts; slow forms have targets of their own (ARGS="tests/unit -k name")
	@$(BIN)/pytest -n 4 --dist loadgroup $(ARGS)

test-fast: setup ## run the tests that need no other process
	@$(BIN)/pytest -n 2 tests/unit $(ARGS)

test-random: setup ## run every test in a random order, the same one for the same SEED (SEED=7 ARGS="tests/unit")
	@echo "make test-random SEED=$(SEED)"
	@$(BIN)/pytest -n 4 --dist loadgroup --random-order --random-order-seed=$(SEED) $(ARGS)

test-slow: setup ## the slow forms of the other tests, 10 to 60 seconds each (5 minutes)
	@$(BIN)/pytest -m slow tests --ignore tests/faults $(ARGS)

faults: setup ## kill, freeze and cut off real processes, and print what each fault cost (15 minutes)
	@$(BIN)/pytest --timed -m "not long" tests/faults $(ARGS)

faults-long: setup ## the same for hours: 500 jobs under kills for each seed (SEEDS=20)
	@SEEDS=$(SEEDS) $(BIN)/pytest --timed -m long tests/faults $(ARGS)

test-long: setup ## the long forms of the other tests: 10,000 steps, lines, jobs; 2,000 clients (15 minutes)
	@$(BIN)/pytest --timed -m long tests --ignore tests/faults --deselect tests/contract/test_growth.py $(ARGS)

upgrades: setup ## replace every process by another version under load, and back again
	@$(BIN)/pytest -m "slow or long" tests/e2e/test_rolling_upgrade.py $(ARGS)

crowd: setup ## run 500 jobs over two APIs and four workers behind nginx, and kill one of each halfway
	@$(BIN)/pytest -m "long or not long" tests/e2e/test_behind_nginx.py $(ARGS)

alerts: setup ## cause the fault of every alert on a running service, and print when each fired
	@$(BIN)/pytest -m "long or not long" tests/alerts $(ARGS)

growth: setup ## measure calls with a million jobs queued, and Redis' memory per job (10 minutes)
	@$(BIN)/pytest -m long tests/contract/test_growth.py $(ARGS)

screenshots: setup ## take the screenshots of the web pages in docs/screenshots
	@$(BIN)/pytest -q -m screenshots tests/browser $(ARGS)

# The peers have environments of their own: nobody who runs Darkroom needs them.
.venv-%/.ready: $(UV) bench/peers/uv.lock bench/peers/pyproject.toml
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-$* $(UV) sync --quiet --locked --project bench/peers \
		$(if $(filter arq,$*),--group arq,--group celery --group taskiq) --compile-bytecode --python $(PYTHON)
	@touch $@

bench: setup .venv-peers/.ready .venv-arq/.ready ## measure beside peers, write docs/benchmarks.md (20 minutes; ONLY=accept for one row)
	@$(BIN)/python -m bench --only "$(ONLY)" $(ARGS)

check: setup ## formatter, linter, types, import contracts, spelling, names, prose, what is in deploy/
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell
	@$(BIN)/python -m tests.support.names
	@$(BIN)/python -m tests.support.prose
	@$(BIN)/python -m tests.support.formatters biome check --error-on-warnings api/web client-ts/src
	@$(BIN)/python -m tests.support.formatters stylua --check
	@$(BIN)/python -m tests.support.formatters luacheck
	@$(BIN)/pytest -q tests/deploy

compose-check: setup ## check docker-compose.yml on the Docker engine of this machine (15 minutes; ARGS="kills scales" for some)
	@deploy/compose-check.sh $(ARGS)

fmt: setup ## format all files and apply the linter's safe fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/python -m tests.support.formatters biome check --write api/web client-ts/src
	@$(BIN)/python -m tests.support.formatters stylua --write

deploy-files: setup ## write the generated files: rules, dashboards, Helm chart, .env.example, docs/redis.md, TypeScript types
	@$(BIN)/python -m deploy.objectives
	@$(BIN)/python -m deploy.dashboards
	@$(BIN)/python -m deploy.cluster
	@$(BIN)/python -m deploy.helm
	@$(BIN)/python -m shared.settings > .env.example
	@$(BIN)/python -m shared.store.keys > docs/redis.md
	@$(BIN)/python -m tests.support.typescript

audit: setup ## ask for known vulnerabilities of the dependencies in uv.lock (needs the internet)
	@$(UV) audit --locked

dist: setup ## build what a release publishes into dist/: wheels, sdists, the TypeScript package, the SBOM
	@rm -rf dist
	@$(UV) build --quiet --all-packages --out-dir dist/python
	@$(BIN)/python -m tests.support.typescript dist/npm
	@mkdir dist/sbom && $(BIN)/python -m deploy.sbom dist/sbom/darkroom.cdx.json

version: setup ## write the version of the next release into all files that name it (VERSION=0.2.0)
	@$(BIN)/python -m deploy.version $(VERSION)

lock: $(UV) ## resolve the dependencies again into uv.lock
	@$(UV) lock --upgrade

clean: ## remove the environments and caches; the data of `darkroom up` stay (.darkroom)
	@rm -rf .venv .venv-peers .venv-arq .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/js/node_modules tests/js/*/node_modules client-ts/node_modules client-ts/dist dist .tools
