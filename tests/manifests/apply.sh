#!/usr/bin/env bash
# Gives what this repository hands to people to a real API server: everything in examples/, what skills/ teaches,
# deploy/dogfooding, deploy/install and the chart's options, the Tasks that other programs make of them, under the
# ServiceAccounts that those programs have, and the admission policy with Tasks that it takes and refuses.
#
#   KUBECONFIG=… tests/manifests/apply.sh
#   deploy/local/with-control-plane.sh tests tests/manifests/apply.sh    # with an API server of its own
#
# Needs an admin's kubeconfig; no node, no operator. Makes a namespace, and the cluster-wide sample policy, which holds only
# there; takes both away again. The CustomResourceDefinitions are installed when there are none, and stay. Objects of Argo
# and of the Prometheus Operator are left out: their definitions are not here, `go test` decodes them.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../deploy/local/lib.sh"
me=apply
namespace=manifests-$$
policy=tasks.kubeopencode.example.com

main() {
  preflight clients
  # with-control-plane.sh names a cluster of the tests, and KUBECONFIG may be anybody's
  export KUBECONFIG=${KUBEOPENCODE_TEST_KUBECONFIG:-${KUBECONFIG:-}}
  [ -n "$KUBECONFIG" ] || die "KUBECONFIG is not set" "name a cluster for tests, such as the one of: deploy/local/cluster.sh up --control-plane"
  tools=$("$repo/deploy/local/tools.sh" clients)
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  (cd "$here" && go build -o "$work/tasks" ./cmd/tasks)
  definitions
  kubectl create namespace "$namespace" >/dev/null
  at_exit kubectl delete namespace "$namespace" --wait=false
  check "deploy/install" taken dry < <(kubectl kustomize "$repo/deploy/install")
  check "the chart with all options" taken dry < <(chart_with_all_options)
  check "the examples that Artifact Hub shows" taken dry < <(shown_examples)
  local file words
  for file in "$repo"/examples/{quickstart,contexts,kubetask,providers,plugins/*}/*.yaml "$repo"/deploy/dogfooding/argo-events/{agent,secret.template}.yaml; do
    check "${file#"$repo"/}" taken dry <"$file"
  done
  check "examples/helm-batch" taken dry < <("$tools/helm" template may "$repo/examples/helm-batch")
  for file in "$repo"/skills/*/SKILL.md; do
    check "${file#"$repo"/}" taken dry < <(blocks_of "$file")
    for words in '.spec.descrption: field not declared' 'must be a duration of at least 1s'; do
      check "${file#"$repo"/}: refused.yaml" "$words" dry < <(blocks_of "$file" refused.yaml)
    done
  done
  # these stay for a while: the next checks act under the ServiceAccounts in them
  for file in examples/cronjob/nightly.yaml examples/argo-workflows/change-and-review.yaml deploy/dogfooding/argo-events/rbac.yaml; do
    check "$file" taken <"$repo/$file"
  done
  makers
  admission_policy
  say "an API server takes and refuses all of it as it should"
}

kubectl() { "$tools/kubectl" "$@"; }

definitions() {
  kubectl get customresourcedefinition tasks.kubeopencode.io >/dev/null 2>&1 && return
  kubectl apply --server-side --kustomize "$repo/deploy/chart/files/crds" >/dev/null
  kubectl wait --for=condition=Established --timeout=60s customresourcedefinitions --all >/dev/null
}

# here_and_known: everything in our namespace, and without the kinds that this API server does not have
here_and_known() {
  awk -v RS='(^|\n)---\n' '!/(^|\n)apiVersion: (argoproj\.io|monitoring\.coreos\.com)\// {print "---\n" $0}' |
    sed -E "s/(namespace: |name: )(team|kubeopencode-system|kubeopencode-dogfooding)\$/\1$namespace/; s/namespace: team\}/namespace: $namespace}/"
}

# check TITLE taken|TEXT [dry]: objects on stdin are taken, or refused with TEXT in the words
check() {
  local dry=() code=0
  [ "${3:-}" != dry ] || dry=(--dry-run=server)
  here_and_known >"$work/objects.yaml"
  kubectl apply --server-side --force-conflicts --namespace "$namespace" "${dry[@]}" --filename "$work/objects.yaml" \
    >"$work/answer" 2>&1 || code=$?
  expected "$1" "$2" $code
}

# expected TITLE taken|TEXT CODE: what $work/answer must be
expected() {
  if [ "$2" = taken ]; then
    [ "$3" -eq 0 ] || die_with_log "$work/answer" "$1: refused" "correct it, or the definitions"
  else
    [ "$3" -ne 0 ] || die "$1: taken, and should be refused with: $2"
    grep -qF -- "$2" "$work/answer" || die_with_log "$work/answer" "$1: refused, but not with: $2"
  fi
  echo "    $1: $([ "$2" = taken ] && grep -c . "$work/answer" || echo "refused, as it should be")" >&2
}

# blocks_of FILE [TITLE]: the YAML that a document shows; that of one title, or all but what is refused
blocks_of() {
  awk -v title="${2:-}" '
    /^```/ {
      shown = /^```yaml( title="[^"]*")?$/ && (title == "" ? !/"refused\.yaml"/ : index($0, "\"" title "\""))
      if (shown) print "---"
      next
    }
    shown' "$1"
}

