#!/usr/bin/env bash
# The whole way on a real cluster: a Task runs the real OpenCode, with context, against a stand-in for a model.
#
#   demo.sh up     a cluster when none is given, images, chart, examples/quickstart, examples/contexts and a plugin of
#                  examples/plugins, and a look at what happened
#   demo.sh down   remove all of it
#   demo.sh release FOLDER
#                  a cluster, and a release in it as somebody gets it who has nothing else: FOLDER, as make release wrote it, is
#                  brought into a registry with TLS and a password, from which helm and the node pull; a first Task, and one
#                  that pushes a commit. examples/quickstart and the stand-ins for a model and a git server are the checkout's.
#                  Always on the local cluster, whose node trusts that registry
#
# Env: KUBECONFIG, DEMO_CONTEXT: use that cluster and build none (images: kind, k3d and minikube load them,
# for other clusters set REGISTRY, see install.sh).
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/steps.sh"
. "$here/install.sh"
. "$here/../release/names.sh"
. "$here/../release/install.sh"
me=demo
namespace=kubeopencode-quickstart

up() {
  choose_cluster
  if [ "$own" ]; then
    preflight demo
    step "a Kubernetes cluster on this machine (none was given by KUBECONFIG or DEMO_CONTEXT)" connect
  else
    preflight elsewhere ${REGISTRY:+push}
    step "your cluster: ${DEMO_CONTEXT:-the current context of $KUBECONFIG}" connect
  fi
  step "images, without Docker" build_images
  step "load the images into the cluster" load_images
  step "install the chart with helm into namespace $system_namespace" install_chart
  step "a stand-in for the model in namespace $namespace" start_model_stub "$namespace"
  step "a git server and a web server in namespace $namespace" start_sources "$namespace"
  step "apply examples/quickstart: an Agent and a Task" apply_example quickstart default hello
  step "wait for Task hello" wait_for_task hello
  step "what the agent said (kubectl logs hello-pod)" show_log hello
  step "what the model received" show_received quickstart
  step "apply examples/contexts: a Task with every type of context" apply_example contexts surveyor every-context
  step "wait for Task every-context" wait_for_task every-context
  step "what its agent found and said (kubectl logs every-context-pod)" show_log every-context
  step "what the model received" show_received contexts
  step "install a plugin: examples/plugins/prompt-library in a ConfigMap" install_plugin prompt-library
  step "apply its example: a Task with a context of the plugin's type" apply_plugin_example prompt-library refund
  step "wait for Task refund" wait_for_task refund
  step "what the model received" show_received prompts
  run_steps
  next_steps demo
}

# of_release FOLDER
of_release() {
  look_at "$1"
  choose_cluster
  [ "$own" ] || die "a release is shown on the local cluster, whose node trusts the registry, and KUBECONFIG or DEMO_CONTEXT names another one" \
    "unset both; docs/releasing.md says how a release comes to a cluster of yours"
  preflight demo-release
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  step "the files of $version are what SHA256SUMS says" check_sums
  step "a Kubernetes cluster on this machine" connect
  step "a registry with TLS and a password" start_release_registry
  step "push images and chart into it" push_release
  step "install the chart from there, with helm into namespace $system_namespace" install_release
  step "the API server takes definitions.yaml and install.yaml, without writing them" try_manifests
  step "build the stand-ins for a model and a git server, which are no part of a release" build_images model-stub sources
  step "load them into the cluster" load_images
  step "start the model in namespace $namespace" start_model_stub "$namespace"
  step "apply examples/quickstart: an Agent and a Task" apply_example quickstart default hello
  step "wait for Task hello" wait_for_task hello
  step "what the agent said, by kubectl's plugin from its archive" show_result hello
  step "what the model received" show_received quickstart
  step "start the git server in namespace $namespace" start_sources "$namespace"
  step "apply a Task whose agent commits and pushes a branch" apply_push
  step "wait for Task push" wait_for_task push
  step "what its agent did (kubectl logs push-pod)" show_log push
  step "what the git server has" show_branch
  step "all images that ran are the release's, by their digests" only_the_release_ran hello push
  run_steps
  next_steps "demo-release VERSION=$version"
}

