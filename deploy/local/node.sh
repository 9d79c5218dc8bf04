# The node of a full cluster: containerd, kubelet, kube-proxy and cluster DNS on this machine, as root. Sourced;
# uses $state, $tools, $service_net and the ports.
#
# What it leaves on the machine while it runs, and node_down takes away: the address $node_ip on lo, one masquerade
# rule, kube-proxy's rules, the cgroup /$cgroup, network namespaces and mounts of its Pods.

socket() { echo "$state/containerd/containerd.sock"; }
ctr() { command ctr --address "$(socket)" --namespace k8s.io "$@"; }

node_up() {
  network_up
  cgroup_up
  write_node_config
  start kube-scheduler "$tools/kube-scheduler" --kubeconfig pki/scheduler.kubeconfig \
    --authentication-kubeconfig pki/scheduler.kubeconfig --authorization-kubeconfig pki/scheduler.kubeconfig \
    --leader-elect=false --secure-port="$scheduler_port"
  start containerd containerd --config "$state/containerd.toml"
  # the kubelet ends itself when containerd does not answer yet
  ready containerd 30 ctr version
  import_base_images
  start kubelet "$tools/kubelet" --config kubelet.yaml --kubeconfig pki/kubelet.kubeconfig \
    --hostname-override="$node_name" --node-ip="$node_ip" --root-dir="$state/kubelet" --cert-dir="$state/kubelet/pki"
  start kube-proxy "$tools/kube-proxy" --kubeconfig pki/proxy.kubeconfig --hostname-override="$node_name" \
    --cluster-cidr="$pod_net.0/24" --conntrack-max-per-core=0 --iptables-localhost-nodeports=false \
    --metrics-bind-address="127.0.0.1:$proxy_metrics_port" --healthz-bind-address="127.0.0.1:$proxy_health_port"
  ready kubelet 90 kubectl get node "$node_name"
  kubectl wait --for=condition=Ready "node/$node_name" --timeout=120s >/dev/null ||
    die_with_log "$state/logs/kubelet.log" "the node does not get Ready" "see 'kubectl describe node' and $state/logs/{kubelet,containerd}.log"
  kubectl apply --server-side -f <(cluster_manifests) >/dev/null
  kubectl -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null ||
    die_with_log "$state/logs/kubelet.log" "cluster DNS does not start" "see 'kubectl -n kube-system describe pods' and $state/logs/kubelet.log"
  # once it was asked for, it comes and goes with the node
  [ ! -f "$state/registry/auth.json" ] || start_registry
}

network_up() {
  local other
  for other in "$clusters"/*/node-address; do
    [ ! -f "$other" ] || [ "$other" = "$state/node-address" ] ||
      die "the cluster $(basename "$(dirname "$other")") holds $node_ip on this machine" "$0 down --name $(basename "$(dirname "$other")")"
  done
  touch "$state/node-address"
  ip address replace "$node_ip/32" dev lo
  [ "$(</proc/sys/net/ipv4/ip_forward)" = 1 ] || echo 1 >/proc/sys/net/ipv4/ip_forward ||
    die "net.ipv4.ip_forward is off and cannot be set" "sysctl -w net.ipv4.ip_forward=1 on the machine"
  rules add
}

# rules add|remove: Pods leave the machine under its address, and a machine that drops forwarded packets lets them through
rules() {
  local rule
  while read -r rule; do
    # shellcheck disable=SC2086 # a rule is several words
    if [ "$1" = remove ]; then
      while iptables ${rule/-A/-D} 2>/dev/null; do :; done
    else
      iptables ${rule/-A/-C} 2>/dev/null || iptables ${rule/-A/-I} ||
        die "iptables refuses: $rule" "see whether the kernel has iptables (nf_tables or legacy)"
    fi
  done <<RULES
-t nat -A POSTROUTING -s $pod_net.0/24 ! -d ${pod_net%.*}.0.0/16 -j MASQUERADE
-t filter -A FORWARD -s $pod_net.0/24 -j ACCEPT
-t filter -A FORWARD -d $pod_net.0/24 -j ACCEPT
RULES
}

# The kubelet keeps its cgroups under one of our own, in every hierarchy of cgroup v1 or in the one of v2.
cgroup_up() {
  local root=/sys/fs/cgroup hierarchy
  if [ -f $root/cgroup.controllers ]; then
    if [ -f $root/cgroup.type ] && [ -n "$(<$root/cgroup.procs)" ]; then
      # inside a container the top cgroup may not both hold processes and hand out controllers
      mkdir -p $root/init
      xargs -rn1 <$root/cgroup.procs >$root/init/cgroup.procs 2>/dev/null || true
    fi
    sed 's/\(^\| \)/ +/g' $root/cgroup.controllers >$root/cgroup.subtree_control ||
      die "cgroup v2 does not hand out its controllers" "see $root/cgroup.subtree_control; in a container, give it a cgroup namespace of its own and write access"
    mkdir -p "$root/$cgroup"
    return
  fi
  for hierarchy in "$root"/*/; do
    mkdir -p "$hierarchy$cgroup" || die "cgroup v1: cannot make $hierarchy$cgroup" "run where /sys/fs/cgroup is writable"
  done
  # cpuset: its two files want to be filled before a process or a child comes in
  if [ -d "$root/cpuset/$cgroup" ]; then
    cat $root/cpuset/cpuset.cpus >"$root/cpuset/$cgroup/cpuset.cpus"
    cat $root/cpuset/cpuset.mems >"$root/cpuset/$cgroup/cpuset.mems"
  fi
}

