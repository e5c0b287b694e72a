# Every command of the project. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help test lint generate clean prerequisites

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

prerequisites: ## install what building and testing need
	@scripts/prerequisites.sh

test: prerequisites ## every test
	cargo test --workspace

lint: prerequisites ## formatting, lints, and generated files that are up to date
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	git diff --exit-code

generate: ## write the generated files (CRDs and the chart's copies)
	UPDATE=1 cargo test -p countersign-crds

clean: ## remove what was built
	cargo clean
