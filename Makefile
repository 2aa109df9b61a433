# The README's commands. Each makes the environment it needs in .venv; nothing but Python >= 3.11, make and a package
# registry is assumed.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= config.yaml
SNAKEMAKE = $(BIN)/snakemake

.PHONY: demo demo-deep test test-all faults lint small official excerpt excerpt-deep inspect crate resume image lock

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
	$(BIN)/python -m pytest -n 3

# The rest too: every fault, SLURM's controller, an environment for each rule.
test-all: .venv/test.done
	$(BIN)/python -m pytest -n 2 -m "slow or not slow"

# What can go wrong, done to a small run on purpose: the table in docs/faults.md. Needs root for some of it.
faults: .venv/test.done
	$(BIN)/python benchmarks/faults.py --write docs/faults.md
	$(BIN)/python -m pytest -m slow tests/workflow/test_slurm.py

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

# Tables, leaderboards and config of CONFIG's run as one zip file for an archive, results/crate.zip (an RO-Crate).
crate: .venv/run.done .venv-crate/done
	$(SNAKEMAKE) crate --configfile $(CONFIG) $(if $(DATA),--config "data_folder=$(DATA)")

# Go on after a run was killed: CONFIG=the config it ran with, and DATA where that needs it.
resume: .venv/run.done
	$(BIN)/python scripts/resume.py
	$(SNAKEMAKE) --unlock --configfile $(CONFIG) $(if $(DATA),--config "data_folder=$(DATA)")
	$(SNAKEMAKE) --configfile $(CONFIG) $(if $(DATA),--config "data_folder=$(DATA)")

# The image of containers/Dockerfile, of what is committed: docs/containers.md. BUILD=--build-arg=LOCK=deep adds to it.
# Files get a date of which nothing depends, the first that a zip file can hold.
image:
	git archive HEAD | podman build --file containers/Dockerfile --tag nlbflow --timestamp 315532800 $(BUILD) -

# New locks from the pins in pyproject.toml, for Python 3.11 and newer. What a lock has stays as long as the pins allow:
# delete it for the newest. The first is what the others hold to; snakefmt alone cannot.
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
HELD = $(COMPILE) --constraints requirements/test.lock
lock: .venv-lock/done
	$(COMPILE) --extra workflow --extra cloud --extra test --group build pyproject.toml -o requirements/test.lock
	$(HELD) --extra workflow --group build pyproject.toml -o requirements/run.lock
	$(HELD) --extra workflow --extra cloud --group build pyproject.toml -o requirements/cloud.lock
	$(HELD) --extra workflow --extra cloud --extra deep --group build pyproject.toml -o requirements/cloud_deep.lock
	$(HELD) --extra workflow --extra deep --group build pyproject.toml -o requirements/deep.lock
	for group in inspect crate lock elephant nlb_tools ssm; do \
	  $(HELD) --group $$group -o requirements/$$group.lock || exit 1; done
	$(COMPILE) --group format -o requirements/format.lock

needed = $(or $($(1)),$(error give the folder with the files: make $@ $(1)=FOLDER))

# Every environment is made by requirements/install.py, which says how and why.
INSTALL = $(PYTHON) requirements/install.py

.venv/run.done: requirements/run.lock requirements/install.py
	$(INSTALL) .venv run
	@touch $@

.venv/test.done: requirements/test.lock requirements/install.py
	$(INSTALL) .venv test
	@touch $@ .venv/run.done

.venv/cloud.done: requirements/cloud.lock requirements/install.py
	$(INSTALL) .venv cloud
	@touch $@ .venv/run.done

# TORCH=cpu or TORCH=gpu chooses the build of torch: docs/installing.md.
.venv/deep.done: requirements/deep.lock requirements/install.py
	$(INSTALL) .venv deep $(if $(TORCH),--torch $(TORCH))
	@touch $@ .venv/run.done

# Tools in environments of their own: .venv-format (snakefmt), .venv-inspect (nwbinspector), .venv-crate (rocrate),
# .venv-lock (uv).
.venv-%/done: requirements/%.lock requirements/install.py
	$(INSTALL) .venv-$* $*
	@touch $@
