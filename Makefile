# `make` alone lists the commands. Each of them prepares what it needs.

.DEFAULT_GOAL := help
.PHONY: serve test check check-tools check-format check-lint check-python check-docs check-shell fmt bench help

# Right after rustup ran, the shell does not know this directory yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

TARGET := $(or $(CARGO_TARGET_DIR),target)
RUFF := .tools/venv/bin/ruff

serve: ## Build dropcron and start it on ./scripts
	@tools/setup.sh serve
	cargo build --release --locked
	@export DROPCRON_UV="$$(tools/setup.sh uv)" && exec $(TARGET)/release/dropcron serve

test: ## Run all tests, Rust and Python
	@tools/setup.sh test
	@export DROPCRON_UV="$$(tools/setup.sh uv)" && exec tools/test.sh

check: check-format check-lint check-python check-docs check-shell ## Check format, lints and documentation

check-tools:
	@tools/setup.sh check

check-format: check-tools
	cargo fmt --check
	$(RUFF) format --check --quiet .

check-lint: check-tools
	cargo clippy --locked --all-targets -- -D warnings

check-python: check-tools
	$(RUFF) check --quiet .

check-docs:
	python3 tools/check_docs.py

check-shell:
	@if command -v shellcheck >/dev/null; then shellcheck tools/*.sh .ci/run; \
	else echo "shellcheck is not installed: the shell scripts are not checked"; fi

fmt: check-tools ## Format the code, Rust and Python
	cargo fmt
	$(RUFF) check --quiet --fix-only --select I .
	$(RUFF) format --quiet .

bench: ## Measure
	@tools/setup.sh test
	cargo bench --locked --bench dropcron
	cargo bench --locked --bench report

help: ## List the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
