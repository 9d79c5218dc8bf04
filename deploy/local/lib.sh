# What the scripts of deploy/ share: where things are kept, how they speak, how they fail. Sourced, never run.
#
# Progress goes to stderr, so that a script's stdout stays its answer (a kubeconfig's path, a list of images).
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kubeopencode
me=$(basename "$0" .sh)
# where Debian keeps some programs that not only root runs, and where rustup puts its own
PATH=$PATH:/usr/sbin:/sbin:${CARGO_HOME:-$HOME/.cargo}/bin

say() { echo "$me: $*" >&2; }

# die TEXT [REMEDY]: every failure says what went wrong and what to do
die() {
  echo "$me: error: $1" >&2
  [ -z "${2:-}" ] || echo "$me: do: $2" >&2
  exit 1
}
mkdir -p "$cache/logs" || die "$cache cannot be made" "see whether its disk is full, or set XDG_CACHE_HOME to another folder"

# die_with_log LOG TEXT [REMEDY]
die_with_log() {
  local log=$1
  shift
  echo "$me: the last lines of $log:" >&2
  tail -n 15 "$log" 2>/dev/null | cut -c1-400 | sed 's/^/    /' >&2 || true
  die "$@"
}

# at_exit COMMAND...: run it when the script ends, the last one named first
exit_actions=()
at_exit() { exit_actions=("$(printf '%q ' "$@")" "${exit_actions[@]}"); }
run_exit_actions() {
  local code=$? action
  # shellcheck disable=SC2034 # for the actions
  exit_code=$code
  for action in "${exit_actions[@]}"; do eval "$action" || true; done
  exit "$code"
}
trap run_exit_actions EXIT

# wait_until SECONDS COMMAND...: true as soon as the command succeeds
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

# preflight STEP...: what these steps want of the machine is there, or is installed, or the script ends; see preflight.sh.
# A script that another one calls does not look again.
preflight() {
  local step wanted=()
  for step; do [[ " ${KUBEOPENCODE_PREFLIGHT:-} " == *" $step "* ]] || wanted+=("$step"); done
  [ ${#wanted[@]} -gt 0 ] || return 0
  "$repo/deploy/local/preflight.sh" "${wanted[@]}" || exit 1
  export KUBEOPENCODE_PREFLIGHT="${KUBEOPENCODE_PREFLIGHT:-} ${wanted[*]}"
}

# watched LOG WHAT COMMAND...: its output goes into the log, and meanwhile a line moves: the time, and the log's last line
# (on a terminal; elsewhere such a line comes every 30 s)
running=""
stop_ticker() {
  [ -n "$running" ] || return 0
  rm -f "$running"
  running=""
  [ ! -t 2 ] || printf '\r\e[K' >&2
}
at_exit stop_ticker
watched() {
  local log=$1 what=$2 code=0 started=$SECONDS
  shift 2
  : >"$log"
  running=$(mktemp)
  tick "$log" "$what" "$running" &
  "$@" >"$log" 2>&1 </dev/null || code=$?
  stop_ticker
  [ "$code" -ne 0 ] || say "$what: done in $(elapsed $((SECONDS - started)))"
  return "$code"
}
tick() {
  local log=$1 what=$2 running=$3 started=$SECONDS seconds=0 last
  trap - EXIT
  # it ends with the file, and never outlives the script, not even one that was killed
  while sleep 1 && kill -0 "$$" 2>/dev/null; do
    seconds=$((seconds + 1))
    # what moves on a terminal ends its lines with a carriage return
    last=$(tail -c 2000 "$log" | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | tr -cd '[:print:]') || true
    [ -e "$running" ] || return 0
    if [ -t 2 ]; then
      last="$me: $what: $(elapsed $((SECONDS - started))) | $last"
      printf '\r\e[K%s' "${last:0:$(($(columns) - 1))}" >&2
    elif [ $((seconds % 30)) -eq 0 ]; then
      say "$what: $(elapsed $((SECONDS - started))) so far: ${last:0:120}"
    fi
  done
}
columns() { stty size <&2 2>/dev/null | cut -d' ' -f2 | grep -x '[1-9][0-9]*' || echo 80; }

# elapsed SECONDS: 7 s, 2 min 7 s
elapsed() { if [ "$1" -lt 60 ]; then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi; }

# Of what is kept, nobody goes back to what was not used for so long. Others may build and remove meanwhile, so what is gone
# already is no failure.
unused_days=14

# remove_unused FOLDER LEAST TEST...: of what find finds there by these tests, whatever was not used for unused_days, but the LEAST
# of each kind that were used last. Its name is KIND-VERSION, or a version alone, and its time says when it was used.
remove_unused() {
  local folder=$1 least=$2
  shift 2
  entries "$folder" "$@" -printf '%T@ %f\n' | sort -rn |
    awk -v least="$least" -v oldest="$(($(date +%s) - unused_days * 86400))" '{
      kind = $2
      if (!sub(/-[^-]*$/, "", kind)) kind = ""
      if (++seen[kind] > least && $1 < oldest) print $2
    }' |
    remove_named "$folder" "not used for $unused_days days"
}

# remove_unfinished FOLDER TEST...: what builds left there that did not end
remove_unfinished() {
  entries "$@" -mtime +0 -printf '%f\n' | remove_named "$1" "its build did not end, more than a day ago"
}

# entries FOLDER TEST...: what find finds in it by these tests; in a folder that is not there, nothing
entries() {
  local folder=$1
  shift
  [ ! -d "$folder" ] || find "$folder" -ignore_readdir_race -mindepth 1 -maxdepth 1 "$@"
}

# remove_named FOLDER WHY: what is named by the lines that come in
remove_named() {
  local name
  while read -r name; do
    rm -rf "${1:?}/$name"
    say "removed $name: $2"
  done
}

# toolchain: the Rust that is used here
toolchain() { echo "${RUSTUP_TOOLCHAIN:-$(sed -n 's/^channel = "\(.*\)"/\1/p' "$repo/rust-toolchain.toml")}"; }

# short_digest FILE-OR-STDIN...: 12 hex digits that name a content
short_digest() { sha256sum "$@" | sha256sum | cut -c1-12; }
