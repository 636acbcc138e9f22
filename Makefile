# make venv: .venv with everything · make run: the demo server · make test · make lint
# make docs: what is generated · make fuzz SECONDS=1800: parsers and sessions · make chaos: kill -9 under load, hundreds of times
SHELL := /bin/sh
.PHONY: venv run test lint docs chaos fuzz clean
.DEFAULT_GOAL := venv

# The first interpreter that is new enough; PYTHON=/path/to/python names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
STAMP := .venv/.installed

venv: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "mta needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "making .venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m mta.sendmail.launcher $(BIN)/mta-sendmail
	@touch $@

run: $(STAMP)
	@exec $(BIN)/python tools/demo.py

# Compiled first: hundreds of processes import the same modules, and each would compile them where nothing may be written.
test: $(STAMP)
	$(BIN)/python -m compileall -q mta hooks/mta_hooks plugins
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not alone and not paired"
	$(BIN)/python -m pytest -n 2 --dist worksteal -m paired
	$(BIN)/python -m pytest -m alone

lint: $(STAMP)
	$(BIN)/ruff format --check mta hooks plugins tests tools
	$(BIN)/ruff check mta hooks plugins tests tools
	$(BIN)/mypy mta hooks plugins
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/python tools/config_docs.py
	$(BIN)/python tools/command_docs.py
	$(BIN)/python tools/hook_docs.py
	$(BIN)/python tools/rfc_index.py

fuzz: $(STAMP)
	$(BIN)/python tools/fuzz.py --seconds $(or $(SECONDS),300)

chaos: $(STAMP)
	$(BIN)/python tools/chaos.py
	$(BIN)/python tools/chaos.py --relay

clean:
	rm -rf .venv var dist build
