# Each command works on a fresh clone: the first one creates .venv and installs into it, which takes some minutes.
# On a machine where ROS 2 is sourced, its rclpy and messages are used, and pip installs only the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := $(CURDIR)/.venv
PY := $(VENV)/bin/python
OUT ?= demo_out
EXTRAS := $(if $(ROS_DISTRO),,ros,)train,dev

# The ament index: rvm_ros is in the venv, all other packages are there too or in the ROS 2 that is sourced.
export AMENT_PREFIX_PATH := $(VENV)$(if $(ROS_DISTRO),:$(AMENT_PREFIX_PATH))
# Without this profile, two processes lose nearly every camera image; the file says why.
export FASTDDS_DEFAULT_PROFILES_FILE ?= $(CURDIR)/config/fastdds_shm.xml
# Threads that spin while they wait make torch several times slower as soon as anything else runs.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 0

.PHONY: help
help:
	@echo "make demo    a camera goes in, features and a segmentation come out; VIDEO=path, MODEL=path, ENGINE=folder, OUT=folder"
	@echo "make test    all tests; ARGS='-k name -x' goes to pytest"
	@echo "make soak    hostile messages at a live node, ten minutes; ARGS='--messages 2000 --engine torch' and the like"
	@echo "make lint    ruff and mypy"
	@echo "make bench   how fast every engine runs on this machine, into docs/; ARGS='--authors NOTEBOOK' and the like"
	@echo "make bench-node  what ROS costs around the engine, into docs/; ARGS='--model PATH --rate 10' and the like"
	@echo "make bench-train  how fast this machine trains; ARGS='--preset rvm_large16_256 --device cuda' and the like"
	@echo "make clean   removes what was built and written; .venv stays (rm -r .venv for a new one)"

# Editable, so that edits of sources count at once. Launch files, configuration and executables are copied for the ament
# index, hence the dependency on them.
COPIED := package.xml $(shell find config launch resource scripts -type f -not -name '*.pyc')

$(VENV)/.installed: setup.py setup.cfg pyproject.toml constraints.txt $(COPIED)
	@echo "[1/2] creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "[2/2] installing .[$(EXTRAS)] (log: $(VENV)/install.log)"
	@$(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]' 2>&1 \
	  | tee $(VENV)/install.log \
	  | awk '/^Collecting/ {sub(/[^A-Za-z0-9._-].*/, "", $$2); printf "%s ", $$2} END {print ""} {fflush()}' \
	  || { tail -n 20 $(VENV)/install.log; exit 1; }
	@$(MAKE) --no-print-directory tensorrt-names
	@touch $@

# The bindings of both TensorRT versions, to check our use of their names: NVIDIA's libraries are not on PyPI.
.PHONY: tensorrt-names
tensorrt-names:
	@for wheel in tensorrt10/tensorrt-cu12-bindings==10.16.1.11 tensorrt11/tensorrt-cu13-bindings==11.4.0.106; do \
	  $(PY) -m pip install --disable-pip-version-check -q --no-deps --upgrade --target "$(VENV)/$${wheel%%/*}" \
	    "$${wheel#*/}" >> $(VENV)/install.log 2>&1 \
	    || echo "no $${wheel#*/} for this machine: its names are not checked"; \
	done

.PHONY: install
install: $(VENV)/.installed

CHOSEN = $(if $(MODEL),--model '$(MODEL)') $(if $(ENGINE),--engine '$(ENGINE)')
.PHONY: demo
demo: install
ifdef VIDEO
	$(PY) -m rvm_ros.demo --out '$(OUT)' --video '$(VIDEO)' $(CHOSEN)
else
	$(PY) -m rvm_training demo-clip --out '$(OUT)/clip'
	$(PY) -m rvm_ros.demo --out '$(OUT)' --video '$(OUT)/clip/clip.mp4' --masks '$(OUT)/clip/masks.npz' \
	  $(CHOSEN)
endif

# LOCALHOST: the nodes of a test must neither hear nor disturb the robots of the network.
.PHONY: test
test: export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
test: install
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: soak
soak: install
	$(PY) -m rvm_ros.soak --out '$(OUT)/soak.json' $(ARGS)

.PHONY: lint
lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

.PHONY: bench
bench: install
	$(PY) -m rvm_training bench --out docs $(ARGS)

.PHONY: bench-node
bench-node: install
	$(PY) -m rvm_ros.bench --out docs $(ARGS)

.PHONY: bench-train
bench-train: install
	$(PY) -m rvm_training bench-train $(ARGS)

.PHONY: clean
clean:
	rm -rf build dist install log *.egg-info '$(OUT)' .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
