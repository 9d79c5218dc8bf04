#!/usr/bin/env bash
# Tries a release from what is in its folder, and from nothing else: the programs, also those of arm64, under qemu; the
# images; a registry with TLS and a password, to which it is pushed and from which the chart comes back; signatures, by a key
# that is made here; and that packing the same programs again gives the same bytes. As root, some minutes.
#
#   test.sh FOLDER    as build.sh wrote it: dist/VERSION
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/../local/steps.sh"
. "$here/../local/registry.sh"
. "$here/../chart/lib.sh"
. "$here/../images/foreign.sh"
. "$here/names.sh"
. "$here/chart.sh"
me=release-test
# in a network of its own, where it has the registry's port
host=127.0.0.1:5000

main() {
  [ $# = 1 ] && [ -f "$1/images.txt" ] || die "usage: test.sh FOLDER" "make release VERSION=0.2.0, then test.sh dist/0.2.0"
  look_at "$1"
  mirror=$(mirror_of "$registry" "$host")
  # keys are made here
  unset COSIGN_KEY COSIGN_PASSWORD
  if [ -z "${KUBEOPENCODE_RELEASE_TEST:-}" ]; then
    preflight release-test release
    [ "$(id -u)" = 0 ] || die "the release is tried in namespaces of its own" "run this as root"
    # whatever has to be compiled comes from the internet, to which there is no way later
    "$repo/deploy/local/programs.sh" registry cosign >/dev/null
    "$repo/deploy/local/tools.sh" clients >/dev/null
    KUBEOPENCODE_RELEASE_TEST=inside exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$folder"
  fi
  ip link set lo up
  tools=$("$repo/deploy/local/tools.sh" clients)
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  architecture=arm64 run_foreign_programs
  step "checksums" checksums
  step "the programs of amd64" try_programs amd64
  step "the programs of arm64, under qemu" try_programs arm64
  step "the manifest for krew" try_krew
  step "the images" try_images
  step "a registry with TLS and a password" start_registry
  step "push" try_push
  step "signatures" try_signatures
  step "the chart from the registry" try_chart
  step "a bill of materials for each program and image" try_bills
  step "packed again, the same bytes" try_again
  run_steps
}

checksums() {
  (cd "$folder" && sha256sum --check --quiet SHA256SUMS) || die "a file is not what SHA256SUMS says"
  diff <(cd "$folder" && find . -type f ! -path './images/*' ! -name 'SHA256SUMS*' -printf '%P\n' | sort) \
    <(cut -c67- "$folder/SHA256SUMS" | sort) >&2 || die "SHA256SUMS does not name all files"
}

# try_programs ARCHITECTURE
try_programs() {
  local name program headers pod
  mkdir -p "$work/programs/$1"
  for name in kubeopencode kubectl-kubeopencode; do
    program=$work/programs/$1/$name
    tar -xzf "$folder/$name-$version-linux-$1.tar.gz" -C "$work/programs/$1" --strip-components=1
    [ "$("$program" --version)" = "$name $version" ] || die "--version of $name for $1 says $("$program" --version)"
    headers=$(readelf --program-headers "$program")
    [[ $headers != *" INTERP "* ]] || die "$name for $1 is not static: it wants a loader, which another machine or image may not have"
    bash -n "$work/programs/$1/completions/$name.bash"
  done
  program=$work/programs/$1/kubeopencode
  diff <("$program" crds) "$folder/definitions.yaml" >&2 || die "definitions.yaml is not what the program of $1 prints"
  "$program" render --filename "$repo/examples/quickstart" >"$work/rendered.yaml" || die "render of $1 failed"
  pod=$(as_json "$work/rendered.yaml" | jq -c 'select(.kind == "Pod").spec')
  # unset images are the release's
  diff <(jq -r '.initContainers[].image, .containers[].image' <<<"$pod" | sort -u) \
    <(for name in system agent-opencode agent-devbox; do image_reference "$registry" "$version" "$name"; done | sort -u) >&2 ||
    die "the images of a Task are not those of the release"
  if [ -f "$work/rendered-first.yaml" ]; then
    diff "$work/rendered-first.yaml" "$work/rendered.yaml" >&2 || die "the architectures render other Pods"
  fi
  mv "$work/rendered.yaml" "$work/rendered-first.yaml"
  try_context_init "$1" "$pod"
}

# try_context_init ARCHITECTURE POD: as the kubelet would run it, in the image, with the ConfigMaps that were rendered
try_context_init() {
  local root=$work/root-$1 variables=() key volumes=(configmap-files workspace tools)
  mkdir "$root"
  unpack_image kubeopencode "$1" "$root"
  (cd "$root" && mkdir "${volumes[@]}")
  as_json "$work/rendered-first.yaml" | jq -c 'select(.kind == "ConfigMap").data // empty' >"$work/data"
  jq -r 'keys[]' "$work/data" | while read -r key; do jq -j --arg key "$key" '.[$key] // empty' "$work/data" >"$root/configmap-files/$key"; done
  mapfile -d '' -t variables < <(jq -j '.initContainers[] | select(.name == "context-init").env[] | "\(.name)=\(.value // "")\u0000"' <<<"$2")
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "${variables[@]}" unshare --mount sh -c "$in_image" in_image "$root" /kubeopencode context-init ||
    die "context-init of $1 failed"
  grep -qF "Say in one sentence what this team cares about." "$root/workspace/task.md" || die "context-init of $1 wrote no prompt into /workspace/task.md"
  # what git-init calls is there, and of this architecture
  unshare --mount sh -c "$in_image" in_image "$root" /usr/bin/git --version >/dev/null || die "git in the image of $1 does not start"
}
# a script: ROOT PROGRAM..., in it, with what these programs need of a container; the mounts go with its namespace
in_image='mkdir -p "$1/proc" "$1/dev" && touch "$1/dev/null" "$1/dev/termination-log" &&
  mount -t proc proc "$1/proc" && mount --bind /dev/null "$1/dev/null" && exec chroot "$@"'

# as krew reads it: an archive of each architecture, of this digest, in which each pattern finds one file
try_krew() {
  local architecture archive digest pattern
  ! grep -n '@' "$folder/krew.yaml" || die "krew.yaml has places that are not filled in"
  for architecture in amd64 arm64; do
    as_json "$folder/krew.yaml" | jq --arg architecture "$architecture" '.spec.platforms[] | select(.selector.matchLabels.arch == $architecture)' >"$work/platform"
    archive=$folder/$(jq -r '.uri | sub(".*/"; "")' "$work/platform")
    digest=$(sha256sum <"$archive" | cut -d' ' -f1)
    [ "$(jq -r .sha256 "$work/platform")" = "$digest" ] || die "krew.yaml names another digest than $digest for $archive"
    mkdir "$work/krew-$architecture"
    tar -xzf "$archive" -C "$work/krew-$architecture"
    jq -r '.files[].from' "$work/platform" >"$work/patterns"
    while read -r pattern; do
      [ "$(find "$work/krew-$architecture" -type f -path "$work/krew-$architecture/$pattern" | wc -l)" = 1 ] || die "$archive does not have one file $pattern"
    done <"$work/patterns"
  done
}

# manifest_of IMAGE ARCHITECTURE: the manifest in the layout
manifest_of() { layout_blob "$1" "$(index_of "$1" | jq -r --arg architecture "$2" '.manifests[] | select(.platform.architecture == $architecture).digest')"; }
index_of() { layout_blob "$1" "$(jq -r '.manifests[0].digest' "$folder/images/$1/index.json")"; }
layout_blob() { cat "$folder/images/$1/blobs/sha256/${2#sha256:}"; }

# unpack_image IMAGE ARCHITECTURE FOLDER
unpack_image() { layout_blob "$1" "$(manifest_of "$1" "$2" | jq -r '.layers[0].digest')" | tar -xz -C "$3"; }

try_images() {
  local name image architecture config blob
  for name in $(release_images); do
    image=$(image_name "$name")
    for blob in "$folder/images/$image"/blobs/sha256/*; do
      [ "$(sha256sum <"$blob" | cut -d' ' -f1)" = "$(basename "$blob")" ] || die "$blob is not what its name says"
    done
    [ "$(index_of "$image" | jq -c '[.manifests[].platform]')" = '[{"architecture":"amd64","os":"linux"},{"architecture":"arm64","os":"linux"}]' ] ||
      die "the index of $image is not of both architectures"
    for architecture in amd64 arm64; do
      config=$(layout_blob "$image" "$(manifest_of "$image" "$architecture" | jq -r .config.digest)")
      [ "$(jq -r '"\(.architecture) \(.config.Labels["org.opencontainers.image.version"]) \(.config.User)"' <<<"$config")" = "$architecture $version 65532:65532" ] ||
        die "the configuration of $image for $architecture is not the release's: $config"
      try_shell "$image" "$architecture"
    done
  done
}

# try_shell IMAGE ARCHITECTURE: its shell runs, and each program in it is of its architecture
try_shell() {
  local root=$work/shell wrong
  rm -rf "$root"
  mkdir "$root"
  unpack_image "$1" "$2" "$root"
  [ "$(chroot "$root" /bin/sh -c 'echo works')" = works ] || die "the shell of $1 for $2 does not start"
  wrong=$(find "$root" -type f -perm -u+x -exec sh -c 'for file; do case $(od -An -tx1 -N20 "$file" | tr -d " \n") in 7f454c46*) echo "$file $(od -An -tx1 -j18 -N2 "$file" | tr -d " \n")" ;; esac; done' sh {} + |
    grep -v " $(case $2 in amd64) echo 3e00 ;; *) echo b700 ;; esac)\$" | head -n 3) || true
  [ -z "$wrong" ] || die "$1 for $2 has programs of another architecture: $wrong"
}

start_registry() {
  registry_files "$work/registry" "$host" secret
  "$("$repo/deploy/local/programs.sh" registry)" serve "$work/registry/registry.yml" >"$work/registry.log" 2>&1 &
  wait_until 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/5000' || die_with_log "$work/registry.log" "the registry does not start"
  export SSL_CERT_FILE=$work/registry/registry.crt REGISTRY_AUTH_FILE=$work/registry/auth.json
}

# login PASSWORD
login() { registry_login "$work/registry" "$host" "$1"; }

try_push() {
  local again
  login wrong
  ! "$here/push.sh" "$folder" "$mirror" 2>"$work/said" || die "the registry takes a release for a wrong password"
  grep -q "see whether $mirror answers and REGISTRY_AUTH_FILE has a login for it" "$work/said" || die_with_log "$work/said" "a wrong password is not told"
  login secret
  "$here/push.sh" "$folder" "$mirror"
  # once more: nothing to do, and it says so by the same digests
  "$here/push.sh" "$folder" "$mirror" 2>"$work/said"
  again=$(grep -c '@sha256:' "$work/said")
  [ "$again" = 5 ] || die_with_log "$work/said" "a second push names $again of 5 digests"
  grep -qx "push: nothing was signed: COSIGN_KEY names no key" "$work/said" || die_with_log "$work/said" "a push without a key does not say that nothing was signed"
  # another content under the same version
  cp -r "$folder" "$work/changed"
  rm -r "$work/changed/images/kubeopencode"
  cp -r "$folder/images/kubeopencode-agent-attach" "$work/changed/images/kubeopencode"
  ! "$here/push.sh" "$work/changed" "$mirror" 2>"$work/said" || die "a version is overwritten"
  grep -q "a version is never changed" "$work/said" || die_with_log "$work/said" "an overwritten version is refused with other words"
}

# As somebody sees it who has the public key, and no way to the internet. What is pushed is there already.
try_signatures() {
  local cosign signed=$work/signed name reference references
  cosign=$("$repo/deploy/local/programs.sh" cosign)
  export COSIGN_PASSWORD=of-the-key
  for name in ours theirs; do
    (cd "$work" && "$cosign" generate-key-pair --output-key-prefix "$name") >"$work/said" 2>&1 </dev/null || die_with_log "$work/said" "cosign makes no key"
  done
  mkdir "$signed" "$work/login"
  ln -s "$REGISTRY_AUTH_FILE" "$work/login/config.json"
  find "$folder" -mindepth 1 -maxdepth 1 ! -name images ! -name 'SHA256SUMS.*' -exec cp -r -t "$signed" {} +
  ln -s "$folder/images" "$signed/images"

  ! COSIGN_PASSWORD=wrong push_signed || die "a key is read with a wrong password"
  grep -q "COSIGN_PASSWORD is its password" "$work/said" || die_with_log "$work/said" "a wrong password of a key is not told"
  ! grep -q '@sha256:' "$work/said" || die_with_log "$work/said" "something is pushed before it is known whether it can be signed"

  push_signed || die_with_log "$work/said" "the release cannot be signed"
  mapfile -t references < <(sed -n 's/^push: signed: \(.*@sha256:\)/\1/p' "$work/said")
  [ ${#references[@]} = 5 ] || die_with_log "$work/said" "${#references[@]} are signed in the registry, and not four images and the chart"
  for reference in "${references[@]}"; do
    verify ours "$reference" || die_with_log "$work/verified" "cosign does not find the signature of $reference"
    ! verify theirs "$reference" || die "$reference passes for signed by a key that signed nothing"
  done
  verify_sums "$signed/SHA256SUMS" || die_with_log "$work/verified" "cosign does not find the signature of SHA256SUMS"
  push_signed || die_with_log "$work/said" "the release cannot be pushed again"
  [ "$(grep -c '^push: signed already: .*@sha256:' "$work/said")" = 5 ] || die_with_log "$work/said" "what is signed is signed again"

  # a line less
  sed -i 1d "$signed/SHA256SUMS"
  ! verify_sums "$signed/SHA256SUMS" || die "a changed SHA256SUMS passes for the signed one"
  ! push_signed || die "a changed SHA256SUMS is pushed with the signature of another one"
  grep -q "SHA256SUMS.sigstore.json is no signature of SHA256SUMS by this key" "$work/said" || die_with_log "$work/said" "a changed SHA256SUMS is refused with other words"
}
push_signed() { COSIGN_KEY=$work/ours.key "$here/push.sh" "$signed" "$mirror" 2>"$work/said"; }
# verify KEY REFERENCE, verify_sums FILE: as docs/operations.md has it
verify() { DOCKER_CONFIG=$work/login "$cosign" verify --key "$work/$1.pub" --insecure-ignore-tlog "$2" >"$work/verified" 2>&1; }
verify_sums() {
  "$cosign" verify-blob --key "$work/ours.pub" --insecure-ignore-tlog --bundle "$signed/SHA256SUMS.sigstore.json" "$1" >"$work/verified" 2>&1
}

# The chart that comes back names images that are there, by what is pulled from a mirror.
try_chart() {
  local image
  mkdir "$work/pulled"
  "$tools/helm" pull "oci://$mirror/charts/kubeopencode" --version "$version" --destination "$work/pulled" --registry-config "$REGISTRY_AUTH_FILE" >"$work/said" 2>&1 ||
    die_with_log "$work/said" "helm cannot pull the chart"
  cmp "$work/pulled/kubeopencode-$version.tgz" "$folder/kubeopencode-$version.tgz" >&2 || die "another chart comes back"
  "$tools/helm" show chart "$work/pulled/kubeopencode-$version.tgz" | grep -qx "appVersion: $version" || die "appVersion is not $version"
  "$tools/helm" template kubeopencode "$work/pulled/kubeopencode-$version.tgz" --set "global.imageRegistry=$host" >"$work/mirrored.yaml"
  images_of "$work/mirrored.yaml" >"$work/images"
  [ "$(wc -l <"$work/images")" = 4 ] || die "the chart does not name four images" "$(cat "$work/images")"
  while read -r image; do
    skopeo inspect --raw --authfile "$REGISTRY_AUTH_FILE" "docker://${image%:*@*}@${image##*@}" >/dev/null || die "the registry has no $image"
  done <"$work/images"
  diff <(sed 's/@.*//' "$work/images" | sed "s|^$host|${registry%%/*}|") <(sort "$folder/images.txt") >&2 || die "images.txt is not what the chart names"
}

try_bills() {
  local bill count=0 name architecture
  for bill in "$folder"/sbom/*.cdx.json; do
    count=$((count + 1))
    jq -e '.bomFormat == "CycloneDX" and .specVersion == "1.6" and (.components | length > 0)
      and all(.components[]; .type and .name and .version and (.purl | startswith("pkg:")))
      and ([.components[]["bom-ref"]] | length == (unique | length))' "$bill" >/dev/null || die "$bill is no bill of materials"
  done
  [ "$count" = 12 ] || die "$count bills of materials, and not one for each program and image of an architecture"
  for architecture in amd64 arm64; do
    name=$folder/sbom/kubeopencode-$version-linux-$architecture.cdx.json
    jq -e 'any(.components[]; .name == "wasmtime" and .licenses and .hashes) and any(.components[]; .name == "wit-bindgen")' "$name" >/dev/null ||
      die "$name does not name what the program is compiled from"
    name=$folder/sbom/kubectl-kubeopencode-$version-linux-$architecture.cdx.json
    jq -e 'any(.components[]; .name == "kube") and all(.components[]; .name != "wasmtime")' "$name" >/dev/null ||
      die "$name does not name what kubectl's plugin is compiled from"
    for name in kubeopencode:git kubeopencode:kube kubeopencode-agent-opencode:opencode-linux kubeopencode-agent-opencode:busybox kubeopencode-agent-devbox:git-lfs kubeopencode-agent-attach:dash; do
      jq -e --arg name "${name#*:}" 'any(.components[]; .name | startswith($name))' "$folder/sbom/${name%:*}-image-$version-linux-$architecture.cdx.json" >/dev/null ||
        die "the bill of ${name%:*} for $architecture does not name ${name#*:}"
    done
  done
}

# with the same packages and programs, and no image that was made before, by somebody who shares no files with others
try_again() {
  local kept again=$work/cache/kubeopencode
  [ "$(git -C "$repo" show --no-patch --format=%H HEAD)" = "$(index_of kubeopencode | jq -r '.annotations["org.opencontainers.image.revision"]')" ] ||
    die "the release is of another commit than this checkout" "make release anew"
  mkdir -p "$again/images"
  for kept in tools downloads programs; do [ ! -e "$cache/$kept" ] || ln -s "$cache/$kept" "$again/$kept"; done
  for kept in "$cache"/images/{debian-*.tar,busybox-*}; do ln -s "$kept" "$again/images/"; done
  (umask 077 && XDG_CACHE_HOME=$work/cache RELEASE_PROGRAMS=$work/programs "$here/build.sh" "$version" "$registry" "$work/again")
  # a signature is another one each time
  diff --recursive --exclude=SHA256SUMS.sigstore.json "$folder" "$work/again" >&2 || die "the same commit and programs give other bytes"
}

main "$@"
