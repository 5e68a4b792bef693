# Each target sets up what it needs (tools/setup) and can be run in a fresh clone.
PYTHON_ENV := PYTHONPATH=python .venv/bin/python

.PHONY: help build demo test bench lint format docs asan tsan wheel-test install-test clean

help:
	@echo "make demo    build, then train a digit classifier and show streams"
	@echo "make test    build, lint, C++ tests, Python tests"
	@echo "make bench   measure beside other frameworks, in .venv-peers"
	@echo "make build | lint | format | docs | asan | tsan | install-test | wheel-test | clean"

build:
	@tools/build

demo:
	@tools/build release stubs
	@$(PYTHON_ENV) examples/digits.py
	@$(PYTHON_ENV) examples/using_streams.py

test: build
	@tools/lint --seconds 60
	@ctest --preset release
	@.venv/bin/python -m pytest

bench: build
	@$(PYTHON_ENV) benchmarks/run.py

lint: build
	@tools/lint

format:
	@tools/setup
	@tools/format

docs: build
	@$(PYTHON_ENV) -m sphinx -W --keep-going --quiet --builder html docs build/docs
	@echo "build/docs/index.html"

# The sanitizers' dlopen does not see where our library looks for OpenBLAS.
asan tsan:
	@tools/build $@
	@LD_LIBRARY_PATH=$$(.venv/bin/python -c 'import scipy_openblas32 as b; print(b.get_lib_dir())') \
		ctest --preset $@

install-test: build
	@tools/test_install

wheel-test:
	@tools/setup
	@tools/test_wheel

clean:
	@rm -rf build dist python/rill/core python/rill/core.*.so
