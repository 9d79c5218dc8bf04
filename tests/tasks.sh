# Tasks that run and queue, for scripts that take the operator away from under them. Sourced after deploy/local/install.sh.

# tasks_run_and_queue NAMESPACE: `first` runs until end_task, `second` and `third` wait for its slot
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
  workspaceDir: /workspace
  maxConcurrentTasks: 1
  command: [sh, -c, "trap 'exit 0' TERM; until [ -e /workspace/over ]; do sleep 1 & wait $!; done"]
YAML
  local name
  for name in first second third; do new_task "$1" "$name"; done
  becomes "$1" first Running
  stands "$1" second 1
  stands "$1" third 2
}

# new_task NAMESPACE NAME
new_task() {
  kubectl --namespace "$1" apply -f - >/dev/null <<YAML
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {name: $2}
spec: {description: Wait.}
YAML
}

# becomes NAMESPACE NAME PHASE
becomes() {
  kubectl --namespace "$1" wait "tasks.kubeopencode.io/$2" "--for=jsonpath={.status.phase}=$3" --timeout=120s >&2 ||
    die "Task $2 is not $3" "see: kubectl --namespace $1 get tasks.kubeopencode.io,pods"
}

# stands NAMESPACE NAME PLACE: it is Queued, and has this place in the line
stands() {
  becomes "$1" "$2" Queued
  kubectl --namespace "$1" wait "tasks.kubeopencode.io/$2" "--for=jsonpath={.status.queuePosition}=$3" --timeout=120s >&2 ||
    die "Task $2 does not have place $3 in the line" "see: kubectl --namespace $1 get tasks.kubeopencode.io -o wide"
}

# end_task NAMESPACE NAME: its agent ends by itself
end_task() {
  kubectl --namespace "$1" wait "pod/$2-pod" --for=condition=Ready --timeout=120s >/dev/null ||
    die "the agent of Task $2 does not run" "see: kubectl --namespace $1 describe pod $2-pod"
  kubectl --namespace "$1" exec "$2-pod" --container agent -- touch /workspace/over
  becomes "$1" "$2" Completed
}
