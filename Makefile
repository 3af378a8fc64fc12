# make demo and make test set everything up by themselves; `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
BUILD := build
# Tests that run side by side: more than eight only wait for the longest one.
JOBS := $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$(( n < 8 ? n : 8 )))
# Warnings are errors in the project's own builds, not in a user's.
OWN_BUILD := -DEDEN_WERROR=ON
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup build build-time test demo report-picture cifar reference prediction checks recovery boost bench bench-gpu gpu-report bench-placements \
  bench-profile bench-chips bench-planes bench-known bench-deploy bench-fits bench-readers bench-traffic bench-imports bench-headline lint lint-python lint-cpp lint-rooms lint-words format docs \
  check lines test-cpp test-python test-gpu test-networks test-slow soak mutants sdist wheel test-install catalogue schemas figures sanitize clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.ready  ## a virtual environment with everything, the package installed in it in editable form

$(VENV)/.ready: pyproject.toml setup.py tools/setup.sh
	@PYTHON="$(PYTHON)" TORCH="$(TORCH)" VENV="$(VENV)" EDEN_CMAKE_ARGS="$(OWN_BUILD) $$EDEN_CMAKE_ARGS" bash tools/setup.sh
	@touch $@

build: setup  ## what setup compiles and has changed, the C++ tests, eden-profile, and where nvcc is the CUDA operators
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cmake -S . -B $(BUILD) $(OWN_BUILD) -DEDEN_BUILD_TESTS=ON -DEDEN_PROFILER=AUTO \
	  -DEDEN_CUDA=$${EDEN_CUDA:-NVCC} > $(BUILD)/configure.log 2>&1 || { cat $(BUILD)/configure.log; exit 1; }
	@sed -n 's/^-- eden: /build: /p' $(BUILD)/configure.log
	$(BIN)/cmake --build $(BUILD)

build-time: setup  ## processor seconds of a build of everything, by library, in a folder of its own
	$(BIN)/python tools/build_time.py

test: build  ## every test: lint, dead code, spelling, types, Catch2 through ctest, pytest; the slowest are listed
	@$(MAKE) --no-print-directory --jobs 3 lint check test-cpp
	@$(MAKE) --no-print-directory test-python

lint: lint-python lint-cpp lint-rooms lint-words  ## format, rooms, dead code, spelling; in parallel with make --jobs

lint-python:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-cpp:
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -P 2 -n 40 $(BIN)/clang-format --dry-run --Werror

lint-rooms:
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/check_includes.py
	$(BIN)/python tools/check_private.py

lint-words:
	$(BIN)/vulture
	git ls-files | xargs $(BIN)/codespell

check:
	$(BIN)/mypy

lines:  ## lines by room, longest files and functions, public names; AGAINST=COMMIT puts those of a commit beside them
	@python3 tools/lines.py $(if $(AGAINST),--against $(AGAINST))

test-cpp:
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure --parallel $(JOBS)

test-python:
	$(BIN)/python -m pytest --numprocesses $(JOBS) --durations 20

catalogue: build  ## fit the devices that ship with the package to the measurements in $EDEN_DATA
	$(BIN)/python -m eden.devices.catalogue

recovery: build  ## fit 1,000 simulated campaigns of each error model: coverage and width of intervals, choice of the model
	$(BIN)/python benchmarks/recovery.py

schemas: build  ## write the JSON Schemas of the files, which ship with the package
	$(BIN)/python -m eden.app.schemas

figures: setup  ## draw the catalogue beside the measurements, for docs/explanation/devices.md
	$(BIN)/python tools/catalogue_figures.py docs/figures

format:  ## format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs $(BIN)/clang-format -i

DOCS_EXTRA = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")
docs: setup  ## the documentation as a site in out/site, every link checked
	@$(BIN)/python -c 'import material, mkdocstrings_handlers.python' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --requirement <($(BIN)/python -c '$(DOCS_EXTRA)')
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "docs: out/site/index.html; with search: $(BIN)/python -m http.server --directory out/site"

