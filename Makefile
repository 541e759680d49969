# Two commands: `make demo` trains and evaluates a tiny policy from nothing; `make test` runs every test.

PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo

.PHONY: demo test install clean

demo: $(VENV)/.installed
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" bash launch/pipeline.sh configs/tiny $(RUN)

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest tests

install: $(VENV)/.installed

$(VENV)/.installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
