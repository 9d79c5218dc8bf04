# etcd, kube-apiserver and kube-controller-manager of one cluster. Sourced; uses $state, $tools and $mode.

control_plane_up() {
  make_pki
  # durability is for clusters that outlive a power cut
  start etcd "$tools/etcd" --data-dir etcd --unsafe-no-fsync --quota-backend-bytes 8589934592 --log-level warn \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$etcd_peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$etcd_peer_port" \
    --initial-cluster "default=http://127.0.0.1:$etcd_peer_port"

  local address=127.0.0.1 reconciler=none
  # Pods reach the API server through the Service `kubernetes`, whose endpoint is the node's address
  [ "$mode" = full ] && address=0.0.0.0 reconciler=lease
  # a fifth of the processor's time here went into collecting garbage, with Go's 100; what `make attacks` keeps here would come to
  # three times its size by that, so there is a limit. The audit log is never begun anew: tests know their place in it by its length
  start kube-apiserver env GOGC=200 GOMEMLIMIT=8GiB "$tools/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd_port" \
    --secure-port="$api_port" --bind-address="$address" --advertise-address="$node_ip" \
    --endpoint-reconciler-type="$reconciler" --service-cluster-ip-range="$service_net.0/16" \
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
    --service-account-key-file=pki/service-account.pub --service-account-signing-key-file=pki/service-account.key \
    --service-account-issuer=https://kubernetes.default.svc --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --feature-gates=MutatingAdmissionPolicy=true --runtime-config=admissionregistration.k8s.io/v1beta1=true \
    --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key \
    --kubelet-preferred-address-types=InternalIP \
    --audit-policy-file="$here/audit-policy.yaml" --audit-log-path="$state/logs/audit.log" --audit-log-maxsize=100000
  ready etcd 30 port_answers "$etcd_port"
  ready kube-apiserver 90 kubectl get --raw /readyz

  start kube-controller-manager "$tools/kube-controller-manager" --kubeconfig pki/controller-manager.kubeconfig \
    --authentication-kubeconfig pki/controller-manager.kubeconfig --authorization-kubeconfig pki/controller-manager.kubeconfig \
    --service-account-private-key-file=pki/service-account.key --root-ca-file=pki/ca.crt \
    --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key \
    --use-service-account-credentials=true --leader-elect=false --controllers='*' \
    --kube-api-qps=200 --kube-api-burst=400 --secure-port="$controller_manager_port"
  ready kube-controller-manager 60 kubectl -n default get serviceaccount default
}

control_plane_down() {
  stop kube-controller-manager
  stop kube-apiserver
  stop etcd
}

take_ports() {
  local base
  if [ ! -f "$state/ports" ]; then
    exec 7>"$clusters/.ports"
    flock 7
    for base in $(port_blocks) none; do
      [ "$base" != none ] || break
      ! grep -qx "$base" "$clusters"/*/ports 2>/dev/null && block_is_free "$base" && break
    done
    [ "$base" != none ] || die "no block of ten free ports between 16440 and 17449" "take down clusters that are not needed: ls $clusters"
    echo "$base" >"$state/ports"
    exec 7>&-
  fi
  base=$(<"$state/ports")
  api_port=$base etcd_port=$((base + 1)) etcd_peer_port=$((base + 2)) controller_manager_port=$((base + 3))
  scheduler_port=$((base + 4)) kubelet_port=$((base + 5)) kubelet_health_port=$((base + 6))
  proxy_metrics_port=$((base + 7)) proxy_health_port=$((base + 8)) registry_port=$((base + 9))
}
