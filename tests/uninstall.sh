#!/usr/bin/env bash
# Removing the operator leaves nothing that waits for it, while Tasks run and queue: the chart's way, and that of the
# manifest in one file, which is installed here for it. For the local cluster, with the images loaded; the cluster has no
# operator afterwards.
here=$(cd "$(dirname "$0")/../deploy/local" && pwd)
# shellcheck source=../deploy/local/lib.sh
. "$here/lib.sh"
# shellcheck source=../deploy/local/install.sh
. "$here/install.sh"
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

# tasks_run_and_queue NAMESPACE: one runs for long, two wait for its slot
tasks_run_and_queue() {
  have_namespace "$1"
  kubectl --namespace "$1" apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: ServiceAccount
metadata: {name: kubeopencode-agent}
automountServiceAccountToken: false
---
apiVersion: kubeopencode.io/v1alpha1
kind: Agent
metadata: {name: default}
spec:
  serviceAccountName: kubeopencode-agent
  maxConcurrentTasks: 1
  command: [sh, -c, "trap 'exit 0' TERM; sleep 600 & wait"]
YAML
  local name
  for name in first second third; do
    kubectl --namespace "$1" apply -f - >/dev/null <<YAML
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {name: $name}
spec: {description: Wait.}
YAML
  done
  kubectl --namespace "$1" wait task/first --for=jsonpath='{.status.phase}'=Running --timeout=120s >&2
  kubectl --namespace "$1" wait task/second task/third --for=jsonpath='{.status.phase}'=Queued --timeout=120s >&2
}

# nothing_waits NAMESPACE: its objects, its definitions and itself can go
nothing_waits() {
  kubectl wait customresourcedefinition/tasks.kubeopencode.io --for=delete --timeout=60s >&2 ||
    die "the definition of Tasks does not go" "see: kubectl get tasks.kubeopencode.io -A -o yaml | grep -A3 finalizers"
  kubectl delete namespace "$1" --timeout=120s >&2 || die "namespace $1 does not go" "see: kubectl get namespace $1 -o yaml"
}

main
