# Images of deploy/images/build.sh as an OCI layout: one image index for all architectures. Sourced by build.sh.
#
# The layer is the archive's, packed by gzip without a name and a time; what else there is are sorted JSON texts. So the same
# archives, version and commit give the same digests.

# oci_layout FOLDER NAME VERSION REVISION TIME ARCHIVE...: writes the layout and prints the digest of its index; TIME in
# seconds since 1970, an archive for each architecture
oci_layout() {
  local layout=$1 name=$2 version=$3 revision=$4 created archive manifest manifests=() index
  created=$(date --utc --date="@$5" +%Y-%m-%dT%H:%M:%SZ)
  local about
  about=$(jq -n --arg title "$(image_name "$name")" --arg version "$version" --arg revision "$revision" --arg created "$created" '{
    "org.opencontainers.image.title": $title, "org.opencontainers.image.version": $version,
    "org.opencontainers.image.revision": $revision, "org.opencontainers.image.created": $created,
    "org.opencontainers.image.source": "https://github.com/kubeopencode/kubeopencode-rs",
    "org.opencontainers.image.licenses": "Apache-2.0"}')
  shift 5
  rm -rf "$layout"
  mkdir -p "$layout/blobs/sha256"
  for archive; do
    manifest=$(oci_image "$layout" "$archive" "$created" "$about")
    manifests+=("$manifest")
  done
  index=$(printf '%s\n' "${manifests[@]}" | jq -cS --slurp --argjson about "$about" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json", manifests: ., annotations: $about}' | blob "$layout")
  echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  descriptor "$layout" "$index" application/vnd.oci.image.index.v1+json |
    jq -cS --arg version "$version" '{schemaVersion: 2, manifests: [. + {annotations: {"org.opencontainers.image.ref.name": $version}}]}' \
      >"$layout/index.json"
  echo "$index"
}

# oci_image LAYOUT ARCHIVE CREATED LABELS: prints the descriptor of its manifest
oci_image() {
  local layout=$1 config layer manifest
  layer=$(tar -xOf "$2" layer.tar | gzip -n -6 | blob "$layout")
  config=$(tar -xOf "$2" config.json | jq -cS --arg created "$3" --argjson labels "$4" '
    .created = $created | .config.Labels = ((.config.Labels // {}) + $labels)' | blob "$layout")
  manifest=$(jq -ncS --argjson config "$(descriptor "$layout" "$config" application/vnd.oci.image.config.v1+json)" \
    --argjson layer "$(descriptor "$layout" "$layer" application/vnd.oci.image.layer.v1.tar+gzip)" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json", $config, layers: [$layer]}' | blob "$layout")
  descriptor "$layout" "$manifest" application/vnd.oci.image.manifest.v1+json |
    jq -c --slurpfile config "$layout/blobs/sha256/${config#sha256:}" '. + {platform: ($config[0] | {os, architecture})}'
}

# blob LAYOUT: keeps what it reads under its digest, which it prints
blob() {
  local file digest
  file=$(mktemp "$1/blobs/blob.XXXXXX")
  cat >"$file"
  digest=$(sha256sum "$file" | cut -d' ' -f1)
  chmod 0644 "$file"
  mv "$file" "$1/blobs/sha256/$digest"
  echo "sha256:$digest"
}

# descriptor LAYOUT DIGEST TYPE
descriptor() {
  jq -nc --arg digest "$2" --arg mediaType "$3" --argjson size "$(stat --format=%s "$1/blobs/sha256/${2#sha256:}")" '{$mediaType, $digest, $size}'
}
