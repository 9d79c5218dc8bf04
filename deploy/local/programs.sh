#!/usr/bin/env bash
# Programs that are compiled once per machine, in the versions of requirements.txt (its lines crate: and go:).
#
#   programs.sh NAME...   build what is missing and print the path of each
#
# They live in ${XDG_CACHE_HOME:-~/.cache}/kubeopencode/programs/NAME-VERSION, older versions until they were not used for 14 days.
# Without optimisation where cargo builds them: they run for seconds, and would compile for minutes.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
programs=$cache/programs

main() {
  local name
  [ $# -gt 0 ] || die "usage: programs.sh NAME..."
  mkdir -p "$programs"
  for name; do program "$name"; done
  remove_unused "$programs" 1 -type d -name '*-*' ! -name '*.partial'
  remove_unfinished "$programs" -type d -name '*.partial'
}

# program NAME: one that is there waits for no builder
program() {
  local name=$1 source version folder log=$cache/logs/$1.log
  source=$(awk -v name="$name" '$1 ~ /^(crate|go):/ {for (i = 3; i <= NF; i++) if ($i == name) print $1}' "$here/requirements.txt")
  [ -n "$source" ] || die "$name is not compiled from crates.io or Go's module proxy" "see deploy/local/requirements.txt"
  version=${source##*@}
  folder=$programs/$name-$version
  [ -x "$folder/bin/$name" ] || alone build
  touch "$folder"
  echo "$folder/bin/$name"
}

# alone COMMAND: one builder at a time
alone() {
  exec 9>"$programs/.lock"
  flock -n 9 || { say "another build is under way, waiting for it" && flock 9; }
  "$@"
  exec 9>&-
}

# build: what program wants, unless another builder was faster
build() {
  [ ! -x "$folder/bin/$name" ] || return 0
  rm -rf "$folder.partial"
  case $source in
    crate:*) preflight build && watched "$log" "compiling $name $version, once per machine" from_crate "${source#crate:}" "$folder.partial" ;;
    go:*) preflight go && watched "$log" "compiling $name $version, once per machine" from_go "${source#go:}" "$folder.partial" ;;
  esac || die_with_log "$log" "$name $version could not be compiled" "see $log"
  mv "$folder.partial" "$folder"
  rm -rf "$programs/target"
}

# from_crate NAME@VERSION FOLDER: outside the checkout, whose flags are not meant for it
from_crate() {
  local toolchain features=()
  toolchain=$(toolchain)
  case $1 in
    # its own updater would bring a client for https
    cargo-nextest@*) features=(--no-default-features --features default-no-update) ;;
    # neither a web server nor a look-out for changes
    mdbook@*) features=(--no-default-features --features search) ;;
  esac
  (cd / && RUSTUP_TOOLCHAIN=$toolchain CARGO_TARGET_DIR=$programs/target CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install --locked --debug "${features[@]}" "$1" --root "$2")
}
from_go() { (cd / && CGO_ENABLED=0 GOBIN=$2/bin go install "$1"); }

main "$@"
