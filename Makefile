# Two commands on a fresh machine: `make paper` and `make test`.
# Both first make .venv from the lock, then print the command that they run; `make demo` shows something
# after two minutes.

PYTHON ?= python3
CORES ?= 1
BIN := .venv/bin
# byte code is made of what is imported, when it is: most never is. Told to write none, every job would
# compile all that it imports, and take twice as long to start
unexport PYTHONDONTWRITEBYTECODE
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps
# torch's build: `cuda`, `cpu`, or the CPU's where there is no NVIDIA GPU and pip finds that build
TORCH ?= $(if $(wildcard /dev/nvidiactl /proc/driver/nvidia/version /dev/dxg),cuda,auto)

.PHONY: demo paper test test-all test-fast validate faults bench bench-short peers check audit clean
.PHONY: check-types check-python check-rules

paper: .venv/ready
	$(BIN)/snakemake --cores $(CORES) --resources gpu=1

# one behaviour, few items: two minutes on two cores
demo: CORES := 2
demo: .venv/ready
	$(BIN)/snakemake report --cores $(CORES) --resources gpu=1 --configfile studies/demo.yaml
	@echo "Open results/demo/report.html in a browser; the figures alone are in figures/demo/."
	@echo "Next: a behaviour of your own (README, Your own prompts), or everything: make paper"

# one more than there are cores: some tests wait
TESTERS = $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
TESTS = $(BIN)/python -m pytest tests -n $(TESTERS) --dist loadfile --no-loadscope-reorder
test: .venv/ready
	$(TESTS) -m "not long"

test-all: .venv/ready
	$(TESTS)

# what needs no workflow and no server, on two of the six tiny models
test-fast: .venv/ready
	$(BIN)/python -m pytest tests -m "not (workflow or slurm or conda or browser or default_model)" \
	  -k "not (gpt_neox or mistral or qwen2 or gemma2 or hub)"

# how often intervals hold the truth and p is small by chance, long: into docs/statistics.md
MODEL := results/models/smollm2-135m-instruct
validate: .venv/ready
	$(BIN)/snakemake $(MODEL)/manifest.json --cores $(CORES) --resources gpu=1
	$(BIN)/python tests/simulations.py $(MODEL)

# what a machine can do to a run, done to a tiny one: longer than half an hour
faults: .venv/ready
	$(BIN)/python tests/faults/report.py

# how near the model's limit each stage is, beside the plain way and peers: into docs/performance.md
bench: .venv/ready peers
	$(BIN)/snakemake $(MODEL)/manifest.json --cores $(CORES) --resources gpu=1
	$(BIN)/python benchmarks/bench.py

bench-short: .venv/ready
	$(BIN)/python benchmarks/bench.py --short

# environments of their own; what cannot be had is said, and the benchmark does without it
peers: .venv/ready
	$(BIN)/python benchmarks/peers/make.py

check: check-types check-python check-rules

check-types: .venv/ready
	$(BIN)/mypy

check-python: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-rules: .venv/ready
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

# known faults of the locked packages, or the lock's age where no database can be asked
audit: .venv/ready
	$(BIN)/python envs/audit.py

# torch's CUDA build (what the registry has for Linux) misses its libraries after the second step
.venv/ready: envs/lock.txt envs/lock.cpu.txt envs/lock.cuda.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "steerpaper needs Python 3.11 or newer; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@case $(TORCH) in auto|cpu|cuda) ;; *) echo "TORCH=$(TORCH): take cpu, cuda or auto"; exit 1 ;; esac
	$(PYTHON) -m venv --clear .venv
	@test $(TORCH) = cuda || $(BIN)/python envs/torch_cpu.py $(TORCH) $(PIP) -r envs/lock.cpu.txt
	$(PIP) -r envs/lock.txt
	$(BIN)/python -m pip check >/dev/null || $(PIP) -r envs/lock.cuda.txt
	$(BIN)/python -m pip check
	$(BIN)/python -c 'import nnsight, pandas, seaborn, snakemake.cli, torch, transformers'
	touch $@

clean:
	rm -rf .venv results figures .snakemake
