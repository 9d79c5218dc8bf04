# Signatures by cosign, with a key and nothing else: no certificate, no public log. Sourced by push.sh.
#
# --use-signing-config=false --tlog-upload=false: with a signing configuration, also with one that names no log, cosign 3 asks Sigstore
# for its roots before it signs with a key (docs/decisions/0135-a-release-is-signed-by-a-key-alone.md).

# signs: whether there is a key
signs() { [ "${COSIGN_KEY:-}" ]; }

# prepare_to_sign: sets cosign, signing, a folder that goes with the script, and public_key; a key that cannot be read ends the script
prepare_to_sign() {
  local log=$cache/logs/cosign.log
  preflight sign
  cosign=$("$repo/deploy/local/programs.sh" cosign)
  signing=$(mktemp -d)
  at_exit rm -rf "$signing"
  # cosign would rather read the logins of ~/.docker than REGISTRY_AUTH_FILE
  mkdir "$signing/docker"
  ln -s "$(realpath --canonicalize-missing "$REGISTRY_AUTH_FILE")" "$signing/docker/config.json"
  public_key=$signing/cosign.pub
  run_cosign public-key --key "$COSIGN_KEY" --outfile "$public_key" >"$log" 2>&1 ||
    die_with_log "$log" "the key that COSIGN_KEY names cannot be read" "see whether it is a key of cosign and COSIGN_PASSWORD is its password"
}

run_cosign() { DOCKER_CONFIG=$signing/docker "$cosign" "$@" </dev/null; }

# sign_checksums: into a file beside them, once
sign_checksums() {
  local log=$cache/logs/cosign.log sums=$folder/SHA256SUMS bundle=$folder/SHA256SUMS.sigstore.json
  if [ -f "$bundle" ]; then
    run_cosign verify-blob --key "$public_key" --insecure-ignore-tlog --bundle "$bundle" "$sums" >"$log" 2>&1 ||
      die_with_log "$log" "$bundle is no signature of SHA256SUMS by this key" "remove it, and it is made anew"
    return
  fi
  run_cosign sign-blob --key "$COSIGN_KEY" --use-signing-config=false --tlog-upload=false --yes --bundle "$signing/bundle" "$sums" >"$log" 2>&1 ||
    die_with_log "$log" "cosign could not sign $sums" "see what it says"
  install -m 0644 "$signing/bundle" "$bundle"
  say "signed: $sums"
}

# sign_in_registry REFERENCE: by its digest, once; each signature of the same key would be another one
sign_in_registry() {
  local log=$cache/logs/cosign.log
  signs || return 0
  if run_cosign verify --key "$public_key" --insecure-ignore-tlog "$1" >"$log" 2>&1; then
    say "signed already: $1"
    return
  fi
  run_cosign sign --key "$COSIGN_KEY" --use-signing-config=false --tlog-upload=false --yes "$1" >"$log" 2>&1 ||
    die_with_log "$log" "cosign could not sign $1" "see whether its registry takes signatures beside images and REGISTRY_AUTH_FILE has a login for it"
  say "signed: $1"
}
