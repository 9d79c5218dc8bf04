#!/usr/bin/env bash
# The unit tests and the image build on a bare machine, so that nothing that somebody installed by hand hides a missing
# line of deploy/local/requirements.txt: Debian's minimal system, into which preflight.sh alone brings more.
#
#   .ci/bare.sh [STEP...] [-- COMMAND...]    steps of preflight.sh (unit images), and what runs (make STEP...)
#
# Rust and Go are bound in read-only, as this checkout is; the toolchain is one of links, without the targets that
# rust-toolchain.toml adds. What cargo and Go compile is kept where this machine keeps it, under the same paths, so that
# nothing is compiled twice. Images are all built anew, and kept if this machine has none of that content.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../deploy/local/lib.sh
. "$here/../deploy/local/lib.sh"
me=bare
suite=bookworm
bare=$cache/bare
root=$bare/root
cargo_home=${CARGO_HOME:-$HOME/.cargo}
rustup_home=${RUSTUP_HOME:-$HOME/.rustup}

main() {
  if [ "${KUBEOPENCODE_BARE:-}" ]; then
    inside "$@"
    return
  fi
  preflight bare build go
  local steps=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do steps+=("$1") && shift; done
  [ ${#steps[@]} -gt 0 ] || steps=(unit images)
  [ $# -gt 1 ] && shift || set -- make "${steps[@]}"
  mkdir -p "$bare"
  exec 8>"$bare/.lock"
  flock -n 8 || { say "waiting for another bare machine" && flock 8; }
  minimal_system
  at_exit rm -rf --one-file-system "$bare"/{root,images,downloads}
  # what a run left that was killed, whose mounts went with its namespaces
  rm -rf --one-file-system "$bare"/{root,images,downloads}
  mkdir "$root"
  mkdir -p "$bare"/{images,downloads} "$cache"/{images,downloads}
  # what is mounted and what runs goes with the namespaces
  KUBEOPENCODE_BARE="${steps[*]}" unshare --mount --pid --fork --kill-child "$0" "$@"
  local kept
  for kept in images downloads; do find "$bare/$kept" -maxdepth 1 -type f -exec mv -n -t "$cache/$kept" {} +; done
}

minimal_system() {
  local log=$cache/logs/bare.log
  [ ! -f "$bare/$suite.tar" ] || return 0
  watched "$log" "Debian $suite, the minimal system, once per machine" \
    mmdebstrap --variant=minbase --dpkgopt=force-unsafe-io "$suite" "$bare/$suite.partial.tar" ||
    die_with_log "$log" "mmdebstrap could not fetch Debian $suite" "see whether this machine reaches Debian's packages"
  mv "$bare/$suite.partial.tar" "$bare/$suite.tar"
}

inside() {
  local steps
  read -ra steps <<<"$KUBEOPENCODE_BARE"
  tar -xpf "$bare/$suite.tar" -C "$root"
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  local path
  for path in "$repo" "$(git -C "$repo" rev-parse --path-format=absolute --git-common-dir)" "$(cd / && go env GOROOT)" \
    "$(cd / && go env GOENV)" "$cargo_home"/config.toml "$HOME/.npmrc" "$HOME/.gitconfig" "$HOME/.config/pip" /etc/pip.conf \
    /etc/resolv.conf /etc/hosts; do
    bind "$path" ro
  done
  for path in "$cache" "${CARGO_TARGET_DIR:-$repo/target}" "$cargo_home"/registry "$cargo_home"/git \
    "$(cd / && go env GOCACHE)" "$(cd / && go env GOMODCACHE)"; do
    mkdir -p "$path"
    bind "$path"
  done
  # whom this machine trusts, for the package ca-certificates to take up
  mkdir -p "$root/usr/local/share/ca-certificates"
  cp /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/ca-certificates/machine.crt"
  for path in images downloads; do mount --bind "$bare/$path" "$root$cache/$path"; done
  rust_by_links
  unset KUBEOPENCODE_BARE KUBEOPENCODE_PREFLIGHT
  export RUSTUP_AUTO_INSTALL=0 PATH
  PATH=$cargo_home/bin:$(cd / && go env GOROOT)/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  chroot "$root" bash -euc 'cd "$0"; deploy/local/preflight.sh "${@:2:$1}"; exec "${@:$1 + 2}"' \
    "$repo" ${#steps[@]} "${steps[@]}" "$@"
}

# bind PATH [ro]: this machine's file or folder, at the same place in the root
bind() {
  local to=$root$1
  [ -e "$1" ] || return 0
  if [ -d "$1" ]; then mkdir -p "$to"; else
    mkdir -p "$(dirname "$to")"
    [ -e "$to" ] || [ -L "$to" ] || : >"$to"
  fi
  mount --bind "$1" "$to"
  [ "${2:-}" != ro ] || mount -o remount,bind,ro "$to"
}

# rustup, and a toolchain that is this machine's file by file, apart from what rustup writes when it adds a target
rust_by_links() {
  local toolchain name entry
  mkdir -p "$root$cargo_home/bin" "$root$rustup_home"
  cp "$(realpath "$(command -v rustup)")" "$root$cargo_home/bin/rustup"
  for name in cargo cargo-clippy cargo-fmt clippy-driver rustc rustdoc rustfmt; do ln -s rustup "$root$cargo_home/bin/$name"; done
  printf 'version = "12"\nprofile = "minimal"\n' >"$root$rustup_home/settings.toml"
  toolchain=$(rustup which rustc --toolchain "$(toolchain)")
  toolchain=${toolchain%/bin/rustc}
  mkdir -p "$root$toolchain/lib/rustlib"
  for entry in "$toolchain"/* "$toolchain"/lib/* "$toolchain"/lib/rustlib/*; do
    case $entry in
      */lib | */rustlib | *wasm32*) ;;
      */rustlib/components) grep -v wasm32 "$entry" >"$root$entry" ;;
      # its paragraphs are the components
      */rustlib/multirust-config.toml) awk -v RS= -v ORS='\n\n' '!/wasm32/' "$entry" >"$root$entry" ;;
      *) if [ -d "$entry" ] || [[ $entry != */rustlib/* ]]; then bind "$entry" ro; else cp "$entry" "$root$entry"; fi ;;
    esac
  done
}

main "$@"
