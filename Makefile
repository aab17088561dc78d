# The README's two commands are `make demo` and `make test`; `make check` is for before a commit.
PYTHON ?= python3
STAMP := .venv/.set-up

.PHONY: setup demo test check lint docs clean

setup: $(STAMP)

# Done again only when what is installed is declared otherwise.
$(STAMP): pyproject.toml constraints.txt
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: setup
	.venv/bin/obfnet demo

# A process a core: each starts few threads, so that they do not wait for one another.
test: setup
	.venv/bin/python -m pytest --numprocesses auto --dist loadgroup

check: lint
	.venv/bin/python -m pytest -q -m "not e2e and not real_data"

# Everything of `check` that reads code and runs none.
lint: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# Documents take their figures from the committed result files.
docs: setup
	.venv/bin/python -m obfnet.report.results_page results docs/results.md README.md
	.venv/bin/python -m obfnet.report.paper_pages $(wildcard docs/results/*.json)
	.venv/bin/python -m obfnet.report.privacy_pages docs/results $(sort $(wildcard results/privacy*.json))

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
