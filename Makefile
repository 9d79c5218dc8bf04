# Thin on purpose: each target is one script that also runs by hand.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test bench images crds

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a Task with the real agent on a real cluster, brought up here unless KUBECONFIG or DEMO_CONTEXT names one
	@deploy/local/demo.sh up

demo-down: ## remove all that the demo made
	@deploy/local/demo.sh down

test: ## format, lints, licences, unit tests, tests on a real API server, e2e on a real cluster
	@deploy/local/test.sh

bench: ## latency, throughput, writes and memory on a real API server
	@deploy/local/with-control-plane.sh bench cargo bench --locked --profile dev --workspace --bench launch

images: ## the container images, without Docker; prints where they are
	@deploy/images/build.sh

crds: ## write the chart's CustomResourceDefinitions anew, after a change of host/api
	@mkdir -p deploy/chart/files/crds
	@cargo run --quiet --bin kubeopencode -- crds > deploy/chart/files/crds/definitions.partial
	@mv deploy/chart/files/crds/definitions.partial deploy/chart/files/crds/definitions.yaml
