# The README's commands. Each makes the environment it needs in .venv; nothing but Python >= 3.11, make and a package
# registry is assumed.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= config.yaml
SNAKEMAKE = $(BIN)/snakemake
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes

.PHONY: demo demo-deep test faults lint small official excerpt excerpt-deep inspect resume lock

# The default run on a simulated session, and its report.
demo: .venv/run.done
	$(SNAKEMAKE)
	$(SNAKEMAKE) --report results/report.html >/dev/null
	@cat results/leaderboard.md
	@echo "The report lies in results/report.html"

# The same with a small GRU and NDT, which need torch.
demo-deep: .venv/deep.done
	$(SNAKEMAKE) --configfile configs/demo_deep.yaml
	@cat results/leaderboard.md

test: .venv/test.done
	$(BIN)/python -m pytest -n 2

# What can go wrong, done to a small run on purpose: the table in docs/faults.md. Needs root for some of it.
faults: .venv/test.done
	$(BIN)/python benchmarks/faults.py --write docs/faults.md
	$(BIN)/python -m pytest -m slow tests/test_slurm.py

lint: .venv/test.done .venv-format/done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	.venv-format/bin/snakefmt --check Snakefile rules
	$(SNAKEMAKE) --lint

# The first real run with a network: MC_Maze_Small from DANDI (30 MB).
small: .venv/run.done
	$(SNAKEMAKE) --configfile configs/mc_maze_small.yaml
	@cat results/leaderboard.md

# The official test files of MC_Maze, Medium and Small, found below the folder DATA.
official: .venv/run.done
	$(SNAKEMAKE) --configfile configs/official_test_files.yaml --config "data_folder=$(call needed,DATA)"
	@cat results/leaderboard.md

# The labelled excerpt of MC_Maze_Large, found below the folder DATA.
excerpt: .venv/run.done
	$(SNAKEMAKE) --configfile configs/mc_maze_large_excerpt.yaml --config "data_folder=$(call needed,DATA)"
	@cat results/leaderboard.md

# The same with networks and an ensemble of them, seeds 0 to 4, on a CPU; then the test phase's rates as submissions.
EXCERPT_DEEP = configs/mc_maze_large_excerpt.yaml configs/mc_maze_large_excerpt_deep.yaml
excerpt-deep: .venv/deep.done
	$(SNAKEMAKE) --configfile $(EXCERPT_DEEP) --config "data_folder=$(call needed,DATA)"
	$(SNAKEMAKE) submission --configfile $(EXCERPT_DEEP) configs/test_phase.yaml --config "data_folder=$(DATA)"
	@cat results/leaderboard.md

# What the NWB team's own checker says of the recordings of CONFIG that are the user's, below the folder DATA.
inspect: .venv/run.done .venv-inspect/done
	$(SNAKEMAKE) inspect --configfile $(CONFIG) $(if $(DATA),--config "data_folder=$(DATA)")
	@cat results/inspection/*/*.txt

# Go on after a run was killed: CONFIG=the config it ran with, and DATA where that needs it.
resume: .venv/run.done
	$(BIN)/python scripts/resume.py
	$(SNAKEMAKE) --unlock --configfile $(CONFIG) $(if $(DATA),--config "data_folder=$(DATA)")
	$(SNAKEMAKE) --configfile $(CONFIG) $(if $(DATA),--config "data_folder=$(DATA)")

# New locks from the pins in pyproject.toml.
lock: .venv/test.done
	$(BIN)/python -m pip --disable-pip-version-check install --quiet uv==0.13.8
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  pyproject.toml -o requirements/run.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra test \
	  pyproject.toml -o requirements/test.lock

needed = $(or $($(1)),$(error give the folder with the files: make $@ $(1)=FOLDER))

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nlbflow needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run.done: requirements/run.lock | $(BIN)/python
	$(PIP) -r requirements/run.lock
	@touch $@

.venv/test.done: requirements/test.lock | $(BIN)/python
	$(PIP) -r requirements/test.lock
	@touch $@ .venv/run.done

# torch alone, by its exact pin: the locks do without it, since its packages differ between machines and GPUs.
.venv/deep.done: pyproject.toml .venv/run.done
	$(BIN)/python -m pip --disable-pip-version-check install --quiet \
	  torch==2.13.0
	@touch $@

# snakefmt's own pins exclude those of the workflow, so it gets an environment of its own.
.venv-format/done:
	$(PYTHON) -m venv .venv-format
	.venv-format/bin/python -m pip --disable-pip-version-check install --quiet snakefmt==2.1.0
	@touch $@