write_node_config() {
  mkdir -p "$state"/{containerd,cni,kubelet/pki} "$(trusted_registries)"
  local resolv=/etc/resolv.conf
  # systemd's stub address means nothing inside a Pod
  [ ! -f /run/systemd/resolve/resolv.conf ] || resolv=/run/systemd/resolve/resolv.conf
  cat >"$state/containerd.toml" <<TOML
version = 2
root = "$state/containerd/root"
state = "$state/containerd/state"
[grpc]
  address = "$(socket)"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  # without CAP_SYS_RESOURCE runc may not lower a score, and fails without a word about it
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$(trusted_registries)"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$(snapshotter)"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
TOML
  # ptp and not bridge: every packet passes the host's routing, so Services work without the br_netfilter module
  cat >"$state/cni/10-ptp.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "kubeopencode-local", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "dataDir": "$state/cni-addresses",
   "ranges": [[{"subnet": "$pod_net.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
  cat >"$state/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$state/pki/ca.crt"}}
authorization: {mode: Webhook}
tlsCertFile: $state/pki/kubelet.crt
tlsPrivateKeyFile: $state/pki/kubelet.key
port: $kubelet_port
healthzPort: $kubelet_health_port
containerRuntimeEndpoint: unix://$(socket)
clusterDNS: [$service_net.10]
clusterDomain: cluster.local
resolvConf: $resolv
podLogsDir: $state/pod-logs
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%", memory.available: "100Mi"}
# kube-proxy makes what Services need; these would only be left behind
makeIPTablesUtilChains: false
# a test cluster: many short Pods, whose images nobody could pull again
maxPods: 200
imageGCHighThresholdPercent: 100
imagePullCredentialsVerificationPolicy: NeverVerify
serializeImagePulls: false
YAML
}

# overlayfs, unless the cache lies on a file system that cannot carry it (an overlay itself, in a container)
snapshotter() {
  local probe
  probe=$(mktemp -d "$state/probe.XXXX")
  mkdir "$probe"/{lower,upper,work,merged}
  if mount -t overlay overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/merged" 2>/dev/null; then
    umount "$probe/merged"
    echo overlayfs
  else
    say "no overlayfs on $state: containers get plain copies of their images, which is slower"
    echo native
  fi
  rm -rf "$probe"
}

import_base_images() {
  local archive
  while read -r _ _ archive; do import_image "$archive"; done < <("$repo/deploy/images/build.sh" pause coredns)
}

# import_image ARCHIVE: the archive is called NAME-DIGEST.tar, so its name tells whether its content is there already
import_image() {
  local name digest
  name=$(basename "$1" .tar)
  digest=${name##*-} name=${name%-*}
  [ "$(cat "$state/images/$name" 2>/dev/null)" != "$digest" ] || return 0
  ctr image import "$1" >"$state/logs/import.log" 2>&1 ||
    die_with_log "$state/logs/import.log" "containerd refuses the image $1" "see $state/logs/containerd.log"
  mkdir -p "$state/images"
  echo "$digest" >"$state/images/$name"
}

# registry_up: beside the node, which trusts it from now on; prints its address and its folder
registry_up() {
  [ "$(cat "$state/mode" 2>/dev/null)" = full ] && running || die "cluster $cluster has no running node" "$(again up)"
  preflight registry
  take_ports
  local folder=$state/registry address=$node_ip:$registry_port password
  if [ ! -f "$folder/auth.json" ]; then
    password=$(head -c 18 /dev/urandom | base64)
    # containerd reads this anew for each image
    mkdir -p "$(trusted_registries)/$address"
    # containerd 1.6 takes an authority in the part of a host, and not above
    printf '[host."https://%s"]\ncapabilities = ["pull", "resolve"]\nca = "%s"\n' "$address" "$folder/registry.crt" >"$(trusted_registries)/$address/hosts.toml"
    registry_files "$folder" "$address" "$password"
  fi
  start_registry
  echo "$address $folder"
}

trusted_registries() { echo "$state/containerd/registries"; }

start_registry() {
  local program
  program=$("$here/programs.sh" registry)
  start registry "$program" serve "$state/registry/registry.yml"
  ready registry 20 registry_answers
}
registry_answers() { (exec 3<>"/dev/tcp/$node_ip/$registry_port"); }

# What kubeadm would have made: the role binding of kube-proxy, and cluster DNS
cluster_manifests() {
  local forward="forward . /etc/resolv.conf"
  # without a name server on the machine the line would stop CoreDNS
  grep -q '^nameserver' /etc/resolv.conf 2>/dev/null || forward=""
  sed -e "s|@DNS_IP@|$service_net.10|" -e "s|@FORWARD@|$forward|" -e "s|@IMAGE@|$coredns_image|" "$here/cluster-manifests.yaml"
}

# Takes the node away whatever state it is in: running, half dead or left by a reboot.
node_down() {
  stop registry
  stop kubelet
  stop kube-proxy
  stop kube-scheduler
  # a containerd that was killed has left its containers behind, and only containerd takes them down properly
  if ! alive containerd && pgrep -f -- "-address $(socket)" >/dev/null; then
    start containerd containerd --config "$state/containerd.toml"
    ready containerd 30 ctr version
  fi
  if alive containerd; then
    remove_network_namespaces
    local container
    for container in $(ctr container list -q); do
      ctr task rm --force "$container" || true
      ctr container rm "$container" || true
      rm -f /var/lib/cni/results/*-"$container"-*
    done >/dev/null 2>&1
  fi
  stop containerd
  unmount_below "$state"
  find /var/log/containers -lname "$state/pod-logs/*" -delete 2>/dev/null || true
  find /sys/fs/cgroup -depth -type d \( -path "*/$cgroup" -o -path "*/$cgroup/*" \) -exec rmdir {} + 2>/dev/null || true
  if [ -f "$state/node-address" ]; then
    "$tools/kube-proxy" --cleanup >"$state/logs/kube-proxy-cleanup.log" 2>&1 || true
    remove_empty_firewall
    rules remove
    ip address del "$node_ip/32" dev lo 2>/dev/null || true
    rm -f "$state/node-address"
  fi
}

# kube-proxy's own --cleanup leaves this chain, which is empty in a cluster without ports on localhost.
remove_empty_firewall() {
  local tool
  for tool in iptables ip6tables; do
    [ "$($tool -S KUBE-FIREWALL 2>/dev/null)" = "-N KUBE-FIREWALL" ] || continue
    $tool -D INPUT -j KUBE-FIREWALL || true
    $tool -D OUTPUT -j KUBE-FIREWALL || true
    $tool -X KUBE-FIREWALL || true
  done 2>/dev/null
}

# The namespaces of our Pods, found by the processes that live in them: other people's stay.
remove_network_namespaces() {
  local pid namespace inode
  for pid in $(ctr task list 2>/dev/null | awk 'NR > 1 {print $2}'); do
    inode=$(stat -Lc %i "/proc/$pid/ns/net" 2>/dev/null) || continue
    for namespace in /run/netns/cni-*; do
      [ "$(stat -c %i "$namespace" 2>/dev/null)" = "$inode" ] || continue
      umount "$namespace" && rm -f "$namespace"
    done
  done
}

unmount_below() {
  local try mount
  # mounts lie on mounts: what is busy now may be free in the next round
  for try in 1 2 3; do
    awk -v below="$1/" 'index($2, below) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do
      umount "$mount" 2>/dev/null || { [ "$try" -lt 3 ] || umount --lazy "$mount" || true; }
    done
  done
}
