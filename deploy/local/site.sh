#!/usr/bin/env bash
# The documents as a site, without a cluster.
#
#   site.sh [VERSION [FOLDER]]    into FOLDER/VERSION; "main", and "site" in cargo's target folder. Prints its first page
#
# Beside the version's folder stand a list of the versions that FOLDER has, and a page that leads to the newest one. Every
# link within the site is followed; see deploy/site/src.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

preflight site
version=${1:-main}
folder=${2:-${CARGO_TARGET_DIR:-$repo/target}/site}
program=$("$here/programs.sh" mdbook)
cd "$repo"
cargo run --locked --quiet --package kubeopencode-site -- "$program" "$version" "$folder"
echo "$folder/$version/index.html"
