# Every command of this project. CI calls only these.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := core operator aggregator trainer cli tools
STAMP := $(VENV)/.installed-$(shell cat requirements/dev.lock requirements/tools.lock pyproject.toml | cksum | cut -d' ' -f1)
TAG ?= $(shell sed -n 's/^appVersion: //p' deploy/helm/distilljob/Chart.yaml)
IMAGE := $(if $(REGISTRY),$(REGISTRY)/,)distilljob
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-deps
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --no-header

.DEFAULT_GOAL := help
.PHONY: help setup rig images push demo notebook check verify test e2e demo-cluster dashboard-pictures chaos control-plane situations bench-operator lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## make .venv with everything pinned and hashed

$(STAMP):
	@$(PYTHON) tools/preflight.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/dev.lock
	$(BIN)/python $(PIP_INSTALL) --no-build-isolation --editable .
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/python $(PIP_INSTALL) --require-hashes -r requirements/tools.lock
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: setup ## train three small networks together, half a minute after the installation
	$(BIN)/distilljob run examples/01-digits.yaml --output runs/demo

notebook: setup ## run the tutorial's notebook anew and keep its outputs
	$(BIN)/python tools/notebook.py

check: setup ## style, types, imports, budgets, examples
	$(BIN)/ruff check $(SOURCES) tests benchmarks examples
	$(BIN)/ruff format --check $(SOURCES) tests benchmarks examples
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .
	$(BIN)/shellcheck .ci/run
	$(VENV)/tools/bin/hadolint Dockerfile.* tests/e2e/Dockerfile.*
	$(BIN)/pytest -q tests/project
	for file in examples/*.yaml; do $(BIN)/distilljob validate "$$file" || exit 1; done

verify: setup ## generated files are up to date
	$(BIN)/python tools/generate.py
	PYTHONPATH=tests/cluster $(BIN)/python tools/install_manifest.py
	git diff --exit-code -- core/distilljob_core/rpc deploy docs/reference
	@test -z "$$(git status --porcelain -- core/distilljob_core/rpc deploy docs/reference)"

rig: ## build the Kubernetes that tests run on: minutes once, then kept in ~/.cache/distilljob
	@PYTHONPATH=tests/cluster $(PYTHON) -m rig.build > /dev/null

test: setup rig ## the whole test suite; its last line is the tests' own summary
	set -o pipefail; OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore=tests/e2e -n 3 --dist loadfile --no-loadscope-reorder --cov \
		--cov-report=term:skip-covered --cov-fail-under=90 | tee $(VENV)/test.log
	@echo "coverage of the pure modules, in percent:"
	@$(BIN)/coverage report --format=total --fail-under=100 --include="$$($(BIN)/python tools/pure_modules.py)"
	@tail -n 1 $(VENV)/test.log

images: ## build the three images with docker, podman or buildah; REGISTRY=registry.example.com/team TAG=1.2
	@tool=$$(command -v docker podman buildah | head -n 1); \
		test -n "$$tool" || { echo "images need docker, podman or buildah" >&2; exit 1; }; \
		for part in operator aggregator trainer; do \
			"$$tool" build --file Dockerfile.$$part $(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL) \
				--build-arg VERSION=$(TAG) --tag $(IMAGE)-$$part:$(TAG) . || exit 1; \
		done

push: images ## push the images that `make images` has built; needs REGISTRY
	@test -n "$(REGISTRY)" || { echo "push needs REGISTRY=registry.example.com/team" >&2; exit 1; }
	@tool=$$(command -v docker podman buildah | head -n 1); \
		for part in operator aggregator trainer; do "$$tool" push $(IMAGE)-$$part:$(TAG) || exit 1; done

e2e: setup rig ## the chart, the images and whole jobs on a real node; needs root; FULL=1 also builds the image with torch
	$(if $(FULL),DISTILLJOB_E2E_FULL=1) $(BIN)/python -m pytest tests/e2e --durations=0 --durations-min=1

demo-cluster: setup rig ## the real thing without a cluster of your own: one node, the chart, the first job; needs root
	PYTHONPATH=tests/cluster:tests/e2e $(BIN)/python tests/e2e/demo.py

dashboard-pictures: setup rig ## draw the dashboards for the docs from a real run on a real node; needs root
	PYTHONPATH=tests/cluster:tests/e2e $(BIN)/python tests/e2e/pictures.py

chaos: setup ## kill, freeze and cut off real runs, and compare weights; SCHEDULES=20 SEED=7 DURATION=2h EDGES=1 LONG=200
	$(BIN)/python tests/chaos/drive.py $(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(DURATION),--duration $(DURATION)) $(if $(EDGES),--edges) $(if $(LONG),--long $(LONG))

control-plane: setup ## a real Kubernetes control plane with fake nodes, until Ctrl-C; NODES=20
	PYTHONPATH=tests/cluster $(BIN)/python -m rig $(if $(NODES),--nodes $(NODES))

bench-operator: setup ## the operator beside a bare client and JobSet; JOBS=1000 RUNS=3 QUICK=1 CONTESTANTS=floor,distilljob
	@PYTHONPATH=benchmarks:tests/cluster:tests/forks $(BIN)/python -m bench_operator $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(RUNS),--runs $(RUNS)) $(if $(QUICK),--quick) $(if $(CONTESTANTS),--contestants $(CONTESTANTS))

situations: setup ## capture what a user sees of a job in six situations, on a real control plane
	PYTHONPATH=tests/cluster:tests/forks $(BIN)/python tests/cluster/situations.py > $(VENV)/situations.md
	mv $(VENV)/situations.md docs/explanation/situations.md

lock: setup ## pin again what pyproject.toml asks for
	$(LOCK) --all-extras pyproject.toml -o requirements/dev.lock --upgrade
	for part in operator aggregator trainer; do \
		$(LOCK) --extra $$part --constraint requirements/dev.lock pyproject.toml -o requirements/$$part.lock || exit 1; \
	done
	$(LOCK) --constraint requirements/dev.lock requirements/build.in -o requirements/build.lock
	$(LOCK) --no-deps requirements/tools.in -o requirements/tools.lock --upgrade

clean: ## remove what runs and tools left behind
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* build dist
