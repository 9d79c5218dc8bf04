# What CHANGELOG.md says of a release, for the page of it. Sourced by build.sh and check.sh.

# notes VERSION: its section, else that of what is not released yet, which a candidate is made of
notes() {
  local section=$1
  grep -qF "## [$1]" "$repo/CHANGELOG.md" || section=Unreleased
  [ "$section" = "$1" ] || [[ $1 == *-* ]] || say "WARNING: CHANGELOG.md has no section [$1]; notes.md is its section [Unreleased]"
  awk -v heading="## [$section]" 'index($0, "## [") == 1 {inside = index($0, heading) == 1; next} inside' "$repo/CHANGELOG.md" |
    links_of "$1"
}

# links_of VERSION: of a text that comes in. They lead to files beside CHANGELOG.md, and the page of a release has none.
links_of() { sed -E "s|\]\(([^):# ][^): ]*)\)|](https://github.com/kubeopencode/kubeopencode-rs/blob/v$1/\1)|g"; }
