#!/usr/bin/env bash
# KubeOpenCode without helm: the same objects, rendered from the chart with its defaults.
#
#   manifest.sh print    everything in one file, for kubectl apply
#   manifest.sh write    write operator.yaml anew, after a change of the chart
#   manifest.sh check    fail when operator.yaml is not what the chart renders
#
# write and check have a second file, for tests: the Roles of an operator that watches two namespaces.
#
# operator.yaml is committed, so that this folder is a kustomize base as it lies in the repository, also for
# kubectl apply -k https://…//deploy/install?ref=TAG. The one file is made on demand: nine tenths of it are the
# CustomResourceDefinitions, which stand in the repository once.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
me=manifest

# Only what the chart itself says, so no words of helm. The KubeOpenCodeConfig is left out: kubectl cannot apply an
# object in one go with its definition, and the operator's own defaults are the same, but for spec.defaults.
render() {
  cat <<'YAML'
# Written by manifest.sh from deploy/chart, never edited.
apiVersion: v1
kind: Namespace
metadata:
  name: kubeopencode-system
YAML
  "$tools/helm" template kubeopencode "$repo/deploy/chart" --namespace kubeopencode-system --no-hooks \
    --set crds.enabled=false --set kubeopencodeConfig.create=false | plain
}

roles=$repo/tests/fixtures/roles-in-two-namespaces.yaml
render_roles() {
  echo '# Written by deploy/install/manifest.sh from deploy/chart, never edited.'
  "$tools/helm" template kubeopencode "$repo/deploy/chart" --namespace team-a --show-only templates/rbac.yaml \
    --set 'watchNamespaces={team-a,team-b}' --set plugins.enabled=false | plain
}

# What stays where another version of the chart, or helm, renders the same.
plain() { grep -vE '^# Source: |^ *(helm\.sh/chart|app\.kubernetes\.io/(managed-by|version)): |^$'; }

print() {
  cat <<'YAML'
# KubeOpenCode in one file.
#
#   kubectl apply --server-side -f install.yaml
#
# To remove it, with all Tasks and Agents:
#
#   kubectl -n kubeopencode-system exec deployment/kubeopencode -- /kubeopencode release-finalizers
#   kubectl delete -f install.yaml
YAML
  "$tools/kubectl" kustomize "$here"
}

write() {
  render >"$here/operator.partial"
  mv "$here/operator.partial" "$here/operator.yaml"
  render_roles >"$roles"
}

check() {
  render | diff "$here/operator.yaml" - >&2 ||
    die "deploy/install/operator.yaml is not what the chart renders" "deploy/install/manifest.sh write, and commit it"
  render_roles | diff "$roles" - >&2 ||
    die "tests/fixtures/roles-in-two-namespaces.yaml is not what the chart renders" "deploy/install/manifest.sh write, and commit it"
  # the base is whole: kustomize finds all it names, and every kind is there
  local kinds kind
  kinds=$("$tools/kubectl" kustomize "$here" | sed -n 's/^kind: //p' | sort -u)
  for kind in ClusterRole ClusterRoleBinding CustomResourceDefinition Deployment Namespace Role RoleBinding Service ServiceAccount \
    ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding; do
    grep -qx "$kind" <<<"$kinds" || die "the kustomize base has no $kind" "see deploy/install/kustomization.yaml"
  done
  diff <("$tools/kubectl" kustomize "$here" | definitions) <("$tools/helm" template kubeopencode "$repo/deploy/chart" | definitions) >&2 ||
    die "the kustomize base has other definitions than the chart by default" "see the patch in deploy/install/kustomization.yaml"
}

definitions() { sed -n 's/^  name: \(.*\.\(kubeopencode\|kubetask\)\.io\)$/\1/p' | sort; }

case ${1:-} in
  print | write | check) preflight clients && tools=$("$repo/deploy/local/tools.sh" clients) && "$1" ;;
  *) die "usage: manifest.sh print|write|check" ;;
esac
