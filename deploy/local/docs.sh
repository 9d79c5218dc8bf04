#!/usr/bin/env bash
# The documents as tests: what docs/ shows is what happens.
#
#   docs.sh run [FILE.md...]  each document as a script, on a real cluster with the operator in it; all of docs/ without FILE
#   docs.sh check             what needs no cluster: blocks, links, a word on every condition reason, tests/document.md
#
# A document is read from top to bottom, in a directory and in namespaces of its own. Its fenced blocks:
#   ```yaml title="a.yaml"    (any language) is saved under that name, for the commands that follow
#   ```yaml                   one or more whole objects: the API server takes them, in a dry run
#   ```yaml fragment=Agent    the same for a part of an object, from `spec:` on
#   ```console                `$ ` lines are run, with kubectl, helm, kubeopencode, deploy/ and examples/ at hand; what follows
#                             is what they print. `...` in a line stands for anything, as a line for any lines; how many
#                             spaces does not matter. A command may only fail where its error is shown.
#   ```text                   for the reader alone
# `<!-- namespaces: a b -->` names the namespaces that a document plays in, the first being the one that kubectl uses; they
# are made before and deleted after. Without it there is one, docs-<name>.
#
# Which cluster: as in demo.sh, but none is brought up. Env: KUBEOPENCODE, that program, and none is built.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/install.sh"
. "$here/document.sh"
me=docs
# the stand-in for a model, as docs/ and examples/ write it
model_host=model-stub.kubeopencode-quickstart.svc
command_seconds=180

usage() { die "usage: docs.sh run [FILE.md...] | check"; }

main() {
  local action=${1:-}
  shift || usage
  case $action in
    run) run "$@" ;;
    check) check ;;
    *) usage ;;
  esac
}

