#!/usr/bin/env bash
# The binaries of the local cluster, built once per machine from the Go module proxy.
#
#   tools.sh               build what is missing and print the folder that holds everything
#   tools.sh control-plane only etcd, kube-apiserver, kube-controller-manager and kubectl are needed: stop after them
#   tools.sh clients       only kubectl and helm are needed
#   tools.sh look [WHAT]   build nothing; exit code 1 when something is missing
#
# A binary that the machine already has is taken first, in this order: $KUBEBUILDER_ASSETS, then PATH
# (helm and kubectl of any version; the cluster's own parts only in the version below, since a newer
# kubelet refuses Debian's containerd 1.x). Everything else is compiled.
#
# Env: XDG_CACHE_HOME (~/.cache): binaries live in $XDG_CACHE_HOME/kubeopencode/tools/<key>, the key being
# a digest of the go.mod files, so a changed pin builds anew and an old checkout keeps its own, until nothing, and no cluster that is
# there, used it for 14 days.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/tools"

look=""
[ "${1:-}" != look ] || { look=true && shift; }
want=${1:-all}
kubernetes_version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' kubernetes/go.mod)
key=$(cat ./*/go.mod ./*/go.sum | sha256sum | cut -c1-12)
root=$cache/tools/$key

case $want in
  clients) names=(kubectl helm) ;;
  control-plane) names=(kubectl etcd kube-apiserver kube-controller-manager) ;;
  all) names=(kubectl helm etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns) ;;
  *) die "usage: tools.sh [look] [control-plane | clients | all]" ;;
esac
missing() { for name in "${names[@]}"; do [ -x "$root/$name" ] || echo "$name"; done; }
# prune: the binaries that were used are the youngest; those of a cluster are also needed to take it down
prune() {
  local of
  touch "$root"
  for of in "$cache"/clusters/*/tools; do [ ! -f "$of" ] || touch -c "$(<"$of")"; done
  remove_unused "$cache/tools" 1 -type d -name '????????????'
}
if [ -z "$(missing)" ]; then
  [ -n "$look" ] || prune
  echo "$root"
  exit
fi
[ -z "$look" ] || exit 1
preflight go
mkdir -p "$root"

# only one builder at a time: a second one waits and then finds everything there
exec 9>"$root/.lock"
flock -n 9 || { say "another build is under way, waiting for it" && flock 9; }

# adopt NAME: link a binary of the machine's own, if it is there and fits
adopt() {
  local name=$1 from
  for from in ${KUBEBUILDER_ASSETS:+"$KUBEBUILDER_ASSETS/$name"} "$(command -v "$name" || true)"; do
    [ -x "$from" ] && fits "$name" "$from" || continue
    say "$name: using $from"
    ln -sf "$from" "$root/$name"
    return 0
  done
  return 1
}
fits() {
  case $1 in
    kubectl | helm) ;;
    kube-apiserver) [ "$("$2" --version 2>/dev/null | grep -o 'v[0-9.]*' | head -n 1)" = "$kubernetes_version" ] ;;
    *) false ;;
  esac
}

# module_of NAME: the folder with the go.mod that names it, and its package
module_of() {
  case $1 in
    helm) echo helm helm.sh/helm/v4/cmd/helm ;;
    etcd) echo etcd go.etcd.io/etcd/server/v3 ;;
    coredns) echo coredns github.com/coredns/coredns ;;
    *) echo "kubernetes k8s.io/kubernetes/cmd/$1" ;;
  esac
}

# build NAME TITLE: compile it under the name that we call it by
build() {
  local name=$1 module package flags="-s -w" log=$cache/logs/$1.log
  read -r module package < <(module_of "$name")
  if [ "$module" = kubernetes ]; then
    local v=${kubernetes_version#v}
    flags+=" -X k8s.io/component-base/version.gitVersion=$kubernetes_version"
    flags+=" -X k8s.io/component-base/version.gitMajor=${v%%.*} -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$v")"
  fi
  watched "$log" "$2" go_build "$module" "$flags" "$root/$name.partial" "$package" ||
    die_with_log "$log" "$name could not be compiled" "see $log, and deploy/local/tools/$module/go.mod"
  mv "$root/$name.partial" "$root/$name"
}
# -v: the log names each package, so that its last line moves
go_build() { (cd "$1" && CGO_ENABLED=0 go build -v -trimpath -ldflags "$2" -o "$3" "$4"); }

mapfile -t todo < <(missing)
for i in "${!todo[@]}"; do
  adopt "${todo[$i]}" || build "${todo[$i]}" "${todo[$i]}: compiling, program $((i + 1)) of ${#todo[@]}, once per machine"
done
prune
echo "$root"
