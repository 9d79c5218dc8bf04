#!/usr/bin/env bash
# A release: made, and brought into its registry if one is named.
#
#   release.sh VERSION [REGISTRY]
#
# build.sh and push.sh say more.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
[ $# -ge 1 ] || die "which version?" "make release VERSION=0.2.0, and REGISTRY=host/path to push it"
"$here/build.sh" "$@"
[ $# -lt 2 ] || "$here/push.sh" "$repo/dist/$1"
