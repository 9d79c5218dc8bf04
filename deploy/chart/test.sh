#!/usr/bin/env bash
# Renders the chart with each of tests/*.yaml and compares what comes out with what the file itself says in its comments:
#
#   # expect: JQ     true of the list of all objects (words of tests/lib.jq)
#   # refuse: TEXT   helm refuses these values, and TEXT is in what it says
#   # helm: FLAGS    further flags of `helm template`
#   # release: NAME  in place of kubeopencode
#
# Needs no cluster and takes some seconds. Also: the schema describes each value, takes no other, and values.yaml has all.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/lib.sh"
me=chart
chart=$here

main() {
  local case failed=0 count=0
  preflight clients
  tools=$("$repo/deploy/local/tools.sh" clients)
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  for case in "$chart"/tests/*.yaml; do
    count=$((count + 1))
    check "$case" || failed=$((failed + 1))
  done
  check_values || failed=$((failed + 1))
  check_annotations || failed=$((failed + 1))
  check_in_a_parent || failed=$((failed + 1))
  [ "$failed" -eq 0 ] || die "$failed of the checks above failed" "correct deploy/chart, or what tests/ expects of it"
  say "$count sets of values render as their files say"
}

# said KEY FILE: the comments of one kind, without their key
said() { sed -n "s/^# $1: //p" "$2"; }

check() {
  local name flags words release code=0
  name=$(basename "$1" .yaml)
  read -ra flags <<<"$(said helm "$1")"
  release=$(said release "$1")
  "$tools/helm" template "${release:-kubeopencode}" "$chart" --namespace the-namespace --values "$1" "${flags[@]}" \
    >"$work/rendered.yaml" 2>"$work/refusal" || code=$?
  words=$(said refuse "$1")
  if [ -n "$words" ]; then
    [ "$code" -ne 0 ] || { say "$name: these values are taken, and should be refused with: $words"; return 1; }
    grep -qF -- "$words" "$work/refusal" ||
      { say "$name: refused, but not with: $words" && sed 's/^/    /' "$work/refusal" >&2; return 1; }
    return
  fi
  [ "$code" -eq 0 ] || { say "$name: helm refuses these values" && sed 's/^/    /' "$work/refusal" >&2; return 1; }
  as_json "$work/rendered.yaml" >"$work/rendered.json" || return 1
  expectations "$1" | jq --slurp --raw-output --from-file /dev/stdin "$work/rendered.json" >"$work/wrong" ||
    { say "$name: an expectation is no jq"; return 1; }
  [ ! -s "$work/wrong" ] || { sed "s/^/$me: $name: /" "$work/wrong" >&2; return 1; }
}

# One program for all expectations of a case: it prints those that do not hold.
expectations() {
  local line
  cat "$chart/tests/lib.jq"
  while read -r line; do
    printf '(try ((%s) | if . == true then empty else "not true: " + %s end) catch "\\(.), in: " + %s),\n' \
      "$line" "$(jq --raw-input . <<<"$line")" "$(jq --raw-input . <<<"$line")"
  done < <(said expect "$1")
  echo empty
}

# The schema is the reference of all values, so it has each with a description, and no more of them than values.yaml.
check_values() {
  values_as_json "$work" >"$work/values.json"
  jq --raw-output --slurpfile values "$work/values.json" '
    def part($path): if has("properties") then .properties | to_entries[] | .key as $key |
      ($path + [$key]) as $here | {path: $here, schema: .value}, (.value | part($here)) else empty end;
    [part([])] as $parts |
    ($parts[] | select(.schema.description == null) | "\(.path | join(".")) has no description in values.schema.json"),
    # other charts have values of their own in global
    (del(.properties.global) | .. | objects | select(.properties != null and .additionalProperties != false) | "an object of values.schema.json takes unknown keys: \(.properties | keys)"),
    ($parts[] | .path as $path | select($path[0] != "global")
      # what is empty by default has nothing to show in values.yaml
      | select([range(1; $path | length) as $n | $values[0] | getpath($path[:$n])] | all(. != {} and . != []))
      | select($values[0] | try (getpath($path[:-1]) | has($path[-1]) | not) catch true)
      | "\($path | join(".")) is not in values.yaml")' "$chart/values.schema.json" >"$work/wrong"
  [ ! -s "$work/wrong" ] || { sed "s/^/$me: /" "$work/wrong" >&2; return 1; }
}

# What Artifact Hub shows of the definitions is what there is.
check_annotations() {
  local definitions
  definitions=$(as_json "$chart/files/crds/definitions.yaml" | jq --raw-output '"\(.spec.names.kind) \(.spec.versions[0].name) \(.metadata.name)"' | sort)
  sed -n '/artifacthub.io\/crds:/,/artifacthub.io\/crdsExamples:/p' "$chart/Chart.yaml" |
    awk '/^ +(- )?kind:/ {kind = $NF} /^ +version:/ {version = $NF} /^ +name:/ {print kind, version, $NF}' | sort |
    diff - <(echo "$definitions") >&2 || { say "artifacthub.io/crds in Chart.yaml are not the definitions"; return 1; }
}

# Within a parent chart: its condition leaves the chart out, and its global values count.
check_in_a_parent() {
  local parent=$work/parent words
  mkdir -p "$parent/charts"
  cp -r "$chart" "$parent/charts/agents"
  cat >"$parent/Chart.yaml" <<'YAML'
apiVersion: v2
name: parent
version: 0.1.0
dependencies: [{name: kubeopencode, version: "*", alias: agents, condition: agents.enabled}]
YAML
  echo 'global: {imageRegistry: registry.example.com}' >"$parent/values.yaml"
  "$tools/helm" template platform "$parent" >"$work/rendered.yaml" || return 1
  for words in 'name: platform-kubeopencode$' 'image: "registry\.example\.com/kubeopencode/kubeopencode:'; do
    grep -q "$words" "$work/rendered.yaml" || { say "in a parent chart: nothing like $words"; return 1; }
  done
  "$tools/helm" template platform "$parent" --set agents.enabled=false >"$work/rendered.yaml" || return 1
  ! grep -q '^kind:' "$work/rendered.yaml" || { say "in a parent chart: its condition is false, and objects are rendered"; return 1; }
}

main "$@"
