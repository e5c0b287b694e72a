# Every command of the project. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help demo test bench soak fuzz lint deny generate images install-cli cluster-up cluster-down clean prerequisites

# A Go that `prerequisites` had to fetch, because the machine has none that is new enough.
export PATH := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/countersign/go/go/bin:$(PATH)

CLUSTER := target/debug/countersign-cluster

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

prerequisites: ## install what building and testing need
	@scripts/prerequisites.sh

demo: prerequisites ## show everything on a real Kubernetes (CONTEXT=name: on that cluster; KEEP=1: keep it)
	cargo build --quiet -p countersign-tests -p countersign-cli
	scripts/on-cluster.sh demo $(CURDIR)/target/debug/countersign-demo

test: prerequisites ## every test, those on a real node included (CONTEXT=name: on that cluster)
	cargo test --workspace
	cargo test -p countersign-tests --features bench,soak --lib
	cargo build --quiet -p countersign-cli
	cargo test --no-run -p countersign-tests --features e2e
	scripts/on-cluster.sh test cargo test -p countersign-tests --features e2e --test e2e --test e2e_end -- --test-threads=1

bench: prerequisites ## what operator, sidecar and mesh cost on this machine (ARGS=--help)
	cargo build --quiet --release -p countersign-tests --features bench --bin countersign-bench
	$(if $(filter operator mesh --help,$(ARGS)),,@scripts/bench-peers.sh)
	$(if $(filter mesh,$(ARGS)),,target/release/countersign-bench $(ARGS))
	$(if $(filter operator sidecar --help,$(ARGS)),,scripts/on-cluster.sh bench target/release/countersign-bench mesh $(filter-out mesh,$(ARGS)))

MINUTES ?= 10
soak: prerequisites ## faults, then attacks on sidecar and operator: nothing left behind, no good client harmed (MINUTES=10)
	cargo run --quiet --release -p countersign-tests --features soak --bin countersign-soak -- --minutes $(MINUTES)
	cargo run --quiet --release -p countersign-tests --features soak --bin countersign-soak -- attacks --minutes $(MINUTES)
	cargo run --quiet --release -p countersign-tests --features soak,bench --bin countersign-soak -- operator --minutes $(MINUTES)

TIME ?= 20
fuzz: prerequisites ## every fuzz target for a while (TIME=20 seconds each)
	@scripts/prerequisites.sh fuzz
	scripts/fuzz.sh $(TIME)

images: prerequisites ## build the image of both programs (target/images)
	cargo run --quiet -p countersign-tests --bin countersign-cluster -- images

PREFIX ?= /usr/local
install-cli: ## install kubectl-countersign, for `kubectl countersign` (PREFIX=/usr/local)
	cargo build --release -p countersign-cli
	install -d $(DESTDIR)$(PREFIX)/bin
	install target/release/kubectl-countersign cli/kubectl_complete-countersign $(DESTDIR)$(PREFIX)/bin

cluster-up: prerequisites ## start a real Kubernetes of two nodes and print its KUBECONFIG
	cargo build --quiet -p countersign-tests
	$(CLUSTER) up

cluster-down: ## end it
	cargo build --quiet -p countersign-tests
	$(CLUSTER) down

lint: prerequisites ## formatting, lints, the chart, and generated files that are up to date
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo build --quiet -p countersign-tests
	PATH="$$($(CLUSTER) path | tail -1)" helm lint --strict charts/countersign
	git diff --exit-code -- crds charts

DENY := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/countersign/cargo-deny/bin/cargo-deny
deny: prerequisites ## licenses, sources and bans of what is linked; known vulnerabilities where their list can be fetched (ADVISORIES=1)
	@scripts/prerequisites.sh deny
	$(DENY) --locked check --hide-inclusion-graph bans licenses sources $(if $(ADVISORIES),advisories)

generate: ## write the generated files (CRDs and the chart's copies)
	UPDATE=1 cargo test -p countersign-crds

clean: ## remove what was built
	cargo clean
