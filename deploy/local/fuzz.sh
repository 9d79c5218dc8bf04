#!/usr/bin/env bash
# Fuzz targets for what strangers write and KubeOpenCode reads: archives, what plugins say about themselves, the output
# and the report of an agent, FILE_MAPPINGS, addresses of repositories.
#
#   fuzz.sh [SECONDS [TARGET...]]    build the targets, then run each for so long (60); the first finding ends it
#
# The targets are in fuzz/fuzz_targets, what they ask for in a module `fuzzing` beside the code, the first inputs in
# fuzz/seeds. What libFuzzer collects and finds is kept in ${XDG_CACHE_HOME:-~/.cache}/kubeopencode/fuzz. A finding
# is mended with its input as one more seed: `cargo test` holds every property to the seeds. That the targets compile,
# `make lint` sees.
#
# The repository's own stable toolchain does: coverage is rustc's `-C passes=sancov-module`, and no sanitizer is asked
# for, since nothing here is unsafe. libFuzzer itself is C++.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
# a hanging or greedy input is a finding, too
limits=(-timeout=10 -rss_limit_mb=2048 -max_len=65536 -len_control=100)

main() {
  cd "$repo"
  preflight fuzz
  host=$(rustc -vV | sed -n 's/^host: //p')
  target_dir=${CARGO_TARGET_DIR:-$repo/target}/fuzz
  local seconds=${1:-60} target targets
  [[ $seconds =~ ^[1-9][0-9]*$ ]] || die "\"$seconds\" is no number of seconds"
  mapfile -t targets < <([ $# -le 1 ] || printf '%s\n' "${@:2}")
  [ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs -a fuzz/fuzz_targets/*.rs)
  build
  for target in "${targets[@]}"; do run "$target" "$seconds"; done
}

build() {
  local cargo_fuzz log=$cache/logs/fuzz-build.log
  cargo_fuzz=$("$here/programs.sh" cargo-fuzz)
  # the profile of tests: asserts are on
  CARGO_TARGET_DIR=$target_dir watched "$log" "compiling the targets" \
    "$cargo_fuzz" build --fuzz-dir fuzz --features libfuzzer --dev --sanitizer none --target "$host" ||
    die_with_log "$log" "the targets do not compile" "see $log"
}

# run TARGET SECONDS
run() {
  local target=$1 seconds=$2 kept=$cache/fuzz/$1 log=$cache/logs/fuzz-$1.log started=$SECONDS
  [ -x "$target_dir/$host/debug/$target" ] || die "there is no target \"$target\"" "ls fuzz/fuzz_targets"
  mkdir -p "$kept/corpus" "$kept/found"
  say "$target: $seconds s (log: $log)"
  "$target_dir/$host/debug/$target" "$kept/corpus" "fuzz/seeds/$target" -artifact_prefix="$kept/found/" \
    -max_total_time="$seconds" -print_final_stats=1 "${limits[@]}" >"$log" 2>&1 </dev/null ||
    die_with_log "$log" "$target: a property does not hold; the input is the newest file in $kept/found" \
      "$target_dir/$host/debug/$target FILE shows it again; mend it, and keep the input in fuzz/seeds/$target"
  say "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $((SECONDS - started)) s, nothing found"
}

main "$@"
