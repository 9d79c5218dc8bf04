#!/usr/bin/env bash
# A release, from a commit: the same commit, version and registry give the same bytes.
#
#   build.sh VERSION [REGISTRY [FOLDER]]   write it into FOLDER (dist/VERSION)
#
# REGISTRY (quay.io/kubeopencode) is where its images are; push.sh brings them there. The folder holds:
#
#   PROGRAM-VERSION-linux-ARCHITECTURE.tar.gz        kubeopencode, kubectl-kubeopencode: completions, changelog and licence beside
#   krew.yaml                                        what krew wants to know of kubectl's plugin
#   kubeopencode-VERSION.tgz                         the chart, whose images are these, by digest
#   install.yaml, definitions.yaml                   for those without helm; the definitions alone
#   images/NAME                                      an OCI layout of each image, of both architectures
#   images.txt                                       their names, a line each
#   sbom/*.cdx.json                                  what is in programs and images, CycloneDX
#   notes.md                                         what CHANGELOG.md says of this version
#   SHA256SUMS                                       of all files but images
#
# Env: RELEASE_PROGRAMS: a folder with a folder of programs for each architecture, in place of compiling them; for tests.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/names.sh"
. "$here/oci.sh"
. "$here/chart.sh"
. "$here/sbom.sh"
. "$here/notes.sh"
me=release
# a function whose answer is taken may write a part of an image before it fails
shopt -s inherit_errexit
umask 022

main() {
  [ $# -ge 1 ] && [ $# -le 3 ] || die "usage: build.sh VERSION [REGISTRY [FOLDER]]" "make release VERSION=0.2.0"
  version=$1 registry=${2:-$default_registry}
  local to=${3:-$repo/dist/$version}
  check_version "$version"
  check_registry "$registry"
  preflight release
  tools=$("$repo/deploy/local/tools.sh" clients)
  revision=$(git -C "$repo" rev-parse HEAD)
  SOURCE_DATE_EPOCH=$(git -C "$repo" show --no-patch --format=%ct HEAD)
  export SOURCE_DATE_EPOCH
  [ -z "$(git -C "$repo" status --porcelain)" ] || say "WARNING: the checkout has changes that are not in its commit, so nobody can make this release again"
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  out=$work/out
  mkdir -p "$out"/{images,sbom}

  local architecture folder program package
  images_of_packages
  declare -gA programs
  while read -r architecture folder; do programs[$architecture]=$folder; done < <(folders_of_programs)
  [ ${#programs[@]} = 2 ] || die "the programs were not compiled for both architectures; the lines above say why"
  for architecture in amd64 arm64; do
    while read -r program package; do
      archive_program "$architecture" "$program"
      bill "$program-$version-linux-$architecture" application < <(crates "$architecture" "$package")
    done < <(programs_of_host)
  done
  krew_manifest >"$out/krew.yaml"
  images_of_release
  stage_chart "$work" "$version" "$registry" "$work/digests"
  archive_chart
  one_manifest "$version" "$registry" "$work/digests" >"$out/install.yaml"
  cp "$repo/deploy/chart/files/crds/definitions.yaml" "$out/definitions.yaml"
  list_images "$version" "$registry" >"$out/images.txt"
  notes "$version" >"$out/notes.md"
  (cd "$out" && find . -type f ! -path './images/*' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum) >"$work/sums"
  mv "$work/sums" "$out/SHA256SUMS"
  find "$out" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

  mkdir -p "$(dirname "$to")"
  rm -rf "$to"
  mv "$out" "$to"
  say "$version is in $to"
}

# images_of_packages: those without a program of ours. They want Debian, npm, and a kernel that runs programs of arm64, and a machine
# without one of these says so before it has compiled for an hour.
images_of_packages() {
  local architecture
  for architecture in amd64 arm64; do
    IMAGE_ARCHITECTURE=$architecture "$repo/deploy/images/build.sh" agent-opencode agent-attach agent-devbox >/dev/null
  done
}

# folders_of_programs: a line `ARCHITECTURE FOLDER` for each
folders_of_programs() {
  local architecture
  if [ -z "${RELEASE_PROGRAMS:-}" ]; then
    "$here/compile.sh" "$version" "$registry" amd64 arm64
    return
  fi
  for architecture in amd64 arm64; do echo "$architecture $RELEASE_PROGRAMS/$architecture"; done
}

# pack_folder FOLDER NAME: FOLDER/NAME as tar.gz, the same for the same content
pack_folder() {
  tar -c --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+w --format=gnu -C "$1" "$2" | gzip -n -9
}

# archive_program ARCHITECTURE PROGRAM
archive_program() {
  local name=$2-$version-linux-$1 folder=$work/archive shell
  mkdir -p "$folder/$name/completions"
  cp "$repo"/{LICENSE,CHANGELOG.md} "$folder/$name"
  install -m 0755 "${programs[$1]}/$2" "$folder/$name/$2"
  # completions are the same for each architecture, and one of them runs here
  for shell in bash zsh fish; do "${programs[amd64]}/$2" completion $shell >"$folder/$name/completions/$2.$shell"; done
  pack_folder "$folder" "$name" >"$out/$name.tar.gz"
}

# krew_manifest: deploy/krew's, of this version and with the digests of its archives
krew_manifest() {
  local architecture digest edits=(-e '/^#/d' -e "s/@VERSION@/$version/g")
  for architecture in amd64 arm64; do
    digest=$(sha256sum <"$out/kubectl-kubeopencode-$version-linux-$architecture.tar.gz" | cut -d' ' -f1)
    edits+=(-e "s/@SHA256_LINUX_${architecture^^}@/$digest/")
  done
  sed "${edits[@]}" "$repo/deploy/krew/kubeopencode.yaml"
}

# images_of_release: layouts, bills, and a line `NAME DIGEST` for each in $work/digests
images_of_release() {
  local name architecture archive digest names=() archives
  mapfile -t names < <(release_images | tr ' ' '\n')
  for architecture in amd64 arm64; do
    IMAGE_ARCHITECTURE=$architecture IMAGE_PROGRAMS=${programs[$architecture]} "$repo/deploy/images/build.sh" "${names[@]}" >"$work/$architecture"
  done
  for name in "${names[@]}"; do
    archives=()
    for architecture in amd64 arm64; do
      archive=$(awk -v name="$name" '$1 == name {print $3}' "$work/$architecture")
      archives+=("$archive")
      bill "$(image_name "$name")-image-$version-linux-$architecture" container < <(packages "$archive" && if [ "$name" = system ]; then crates "$architecture" "$(package_of kubeopencode)"; fi)
    done
    say "$name: one index of both architectures"
    digest=$(oci_layout "$out/images/$(image_name "$name")" "$name" "$version" "$revision" "$SOURCE_DATE_EPOCH" "${archives[@]}")
    echo "$name $digest" >>"$work/digests"
  done
}

# bill NAME TYPE: of what comes in
bill() { sbom "$out/sbom/$1.cdx.json" "$1" "$2" "$version" "$revision" "$SOURCE_DATE_EPOCH"; }

# helm writes the time at which it runs into the archive
archive_chart() {
  "$tools/helm" lint --strict "$work/kubeopencode" >"$work/lint" || die_with_log "$work/lint" "helm does not take the chart of this release"
  "$tools/helm" package "$work/kubeopencode" --destination "$work/packed" >/dev/null
  mkdir "$work/unpacked"
  tar -xf "$work/packed/kubeopencode-$version.tgz" -C "$work/unpacked"
  pack_folder "$work/unpacked" kubeopencode >"$out/kubeopencode-$version.tgz"
}

main "$@"
