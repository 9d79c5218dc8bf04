# What local clusters take of this machine: addresses and ports. Sourced by cluster.sh, and by preflight.sh, which looks
# whether they are free.

clusters=$cache/clusters
# the node's, on lo: the same on every machine, with or without a network
node_ip=10.244.255.1
# the first three numbers of the Pods' addresses
pod_net=10.244.0
# Ports are given out in blocks of ten, once per cluster, so that several run side by side.
port_blocks() { seq 16440 10 17440; }

block_is_free() {
  local port
  for port in $(seq "$1" $(($1 + 9))); do
    ! port_answers "$port" || return 1
  done
}
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
