#!/usr/bin/env bash
# Changes the code that decides, one place at a time, and runs the unit tests on it: a change that no test sees is a test
# that is missing. Hours for everything; not in CI.
#
#   mutants.sh [ARGUMENT...]   for cargo-mutants, as in: mutants.sh --file host/operator/src/task/decide.rs
#
# Which files, and what is left out and why, stands in .cargo/mutants.toml. What survived is printed at the end, and is
# kept with all logs in ${XDG_CACHE_HOME:-~/.cache}/kubeopencode/mutants.out.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

main() {
  local cargo_mutants code=0
  cd "$repo"
  preflight mutants
  cargo_mutants=$("$here/programs.sh" cargo-mutants)
  # in a copy of the checkout, which may be worked in meanwhile; what it compiles stays for the next run
  CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$repo/target}/mutants \
    "$cargo_mutants" mutants --output "$cache" --no-shuffle --colors never --minimum-test-timeout 60 "$@" || code=$?
  # 2: some survived
  [ "$code" = 0 ] || [ "$code" = 2 ] || die "cargo-mutants ended with $code" "see $cache/mutants.out"
  if [ -s "$cache/mutants.out/missed.txt" ]; then
    say "these changes no test sees:"
    cat "$cache/mutants.out/missed.txt"
    exit 1
  fi
  say "every change is seen by a test"
}

main "$@"
