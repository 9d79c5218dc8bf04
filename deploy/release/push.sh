#!/usr/bin/env bash
# Brings a release into a registry, the one that it was made for or a mirror: its images, then its chart. With a key of cosign it
# signs them there, and first of all SHA256SUMS, into SHA256SUMS.sigstore.json beside it.
#
#   push.sh FOLDER [REGISTRY]   FOLDER as build.sh wrote it; REGISTRY: the one that its images.txt names
#
# Images become REGISTRY/kubeopencode:VERSION and REGISTRY/kubeopencode-…:VERSION, the chart oci://REGISTRY/charts/kubeopencode.
# Nothing is overwritten: a version that is there with another content is refused. Log in with skopeo login, or docker login.
#
# Env: REGISTRY_AUTH_FILE (~/.docker/config.json): the logins. SSL_CERT_FILE: authorities, for a registry with one of its own.
# COSIGN_KEY: a file, env://NAME or the address of a key in a KMS, as cosign has it; COSIGN_PASSWORD: the password of the file.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/names.sh"
. "$here/signatures.sh"
me=push

main() {
  [ $# = 1 ] || [ $# = 2 ] || die "usage: push.sh FOLDER [REGISTRY]"
  look_at "$1"
  registry=${2:-$registry}
  check_registry "$registry"
  preflight push clients
  tools=$("$repo/deploy/local/tools.sh" clients)
  # made here, since a function that dies in a substitution removes nothing
  raw=$(mktemp)
  at_exit rm -f "$raw"
  # all of them read this one
  export REGISTRY_AUTH_FILE=${REGISTRY_AUTH_FILE:-$HOME/.docker/config.json}
  # who cannot sign pushes nothing
  if signs; then
    prepare_to_sign
    sign_checksums
  fi
  local name
  for name in $(release_images); do push_image "$(image_name "$name")"; done
  push_chart
  signs || say "nothing was signed: COSIGN_KEY names no key"
}

push_image() {
  local layout=$folder/images/$1 to=$registry/$1:$version digest there
  digest=$(jq -r '.manifests[0].digest' "$layout/index.json")
  there=$(digest_in_registry "$to")
  [ -z "$there" ] || [ "$there" = "$digest" ] ||
    die "$to is there, and it is $there, not $digest" "a version is never changed: name this one otherwise"
  [ "$there" ] || logged skopeo copy --insecure-policy --all --preserve-digests --authfile "$REGISTRY_AUTH_FILE" "oci:$layout:$version" "docker://$to"
  say "$to@$digest"
  sign_in_registry "$registry/$1@$digest"
}

push_chart() {
  local chart=kubeopencode-$version.tgz to=$registry/charts/kubeopencode digest layer manifest there
  manifest=$(manifest_in_registry "$to:$version")
  there=$(jq -r '.layers[0].digest' <<<"$manifest")
  layer=sha256:$(sha256sum <"$folder/$chart" | cut -d' ' -f1)
  [ -z "$there" ] || [ "$there" = "$layer" ] ||
    die "$to:$version is there, with another chart than $folder/$chart" "a version is never changed: name this one otherwise"
  [ "$there" ] || logged "$tools/helm" push "$folder/$chart" "oci://$registry/charts" --registry-config "$REGISTRY_AUTH_FILE"
  digest=$(digest_in_registry "$to:$version")
  say "oci://$to:$version@$digest"
  sign_in_registry "$to@$digest"
}

# digest_in_registry REFERENCE: empty where there is none
digest_in_registry() {
  manifest_in_registry "$1" >"$raw"
  [ ! -s "$raw" ] || echo "sha256:$(sha256sum <"$raw" | cut -d' ' -f1)"
}

# manifest_in_registry REFERENCE: byte for byte, and nothing where there is none. Who gets no answer does not take it for missing, and
# overwrite it. Registries say in many words that they have none; where it is the login that they mean, the push says so.
manifest_in_registry() {
  local log=$cache/logs/push.log
  ! skopeo inspect --raw --authfile "$REGISTRY_AUTH_FILE" "docker://$1" 2>"$log" || return 0
  grep -qiE '(manifest|name).unknown|not found|does not exist|unauthorized|authentication required|denied|forbidden' "$log" ||
    die_with_log "$log" "$registry does not say whether it has $1" "see whether it answers, and push again"
}

logged() {
  local log=$cache/logs/push.log
  "$@" >"$log" 2>&1 </dev/null || die_with_log "$log" "this failed: $*" "see whether $registry answers and REGISTRY_AUTH_FILE has a login for it"
}

main "$@"