check_sums() { (cd "$folder" && sha256sum --check --quiet SHA256SUMS) || die "a file of $folder is not what SHA256SUMS says" "make release VERSION=$version"; }

install_release() {
  may_pull "$system_namespace"
  may_pull "$namespace"
  # as the demo installs it: the definitions go with the release
  with_registry by_helm upgrade --install "$release" "$chart" --version "$version" --registry-config "$registry_folder/auth.json" \
    "${release_values[@]}" --set crds.keep=false
  wait_until 30 runs_version || die "the operator does not say that it is $version" "see: kubectl get --raw $metrics"
}

metrics=/api/v1/namespaces/$system_namespace/services/$release-metrics:metrics/proxy/metrics
runs_version() { kubectl get --raw "$metrics" | grep -F "kubeopencode_build_info{version=\"$version\"}"; }

# try_manifests: those for whoever has no helm. Nothing is written, so what helm installed stays as it is
try_manifests() {
  local file
  for file in definitions.yaml install.yaml; do
    # its warnings are of who wrote the objects that are there
    if ! kubectl apply --server-side --force-conflicts --dry-run=server --filename "$folder/$file" >"$work/taken" 2>"$work/why"; then
      cat "$work/why" >&2
      die "the API server does not take $folder/$file; the lines above say why" "correct deploy/install, or deploy/release/chart.sh"
    fi
    echo "    $file: $(wc -l <"$work/taken") objects" >&2
  done
}

# show_result TASK
show_result() {
  local program=$work/kubectl-kubeopencode-$version-linux-amd64/kubectl-kubeopencode said
  tar -xzf "$folder/kubectl-kubeopencode-$version-linux-amd64.tar.gz" -C "$work"
  said=$("$program" --version)
  [ "$said" = "kubectl-kubeopencode $version" ] || die "--version of $program says $said"
  "$program" result "$1" --namespace "$namespace" --kubeconfig "$own_kubeconfig" | sed 's/^/    | /' >&2
}

# apply_push: as in docs/how-to/pull-request.md; the model asks for the lines with a $, one after the other, by OpenCode's own tool.
# The server keeps the branch of an earlier run.
apply_push() {
  begin push
  branch=keep-it-$(date +%s)
  kubectl --namespace "$namespace" get agent default --output json |
    jq '{apiVersion, kind, metadata: {name: "committer"},
      spec: (.spec | .config.model = "stub/shell" | .config.provider.stub.models = {shell: {}})}' |
    kubectl --namespace "$namespace" apply -f - >&2
  kubectl --namespace "$namespace" apply -f - >&2 <<YAML
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {name: push}
spec:
  agentRef: committer
  description: |
    Say in the README of ./work that they keep it, and push that on a branch.
    $ cd work && git switch --quiet --create $branch && echo And they keep it. >>README.md
    $ cd work && git commit --quiet --all --message 'Say that they keep it'
    $ cd work && git push origin HEAD
  contexts:
    - type: Git
      mountPath: work
      git:
        repository: http://sources.$namespace.svc.cluster.local/git/private.git
        secretRef: {name: sources-auth}
        push: true
        identity: {name: Ada Lovelace, email: ada@example.com}
YAML
}

# show_branch: as the git server has it
show_branch() {
  local commit
  commit=$(kubectl --namespace "$namespace" exec deployment/sources -- git -C /data/repositories/private.git log -1 "--format=%an <%ae>: %s" "$branch") ||
    die "the git server has no branch $branch" "see: kubectl --namespace $namespace logs push-pod"
  [ "$commit" = "Ada Lovelace <ada@example.com>: Say that they keep it" ] || die "the commit of branch $branch is another one: $commit"
  echo "    $branch: $commit" >&2
}

