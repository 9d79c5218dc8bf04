# Puts a release into the local cluster, from its folder and from nothing else: into a registry with TLS and a password beside
# the node, and by helm from there. Sourced after names.sh, deploy/local/lib.sh and deploy/local/install.sh.

# start_registry: sets registry_address, registry_folder, and release_values, by which the chart names what is there
start_registry() {
  local line
  line=$("$repo/deploy/local/cluster.sh" registry)
  read -r registry_address registry_folder <<<"$line"
  # shellcheck disable=SC2034 # for those that install
  release_values=(--set "global.imageRegistry=$registry_address" --set "global.imagePullSecrets={registry}"
    --set "kubeopencodeConfig.defaults.imagePullSecrets[0].name=registry")
}

# with_registry COMMAND...: one that trusts the registry, and has its password
with_registry() { REGISTRY_AUTH_FILE=$registry_folder/auth.json SSL_CERT_FILE=$registry_folder/registry.crt "$@"; }

# push_release: the one that was looked at; sets chart, where it then is
push_release() {
  local mirror
  mirror=$(mirror_of "$registry" "$registry_address")
  with_registry "$repo/deploy/release/push.sh" "$folder" "$mirror"
  # shellcheck disable=SC2034 # for those that install
  chart=oci://$mirror/charts/kubeopencode
}

# may_pull NAMESPACE: its Pods, from the registry; the namespace is made
may_pull() {
  have_namespace "$1"
  kubectl create secret generic registry --type=kubernetes.io/dockerconfigjson --from-file=".dockerconfigjson=$registry_folder/auth.json" \
    --dry-run=client --output yaml | kubectl --namespace "$1" apply -f - >/dev/null
}

# images_in_registry: of the release that was looked at, a line each, as Pods name them
images_in_registry() {
  local name mirror
  mirror=$(mirror_of "$registry" "$registry_address")
  for name in $(release_images); do
    echo "$(image_reference "$mirror" "$version" "$name")@$(jq -r '.manifests[0].digest' "$folder/images/$(image_name "$name")/index.json")"
  done
}
