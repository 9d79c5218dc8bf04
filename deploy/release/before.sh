#!/usr/bin/env bash
# The release before this commit's, from its registry into dist/VERSION: images and chart, which is what an upgrade begins with.
#
#   before.sh REGISTRY   prints its version, or nothing where there is none, and says so
#
# It is that of the newest tag of an earlier commit whose chart the registry has: a tag whose release failed has none. A candidate's, as
# 0.2.0-rc.1, is only taken where there is no other one: who upgrades has what was released before.
# Env: REGISTRY_AUTH_FILE (~/.docker/config.json): the logins, where the registry wants one.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/names.sh"
. "$here/chart.sh"
me=before
log=$cache/logs/before.log

main() {
  [ $# = 1 ] || die "usage: before.sh REGISTRY" "before.sh quay.io/kubeopencode"
  check_registry "$1"
  local registry=$1 tags tag before=""
  tags=$(earlier_tags)
  if [ "$tags" ]; then look_into_registry; fi
  for tag in $tags; do
    if jq -e --arg version "${tag#v}" '.Tags | index($version)' "$work/charts" >/dev/null; then
      before=${tag#v}
      break
    fi
    say "$registry has no chart of ${tag#v}, which was never published"
  done
  if [ -z "$before" ]; then
    say "NOT CHECKED: no release was published from a commit before this one, so there is none to upgrade from"
    return
  fi
  if [ -f "$repo/dist/$before/images.txt" ]; then say "$repo/dist/$before is there"; else fetch_release "$before"; fi
  echo "$before"
}

# earlier_tags: of versions, the newest first, and candidates after all others
earlier_tags() {
  local tags
  [ "$(git -C "$repo" rev-parse --is-shallow-repository)" = false ] ||
    die "this checkout has only the newest commits, and may lack the tag of the release before" "git fetch --unshallow --tags"
  git -C "$repo" rev-parse --quiet --verify 'HEAD^' >/dev/null || return 0
  tags=$(git -C "$repo" -c versionsort.suffix=- tag --merged 'HEAD^' --list 'v[0-9]*' --sort=-version:refname)
  awk '/-/ {candidates = candidates $0 "\n"; next} {print} END {printf "%s", candidates}' <<<"$tags"
}

# look_into_registry: sets auth, logins and work, where charts are the versions that there are
look_into_registry() {
  preflight push clients
  tools=$("$repo/deploy/local/tools.sh" clients)
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  auth=${REGISTRY_AUTH_FILE:-$HOME/.docker/config.json}
  logins=()
  [ ! -f "$auth" ] || logins=(--authfile "$auth")
  if skopeo list-tags "${logins[@]}" "docker://$registry/charts/kubeopencode" >"$work/charts" 2>"$log"; then return; fi
  # the releases of all earlier tags failed before they had pushed a chart
  is_missing || die_with_log "$log" "$registry does not say which charts it has" "see whether it answers and $auth has a login for it"
  echo '{"Tags": []}' >"$work/charts"
}

# is_missing: by what skopeo said. quay.io and others call what is not there unauthorized; to a login that may push there it would be open.
is_missing() {
  ! grep -qi 'name unknown\|name_unknown' "$log" || return 0
  grep -qi 'unauthorized\|denied' "$log" && jq -e --arg host "${registry%%/*}" '.auths[$host] // .credHelpers[$host]' "$auth" >/dev/null 2>&1
}

# fetch_release VERSION
fetch_release() {
  local out=$work/out name
  mkdir -p "$out/images"
  for name in $(release_images); do
    fetched skopeo copy --insecure-policy --all --preserve-digests "${logins[@]}" \
      "docker://$(image_reference "$registry" "$1" "$name")" "oci:$out/images/$(image_name "$name"):$1"
  done
  fetched "$tools/helm" pull "oci://$registry/charts/kubeopencode" --version "$1" --destination "$out" --registry-config "$auth"
  list_images "$1" "$registry" >"$out/images.txt"
  rm -rf "$repo/dist/$1"
  mkdir -p "$repo/dist"
  mv "$out" "$repo/dist/$1"
  say "$1 is in $repo/dist/$1"
}

fetched() { "$@" >"$log" 2>&1 </dev/null || die_with_log "$log" "this failed: $*" "see whether $registry answers"; }

main "$@"
