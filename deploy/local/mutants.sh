#!/usr/bin/env bash
# Changes the code that decides, one place at a time, and runs the unit tests on it: a change that no test sees is a test
# that is missing. Hours for everything; not in CI.
#
#   mutants.sh [ARGUMENT...]   for cargo-mutants, as in: mutants.sh --file host/operator/src/task/decide.rs
#
# Which files, and what is left out and why, stands in .cargo/mutants.toml. What survived is printed at the end, and is
# kept with all logs in ${XDG_CACHE_HOME:-~/.cache}/kubeopencode/mutants.out.
#
# Env: MINUTES: it ends after so many, with what survived until then; `mutants.sh --iterate` then leaves out what was seen.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

main() {
  local cargo_mutants code=0 out=$cache/mutants.out limit=()
  cd "$repo"
  preflight mutants
  cargo_mutants=$("$here/programs.sh" cargo-mutants)
  [ -z "${MINUTES:-}" ] || limit=(timeout --signal=INT "${MINUTES}m")
  # the profile says it: of the crate that is changed only what the change is about is compiled again
  unset CARGO_INCREMENTAL
  # in a copy of the checkout, which may be worked in meanwhile; what it compiles stays for the next run
  CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$repo/target}/mutants \
    "${limit[@]}" "$cargo_mutants" mutants --output "$cache" --no-shuffle --colors never "$@" || code=$?
  case $code in
    # 2: some survived; 3: none did, and some were ended by the limit of time
    0 | 2 | 3) ;;
    124) say "after $MINUTES minutes: $(cat "$out"/{caught,missed,timeout,unviable}.txt | wc -l) changes were tried" ;;
    *) die "cargo-mutants ended with $code" "see $out" ;;
  esac
  if [ -s "$out/missed.txt" ]; then
    say "these changes no test sees:"
    cat "$out/missed.txt"
    exit 1
  fi
  say "every change that was tried is seen by a test"
}

main "$@"
