# `make` alone lists the commands. Each of them prepares what it needs.

.DEFAULT_GOAL := help
.PHONY: serve web test test-compose test-packages check check-tools check-format check-lint check-python check-web check-docs
.PHONY: check-shell check-dependencies image fmt bench help

# Right after rustup ran, the shell does not know this directory yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

TARGET := $(or $(CARGO_TARGET_DIR),target)
RUFF := .tools/venv/bin/ruff

serve: ## Build dropcron and start it on ./scripts
	@tools/setup.sh serve
	@tools/page.sh build
	cargo build --release --locked
	@export DROPCRON_UV="$$(tools/setup.sh uv)" && exec $(TARGET)/release/dropcron serve

web: ## Build the page into web/dist, from where dropcron takes it
	@tools/page.sh build

test: ## Run all tests: Rust, Python and the page
	@tools/setup.sh test
	@export DROPCRON_UV="$$(tools/setup.sh uv)" && exec tools/test.sh

test-compose: ## Test the image and the compose files with a real engine
	@tests/compose/run.sh

test-packages: ## Build the Debian package and the wheel, and install them in clean roots
	@tests/packages/run.sh

check: check-format check-lint check-python check-web check-docs check-shell check-dependencies ## Check format, lints and documentation

check-tools:
	@tools/setup.sh check

check-format: check-tools
	cargo fmt --check
	$(RUFF) format --check --quiet .

check-lint: check-tools
	cargo clippy --locked --all-targets -- -D warnings

check-python: check-tools
	$(RUFF) check --quiet .

check-web: check-tools
	@tools/page.sh check

check-docs:
	python3 tools/check_docs.py

check-shell:
	@if command -v shellcheck >/dev/null; then shellcheck tools/*.sh tests/*/*.sh packaging/debian/post* .ci/run; \
	else echo "shellcheck is not installed: the shell scripts are not checked"; fi

check-dependencies:
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check --hide-inclusion-graph bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources of dependencies are not checked"; fi

image: ## Build the container image
	docker build --target dropcron --tag dropcron:latest --build-arg REVISION="$$(git rev-parse HEAD)" .

fmt: check-tools ## Format the code
	cargo fmt
	@tools/page.sh format
	$(RUFF) check --quiet --fix-only --select I .
	$(RUFF) format --quiet .

bench: ## Measure
	@tools/setup.sh test
	@tools/page.sh build
	cargo bench --locked --bench dropcron
	cargo bench --locked --bench report

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24
