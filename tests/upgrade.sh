#!/usr/bin/env bash
# From one version of the chart to the next one and back, by helm, while Tasks run and queue: none is lost, none runs twice, the line
# keeps its order, and definitions and settings go along, both ways. About a minute, on the local cluster, which has no operator
# afterwards, and no Task and Agent.
#
#   upgrade.sh           from the chart of the newest tag before this commit to the one of this checkout, with the images that the
#                        cluster has. Without a tag the older chart is this checkout's too, without a field of Agents
#   upgrade.sh FROM TO   from one release to another, each a folder of `make release`: charts, operators and agents are theirs
here=$(cd "$(dirname "$0")/../deploy/local" && pwd)
# shellcheck source=../deploy/local/lib.sh
. "$here/lib.sh"
# shellcheck source=../deploy/local/install.sh
. "$here/install.sh"
# shellcheck source=../deploy/chart/lib.sh
. "$here/../chart/lib.sh"
# shellcheck source=../deploy/release/names.sh
. "$here/../release/names.sh"
# shellcheck source=../deploy/release/install.sh
. "$here/../release/install.sh"
# shellcheck source=tasks.sh
. "$here/../../tests/tasks.sh"
me=upgrade
namespace=upgraded
# the field of Agents that the older chart lacks where there is no older one
field=""

