#!/usr/bin/env bash
# The chart's README.md: what Artifact Hub and `helm show readme` show. Its tables are made of values.yaml, which has the
# defaults, and of values.schema.json, which has a sentence on each value.
#
#   readme.sh write    write README.md anew, after a change of the chart
#   readme.sh check    fail when README.md is another one
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/lib.sh"
me=readme
chart=$here
repository=https://github.com/kubeopencode/kubeopencode-rs/blob/main

main() {
  preflight clients
  tools=$("$repo/deploy/local/tools.sh" clients)
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  readme >"$work/README.md"
  case ${1:-} in
    write) cp "$work/README.md" "$chart/README.md" ;;
    check)
      diff "$chart/README.md" "$work/README.md" >&2 ||
        die "deploy/chart/README.md is not what values.yaml and values.schema.json say" "make manifests, and commit it"
      ;;
    *) die "usage: readme.sh write|check" ;;
  esac
}

readme() {
  cat <<MARKDOWN
<!-- Written by readme.sh, never edited. -->

# KubeOpenCode

A Kubernetes operator that runs coding agents. An **Agent** describes images, credentials, limits and shared context; a **Task** is a
prompt. For each Task the operator runs one Pod, at most once, with [OpenCode](https://opencode.ai) unless the Agent says otherwise.

## Install

Kubernetes $(sed -n 's/^kubeVersion: ">=\([0-9.]*\)\.0-0"$/\1/p' "$chart/Chart.yaml") or later. One operator serves all namespaces of a cluster, or those
in \`watchNamespaces\`, for teams without rights in the whole cluster.

\`\`\`
helm upgrade --install kubeopencode deploy/chart --namespace kubeopencode-system --create-namespace --wait
helm test kubeopencode --namespace kubeopencode-system
\`\`\`

The second command runs a Task to its end, with an Agent whose command is \`true\`. What comes next is in
[Getting started]($repository/docs/getting-started.md).

## Upgrade, uninstall

\`\`\`
helm upgrade kubeopencode deploy/chart --namespace kubeopencode-system --reset-then-reuse-values --wait
helm uninstall kubeopencode --namespace kubeopencode-system --wait
\`\`\`

An upgrade also upgrades the CustomResourceDefinitions, and leaves running Tasks alone. Uninstalling keeps the definitions, and with
them every Task and Agent, unless \`crds.keep\` is false. [Operations]($repository/docs/operations.md) has more on both, on metrics, on
several replicas and on the operator's network; [Security]($repository/docs/security.md) says what agents and the operator may do.

## Values

An unknown or misspelt value is refused. \`helm show values\` prints all of them with longer comments and examples.
MARKDOWN
  values_as_json "$work" >"$work/values.json"
  jq --raw-output --slurpfile values "$work/values.json" '
    $values[0] as $defaults |
    def cell: gsub("[|]"; "\\|") | gsub("<"; "&lt;");
    # what a value is made of, down to what has no parts that the schema names
    def leaves($path): if has("properties") then .properties | to_entries[] | .key as $key | .value | leaves($path + [$key])
      else {path: $path, description} end;
    def row: .path as $path | (try ($defaults | getpath($path)) catch null) as $default |
      "| `\($path | join("."))` | \(if $default == null then "" else "`\($default | tojson | gsub("[|]"; "\\|"))`" end) | \(.description | cell) |";
    def table($parts): "\n| value | default | |\n|---|---|---|", ($parts[] | row);
    (.properties | to_entries) as $top |
    "\n### The release", table([$top[] | select(.value | has("properties") | not) | .key as $key | .value | leaves([$key])]),
    ($top[] | select(.value | has("properties")) | .key as $key |
      "\n### \($key)\n\n\(.value.description)", table([.value | leaves([$key])]))' "$chart/values.schema.json"
}

main "$@"
