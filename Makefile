# The commands of this project. `make demo` and `make test` are the two that a newcomer needs.
#
# Everything is built in one profile (release), so that the dependencies compile once for the demo, the
# tests and the benches. The target directory lies in a cache outside the checkout: a second clone
# finds the dependencies compiled.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/varpulis
CARGO_TARGET_DIR ?= $(CACHE)/target
export CARGO_TARGET_DIR
export CACHE
# A toolchain that rustup has just installed is not on the PATH of this shell yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

VARPULIS := $(CARGO_TARGET_DIR)/release/varpulis
CHECKED := --release --locked --features checked

.PHONY: help demo build test lint tests bench bench-state live bounded flights flink duckdb fuzz soak crash tools checkout

help:
	@echo 'make demo    build, and run the quick start on the flights that ship in examples/'
	@echo 'make test    format, lints, documentation and all tests'
	@echo 'make lint    format, lints and documentation alone'
	@echo 'make bench   10 M trades against DuckDB and Polars (needs PyPI, 2 GB of disk)'
	@echo 'make bench-state  what checkpoints, restarts and state beyond memory cost (needs PyPI, 7 GB of disk)'
	@echo 'make live    latency of a followed file at 50,000 rows/s, and of a window whose writer is silent'
	@echo 'make bounded memory with 400 files, uneven inputs and a stalled reader (1 GB of disk, 5 minutes)'
	@echo 'make fuzz    damaged input for the parser and the decoders, ten minutes each'
	@echo 'make soak    100,000 random programs against the interpreter of their plans, 50,000 against DuckDB'
	@echo 'make crash   500 kills of runs over two million rows, each continued'
	@echo 'make flights the flight programs against DuckDB, row by row (needs PyPI)'
	@echo 'make duckdb  2,000 random programs of joins and tables against DuckDB (needs PyPI)'
	@echo 'make flink   random patterns against FlinkCEP (needs Java 17, PyPI, 210 MB of disk)'

# What the build needs beside cargo: C and C++ compilers, and libclang for RocksDB's bindings.
tools: checkout
	@bash .ci/tools

# Cargo takes what another clone built last for this one's, if this one's files are older.
checkout:
	@mkdir -p "$(CARGO_TARGET_DIR)"
	@last="$(CARGO_TARGET_DIR)/last-checkout"; [ "$$(cat "$$last" 2>/dev/null)" = "$(CURDIR)" ] || { \
		find src tests benches -name '*.rs' -exec touch {} +; echo "$(CURDIR)" > "$$last"; }

build: tools
	cargo build --release --locked

demo: build
	@bash examples/demo.sh "$(VARPULIS)"

test: lint tests

lint: tools
	cargo fmt --check
	cargo clippy $(CHECKED) --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --release --locked --no-deps --quiet

# The doc tests run first: whoever reads only the last line sees the result of real tests.
tests: tools
	@bash .ci/tools python
	cargo test $(CHECKED) --doc
	cargo test $(CHECKED) --bench '*' -- --tiny
	cargo test $(CHECKED) --lib --bins --tests
	python3 tests/duckdb/compare.py --seed 1 "$(VARPULIS)"

bench: build
	python3 benches/compare.py "$(VARPULIS)"
	python3 benches/state.py --only incremental "$(VARPULIS)"
	cargo bench --locked --bench patterns
	cargo bench --locked --bench joins
	cargo bench --locked --bench tables
	cargo bench --locked --bench relations
	python3 benches/patterns.py "$(VARPULIS)"
	python3 benches/joins.py "$(VARPULIS)"

bench-state: build
	python3 benches/state.py "$(VARPULIS)"

live: build
	python3 benches/live.py "$(VARPULIS)"

bounded: build
	python3 benches/bounded.py "$(VARPULIS)"

flights: build
	python3 examples/flights/check.py "$(VARPULIS)"
	python3 examples/flights/check.py --flags "-w 2" "$(VARPULIS)"

flink: build
	python3 tests/flink/compare.py --programs 200 "$(VARPULIS)"
	python3 tests/flink/compare.py --programs 200 --wide "$(VARPULIS)"
	python3 tests/flink/joins.py "$(VARPULIS)"

duckdb: build
	python3 tests/duckdb/compare.py --seed 1 "$(VARPULIS)"

# Ten minutes of damaged input for the parser and each decoder, two targets at a time.
fuzz: tools
	FUZZ_SECONDS=600 cargo test $(CHECKED) --test fuzz -- --test-threads 2 --nocapture

# Runs that are killed and continued, at length; make test kills 20 over 300,000 rows.
crash: tools
	CRASH_KILLS=500 CRASH_ROWS=2000000 CRASH_CHAOS_RUNS=100 cargo test $(CHECKED) --test crash -- --nocapture

# Random programs over random inputs against the naive interpreter, and random patterns against their definition;
# make test runs the first 2,000 and 50,000. And random joins and tables against DuckDB, of which make test runs 2,000.
soak: tools
	ORACLE_CASES=100000 cargo test $(CHECKED) --test oracle -- --nocapture
	PATTERN_CASES=100000 cargo test $(CHECKED) --lib pattern:: -- --nocapture
	cargo build $(CHECKED)
	python3 tests/duckdb/compare.py --cases 50000 --seed 1000000 "$(VARPULIS)"
