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

test: $(VENV)/.compiled
	$(BIN)/python -m pytest $(PARALLEL) -m "not long"

# With all forms of what `make test` tries in one or a few: every family traced by torch's exporter, for one.
test-all: $(VENV)/.compiled
	$(BIN)/python -m pytest $(PARALLEL)

# Without Ray, PostgreSQL and whole studies.
test-fast: $(VENV)/.compiled
	$(BIN)/python -m pytest $(PARALLEL) -m "not ray and not postgres and not slow and not long"

# mypy has one core, so what is left to be compiled is compiled on the other.
check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory COMPILERS=1 $(VENV)/.compiled & \
	echo $(BIN)/mypy; $(BIN)/mypy; ended=$$?; wait; exit $$ended

install: $(VENV)/.compiled

# torch first and alone: together with the rest, pip would look for a newer build with gigabytes of CUDA. pip would
# compile on one core and while nothing else is done, so that is done beside it: what torch brought while pip gets the
# rest. Left out is what few imports ever reach, a third of all; what does not compile are templates and files for
# Python 2.
SELDOM    := /tests?/|/(transformers/models|torch/(_inductor|testing)|ray/(llm|rllib|serve))/
COMPILE   := $(BIN)/python -m compileall -qq -x '$(SELDOM)'
COMPILERS ?= 0

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt torch
	@$(COMPILE) $(VENV)/lib & \
	echo $(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'; \
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'; ended=$$?; wait; exit $$ended
	@touch $@

$(VENV)/.compiled: $(VENV)/.installed
	@$(COMPILE) -j $(COMPILERS) $(VENV)/lib || true
	@touch $@

clean:
	rm -rf $(VENV) autocompress.db autocompress-artifacts picked
