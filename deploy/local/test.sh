#!/usr/bin/env bash
# Everything that must hold before a change lands.
#
#   test.sh            all steps
#   test.sh STEP...    only these: lint licences unit api e2e
#
# api runs on a control plane of its own, e2e on the full local cluster. Both are taken down afterwards unless
# they ran before. What they are built from is kept in ${XDG_CACHE_HOME:-~/.cache}/kubeopencode, so that a second run
# is fast.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/steps.sh"
. "$here/install.sh"
me="test"

main() {
  local all=(lint licences unit api e2e) wanted
  [ $# -gt 0 ] || set -- "${all[@]}"
  for wanted; do
    [[ " ${all[*]} " == *" $wanted "* ]] || die "there is no step '$wanted'" "take some of: ${all[*]}"
  done
  wanted=" $* "
  cd "$repo"
  preflight "$@"
  if asked lint; then
    step "format" check_format
    step "lints: the host" lint_host
    step "lints: the guests" lint_guests
    step "lints: the documentation of the crates" lint_crate_docs
    step "lints: shell scripts" lint_shell
    step "lints: workflows" lint_workflows
    step "lints: spelling" lint_spelling
    step "lints: the chart" lint_chart
    step "lints: the documents as a site, with its links" "$here/site.sh"
  fi
  if asked licences; then
    step "licences, sources, bans" cargo_deny bans licenses sources
    step "advisories" check_advisories
  fi
  if asked unit; then
    step "unit tests: the host" test_host
    step "unit tests: the guests" test_guests
    step "unit tests: what other programs read" test_go manifests
    step "unit tests: what a machine must have" test_go requirements
  fi
  if asked api; then
    step "tests on a real API server" test_api apiserver
    step "every fault at every request" test_api faults
    step "manifests and examples on a real API server" "$here/with-control-plane.sh" tests tests/manifests/apply.sh
  fi
  if asked e2e; then
    step "the local cluster" e2e_cluster
    step "images" build_images
    step "load the images" load_images
    step "a registry with TLS and a password" start_plugin_registry
    step "install the chart, with plugins from that registry" install_chart_with_registry
    step "a stand-in for the model" start_model_stub kubeopencode-e2e
    step "a git server and a web server" start_sources kubeopencode-e2e
    step "tests on the whole cluster" e2e_cargo e2e
    step "the documentation's commands" e2e_cargo docs_run
    step "the operator's rights, by the API server's record" e2e_cargo rights
    step "uninstall, by helm and by the manifest" on_an_own_cluster tests/uninstall.sh
    step "upgrade and roll back, with Tasks that run and queue" on_an_own_cluster tests/upgrade.sh
  fi
  run_steps
}

asked() { [[ $wanted == *" $1 "* ]]; }

check_format() {
  cargo fmt --all --check || die "the host's code is not formatted" "make fmt"
  [ -z "$(gofmt -l tests plugins/sdk-go examples/plugins)" ] || die "the Go code is not formatted" "make fmt"
  in_guests cargo fmt --all --check || die "the guests' code is not formatted" "make fmt"
}

# with the fuzz targets, which nothing else in here compiles
lint_host() { cargo clippy --workspace --all-targets --features kubeopencode-fuzz/targets --locked -- -D warnings; }
lint_crate_docs() {
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
  RUSTDOCFLAGS="-D warnings" in_guests cargo doc --workspace --no-deps --locked --all-features --quiet
}
# what is sourced is looked at through those that source it
lint_shell() {
  local scripts
  mapfile -t scripts < <(git grep --untracked -lE '^#!.*[/ ](ba)?sh$' -- '*.sh' .ci)
  shellcheck --check-sourced "${scripts[@]}"
}
lint_workflows() { "$("$here/programs.sh" actionlint)"; }
lint_spelling() { "$("$here/programs.sh" typos)"; }

# Always the whole workspace, and what is not wanted left out by the kind of target: another selection of packages
# would select other features and compile most dependencies a second time.
test_host() {
  local tests
  mapfile -t tests < <(cargo metadata --locked --no-deps --format-version 1 |
    jq -r '.packages[] | select(.name != "kubeopencode-tests").targets[] | select(.kind == ["test"]) | "--test", .name')
  nextest --lib --bins "${tests[@]}" --test docs_check --test model
}
nextest() {
  local program
  program=$("$here/programs.sh" cargo-nextest)
  "$program" nextest run --workspace --locked "$@"
}

# in_guests COMMAND...: in both of their workspaces
in_guests() { (cd plugins && "$@") && (cd examples/plugins && "$@"); }
# Guests are for wasm32 alone, and clippy of their tests for this machine.
# All features, here and in the documentation: no guest of the product makes its schema of a type, and what does that in the SDK
# has tests too. Other features would compile the macros a second time.
lint_guests() { in_guests cargo clippy --workspace --locked --all-features --target wasm32-wasip2 -- -D warnings; }
test_guests() { in_guests cargo test --workspace --locked --all-features; }

# -count=1: Go does not see that files outside its module changed
test_go() { (cd "tests/$1" && go vet ./... && go test -count=1 ./...); }

# Tests at once on a cluster: they wait for answers more than they compute.
at_once() { echo $((2 * $(nproc))); }

# test_api SUITE: on a control plane of its own
test_api() {
  local program registry
  program=$("$here/programs.sh" cargo-nextest)
  registry=$("$here/programs.sh" registry)
  KUBEOPENCODE_TEST_REGISTRY=$registry "$here/with-control-plane.sh" "$1" "$program" nextest run --workspace --locked --test "$1" \
    --test-threads "$(at_once)"
}

lint_chart() {
  tools=$("$here/tools.sh" clients)
  "$tools/helm" lint --strict deploy/chart
  deploy/chart/test.sh
  deploy/chart/readme.sh check
  deploy/install/manifest.sh check
  deploy/release/check.sh
}

# all workspaces, by the one deny.toml of the repository
cargo_deny() {
  local manifest program
  program=$("$here/programs.sh" cargo-deny)
  for manifest in Cargo.toml plugins/Cargo.toml examples/plugins/Cargo.toml; do
    "$program" --locked --manifest-path "$manifest" check "$@"
  done
}
check_advisories() {
  local log=$cache/logs/advisories.log program
  program=$("$here/programs.sh" cargo-deny)
  if timeout 60 "$program" fetch db >"$log" 2>&1 </dev/null; then
    cargo_deny advisories
  else
    say "NOT CHECKED: the advisory database cannot be reached from this machine (log: $log)"
  fi
}

e2e_cluster() {
  own=true
  # what ran before stays
  ran_before=true
  "$here/cluster.sh" kubeconfig >/dev/null 2>&1 || ran_before=
  [ "$ran_before" ] || at_exit "$here/cluster.sh" down
  connect
}

# start_plugin_registry: with what the operator needs to ask it
start_plugin_registry() {
  start_registry
  may_pull "$system_namespace"
  kubectl create configmap registry --from-file="ca.crt=$registry_folder/registry.crt" --dry-run=client --output yaml |
    kubectl --namespace "$system_namespace" apply -f - >/dev/null
}
install_chart_with_registry() {
  install_chart --set "plugins.registrySecrets={registry}" --set "plugins.privateAddresses={${registry_address%:*}}" \
    --set plugins.caBundle.configMap.name=registry --set plugins.caBundle.configMap.key=ca.crt
}

# on_an_own_cluster SCRIPT: one that takes all Tasks and Agents with it, which may be somebody's
on_an_own_cluster() {
  if [ "$ran_before" ]; then
    say "NOT CHECKED: the cluster ran before and keeps its operator; deploy/local/cluster.sh down, then this checks it, or $1 does"
  else
    "$repo/$1"
  fi
}

# e2e_cargo TEST
e2e_cargo() {
  RUST_TEST_THREADS=$(at_once) KUBEOPENCODE_E2E_KUBECONFIG=$own_kubeconfig KUBEOPENCODE_E2E_AUDIT_LOG=$(dirname "$own_kubeconfig")/logs/audit.log \
    KUBEOPENCODE_E2E_MODEL_NAMESPACE=kubeopencode-e2e KUBEOPENCODE_E2E_REGISTRY=$registry_folder cargo test --workspace --locked --test "$1"
}

main "$@"
