# Puts a release into the local cluster, from its folder and from nothing else: into a registry with TLS and a password beside
# the node, and by helm from there. Sourced after names.sh, deploy/local/lib.sh and deploy/local/install.sh.

# start_release_registry: sets release_values too, by which the chart names what is there
start_release_registry() {
  start_registry
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

# images_in_registry: of the release that was looked at, a line each, as Pods name them
images_in_registry() {
  local name mirror
  mirror=$(mirror_of "$registry" "$registry_address")
  for name in $(release_images); do
    echo "$(image_reference "$mirror" "$version" "$name")@$(jq -r '.manifests[0].digest' "$folder/images/$(image_name "$name")/index.json")"
  done
}
