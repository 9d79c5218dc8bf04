# Certificates and kubeconfigs of one cluster. Sourced; uses $state, $api_port, $service_net, $node_ip, $node_name.

# users: file name, certificate subject
cluster_users() {
  cat <<'USERS'
admin /O=system:masters/CN=admin
operator /O=system:masters/CN=operator-under-test
controller-manager /CN=system:kube-controller-manager
scheduler /CN=system:kube-scheduler
proxy /CN=system:kube-proxy
USERS
  echo "kubelet /O=system:nodes/CN=system:node:$node_name"
}

make_pki() {
  [ -f "$state/kubeconfig" ] && return
  local user subject
  mkdir -p "$state/pki"
  (
    cd "$state/pki"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
      -subj /CN=kubeopencode-local-ca -keyout ca.key -out ca.crt
    openssl ecparam -genkey -name prime256v1 -noout -out service-account.key
    openssl ec -in service-account.key -pubout -out service-account.pub
    sign apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$service_net.1,IP:$node_ip"
    while read -r user subject; do
      sign "$user" "$subject" "DNS:$node_name,IP:$node_ip"
      kubeconfig_of "$user" >"$user.kubeconfig"
    done < <(cluster_users)
  ) >"$state/logs/pki.log" 2>&1 || die_with_log "$state/logs/pki.log" "the cluster's certificates could not be made" "see the lines above"
  # the operator under test has a user name of its own, so that the audit log tells its requests apart
  cp "$state/pki/operator.kubeconfig" "$state/operator.kubeconfig"
  cp "$state/pki/admin.kubeconfig" "$state/kubeconfig"
}

# sign NAME SUBJECT ALTERNATIVE-NAMES
sign() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
    -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "$3")
}

kubeconfig_of() {
  cat <<YAML
apiVersion: v1
kind: Config
current-context: $cluster
clusters:
- name: $cluster
  cluster: {server: "https://127.0.0.1:$api_port", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}
contexts:
- name: $cluster
  context: {cluster: $cluster, user: $1}
YAML
}