chart_with_all_options() {
  local set values=()
  for set in agent-network-policy network-policy-narrow settings placement spread rolling-update labels service-account extras security-context registry plugin-sources; do
    values+=(--values "$repo/deploy/chart/tests/$set.yaml")
  done
  # the test's Pod wants a ServiceAccount that is there, which a dry run does not make
  "$tools/helm" template kubeopencode "$repo/deploy/chart" --namespace "$namespace" "${values[@]}" --skip-tests \
    --set "agentNetworkPolicy.namespaces={$namespace}" --api-versions kubeopencode.io/v1alpha1/KubeOpenCodeConfig
}

# those in an annotation of Chart.yaml, which is its last
shown_examples() {
  printf 'apiVersion: v1\nkind: List\nitems:\n'
  sed '1,/artifacthub.io\/crdsExamples:/d' "$repo/deploy/chart/Chart.yaml"
}

# The Task that each program makes is taken from its own ServiceAccount, which may do nothing else.
makers() {
  local name account user verb code
  while read -r name account; do
    user=system:serviceaccount:$namespace:$account
    code=0
    "$work/tasks" "$name" | jq --arg namespace "$namespace" '.metadata.namespace = $namespace' |
      kubectl create --dry-run=server --as "$user" --filename - >"$work/answer" 2>&1 || code=$?
    expected "the Task of $name, as $account" taken $code
    for verb in "list tasks.kubeopencode.io" "delete tasks.kubeopencode.io" "get secrets" "create pods"; do
      # shellcheck disable=SC2086 # verb and resource
      ! kubectl auth can-i $verb --as "$user" --namespace "$namespace" >/dev/null 2>&1 ||
        die "the ServiceAccount $account of $name may $verb" "take it out of its Role"
    done
  done < <("$work/tasks")
}

admission_policy() {
  local folder=$repo/examples/admission-policy file words name
  # made before the rules hold: it is not asked for a cost center when the operator puts a finalizer on it
  check "a Task older than the policy" taken <<<'{apiVersion: kubeopencode.io/v1alpha1, kind: Task, metadata: {name: old}, spec: {description: d}}'
  at_exit kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding "$policy" --ignore-not-found
  kubectl label namespace "$namespace" kubeopencode.example.com/policy=enforced example.com/shared-agents=platform-agents >/dev/null
  check "examples/admission-policy/policy.yaml" taken <"$folder/policy.yaml"
  # the API server compiles it a moment later
  wait_until 30 holds || die "the policy refuses nothing after 30 s" "see: kubectl get validatingadmissionpolicy $policy --output yaml"
  for file in "$folder"/tasks/*.yaml; do
    words=$(sed -n 's/^# refuse: //p' "$file") name=$(basename "$file")
    check "examples/admission-policy/tasks/$name" "${words:-taken}" dry <"$file"
  done
  patch "an old Task gets a finalizer" taken '{"metadata": {"finalizers": ["kubeopencode.io/task-cleanup"]}}'
  patch "an old Task is changed" "needs the label example.com/cost-center" '{"spec": {"description": "another"}}'
  patch "an old Task loses its finalizer" taken '{"metadata": {"finalizers": null}}'
}

holds() {
  ! kubectl create --dry-run=server --namespace "$namespace" --filename "$repo/examples/admission-policy/tasks/refused-no-timeout.yaml"
}

# patch TITLE taken|TEXT PATCH
patch() {
  local code=0
  kubectl patch tasks.kubeopencode.io old --namespace "$namespace" --type merge --patch "$3" >"$work/answer" 2>&1 || code=$?
  expected "$1" "$2" $code
}

main
