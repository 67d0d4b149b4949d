# Every target sets up .venv first; a second run installs nothing (the stamp below says so).
# A system without make: see "Windows" in README.md, three commands do the same.

PYTHON  ?= python3
PORT    ?= 8888
BROWSER ?= 1
JOBS    ?= 2

BIN   := .venv/bin
READY := .venv/.ready

# One line before a step, and its seconds after it:  $(STEP) "name" command arguments…
STEP = @sh -c 's=$$(date +%s); printf "── %s\n" "$$0"; "$$@"; c=$$?; \
	t=$$(( $$(date +%s) - s )); [ $$c -eq 0 ] && printf "   %s: ok, %s s\n" "$$0" $$t || \
	printf "   %s: FAILED after %s s\n" "$$0" $$t >&2; exit $$c'

.PHONY: help course lab test lectures checkpoints claims bench
.DELETE_ON_ERROR:

help:
	@echo "make course       the whole course as pages to read, under build/"
	@echo "make lab          JupyterLab on the notebooks (PORT=$(PORT), BROWSER=0 opens no browser)"
	@echo "make test         style, types, unit tests, built notebooks, every notebook run"
	@echo "make lectures     build notebooks/ and solutions/ from lectures/"
	@echo "make checkpoints  train and store the shipped toy models"
	@echo "make claims       run the experiments behind the claims table"
	@echo "make bench        speed against peers, on this machine"

course: $(READY)
	@$(BIN)/vlcourse course

lab: $(READY)
	@$(BIN)/vlcourse lab --port $(PORT) $(if $(filter 0,$(BROWSER)),--no-browser)

test: $(READY)
	$(STEP) "ruff check" $(BIN)/ruff check --quiet .
	$(STEP) "ruff format" $(BIN)/ruff format --check --quiet .
	$(STEP) "mypy" $(BIN)/mypy --no-error-summary
	$(STEP) "unit tests" $(BIN)/pytest -q -p no:nbval -n $(JOBS) --dist loadfile --no-loadscope-reorder
	$(STEP) "notebooks are built" $(BIN)/vlcourse build --check
	$(STEP) "notebooks, blank and solved" env OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(JOBS) \
	--dist loadfile --no-loadscope-reorder --nbval-lax --nbval-current-env notebooks solutions

lectures: $(READY)
	@$(BIN)/vlcourse build

checkpoints: $(READY)
	@$(BIN)/vlcourse checkpoints

claims: $(READY)
	@$(BIN)/vlcourse claims

bench: $(READY)
	@set -e; for file in benchmarks/*.py; do echo "── $$file"; $(BIN)/python "$$file"; done

# The first Python from 3.11 to 3.14, out of $(PYTHON), python3.13, python3.12, python3.11, python3.14.
$(READY): pyproject.toml constraints.txt
	@set -e; ok='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'; \
	[ -w . ] || { echo "$(CURDIR) cannot be written, and .venv, build/ and runs/ are to lie there: \
	copy it to a place of your own (cp -r $(CURDIR) ~/vlcourse) and run make in the copy" >&2; exit 1; }; \
	if [ -x $(BIN)/python ]; then \
		$(BIN)/python -c "$$ok" || { echo ".venv holds $$($(BIN)/python -V), and the course needs \
	Python 3.11 to 3.14: delete .venv and run make again" >&2; exit 1; }; \
	else \
		found=; for python in "$(PYTHON)" python3.13 python3.12 python3.11 python3.14; do \
			if "$$python" -c "$$ok" 2>/dev/null; then found=$$python; break; fi; done; \
		[ -n "$$found" ] || { echo "$(PYTHON) is not Python 3.11 to 3.14 ($$("$(PYTHON)" -V 2>/dev/null || \
	echo not found)), and no python3.11 to python3.14 works here: install one, or name it: \
	make PYTHON=/path/to/python3.13" >&2; exit 1; }; \
		echo "── setting up .venv with $$("$$found" -V) (once; a few minutes)"; \
		"$$found" -m venv .venv || { rm -rf .venv; exit 1; }; \
	fi; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt; \
	touch $@