clean:  ## remove what was built; the virtual environment stays
	rm -rf $(BUILD) build-* eden/*.so $(VENV)/.ready

demo: setup  ## the main job on real input: device, boosted network, tolerance, placement, savings, report in out/demo
	$(BIN)/eden demo --out out/demo --force

report-picture:  ## docs/figures/report.png, of the report that make demo has left; needs chromium
	chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=4000 --window-size=1000,1400 \
	  --screenshot=docs/figures/report.png out/demo/index.html

cifar: setup  ## the same on the pretrained ResNet-20 and CIFAR-10; needs EDEN_DATA
	@test -n "$$EDEN_DATA" || { echo "make cifar: EDEN_DATA is not set; it names the folder with cifar10/ and weights/" >&2; exit 1; }
	$(BIN)/eden demo --task cifar10-resnet20 --max-drop 0.01 --out out/cifar --resume

reference: setup  ## ResNet-20 under uniform errors beside figures of an independent implementation; needs EDEN_DATA
	$(BIN)/python benchmarks/reference.py

prediction: setup  ## how well half of the measurements predicts the other, patterns, left-out latencies and modules; needs EDEN_DATA
	$(BIN)/python benchmarks/prediction.py

checks: setup  ## how devices predict readings that they were not fitted to, for every vendor; needs EDEN_DATA
	$(BIN)/python benchmarks/checks.py

EXPERIMENT ?= resnet20 lenet5 resnet32 modules randbet ablation
boost: setup  ## the experiments of docs/results.md, hours on two cores; EXPERIMENT=lenet5 runs one of them; needs EDEN_DATA
	$(BIN)/python benchmarks/boost $(EXPERIMENT)

bench: build  ## the operator beside a copy, other methods and inside a network; AGAINST=FOLDER: beside those of another checkout alone
	@$(BIN)/cmake -S . -B $(BUILD) -DEDEN_BUILD_BENCHMARKS=ON >> $(BUILD)/configure.log
	$(BIN)/cmake --build $(BUILD) --target eden_bench
	$(BIN)/python $(if $(AGAINST),benchmarks/operator_pairs.py --against $(AGAINST),benchmarks/operators.py)

bench-gpu: setup  ## achieved bandwidth of the operator beside a device copy, on a machine with a GPU
	$(BIN)/python tools/check_gpu.py
	$(BIN)/python benchmarks/operators_gpu.py

gpu-report: build  ## one page, in 8 minutes on a GPU: bits, bandwidth, networks and other methods, beside their goals
	$(BIN)/python benchmarks/gpu_report.py --out $(BUILD)/gpu-report.md

bench-profile: setup  ## 200 searches on each simulated network: does the statement hold; cost, its growth, and limits beside a sweep
	$(BIN)/python benchmarks/searches.py --figure docs/figures/profile-cost.svg $(if $(TASK),--task $(TASK))

bench-chips: setup  ## a placement on 200 chips that no step has seen, judged by a loop of its own; TASK, NETWORK, DEVICE
	$(BIN)/python benchmarks/unseen_chips.py $(if $(TASK),--task $(TASK)) $(if $(NETWORK),--network $(NETWORK)) $(if $(DEVICE),--device $(DEVICE))

bench-planes: setup  ## the rate that low bits stand while high planes are reliable, of ResNet-20 in 8 bits; needs EDEN_DATA; NETWORK
	$(BIN)/python benchmarks/planes.py $(if $(NETWORK),--network $(NETWORK))

bench-known: setup  ## what a chip's known weak cells are worth, of ResNet-20 in 8 bits; needs EDEN_DATA; OPTIONS="--epochs 2"
	$(BIN)/python benchmarks/known_chips.py $(OPTIONS)

bench-deploy: setup  ## integer inference from a memory image beside the simulation and float32, of ResNet-20; needs EDEN_DATA; OPTIONS
	$(BIN)/python benchmarks/deployment.py $(OPTIONS)

bench-fits: setup  ## whole fits of devices beside a reference operation; AGAINST=FOLDER: and beside those of another checkout
	$(BIN)/python benchmarks/fits.py $(if $(AGAINST),--against $(AGAINST))

bench-readers: setup  ## the readers of measurement files beside wc -l, and the memory that 10 GB of flips take
	$(BIN)/python benchmarks/measurements.py

bench-placements: setup  ## exact and greedy placements beside brute force on 10,000 random instances; 1,000 operands in 64 partitions
	$(BIN)/python benchmarks/placements.py

bench-traffic: setup  ## DRAM counts of AlexNet and SqueezeNet on the arrays beside SCALE-Sim's; needs the extra scalesim, takes an hour
	$(BIN)/python benchmarks/traffic.py

bench-imports: setup  ## how long importing eden, its names and its command line take beside importing torch
	$(BIN)/python benchmarks/imports.py

bench-headline: setup  ## DRAM energy and time saved for the paper's networks on four platforms, beside the paper's averages
	$(BIN)/python benchmarks/headline.py --exact

test-gpu: setup  ## bit equality with the CPU, on a machine with a GPU
	$(BIN)/python tools/check_gpu.py
	$(BIN)/python -m pytest -m gpu

SEEDS ?=
soak: setup  ## the demo's chain, shortened, for 40 seeds (or SEEDS="1 2"), each instruction set, one and two threads: an hour on two cores
	$(BIN)/python tools/soak.py $(if $(SEEDS),--seeds $(SEEDS),--count 40)

mutants: build  ## the share of wrong versions of the search that its tests catch; a quarter of an hour
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tools/mutants.py

NETWORKS := build-networks
test-networks: setup  ## language models of Transformers, adapters of PEFT, vision transformers of timm, and examples of them (downloads all three)
	@PYTHON=$(BIN)/python bash tools/setup_networks.sh $(abspath $(NETWORKS))
	HF_HUB_OFFLINE=1 PYTHONPATH=$(abspath $(NETWORKS)) $(BIN)/python -m pytest -m networks --durations 10 tests/networks tests/repository/test_examples.py

test-slow: setup  ## the tests that take minutes: a package of AOTInductor in a C++ program, networks of full width
	$(BIN)/python -m pytest -m slow

sdist: setup  ## a source distribution in dist/
	VENV="$(VENV)" bash tools/make_wheel.sh sdist

wheel: setup  ## a source distribution and, made from it, a manylinux wheel in dist/, with CUDA operators where nvcc is
	VENV="$(VENV)" bash tools/make_wheel.sh

test-install: wheel  ## install both in new environments, on the oldest and the newest torch, and try them (downloads both)
	PYTHON="$(PYTHON)" bash tools/test_install.sh

SANITIZE := -G Ninja $(OWN_BUILD) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" -DEDEN_BUILD_PYTHON=OFF \
  -DEDEN_BUILD_TESTS=ON

sanitize: setup  ## the C++ tests under the address, undefined-behaviour and thread sanitizers
	$(BIN)/cmake -S . -B build-sanitize $(SANITIZE) -DEDEN_SANITIZE=address,undefined
	$(BIN)/cmake --build build-sanitize
	EDEN_FUZZ_INPUTS=100000 $(BIN)/ctest --test-dir build-sanitize --output-on-failure
	$(BIN)/cmake -S . -B build-sanitize/thread $(SANITIZE) -DEDEN_SANITIZE=thread
	$(BIN)/cmake --build build-sanitize/thread
	$(BIN)/ctest --test-dir build-sanitize/thread --output-on-failure
