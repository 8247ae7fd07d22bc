# Everything happens in .venv in this checkout; nothing needs to be installed by hand but Python 3.11 or later.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test test-fast test-all check install clean

# From nothing to a picked, verified model. The database stays in this folder for the lines of the README that follow.
demo: $(VENV)/.installed
	@if [ -f autocompress.db ] && $(BIN)/autocompress trials quickstart --json >/dev/null 2>&1; \
	then $(BIN)/autocompress resume quickstart; \
	else $(BIN)/autocompress run studies/quickstart.yaml; fi
	$(BIN)/autocompress pick quickstart --max-quality-drop 2% --minimize latency_ms --out picked/ \
	|| $(BIN)/autocompress pick quickstart --max-quality-drop 2% --minimize latency_ms --as-seen --out picked/
	$(BIN)/python picked/example.py "How far is it from Denver to Aspen ?"

# Which tests go together to a worker, and which need what, stands in tests/conftest.py. A worker that dies ends the run
# and fails it: replaced, pytest-xdist 3.8 waits for ever for the groups that the dead one held.
PARALLEL := -n $(WORKERS) --dist loadgroup --max-worker-restart 0

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL) -m "not long"

# With all forms of what `make test` tries in one or a few: every family traced by torch's exporter, for one.
test-all: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL)

# Without Ray, PostgreSQL and whole studies.
test-fast: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL) -m "not ray and not postgres and not slow and not long"

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(VENV)/.installed

# torch first and alone: together with the rest, pip would look for a newer build with gigabytes of CUDA. Twenty thousand
# files are compiled on all cores: pip would take one. What does not compile are templates and files for Python 2.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt torch
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	@touch $@

clean:
	rm -rf $(VENV) autocompress.db autocompress-artifacts picked
