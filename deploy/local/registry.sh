# A registry with TLS and a password: beside the node of a cluster, and for what tries a release. Sourced by cluster.sh and by
# deploy/release/test.sh.

# registry_files FOLDER ADDRESS PASSWORD: registry.yml, with which it is started, registry.crt, by which it is trusted, and
# auth.json, a login of user `release`; ADDRESS is an IP address with its port
registry_files() {
  mkdir -p "$1/data"
  # no authority: rustls, by which the operator asks, takes none as the certificate of a server
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=registry \
    -addext basicConstraints=critical,CA:FALSE -addext "subjectAltName=IP:${2%:*}" -keyout "$1/registry.key" -out "$1/registry.crt" 2>/dev/null
  echo "release:$(mkpasswd --method=bcrypt --rounds=5 "$3")" >"$1/htpasswd"
  cat >"$1/registry.yml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $1/data}}
auth: {htpasswd: {realm: registry, path: $1/htpasswd}}
http: {addr: "$2", tls: {certificate: $1/registry.crt, key: $1/registry.key}}
YAML
  registry_login "$@"
}

# registry_login FOLDER ADDRESS PASSWORD
registry_login() {
  jq -n --arg host "$2" --arg auth "$(printf 'release:%s' "$3" | base64)" '{auths: {($host): {$auth}}}' >"$1/auth.json"
  chmod 0600 "$1/auth.json"
}
