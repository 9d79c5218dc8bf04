# The chart of a release, and what else names its images. Sourced by build.sh and check.sh.

# stage_chart FOLDER VERSION REGISTRY DIGESTS: the chart of deploy/chart with this version and these images; DIGESTS is a file
# with a line `NAME DIGEST` for each
stage_chart() {
  local chart=$1/kubeopencode version=$2 registry=$3 name digest
  local pulled="oci://$registry/charts/kubeopencode --version $version"
  cp -r "$repo/deploy/chart" "$chart"
  {
    echo "# The images of KubeOpenCode $version."
    while read -r name digest; do echo "$(field_of "$name"): $(image_reference "$registry" "$version" "$name")@$digest"; done <"$4"
  } >"$chart/files/images.yaml"
  # the definitions keep what a development build says of itself: they are of an API, and not of a release
  replace_line "$chart/Chart.yaml" "version: 0.1.0" "version: $version"
  replace_line "$chart/Chart.yaml" "appVersion: latest" "appVersion: \"$version\""
  replace_line "$chart/values.yaml" "    repository: $default_registry/kubeopencode" "    repository: $registry/kubeopencode"
  # who reads it, by `helm show readme` or on Artifact Hub, has no checkout
  replace_line "$chart/README.md" "helm upgrade --install kubeopencode deploy/chart --namespace kubeopencode-system --create-namespace --wait" \
    "helm upgrade --install kubeopencode $pulled --namespace kubeopencode-system --create-namespace --wait"
  replace_line "$chart/README.md" "helm upgrade kubeopencode deploy/chart --namespace kubeopencode-system --reset-then-reuse-values --wait" \
    "helm upgrade kubeopencode $pulled --namespace kubeopencode-system --reset-then-reuse-values --wait"
}
default_registry=quay.io/kubeopencode

# replace_line FILE LINE BY
replace_line() {
  grep -qxF -- "$2" "$1" || die "$1 has no line '$2'" "correct deploy/release/chart.sh, which replaces it"
  awk -v line="$2" -v by="$3" '{print $0 == line ? by : $0}' "$1" >"$1.partial"
  mv "$1.partial" "$1"
}

# list_images VERSION REGISTRY: images.txt
list_images() {
  local name
  for name in $(release_images); do image_reference "$2" "$1" "$name"; done
}

# one_manifest VERSION REGISTRY DIGESTS: install.yaml
one_manifest() {
  local image
  image=$(image_reference "$2" "$1" system)@$(awk '$1 == "system" {print $2}' "$3")
  "$repo/deploy/install/manifest.sh" print >"$3.manifest"
  grep -q "^ *image: .*$default_registry/kubeopencode:latest" "$3.manifest" || die "install.yaml names no image of the operator"
  sed "s|^\( *image: \).*$default_registry/kubeopencode:latest.*|\1$image|" "$3.manifest"
}

# images_of FILE: the images that objects of a rendered chart name, each once
images_of() {
  as_json "$1" | jq --raw-output 'select(.kind != "CustomResourceDefinition") | .. | objects |
    .image?, .agentImage?, .executorImage?, .attachImage? | strings' | sort -u
}
