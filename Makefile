# make demo, make test, make check, make bench: each is one command on a fresh machine.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.PHONY: demo test check bench controls venv clean

# torch is pinned first and alone, so that nothing pulls another build of it
$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep -i '^torch==' constraints.txt)"
	$(PIP) -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) -e '.[demo,test]'
	touch $@

venv: $(VENV)/.test

demo: $(VENV)/.demo
	$(BIN)/vcmaug run recipes/demo/recipe.yaml --out work/demo
	@echo "The report: work/demo/report.html"

# one process per core, four at most; in each, torch has one thread (tests/conftest.py)
test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow and not gpu" -n logical --maxprocesses 4

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# those of minutes, without data; benchmarks/controls.py and benchmarks/brainldm.py take hours and tell how
bench: $(VENV)/.test
	for name in space_to_depth workers conditions engine interval; do $(BIN)/python "benchmarks/$$name.py" || exit 1; done

# the whole comparison of controls, with the recipes' data in VCMAUG_DATA: for a GPU; goes on where it was stopped
CONTROLS := $(BIN)/python benchmarks/controls.py
BRAIN := recipes/brain-mini/recipe.yaml --profile 4mm --prior brain-mini-4mm --n 10 25 50 --seeds 0 1 2
controls: $(VENV)/.test
	mkdir -p work/controls
	$(CONTROLS) recipes/hippocampus/recipe.yaml --prior hippocampus-1mm --n 10 50 100 --seeds 0 1 2 \
		--out work/controls/hippocampus > work/controls/hippocampus.json
	for task in ventricles map ventricles+partial; do \
		$(CONTROLS) $(BRAIN) --task $$task --out work/controls/brain-mini > "work/controls/brain-mini-$$task.json" || exit 1; \
	done

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
