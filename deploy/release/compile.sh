#!/usr/bin/env bash
# The programs of a release, for each architecture, from one checkout the same bytes wherever it lies.
#
#   compile.sh VERSION REGISTRY ARCHITECTURE...   prints a line `ARCHITECTURE FOLDER` for each, amd64 or arm64
#
# Version and images become part of the programs. Env: CARGO_TARGET_DIR.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/names.sh"

main() {
  [ $# -ge 3 ] || die "usage: compile.sh VERSION REGISTRY ARCHITECTURE..."
  local version=$1 registry=$2 architecture triple upper
  shift 2
  preflight compile
  export KUBEOPENCODE_VERSION=$version
  KUBEOPENCODE_SYSTEM_IMAGE=$(image_reference "$registry" "$version" system)
  KUBEOPENCODE_AGENT_IMAGE=$(image_reference "$registry" "$version" agent-opencode)
  KUBEOPENCODE_EXECUTOR_IMAGE=$(image_reference "$registry" "$version" agent-devbox)
  KUBEOPENCODE_ATTACH_IMAGE=$(image_reference "$registry" "$version" agent-attach)
  export KUBEOPENCODE_SYSTEM_IMAGE KUBEOPENCODE_AGENT_IMAGE KUBEOPENCODE_EXECUTOR_IMAGE KUBEOPENCODE_ATTACH_IMAGE
  # where these are set, cargo takes them and no others, and what it links would want the libraries of this machine
  unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} places
  # of several that fit, the last one counts
  places="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$repo=/kubeopencode --remap-path-prefix=$(target_folder)=/target"
  # the guests inside the operator
  export CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS=$places
  for architecture; do
    triple=$(rust_target "$architecture")
    upper=${triple^^}
    # the variables add to .cargo/config.toml, where RUSTFLAGS would replace it
    export "CARGO_TARGET_${upper//-/_}_RUSTFLAGS=$places"
    export "CFLAGS_${triple//-/_}=-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$(target_folder)=/target"
  done
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
  say "cargo: compiling the programs of $version for $*"
  for architecture; do
    compile "$architecture" || die "cargo build failed; its lines above say why"
    echo "$architecture $(target_folder)/$(rust_target "$architecture")/release"
  done
}

# compile ARCHITECTURE: one after the other, since a processor of arm64 may have pages of 64 KiB, which jemalloc has to know
compile() {
  local settings=() packages
  mapfile -t packages < <(packages_of_host)
  [ "$1" != arm64 ] || settings=(JEMALLOC_SYS_WITH_LG_PAGE=16)
  (cd "$repo" && env "${settings[@]}" cargo build --release --locked --bins "${packages[@]}" --target "$(rust_target "$1")" >&2)
}

target_folder() { echo "${CARGO_TARGET_DIR:-$repo/target}"; }

main "$@"
