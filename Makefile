# Two commands: `make demo` trains and evaluates a tiny policy from nothing; `make test` runs every test.

PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
BIN = $(abspath $(VENV))/bin

.PHONY: demo test install clean

demo: $(VENV)/.installed
	PATH="$(BIN):$$PATH" bash launch/pipeline.sh configs/tiny $(RUN)

test: $(VENV)/.installed-test
	"$(BIN)/python" -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder

install: $(VENV)/.installed

$(VENV)/.installed: setup.py
	$(PYTHON) -m venv $(VENV)
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
