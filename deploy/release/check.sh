#!/usr/bin/env bash
# What can be seen of a release without compiling one, in some seconds: its chart names its images and no others, by their
# digests, also from a mirror, and images.txt and install.yaml name the same; its README installs it from its registry; its notes lead
# to its own files.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/../chart/lib.sh"
. "$here/names.sh"
. "$here/chart.sh"
. "$here/notes.sh"
me=release

main() {
  preflight clients
  tools=$("$repo/deploy/local/tools.sh" clients)
  work=$(mktemp -d)
  at_exit rm -rf "$work"
  local version=1.2.3-rc.1 registry=registry.example.com/team name
  for name in $(release_images); do echo "$name sha256:$(sha256sum <<<"$name" | cut -d' ' -f1)"; done >"$work/digests"
  stage_chart "$work" "$version" "$registry" "$work/digests"
  "$tools/helm" lint --strict "$work/kubeopencode" >"$work/lint" || die_with_log "$work/lint" "helm does not take the chart of a release"
  "$tools/helm" package "$work/kubeopencode" --destination "$work" >/dev/null
  "$tools/helm" show readme "$work/kubeopencode-$version.tgz" >"$work/readme"
  [ "$(grep -c "^helm upgrade .* oci://$registry/charts/kubeopencode --version $version --" "$work/readme")" = 2 ] ||
    die "the chart's README does not say how it comes from its registry" "correct deploy/release/chart.sh"

  # of all versions: what is not released yet may have no link
  links_of "$version" <"$repo/CHANGELOG.md" >"$work/notes.md"
  grep -qF "](https://github.com/kubeopencode/kubeopencode-rs/blob/v$version/docs/operations.md#" "$work/notes.md" ||
    die "the release's notes do not lead to its documents" "correct deploy/release/notes.sh"
  ! grep -E '\]\([^):]*\)' "$work/notes.md" >&2 || die "links of the release's notes lead to files beside them"

  rendered >"$work/rendered.yaml"
  grep -qxF '    app.kubernetes.io/version: "1.2.3-rc.1"' "$work/rendered.yaml" || die "no object of the chart says its version" "see templates/_helpers.tpl"
  named "the chart" "$registry"
  named "the chart from a mirror" mirror.example.com:5000/all/team --set global.imageRegistry=mirror.example.com:5000/all
  # whoever names a tag means another image than the release's
  rendered --set-string controller.image.tag=1 >"$work/rendered.yaml"
  images_of "$work/rendered.yaml" | grep -qxF "$registry/kubeopencode:1" || die "controller.image.tag does not take the release's digest away"
  rendered --set kubeopencodeConfig.defaults.executorImage=box:1 >"$work/rendered.yaml"
  ! images_of "$work/rendered.yaml" | grep -q devbox || die "kubeopencodeConfig.defaults.executorImage does not replace the release's"

  one_manifest "$version" "$registry" "$work/digests" >"$work/install.yaml"
  [ "$(images_of "$work/install.yaml")" = "$(pinned "$registry" | grep /kubeopencode:)" ] || die "install.yaml names other images than the operator's" "$(images_of "$work/install.yaml")"
  say "a release's chart, images.txt and install.yaml name the same images"
}

rendered() { "$tools/helm" template kubeopencode "$work/kubeopencode-1.2.3-rc.1.tgz" "$@"; }

# pinned REGISTRY: what images.txt says, from this registry, with the digests
pinned() {
  local image name digest
  paste -d' ' <(list_images 1.2.3-rc.1 "$1") "$work/digests" | while read -r image name digest; do echo "$image@$digest"; done | sort
}

# named WHAT REGISTRY FLAG...
named() {
  local what=$1 registry=$2
  shift 2
  rendered "$@" >"$work/rendered.yaml"
  diff <(pinned "$registry") <(images_of "$work/rendered.yaml") >&2 || die "$what names other images than images.txt"
}

main