main() {
  [ $# = 0 ] || [ $# = 2 ] || die "usage: upgrade.sh [FROM TO]" "tests/upgrade.sh dist/0.1.0 dist/0.2.0"
  local given
  for given; do look_at "$given"; done
  # named at once, before the operator that is there is taken away; without releases test.sh did it
  [ $# = 0 ] || preflight node push registry
  own=true
  connect
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  audit_log=$(dirname "$own_kubeconfig")/logs/audit.log
  mark=$(stat --format=%s "$audit_log")
  nothing_is_installed
  values=(--set crds.keep=false)
  if [ $# = 2 ]; then two_releases "$1" "$2"; else two_charts; fi
  say "from $older_version to $newer_version, and back"

  by_helm install "$release" "$older" --create-namespace "${values[@]}"
  tasks_run_and_queue "$namespace"
  it_is "$older_version" "$older"
  tasks_and_pods >"$work/before"
  settings >"$work/settings"

  by_helm upgrade "$release" "$newer" --reset-then-reuse-values --set kubeopencodeConfig.stopPolicy=KeepPod
  it_is "$newer_version" "$newer"
  nothing_moved "$work/before"
  [ "$(settings | jq -r .stopPolicy)" = KeepPod ] || die "the upgrade left the settings as they were" "$(settings)"
  end_task "$namespace" first
  becomes "$namespace" second Running
  new_task "$namespace" fourth
  stands "$namespace" third 1
  stands "$namespace" fourth 2
  phases_are "first Completed" "fourth Queued" "second Running" "third Queued"
  tasks_and_pods >"$work/before"

  by_helm rollback "$release"
  it_is "$older_version" "$older"
  nothing_moved "$work/before"
  settings | diff "$work/settings" - >&2 || die "after the rollback the settings are not what they were before the upgrade"
  end_task "$namespace" second
  becomes "$namespace" third Running
  phases_are "first Completed" "fourth Queued" "second Completed" "third Running"
  end_task "$namespace" third
  becomes "$namespace" fourth Running
  end_task "$namespace" fourth
  each_ran_once
  nothing_is_installed
}

# The namespace's lease is gone with it, which a new operator would wait for.
nothing_is_installed() {
  helm uninstall "$release" --namespace "$system_namespace" --ignore-not-found --wait --timeout 3m >&2
  kubectl delete namespace "$namespace" "$system_namespace" --ignore-not-found --timeout=120s >&2
}

# two_charts, two_releases: set older and newer, the files of charts, and their versions, and add to values
two_charts() {
  local tag folder=$work/older
  # a commit that is tagged itself is the newer one
  tag=$(git -C "$repo" describe --tags --abbrev=0 --match 'v[0-9]*' 'HEAD^' 2>/dev/null) || tag=""
  mkdir "$folder"
  if [ "$tag" ]; then
    git -C "$repo" archive "$tag" deploy/chart | tar -x -C "$folder"
  else
    say "NOT CHECKED: there is no tag of an earlier version in this checkout, so both charts are made of it"
    git -C "$repo" ls-files -z deploy/chart | (cd "$repo" && xargs -0 cp --parents --target-directory "$folder")
    field=suspend
    without_field "$folder/deploy/chart/files/crds/definitions.yaml"
  fi
  older_version=${tag#v}
  older_version=${older_version:-0.0.1} newer_version=1000.0.0
  older=$(package "$folder/deploy/chart" "$older_version")
  newer=$(package "$repo/deploy/chart" "$newer_version")
  # the nodes have the images under the tag that is pulled by default
  values+=(--set kubeopencodeConfig.defaults.imagePullPolicy=IfNotPresent)
}

# package CHART VERSION: prints the file
package() {
  "$tools/helm" package "$1" --version "$2" --destination "$work" >"$work/package" || die_with_log "$work/package" "helm cannot pack $1"
  echo "$work/kubeopencode-$2.tgz"
}

# without_field DEFINITIONS: JSON is YAML too
without_field() {
  as_json "$1" | jq --compact-output --arg field "$field" 'if .metadata.name == "agents.kubeopencode.io"
    then del(.spec.versions[].schema.openAPIV3Schema.properties.spec.properties[$field]) else . end' | sed 's/^/---\n/' >"$work/definitions"
  mv "$work/definitions" "$1"
}

# two_releases FROM TO
two_releases() {
  start_release_registry
  values+=("${release_values[@]}")
  may_pull "$system_namespace"
  may_pull "$namespace"
  look_at "$1"
  push_release
  older=$folder/kubeopencode-$version.tgz older_version=$version
  look_at "$2"
  push_release
  newer=$folder/kubeopencode-$version.tgz newer_version=$version
}

# it_is VERSION CHART: its operator leads, and the definitions are this chart's
it_is() {
  local pods
  pods=$(kubectl --namespace "$system_namespace" get pods --selector "app.kubernetes.io/component=controller,helm.sh/chart=kubeopencode-$1" \
    --output jsonpath='{.items[*].metadata.name}')
  [ "$pods" ] && [[ $pods != *" "* ]] || die "there is not one operator of $1, but: $pods" "see: kubectl --namespace $system_namespace get pods --show-labels"
  kubectl --namespace "$system_namespace" wait lease/kubeopencode.io "--for=jsonpath={.spec.holderIdentity}=$pods" --timeout=60s >&2 ||
    die "the operator of $1 does not lead" "see: kubectl --namespace $system_namespace get lease kubeopencode.io -o yaml"
  tar -xOf "$2" kubeopencode/files/crds/definitions.yaml >"$work/definitions.yaml"
  as_json "$work/definitions.yaml" | fields >"$work/fields"
  [ -s "$work/fields" ] || die "no field is found in the definitions of $2"
  kubectl get customresourcedefinitions --output json | jq '.items[]' | fields | diff "$work/fields" - >&2 || die "the definitions are not those of $1"
  [ -z "$field" ] || served_by "$1"
}

# fields: of definitions, as JSON one after the other: a line for each
fields() {
  jq -r 'select(.spec.group == "kubeopencode.io" or .spec.group == "kubetask.io") | .metadata.name as $name | .spec.versions[] |
    .name as $version | .schema.openAPIV3Schema | paths | select(.[-2] == "properties") | map(tostring) | join(".") | "\($name) \($version) \(.)"' | sort
}

# served_by VERSION: the API server keeps the field of an Agent, or drops it, as the definition says
served_by() {
  local kept=""
  [ "$1" != "$newer_version" ] || kept=false
  wait_until 20 field_becomes "$kept" || die "spec.$field of an Agent, which was set to false, does not become '$kept'"
}
field_becomes() {
  local value
  value=$(kubectl --namespace "$namespace" patch agents.kubeopencode.io default --type merge --patch "{\"spec\":{\"$field\":false}}" \
    --dry-run=server --output "jsonpath={.spec.$field}")
  [ "$value" = "$1" ]
}

# tasks: a line for each: name, UID, phase, place in the line, UID of its Pod
tasks() {
  kubectl --namespace "$namespace" get tasks.kubeopencode.io --output json |
    jq -r '.items[] | [.metadata.name, .metadata.uid, .status.phase, .status.queuePosition // "-", .status.podUID // "-"] | join(" ")'
}

tasks_and_pods() {
  tasks
  kubectl --namespace "$namespace" get pods --output json | jq -r '.items[] | "\(.metadata.name) \(.metadata.uid)"'
}

# nothing_moved FILE: Tasks and Pods are as it says
nothing_moved() { tasks_and_pods | diff "$1" - >&2 || die "Tasks or Pods are not what they were before (name, UID, phase, place in the line, UID of the Pod)"; }

# phases_are LINE...: of all Tasks, by their names
phases_are() { tasks | cut -d' ' -f1,3 | diff <(printf '%s\n' "$@") - >&2 || die "the Tasks are in other phases"; }

settings() { kubectl --namespace "$system_namespace" get kubeopencodeconfigs.kubeopencode.io default --output json | jq --sort-keys .spec; }

# By the API server's record: a Pod for each Task, the one in its status, and no other was ever made.
each_ran_once() {
  local restarts
  tail --bytes="+$((mark + 1))" "$audit_log" | { grep -F "\"namespace\":\"$namespace\"" || true; } |
    jq -r 'select(.verb == "create" and .responseStatus.code == 201 and .objectRef.resource == "pods" and .objectRef.subresource == null) |
      .responseObject.metadata | "\(.labels["kubeopencode.io/task-uid"]) \(.uid)"' | sort >"$work/made"
  tasks | cut -d' ' -f2,5 | sort | diff - "$work/made" >&2 || die "the Pods that were made are not one for each Task (UID of the Task, UID of the Pod)"
  restarts=$(kubectl --namespace "$namespace" get pods --output json | jq '[.items[].status.containerStatuses[].restartCount] | add')
  [ "$restarts" = 0 ] || die "containers were started again: $restarts times"
}

main "$@"
