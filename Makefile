# make dataset   build a web, generate questions with both recipes, leave a verified release in out/demo/release
# make train-demo  train a small policy from nothing on practice webs, improve it by reinforcement, compare: out/train/demo
# make test      unit and pipeline tests        make lint    ruff, mypy        make bench   what we measure
# make serve     Prefect's server and pages over the runs made here, until Ctrl-C
# make flow      run a deployment once through a worker (needs `make serve` in another terminal)

PYTHON ?= python3
CONFIG ?= data/presets/demo.toml
OUT ?= out
BIN := .venv/bin
STAMP := .venv/.installed
# Programs that read what we make, each in an environment of its own, because their pins exclude one another.
CONSUMERS := serving verifiers openenv trl verl
CONSUMER_STAMPS := $(CONSUMERS:%=.venv-%/.installed)
WORKERS ?= 2

# The server's analytics and the client's telemetry are off for everything that is started from here, and what the
# library logs belongs to the record of a flow run.
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
export PREFECT_LOGGING_EXTRA_LOGGERS := datagen
export PREFECT_HOME ?= $(CURDIR)/$(OUT)/prefect

.PHONY: dataset train-demo test lint bench serve flow clean help

dataset: $(STAMP)
	$(BIN)/python -m flows.local pipeline $(CONFIG)

train-demo: $(STAMP)
	$(BIN)/python -m flows.local train_search_agent data/presets/train_demo.toml

test: $(STAMP) $(CONSUMER_STAMPS)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m benchmarks

serve: $(STAMP)
	$(BIN)/prefect server start

flow: $(STAMP)
	$(BIN)/prefect work-pool inspect local-process >/dev/null 2>&1 || $(BIN)/prefect work-pool create --type process local-process
	$(BIN)/prefect --no-prompt deploy --all
	$(BIN)/prefect deployment run pipeline/demo
	$(BIN)/prefect worker start --pool local-process --run-once

# The lock first, then the project over it: pip then has nothing left to resolve.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "datagen needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Tests call these over HTTP or as programs; nothing of them is imported here. A lock names all that is needed, which for
# verl is less than it asks for: nothing is resolved.
.venv-%/.installed: requirements-%.lock
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

clean:
	rm -rf $(OUT) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

help:
	@head -5 Makefile