# only_the_release_ran TASK...
only_the_release_ran() {
  images_in_registry >"$work/released"
  {
    kubectl --namespace "$system_namespace" get pods --selector "helm.sh/chart=kubeopencode-$version" --output json
    kubectl --namespace "$namespace" get pods "${@/%/-pod}" --output json
  } | jq -r '(.items // [.])[].spec | .initContainers[]?, .containers[] | .image' | sort -u >"$work/ran"
  ! grep -vxFf "$work/released" "$work/ran" >&2 || die "these images ran, and are none of the release's"
  [ "$(wc -l <"$work/ran")" -ge 3 ] || die "operator, agent and executor are three images, and there ran" "$(cat "$work/ran")"
  sed 's/^/    /' "$work/ran" >&2
}

# begin TASK: an earlier run's goes first, since a Task runs once and is never changed
begin() {
  received_before=$(what_model_received "$namespace" | jq length)
  kubectl --namespace "$namespace" delete task "$1" --ignore-not-found --timeout=60s >/dev/null ||
    die "the Task of an earlier run cannot be deleted" "see: kubectl --namespace $system_namespace logs deployment/$release"
}

# apply_example FOLDER AGENT TASK
apply_example() {
  begin "$3"
  kubectl --namespace "$namespace" apply -f "$repo/examples/$1/agent.yaml" >&2
  if pushed; then
    kubectl --namespace "$namespace" patch agent "$2" --type merge --patch \
      "{\"spec\": {\"agentImage\": \"$(reference agent-opencode)\", \"executorImage\": \"$(reference agent-devbox)\"}}" >&2
  fi
  kubectl --namespace "$namespace" apply -f "$repo/examples/$1/task.yaml" >&2
}

# install_plugin NAME: of examples/plugins, a context type that needs no grants
install_plugin() {
  local components digest log=$cache/logs/demo-plugin.log
  components=$("$repo/examples/plugins/build.sh") || die "the plugin cannot be built; the lines above say why"
  kubectl create configmap "$1" --namespace "$system_namespace" --from-file="$components/$1.wasm" --dry-run=client --output yaml |
    kubectl label --local --filename - kubeopencode.io/plugin=context-type --output yaml |
    kubectl apply --server-side --force-conflicts --filename - >&2
  digest=sha256:$(sha256sum <"$components/$1.wasm" | cut -d' ' -f1)
  wait_until 60 serves "$1" "$digest" || {
    kubectl describe "plugins.kubeopencode.io/$1" >"$log" 2>&1 || true
    die_with_log "$log" "the plugin does not serve after 60 s" "see $log"
  }
  kubectl get "plugins.kubeopencode.io/$1" | sed 's/^/    /' >&2
}

# serves PLUGIN DIGEST
serves() { [ "$(kubectl get "plugins.kubeopencode.io/$1" --output jsonpath='{.status.digest}')" = "$2" ]; }

# apply_plugin_example NAME TASK: for the Agent that is there
apply_plugin_example() {
  begin "$2"
  kubectl --namespace "$namespace" apply -f "$repo/examples/plugins/$1/prompts.yaml" -f "$repo/examples/plugins/$1/task.yaml" >&2
}

