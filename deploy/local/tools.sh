#!/usr/bin/env bash
# The binaries of the local cluster, built once per machine from the Go module proxy.
#
#   tools.sh               build what is missing and print the folder that holds everything
#   tools.sh control-plane only etcd, kube-apiserver, kube-controller-manager and kubectl are needed: stop after them
#   tools.sh clients       only kubectl and helm are needed
#
# A binary that the machine already has is taken first, in this order: $KUBEBUILDER_ASSETS, then PATH
# (helm and kubectl of any version; the cluster's own parts only in the version below, since a newer
# kubelet refuses Debian's containerd 1.x). Everything else is compiled: about 25 minutes on two cores.
#
# Env: XDG_CACHE_HOME (~/.cache): binaries live in $XDG_CACHE_HOME/kubeopencode/tools/<key>, the key being
# a digest of the go.mod files, so a changed pin builds anew and an old checkout keeps its own.
set -euo pipefail
cd "$(dirname "$0")/tools"

want=${1:-all}
kubernetes_version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' kubernetes/go.mod)
key=$(cat ./*/go.mod ./*/go.sum | sha256sum | cut -c1-12)
root=${XDG_CACHE_HOME:-$HOME/.cache}/kubeopencode/tools/$key
mkdir -p "$root"

say() { echo "tools: $*" >&2; }

# adopt NAME [VERSION]: link a binary of the machine's own, if it is there and says VERSION
adopt() {
  local name=$1 version=${2:-} from
  for from in ${KUBEBUILDER_ASSETS:+"$KUBEBUILDER_ASSETS/$name"} "$(command -v "$name" || true)"; do
    [ -x "$from" ] || continue
    [ -z "$version" ] || [ "$("$from" --version 2>/dev/null | grep -o 'v[0-9.]*' | head -1)" = "$version" ] || continue
    say "$name: using $from"
    ln -sf "$from" "$root/$name"
    return 0
  done
  return 1
}

# build MODULE TOOL NAME MINUTES: compile one tool of a go.mod under the name that we call it by
build() {
  local module=$1 tool=$2 name=$3 minutes=$4 started=$SECONDS flags="-s -w"
  [ -x "$root/$name" ] && return
  if [ "$module" = kubernetes ]; then
    local v=${kubernetes_version#v}
    flags+=" -X k8s.io/component-base/version.gitVersion=$kubernetes_version"
    flags+=" -X k8s.io/component-base/version.gitMajor=${v%%.*} -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$v")"
  fi
  command -v go >/dev/null || { say "Go is missing: install Go 1.26 or later, or put $name on the PATH"; exit 1; }
  say "$name: compiling (about $minutes min on two cores, once per machine)"
  (cd "$module" && CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$root/$name.partial" "$tool") ||
    { say "$name: go build failed in deploy/local/tools/$module; the lines above say why"; exit 1; }
  mv "$root/$name.partial" "$root/$name"
  say "$name: done in $((SECONDS - started)) s"
}

case $want in
  clients) names="kubectl helm" ;;
  control-plane) names="kubectl etcd kube-apiserver kube-controller-manager" ;;
  *) names="kubectl helm etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns" ;;
esac
there() { for name in $names; do [ -x "$root/$name" ] || return 1; done; }
if there; then
  echo "$root"
  exit
fi

# only one builder at a time: a second one waits and then finds everything there
exec 9>"$root/.lock"
flock -n 9 || { say "another build is under way, waiting for it"; flock 9; }

etcd=go.etcd.io/etcd/server/v3 cmd=k8s.io/kubernetes/cmd
[ -x "$root/kubectl" ] || adopt kubectl || true
[ -x "$root/helm" ] || [ "$want" = control-plane ] || adopt helm || true
if [ "$want" = clients ]; then
  build kubernetes $cmd/kubectl kubectl 1
  build helm helm.sh/helm/v4/cmd/helm helm 3
  echo "$root"
  exit
fi
[ -x "$root/kube-apiserver" ] || adopt kube-apiserver "$kubernetes_version" || true
build etcd $etcd etcd 3
build kubernetes $cmd/kube-apiserver kube-apiserver 9
build kubernetes $cmd/kube-controller-manager kube-controller-manager 3
build kubernetes $cmd/kubectl kubectl 1
if [ "$want" != control-plane ]; then
  build helm helm.sh/helm/v4/cmd/helm helm 3
  build kubernetes $cmd/kube-scheduler kube-scheduler 1
  build kubernetes $cmd/kubelet kubelet 3
  build kubernetes $cmd/kube-proxy kube-proxy 1
  build coredns github.com/coredns/coredns coredns 3
fi
echo "$root"
