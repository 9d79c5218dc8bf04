#!/usr/bin/env bash
# Removing the operator leaves nothing that waits for it, while Tasks run and queue: the chart's way, and that of the
# manifest in one file, which is installed here for it. For the local cluster, with the images loaded; the cluster has no
# operator afterwards.
here=$(cd "$(dirname "$0")/../deploy/local" && pwd)
# shellcheck source=../deploy/local/lib.sh
. "$here/lib.sh"
# shellcheck source=../deploy/local/install.sh
. "$here/install.sh"
# shellcheck source=tasks.sh
. "$here/../../tests/tasks.sh"
me=uninstall

main() {
  own=true
  connect
  helm status "$release" --namespace "$system_namespace" >/dev/null 2>&1 || die "the chart is not installed" "make test"
  tasks_run_and_queue removed-by-helm
  helm uninstall "$release" --namespace "$system_namespace" --wait --timeout 3m >&2
  nothing_waits removed-by-helm
  kubectl delete namespace "$system_namespace" --timeout=120s >&2

  "$repo/deploy/install/manifest.sh" print >"$manifest"
  kubectl apply --server-side -f "$manifest" >/dev/null
  kubectl --namespace "$system_namespace" rollout status "deployment/$release" --timeout=120s >&2
  tasks_run_and_queue removed-by-manifest
  kubectl --namespace "$system_namespace" exec "deployment/$release" -- /kubeopencode release-finalizers >&2
  kubectl delete -f "$manifest" --timeout=120s >/dev/null
  nothing_waits removed-by-manifest
}

manifest=$(mktemp)
at_exit rm -f "$manifest"

# nothing_waits NAMESPACE: its objects, its definitions and itself can go
nothing_waits() {
  kubectl wait customresourcedefinition/tasks.kubeopencode.io --for=delete --timeout=60s >&2 ||
    die "the definition of Tasks does not go" "see: kubectl get tasks.kubeopencode.io -A -o yaml | grep -A3 finalizers"
  kubectl delete namespace "$1" --timeout=120s >&2 || die "namespace $1 does not go" "see: kubectl get namespace $1 -o yaml"
}

main