# wait_for_task TASK
wait_for_task() {
  local task=$1 phase reason last="" started=$SECONDS watch
  while IFS='|' read -r phase reason; do
    [ "$phase$reason" = "$last" ] || echo "    after $((SECONDS - started)) s: ${phase:-not seen yet}${reason:+ ($reason)}" >&2
    last=$phase$reason
    case $phase in Completed | Failed) break ;; esac
  done < <(exec timeout 300 "$tools/kubectl" "${cluster_flags[@]}" --namespace "$namespace" get task "$task" --watch \
    -o jsonpath='{.status.phase}|{.status.reason}{"\n"}')
  watch=$!
  kill "$watch" 2>/dev/null || true
  [ "${phase:-}" != Completed ] || return 0
  local log=$cache/logs/demo-task.log
  {
    kubectl --namespace "$namespace" get task "$task" -o jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}'
    kubectl --namespace "$namespace" get pods,events --sort-by=.metadata.creationTimestamp
    kubectl --namespace "$namespace" logs "$task-pod" --all-containers --tail=50
    kubectl --namespace "$system_namespace" logs "deployment/$release" --tail=50
  } >"$log" 2>&1 || true
  die_with_log "$log" "the Task did not complete: it is ${phase:-nothing} after $((SECONDS - started)) s" "see $log"
}

show_log() { kubectl --namespace "$namespace" logs "$1-pod" --container agent | sed 's/^/    | /' >&2; }

# show_received EXAMPLE: the proof that prompt and contexts arrived: their own words, in the requests of this run
show_received() {
  local received what words
  received=$(what_model_received "$namespace" | jq -r --argjson before "$received_before" '.[$before:][] | .messages[] | .content | if type == "string" then . else map(.text? // "") | join("\n") end')
  while IFS='|' read -r what words; do
    grep -qF -- "$words" <<<"$received" || die "the model never saw $what: \"$words\"" "see: kubectl --namespace $namespace logs deployment/model-stub"
    printf '    %-34s %s\n' "$what:" "$(grep -F -m 1 -- "$words" <<<"$received" | cut -c1-110)" >&2
  done < <("words_of_$1")
}

words_of_quickstart() {
  cat <<'WORDS'
the Task's prompt|Say in one sentence what this team cares about.
the Task's Text context|This project turns Kubernetes Tasks into runs of a coding agent.
the Agent's ConfigMap, naming.md|Functions are named after what they return
the Agent's ConfigMap, reviews.md|Every change is read by somebody who did not write it.
WORDS
}
words_of_prompts() {
  cat <<'WORDS'
a snippet of the ConfigMap|You work on the ledger for team payments.
words of the Task in another one|names ticket PAY-7
WORDS
}
words_of_contexts() {
  cat <<'WORDS'
the Task's prompt|Review the greeter in ./repo against ./checklist.md.
the Text context|Be brief, and kind.
the ConfigMap context|Functions are named after what they return
the Runtime context|KubeOpenCode Runtime Context
WORDS
}

# next_steps TARGET: of make
next_steps() {
  [ -z "$own" ] || echo "  export KUBECONFIG=$own_kubeconfig" >&2
  cat >&2 <<TEXT
  kubectl --namespace $namespace get tasks,agents,pods
  kubectl --namespace $namespace get task hello -o yaml
  kubectl --namespace $namespace logs deployment/model-stub    # every request, a line each
  edit examples/quickstart/task.yaml and run 'make $1' again: the cluster stays, it takes seconds
  make demo-down                                               # removes everything
TEXT
}

down() {
  choose_cluster
  if [ "$own" ]; then
    "$here/cluster.sh" down
    return
  fi
  connect
  say "removing the example and the operator from the cluster of context $target_context"
  kubectl delete namespace "$namespace" --ignore-not-found --timeout=120s >&2
  # with crds.keep=false, as the demo installs it, the definitions go with the release
  helm uninstall "$release" --namespace "$system_namespace" --ignore-not-found --wait --timeout 5m >&2
  kubectl delete namespace "$system_namespace" --ignore-not-found --timeout=120s >&2
}

case ${1:-} in
  up | down) "$1" ;;
  release)
    [ $# = 2 ] || die "usage: demo.sh release FOLDER" "make release VERSION=0.2.0, then make demo-release VERSION=0.2.0"
    of_release "$2"
    ;;
  *) die "usage: demo.sh up|down, or demo.sh release FOLDER" ;;
esac