run() {
  local document started failed=()
  [ $# -gt 0 ] || set -- "$repo"/docs/*.md
  find_cluster
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  at_exit wait_for_namespaces
  ! grep -q '^\$ .*\<kubeopencode render' "$@" || make_program
  for document; do
    [ -e "$document" ] || die "$document does not exist"
    grep -q '^```' "$document" || continue
    started=$SECONDS
    run_document "$(realpath "$document")" &
    if wait $!; then
      say "$(basename "$document"): done in $((SECONDS - started)) s"
    else
      failed+=("$(basename "$document")")
    fi
  done
  [ ${#failed[@]} -eq 0 ] || die "these documents do not tell what happens: ${failed[*]}"
}

# kubeopencode itself, for the documents that call it
make_program() {
  local program=${KUBEOPENCODE:-} log=$cache/logs/docs-program.log
  if [ -z "$program" ]; then
    preflight build
    program=$(cd "$repo" && cargo build --workspace --locked --bins --message-format json 2>"$log" |
      jq -r 'select(.reason == "compiler-artifact" and .target.name == "kubeopencode").executable // empty') ||
      die_with_log "$log" "cargo could not build kubeopencode"
  fi
  mkdir "$work/bin"
  ln -s "$program" "$work/bin/kubeopencode"
}

find_cluster() {
  choose_cluster
  if [ "$own" ]; then
    "$here/cluster.sh" kubeconfig >/dev/null 2>&1 || die "the local cluster does not run" "make demo, or set KUBECONFIG or DEMO_CONTEXT"
    tools=$("$here/tools.sh" clients)
    cluster_flags=(--kubeconfig "$own_kubeconfig")
  else
    connect
  fi
  kubectl --namespace "$system_namespace" rollout status "deployment/$release" --timeout=60s >/dev/null ||
    die "no operator runs in namespace $system_namespace of the cluster" "make demo"
  model_namespace=$(kubectl get services --all-namespaces --field-selector metadata.name=model-stub \
    -o jsonpath='{.items[0].metadata.namespace}' 2>/dev/null) || die "no stand-in for a model runs in the cluster" "make demo"
}

# made_namespaces holds a line for each namespace that this script made
wait_for_namespaces() {
  local name
  [ -s "$work/made_namespaces" ] || return 0
  while read -r name; do
    kubectl delete namespace "$name" --ignore-not-found --timeout=120s >/dev/null ||
      say "namespace $name does not go; see: kubectl describe namespace $name"
  done <"$work/made_namespaces"
}

# run_document FILE: in a subshell of its own
run_document() {
  local namespace first=""
  document=${1#"$repo"/} dir=$work/$(basename "$1" .md)
  for namespace in $(namespaces_of "$1"); do
    kubectl create namespace "$namespace" >/dev/null ||
      die "$document: its namespace $namespace cannot be made" "delete it if it is yours and of no use"
    echo "$namespace" >>"$work/made_namespaces"
    first=${first:-$namespace}
  done
  mkdir "$dir"
  ln -s "$repo/deploy" "$dir/deploy"
  cp -R "$repo/examples" "$dir/examples"
  find "$dir/examples" -type f -exec sed -i "s/$model_host/${model_host%%.*}.$model_namespace.svc/g" {} +
  kubectl config view --raw --flatten --minify >"$dir.kubeconfig"
  "$tools/kubectl" --kubeconfig "$dir.kubeconfig" config set-context --current --namespace "$first" >/dev/null
  export KUBECONFIG=$dir.kubeconfig PATH=$work/bin:$tools:$PATH XDG_CACHE_HOME=$work/cache
  unset -f kubectl helm
  cd "$dir"
  each_block "$1" play
  for namespace in $(namespaces_of "$1"); do kubectl delete namespace "$namespace" --wait=false >/dev/null; done
}

namespaces_of() {
  local named
  named=$(sed -n 's/^<!-- namespaces: \(.*\) -->$/\1/p' "$1")
  echo "${named:-docs-$(basename "$1" .md)}"
}

# play LINE INFO TEXT
play() {
  local line=$1 info=$2 text=${3//$model_host/${model_host%%.*}.$model_namespace.svc}
  case $(kind_of "$info") in
    file) printf '%s' "$text" >"$(title_of "$info")" ;;
    objects) taken_by_api_server "$line" "$text" ;;
    fragment) taken_by_api_server "$line" "$(whole "${info#*fragment=}" "$text")" ;;
    commands) run_commands "$line" "$text" ;;
  esac
}

# whole KIND FRAGMENT: a whole object
whole() {
  printf 'apiVersion: kubeopencode.io/v1alpha1\nkind: %s\nmetadata:\n  name: fragment\n%s' "$1" "$2"
  [ "$1" != Agent ] || grep -q '^  serviceAccountName:' <<<"$2" || printf '  serviceAccountName: kubeopencode-agent\n'
}

taken_by_api_server() {
  local said
  said=$(kubectl apply --dry-run=server -f - <<<"$2" 2>&1) || wrong "$1" "the API server does not take this YAML" "$said"
}

# run_commands LINE TEXT
run_commands() {
  local at=$1 line="" command="" shown="" started=0
  while IFS= read -r line; do
    at=$((at + 1))
    if [[ $command == *\\ ]]; then
      command+=$'\n'$line
    elif [[ $line == '$ '* ]]; then
      [ -z "$command" ] || run_command "$started" "$command" "$shown"
      command=${line#'$ '} shown="" started=$at
    else
      shown+=$line$'\n'
    fi
  done <<<"${2%$'\n'}"
  run_command "$started" "$command" "$shown"
}

# run_command LINE COMMAND SHOWN
run_command() {
  local line=$1 command=$2 shown=$3 output code problem until=$((SECONDS + 20))
  while true; do
    code=0 problem=""
    output=$(timeout "$command_seconds" bash -euo pipefail -c "$command" 2>"$work/stderr" </dev/null) || code=$?
    # what kubectl remarks by the way is not shown, what it fails with is
    [ "$code" -eq 0 ] || output+=$(cat "$work/stderr")
    if [ "$code" -eq 124 ]; then
      wrong "$line" "the command was not done in $command_seconds s: $command" "$output"
    elif [ "$code" -ne 0 ] && ! grep -qiE 'error|is invalid|denied' <<<"$shown"; then
      problem="the command failed (exit code $code): $command"
    else
      problem=$(compare "$shown" "$output") && return
      problem+=", after: $command"
    fi
    # what is looked at may need a moment, as a log or an Event
    [[ $command =~ ^kubectl.*\ (get|logs)\  ]] && [ "$SECONDS" -lt "$until" ] || wrong "$line" "$problem" "$output"
    sleep 1
  done
}

# compare SHOWN OUTPUT: says what differs
compare() {
  local shown printed=() line pattern at=0 skip=""
  mapfile -t printed < <(sed -E 's/[[:space:]]+/ /g; s/ $//; /^$/d' <<<"$2")
  while IFS= read -r shown; do
    if [ "$shown" = ... ]; then
      skip=true
      continue
    fi
    pattern=$(sed 's/[][*?\\()|!+@]/\\&/g; s/\.\.\./*/g' <<<"$shown")
    if [ "$skip" ]; then
      # shellcheck disable=SC2053 # a pattern
      while [ "$at" -lt ${#printed[@]} ] && [[ ${printed[at]} != $pattern ]]; do at=$((at + 1)); done
    fi
    line=${printed[at]:-}
    # shellcheck disable=SC2053 # a pattern
    if [ "$at" -ge ${#printed[@]} ] || [[ $line != $pattern ]]; then
      echo "the document shows \"$shown\", which is not there"
      return 1
    fi
    at=$((at + 1)) skip=""
  done < <(sed -E 's/[[:space:]]+/ /g; s/ $//; /^$/d' <<<"$1")
  [ "$at" -gt 0 ] && [ -z "$skip" ] && [ "$at" -lt ${#printed[@]} ] || return 0
  echo "more is printed than the document shows"
  return 1
}

# wrong LINE TEXT OUTPUT: the document is not right; ends its subshell
wrong() {
  echo "$me: $document:$1: $2" >&2
  printf '%s\n' "$3" | sed 's/^/    | /' >&2
  {
    echo "Tasks and Pods of the document's namespace:"
    kubectl get tasks,pods -o wide
    kubectl get tasks -o jsonpath='{range .items[*]}{.metadata.name}{": "}{.status.reason}{": "}{.status.message}{"\n"}{end}'
    kubectl get events --sort-by=.metadata.creationTimestamp | tail -n 10
  } 2>&1 | sed 's/^/    /' >&2
  exit 1
}

main "$@"
