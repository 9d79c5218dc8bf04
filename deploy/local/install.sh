# Puts KubeOpenCode into a cluster: images, chart, and the stand-in for a model. Sourced by demo.sh and test.sh.
#
# Which cluster: the user's own when KUBECONFIG or DEMO_CONTEXT is set, otherwise our local one. Sets $own (true or
# empty), and kubectl and helm as functions that talk to that cluster and no other.

system_namespace=kubeopencode-system
release=kubeopencode
own_kubeconfig=$cache/clusters/local/kubeconfig

choose_cluster() {
  own=true
  [ -z "${DEMO_CONTEXT:-}" ] || own=
  [ -z "${KUBECONFIG:-}" ] || [ "$KUBECONFIG" = "$own_kubeconfig" ] || own=
}

# connect: a local cluster is brought up when it does not run, the user's own is only looked at
connect() {
  local context
  if [ "$own" ]; then
    "$here/cluster.sh" up >/dev/null
    tools=$("$here/tools.sh")
    cluster_flags=(--kubeconfig "$own_kubeconfig") helm_flags=(--kubeconfig "$own_kubeconfig")
    return
  fi
  tools=$("$here/tools.sh" clients)
  context=${DEMO_CONTEXT:-$("$tools/kubectl" config current-context 2>/dev/null)} ||
    die "KUBECONFIG has no current context" "set DEMO_CONTEXT to one of: $("$tools/kubectl" config get-contexts -o name | tr '\n' ' ')"
  target_context=$context
  cluster_flags=(--context "$context") helm_flags=(--kube-context "$context")
  kubectl version >/dev/null 2>&1 || die "the cluster of context $context does not answer" "see: kubectl --context $context version"
}

kubectl() { "$tools/kubectl" "${cluster_flags[@]}" "$@"; }
helm() { "$tools/helm" "${helm_flags[@]}" "$@"; }

# build_images [NAME...]: those that are named, or all; sets images[NAME]=ARCHIVE and digests[NAME]
declare -A images digests
build_images() {
  local name digest archive lines
  can_load_images
  lines=$("$repo/deploy/images/build.sh" "$@")
  while read -r name digest archive; do
    images[$name]=$archive digests[$name]=$digest
  done <<<"$lines"
}

# can_load_images: asked before minutes are spent on building them
can_load_images() {
  [ -z "$own" ] && [ -z "${REGISTRY:-}" ] || return 0
  case $target_context in
    kind-* | k3d-* | minikube) ;;
    *) die "how do images come into the cluster of context $target_context?" \
      "set REGISTRY to a registry that this machine may push to and the cluster may pull from, for example REGISTRY=registry.example.com/team (log in with: skopeo login)" ;;
  esac
}

# load_images: into the cluster, in the way of its kind
load_images() {
  local name
  if [ "$own" ]; then
    "$here/cluster.sh" import "${images[@]}"
    return
  fi
  case ${REGISTRY:+registry}$target_context in
    kind-*) for name in "${!images[@]}"; do loaded kind load image-archive "${images[$name]}" --name "${target_context#kind-}"; done ;;
    k3d-*) loaded k3d image import "${images[@]}" --cluster "${target_context#k3d-}" ;;
    minikube) for name in "${!images[@]}"; do loaded minikube image load "${images[$name]}"; done ;;
    *)
      preflight push
      for name in "${!images[@]}"; do
        loaded skopeo copy --insecure-policy "docker-archive:${images[$name]}:$(built "$name")" "docker://$(reference "$name")"
      done
      ;;
  esac
}

loaded() {
  local log=$cache/logs/load.log
  command -v "$1" >/dev/null || die "$1 is missing on this machine" "install it, or set REGISTRY and another context"
  "$@" >"$log" 2>&1 </dev/null || die_with_log "$log" "could not load images with: $*" "see $log"
}

# built NAME: the image's name inside its archive. The digest as its tag makes a changed image roll out.
built() {
  case $1 in
    system) echo "quay.io/kubeopencode/kubeopencode:${digests[$1]}" ;;
    model-stub) echo "quay.io/kubeopencode/model-stub:${digests[$1]}" ;;
    *) echo "quay.io/kubeopencode/kubeopencode-$1:${digests[$1]}" ;;
  esac
}

# reference NAME: what Pods call the image
reference() {
  if pushed; then echo "$REGISTRY/$1:${digests[$1]}"; else built "$1"; fi
}
pushed() { [ -z "$own" ] && [ -n "${REGISTRY:-}" ]; }

# install_chart [FLAG...]: with further flags of helm
install_chart() {
  local image values=()
  image=$(reference system)
  # a digest of digits alone is still text
  values=(--set "controller.image.repository=${image%:*}" --set-string "controller.image.tag=${image##*:}"
    --set "kubeopencodeConfig.systemImage.image=$image" --set crds.keep=false
    # the nodes have the images under the tag that is pulled by default
    --set kubeopencodeConfig.defaults.imagePullPolicy=IfNotPresent)
  by_helm upgrade --install "$release" "$repo/deploy/chart" --create-namespace "${values[@]}" "$@"
}

# by_helm VERB RELEASE ARGUMENT...: in the operator's namespace, and to its end
by_helm() {
  local log=$cache/logs/helm.log
  helm "$@" --namespace "$system_namespace" --wait --timeout 3m >"$log" 2>&1 && return
  kubectl --namespace "$system_namespace" get pods,events >>"$log" 2>&1 || true
  kubectl --namespace "$system_namespace" logs "deployment/$release" --tail=30 >>"$log" 2>&1 || true
  die_with_log "$log" "this failed: helm $*" "see $log"
}

have_namespace() { kubectl create namespace "$1" --dry-run=client -o yaml | kubectl apply -f - >/dev/null; }

# start_registry: with TLS and a password, beside the node of the local cluster; sets registry_address and registry_folder
start_registry() {
  local line
  line=$("$repo/deploy/local/cluster.sh" registry)
  # shellcheck disable=SC2034 # for those that push to it
  read -r registry_address registry_folder <<<"$line"
}

# may_pull NAMESPACE: its Pods, from the registry; the namespace is made
may_pull() {
  have_namespace "$1"
  kubectl create secret generic registry --type=kubernetes.io/dockerconfigjson --from-file=".dockerconfigjson=$registry_folder/auth.json" \
    --dry-run=client --output yaml | kubectl --namespace "$1" apply -f - >/dev/null
}

# start_model_stub NAMESPACE
start_model_stub() {
  have_namespace "$1"
  sed "s|@IMAGE@|$(reference model-stub)|" "$here/model-stub.yaml" | kubectl --namespace "$1" apply -f - >/dev/null
  kubectl --namespace "$1" rollout status deployment/model-stub --timeout=120s >/dev/null ||
    die "the model stub does not start" "see: kubectl --namespace $1 describe pods"
}

# start_sources NAMESPACE: a git server and a web server with something to fetch
start_sources() {
  have_namespace "$1"
  sed "s|@IMAGE@|$(reference sources)|" "$here/sources.yaml" | kubectl --namespace "$1" apply -f - >/dev/null
  kubectl --namespace "$1" rollout status deployment/sources --timeout=120s >/dev/null ||
    die "the git and web server does not start" "see: kubectl --namespace $1 describe pods"
}

# what_model_received NAMESPACE: a JSON list of its requests, through the API server's own proxy
what_model_received() { kubectl get --raw "/api/v1/namespaces/$1/services/model-stub:http/proxy/requests"; }
