#!/usr/bin/env bash
# Whether a release can begin: what would stop it hours later, or make it say what is not true. The release's workflow asks first of all.
#
#   ready.sh VERSION REGISTRY
#
# Env: REGISTRY_USERNAME, REGISTRY_PASSWORD: the login by which it will be pushed.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/names.sh"
me=ready

main() {
  [ $# = 2 ] || die "usage: ready.sh VERSION REGISTRY" "ready.sh 0.2.0 quay.io/kubeopencode"
  check_version "$1"
  check_registry "$2"
  # a candidate is made of what is not released yet
  [[ $1 == *-* ]] || check_documents "$1"
  [ "${REGISTRY_USERNAME:-}" ] && [ "${REGISTRY_PASSWORD:-}" ] ||
    die "there is no login for $2" "give the environment 'release' of the repository the secrets REGISTRY_USERNAME and REGISTRY_PASSWORD"
}

# check_documents VERSION
check_documents() {
  local file
  grep -qF "## [$1]" "$repo/CHANGELOG.md" || die "CHANGELOG.md has no section [$1]" "make [Unreleased] one, and tag the commit that does"
  for file in README.md SECURITY.md docs/getting-started.md; do
    ! grep -qE 'No release is public yet|There is no release yet' "$repo/$file" || die "$file says that there is no release" "say where this one is"
  done
}

main "$@"
