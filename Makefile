# Four commands for people: demo, test, check, bench. Each installs what it needs into .venv first.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test check bench soak leftovers two-hosts container-test engines-test lock wheel clean
help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

# uv comes first, by pip and by hash; everything else comes by uv and by hash.
$(READY): requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## the fixtures through a worker on the embedded broker, then the history
	$(BIN)/stepflow demo

test: $(READY) ## all tests, two at a time; N=0 for one after the other
	$(BIN)/python -m pytest -n $(or $(N),2)

check: $(READY) ## format, lint, strict types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## figures beside their baselines; QUICK=1 ends within five minutes
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick)

soak: $(READY) ## ten thousand jobs on each pair of broker and record while everything is killed; JOBS=n for another number
	$(BIN)/python scripts/soak.py --write $(if $(JOBS),--jobs $(JOBS))

container-test: $(READY) ## build the worker's image and put it to work, with buildah and podman; BASE=image, or one is made by debootstrap
	$(BIN)/python scripts/container_test.py $(if $(BASE),--base $(BASE))

two-hosts: $(READY) ## two thousand jobs on two hosts, one of which is cut off and comes back; needs root, Redis, RabbitMQ, PostgreSQL
	$(BIN)/python scripts/two_hosts.py --write $(if $(JOBS),--jobs $(JOBS))

leftovers: $(READY) ## twenty thousand mixed calls in processes that wait, then what they left behind; CALLS=n
	$(BIN)/python scripts/warm_leftovers.py $(if $(CALLS),--calls $(CALLS))

engines-test: $(READY) ## every example of a workflow engine by its one command, with bad input; installs Prefect and Airflow
	$(BIN)/python scripts/engines_test.py --write

lock: ## renew the lock files
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.11 --custom-compile-command "make lock" pyproject.toml --all-extras --group dev -o requirements/dev.txt
	@# Without the extra `conda`: 80 MB, which few need.
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.11 --custom-compile-command "make lock" pyproject.toml --extra redis --extra postgresql --extra llm --extra http --extra otel -o requirements/runtime.txt
	grep '^hatchling==' requirements/dev.txt | sed 's/ *\\$$//' | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.11 --custom-compile-command "make lock" - -o requirements/build.txt
	grep '^uv==' requirements/dev.txt | sed 's/ *\\$$//' | $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --custom-compile-command "make lock" - -o requirements/uv.txt
	for engine in prefect airflow; do (cd examples/engines/$$engine && ../../../$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.11 --custom-compile-command "make lock" requirements.in -o requirements.txt) || exit; done

wheel: $(READY) ## dist/*.whl
	$(BIN)/uv build --quiet --wheel

clean: ## remove what make made
	rm -rf .venv dist build
