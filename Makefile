.PHONY: check docs format

check:  ## everything a change must pass
	ruff format --check .
	ruff check .
	mypy
	$(MAKE) docs
	pytest -m ""

docs:  ## the site, in site/
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

format:
	ruff format .
	ruff check --fix .
