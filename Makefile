.PHONY: check format

check:  ## everything a change must pass
	ruff format --check .
	ruff check .
	mypy
	pytest -m ""

format:
	ruff format .
	ruff check --fix .
