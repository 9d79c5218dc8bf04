# What the scripts of the chart share, beside deploy/local/lib.sh. Sourced, never run.
#
# $tools is the folder of kubectl.

# YAML of any objects as JSON, one after the other, without a cluster: an annotation is taken off that none of them has
as_json() { "$tools/kubectl" annotate --local --dry-run=client --filename "$1" --output json kubeopencode.io/none-; }

# values_as_json FOLDER: values.yaml, by way of a file in this folder
values_as_json() {
  { printf 'apiVersion: v1\nkind: Values\nmetadata: {name: values}\n' && cat "$chart/values.yaml"; } >"$1/values.yaml"
  as_json "$1/values.yaml" | jq 'del(.apiVersion, .kind, .metadata)'
}
