# Bills of materials, CycloneDX 1.6: what cargo, Debian and npm themselves say is in a program or an image, and no more.
# Sourced by build.sh.

# sbom FILE NAME TYPE VERSION REVISION TIME: the document; a component a line comes in as JSON
sbom() {
  jq -S --slurp --arg name "$2" --arg type "$3" --arg version "$4" --arg revision "$5" \
    --arg time "$(date --utc --date="@$6" +%Y-%m-%dT%H:%M:%SZ)" '{
    bomFormat: "CycloneDX", specVersion: "1.6", version: 1,
    metadata: {timestamp: $time, component: {type: $type, name: $name, version: $version, "bom-ref": "\($name)@\($version)",
      properties: [{name: "kubeopencode:revision", value: $revision}]}},
    components: (map({"bom-ref": .purl} + .) | unique_by(.purl))}' >"$1"
}

# crates ARCHITECTURE PACKAGE: what is compiled into its program, and into the guests in that of kubeopencode; none that only
# runs in the compiler
crates() {
  cargo_tree "$repo" --package "$2" --target "$(rust_target "$1")" | of_cargo "$repo/Cargo.lock"
  [ "$2" = "$(package_of kubeopencode)" ] || return 0
  cargo_tree "$repo/plugins" --workspace --exclude=kubeopencode-plugin-{fixture,hostile,serving} --target wasm32-wasip2 | of_cargo "$repo/plugins/Cargo.lock"
}
cargo_tree() {
  local folder=$1
  shift
  (cd "$folder" && cargo tree --locked --edges normal,no-proc-macro --prefix none --format '{p}|{l}' "$@")
}

# of_cargo LOCKFILE: lines of cargo tree as components, with the checksums of the lockfile
of_cargo() {
  awk '/^name = /{gsub(/"/, ""); name = $3} /^version = /{gsub(/"/, ""); version = $3} /^checksum = /{gsub(/"/, ""); print name, version, $3}' "$1" |
    jq -R 'split(" ") | {key: "\(.[0])@\(.[1])", value: .[2]}' | jq -s from_entries >"$work/checksums"
  jq -Rc --slurpfile checksums "$work/checksums" 'capture("^(?<name>[^ ]+) v(?<version>[^ |]+)[^|]*\\|(?<licence>.*?)( \\(\\*\\))?$") |
    $checksums[0]["\(.name)@\(.version)"] as $checksum |
    {type: "library", name, version, purl: "pkg:cargo/\(.name)@\(.version)"}
      + (if .licence == "" then {} else {licenses: [{expression: (.licence | gsub("/"; " OR "))}]} end)
      + (if $checksum then {hashes: [{alg: "SHA-256", content: $checksum}]} else {} end)'
}

# packages ARCHIVE: what an image says of Debian, of npm and of busybox
packages() {
  local member
  tar -xOf "$1" layer.tar | tar -t >"$work/members"
  { grep -xE '\./var/lib/dpkg/(status|status\.d/[^/]+)' "$work/members" || true; } | while read -r member; do
    tar -xOf "$1" layer.tar | tar -xO "$member" && echo
  done | awk -v RS= '{print; print ""}' | of_debian
  tar -xOf "$1" config.json | jq -c '.config.Labels["kubeopencode.io/npm-package"]? // empty | capture("^(?<name>.+)@(?<version>[^@]+)$") |
    {type: "application", name, version, purl: "pkg:npm/\(.name)@\(.version)"}'
  if grep -qx ./bin/busybox "$work/members"; then
    tar -xOf "$1" layer.tar | tar -xO ./bin/busybox | grep -aom 1 'BusyBox v[0-9.]*' | jq -Rc 'ltrimstr("BusyBox v") |
      {type: "application", name: "busybox", version: ., purl: "pkg:generic/busybox@\(.)"}' | head -n 1
  fi
}

# of_debian: paragraphs of dpkg as components
of_debian() {
  awk '/^Package: /{name = $2} /^Version: /{version = $2} /^Architecture: /{architecture = $2}
    /^$/ && name {print name "\t" version "\t" architecture; name = ""}' |
    jq -Rc 'split("\t") | {type: "library", name: .[0], version: .[1],
      purl: "pkg:deb/debian/\(.[0] | @uri)@\(.[1] | @uri)?arch=\(.[2])&distro=bookworm"}'
}
