#!/usr/bin/env bash
# A real one-node Kubernetes without Docker, out of plain binaries (tools.sh) and Debian packages.
#
#   cluster.sh up [--control-plane]   start what does not run yet; prints the path of the admin's kubeconfig.
#                                     --control-plane: only etcd, kube-apiserver and kube-controller-manager,
#                                     without root; any number beside each other and beside a full cluster
#   cluster.sh down                   stop it and remove all that it kept
#   cluster.sh status                 its processes, its API server, its nodes; exit code 1 when something is dead
#   cluster.sh kubeconfig             print the path of the kubeconfig of a running cluster
#   cluster.sh import ARCHIVE...      load docker-archives into the node's containerd
#   cluster.sh registry               start a registry with TLS and a password, which the node trusts; prints its address, and
#                                     the folder of registry.crt and auth.json, a login as docker login writes it
#
# --name NAME picks the cluster (default: local; with --control-plane: control-plane). It lives in
# ${XDG_CACHE_HOME:-~/.cache}/kubeopencode/clusters/NAME: kubeconfig (admin), operator.kubeconfig (user
# `operator-under-test`), logs/*.log, logs/audit.log. Only processes that it started are ever ended.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/addresses.sh"
. "$here/process.sh"
. "$here/pki.sh"
. "$here/control-plane.sh"
. "$here/node.sh"
. "$here/registry.sh"

node_name=local
service_net=10.96.0
cgroup=kubeopencode
pause_image=localhost/pause:1
coredns_image=localhost/coredns:1

kubectl() { "$tools/kubectl" --kubeconfig "$state/kubeconfig" --request-timeout=150s "$@"; }

# again COMMAND: how to call this script for the same cluster, for the remedies in messages
again() { echo "$0 $1 --name $cluster"; }

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit "$1"; }

main() {
  local command=${1:-help} archives=()
  cluster="" mode=""
  [ $# -eq 0 ] || shift
  while [ $# -gt 0 ]; do
    case $1 in
      --control-plane) mode=control-plane ;;
      --name) cluster=${2:?--name wants a name} && shift ;;
      -*) usage 2 >&2 ;;
      *) archives+=("$1") ;;
    esac
    shift
  done
  [ -n "$cluster" ] || { [ -n "$mode" ] && cluster=$mode || cluster=local; }
  [[ $cluster =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] || die "'$cluster' is no name for a cluster" "use up to 31 lower-case letters, digits and dashes"
  state=$clusters/$cluster
  case $command in
    up | down) locked "$command" ;;
    status) status ;;
    kubeconfig) running && echo "$state/kubeconfig" ;;
    import) import "${archives[@]}" ;;
    registry) locked registry_up ;;
    help | -h | --help) usage 0 ;;
    *) usage 2 >&2 ;;
  esac
}

# one up or down of a cluster at a time; a second one waits
locked() {
  mkdir -p "$clusters"
  exec 9>"$clusters/.$cluster.lock"
  flock -n 9 || { say "$cluster: waiting for another up or down of it" && flock 9; }
  "$1"
}

up() {
  local started=$SECONDS
  [ -n "$mode" ] || mode=full
  [ ! -f "$state/mode" ] || [ "$(<"$state/mode")" = "$mode" ] ||
    die "cluster $cluster is a $(<"$state/mode") one" "'$(again down)' first, or take another --name"
  [ "$(cat "$state/boot-id" 2>/dev/null)" = "$(</proc/sys/kernel/random/boot_id)" ] || remove_stale
  if running; then
    say "$cluster runs already"
  else
    preflight "$([ "$mode" = full ] && echo node || echo control-plane)"
    tools=$("$here/tools.sh" "$([ "$mode" = full ] && echo all || echo control-plane)")
    mkdir -p "$state"/{logs,pids}
    echo "$mode" >"$state/mode"
    cat /proc/sys/kernel/random/boot_id >"$state/boot-id"
    echo "$tools" >"$state/tools"
    take_ports
    say "$cluster: starting the control plane (logs: $state/logs)"
    control_plane_up
    if [ "$mode" = full ]; then
      say "$cluster: starting the node"
      node_up
    fi
    touch "$state/complete"
    say "$cluster: up after $((SECONDS - started)) s"
  fi
  echo "$state/kubeconfig"
}

# complete, every process alive, and the API server answers
running() {
  [ -f "$state/complete" ] || return 1
  local process
  for process in "$state"/pids/*; do alive "$(basename "$process")" || return 1; done
  tools=$(<"$state/tools")
  kubectl --request-timeout=5s get --raw /readyz >/dev/null 2>&1
}

# After a reboot nothing of it runs, and an etcd that never synced its files cannot be trusted.
remove_stale() {
  [ -d "$state" ] || return 0
  say "$cluster: left over from before this machine's last start, removing it"
  rm -rf "$state/pids" && mkdir -p "$state/pids"
  down
}

down() {
  [ -d "$state" ] || { say "$cluster: nothing to take down"; return; }
  mkdir -p "$state/pids"
  tools=$(cat "$state/tools" 2>/dev/null || true)
  [ "$(cat "$state/mode" 2>/dev/null)" != full ] || node_down
  control_plane_down
  rm -rf "$state"
  say "$cluster: down, its state is removed"
}

status() {
  [ -d "$state" ] || die "there is no cluster $cluster" "$(again up)"
  local process name code=0
  for process in "$state"/pids/*; do
    name=$(basename "$process")
    if alive "$name"; then echo "$name: running, process $(cut -d' ' -f1 "$process")"; else echo "$name: DEAD (log: $state/logs/$name.log)" && code=1; fi
  done
  if running; then kubectl get nodes; else echo "the cluster is not whole; '$(again up)' starts what is missing" && code=1; fi
  return $code
}

import() {
  [ "$(cat "$state/mode" 2>/dev/null)" = full ] && running || die "cluster $cluster has no running node" "$(again up)"
  local archive
  for archive in "$@"; do import_image "$archive"; done
}

main "$@"
