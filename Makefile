# Thin on purpose: each target is one script that also runs by hand.
.DEFAULT_GOAL := help
.PHONY: help demo demo-release demo-down test lint fmt unit api e2e bench soak attacks fuzz mutants images site crds manifests gallery install.yaml release release-test release-upgrade

help: ## show this list
	@awk -F ':.*## ' '/^[a-z.0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a Task with the real agent on a real cluster, brought up here unless KUBECONFIG or DEMO_CONTEXT names one
	@deploy/local/demo.sh up

demo-release: ## the same with what make release made, from a registry with TLS and a password; VERSION=0.2.0
	@deploy/local/demo.sh release dist/$(VERSION)

demo-down: ## remove all that the demo made
	@deploy/local/demo.sh down

test: ## lint, licences, unit, api and e2e
	@deploy/local/test.sh

lint: ## format, lints of Rust, Go, shell, workflows, chart and documents, spelling
	@deploy/local/test.sh lint

fmt: ## format Rust and Go
	@deploy/local/preflight.sh formats go
	@cargo fmt --all
	@cargo fmt --all --manifest-path plugins/Cargo.toml
	@cargo fmt --all --manifest-path examples/plugins/Cargo.toml
	@gofmt -w tests plugins/sdk-go examples/plugins

unit: ## tests without a cluster, of the crates, the plugins, and what other programs read
	@deploy/local/test.sh unit

api: ## tests on a real API server, without root
	@deploy/local/test.sh api

e2e: ## tests on a whole cluster with the images and the chart, and the documents' commands
	@deploy/local/test.sh e2e

bench: ## plugins, and launches on a real API server: latency, throughput, writes, processor time, memory; of the program that KUBEOPENCODE names, or else of this checkout
	@deploy/local/preflight.sh bench
	@cargo bench --locked --workspace --bench plugins
	@deploy/local/with-control-plane.sh bench cargo bench --locked --workspace --bench launch
	@deploy/local/with-control-plane.sh bench cargo bench --locked --workspace --bench custom_plugins

soak: ## half an hour of Tasks, deletions, changes and cut connections: memory and connections; MINUTES=5
	@deploy/local/preflight.sh bench
	@MINUTES=$(MINUTES) deploy/local/with-control-plane.sh soak cargo bench --locked --workspace --bench soak

attacks: ## what a neighbour feels of attacks on another namespace, the operator's memory at each, and in a full cluster; half an hour, 16 GB of memory and 12 GB of disk
	@deploy/local/preflight.sh bench
	@deploy/local/with-control-plane.sh attacks cargo bench --locked --workspace --bench attacks

fuzz: ## every fuzz target for a minute; SECONDS=600 for ten
	@deploy/local/fuzz.sh $(SECONDS)

mutants: ## changes what decides, one place at a time, and lists the changes that no unit test sees: hours; MINUTES=40
	@MINUTES=$(MINUTES) deploy/local/mutants.sh

release: ## images of two architectures, chart, programs and all else, in dist/; VERSION=0.2.0, and REGISTRY=host/path to push it
	@deploy/release/release.sh $(VERSION) $(REGISTRY)

release-test: ## try what make release made, from its folder alone; VERSION=0.2.0
	@deploy/release/test.sh dist/$(VERSION)

release-upgrade: ## upgrade from a release to another and back, with Tasks that run and queue; FROM=0.1.0 VERSION=0.2.0
	@tests/upgrade.sh dist/$(FROM) dist/$(VERSION)

images: ## the container images, without Docker; prints where they are
	@deploy/images/build.sh

site: ## the documents as a site, with search; VERSION=1.2.3 for a release, FOLDER=... for another place
	@deploy/local/site.sh "$(VERSION)" "$(FOLDER)"

crds: ## write the chart's CustomResourceDefinitions and docs/reference.md anew, after a change of host/api
	@deploy/local/preflight.sh build
	@mkdir -p deploy/chart/files/crds docs
	@cargo run --quiet --bin kubeopencode -- crds > deploy/chart/files/crds/definitions.partial
	@mv deploy/chart/files/crds/definitions.partial deploy/chart/files/crds/definitions.yaml
	@cargo run --quiet --example reference > docs/reference.partial
	@mv docs/reference.partial docs/reference.md

manifests: ## write deploy/install/operator.yaml and the chart's README.md anew, after a change of the chart
	@deploy/install/manifest.sh write
	@deploy/chart/readme.sh write

gallery: ## write docs/plugins-gallery.md anew, after a change of what an example plugin says of itself
	@deploy/local/preflight.sh unit
	@KUBEOPENCODE_WRITE_GALLERY=1 cargo test --quiet --locked --package kubeopencode-cli --test plugin gallery

install.yaml: ## everything in one file, for kubectl apply without helm
	@deploy/install/manifest.sh print > $@.partial
	@mv $@.partial $@
