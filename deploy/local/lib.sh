# What the scripts of deploy/ share: where things are kept, how they speak, how they fail. Sourced, never run.
#
# Progress goes to stderr, so that a script's stdout stays its answer (a kubeconfig's path, a list of images).
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kubeopencode
me=$(basename "$0" .sh)
mkdir -p "$cache/logs"

say() { echo "$me: $*" >&2; }

# die TEXT [REMEDY]: every failure says what went wrong and what to do
die() {
  echo "$me: error: $1" >&2
  [ -z "${2:-}" ] || echo "$me: do: $2" >&2
  exit 1
}

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

# need FOUND:PACKAGE...: install the Debian packages whose command (or file, with a leading /) is missing
need() {
  local pair found missing=()
  for pair in "$@"; do
    found=${pair%%:*}
    case $found in
      /*) [ -e "$found" ] ;;
      *) command -v "$found" >/dev/null ;;
    esac || missing+=("${pair#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local log=$cache/logs/apt.log
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    die "these packages are missing: ${missing[*]}" "install them (Debian's names), or run as root where apt-get is"
  say "installing Debian packages: ${missing[*]} (log: $log)"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null || die_with_log "$log" "apt-get could not install ${missing[*]}" "repair what apt-get says, then run this again"
}

# short_digest FILE-OR-STDIN...: 12 hex digits that name a content
short_digest() { sha256sum "$@" | sha256sum | cut -c1-12; }
