#!/usr/bin/env bash
# Runs a command with a real API server beside it.
#
#   with-control-plane.sh NAME COMMAND...
#
# Brings up the control plane NAME (and takes it down afterwards, unless it ran before) and sets for the command
#   KUBEOPENCODE_TEST_KUBECONFIG           the admin's kubeconfig
#   KUBEOPENCODE_TEST_OPERATOR_KUBECONFIG  the same rights under the user name `operator-under-test`
#   KUBEOPENCODE_TEST_AUDIT_LOG            the API server's own record of who did what (audit-policy.yaml)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
name=$1
shift
cluster() { "$here/cluster.sh" "$1" --name "$name" "${@:2}"; }
cluster kubeconfig >/dev/null 2>&1 || at_exit cluster down
kubeconfig=$(cluster up --control-plane)
state=$(dirname "$kubeconfig")
KUBEOPENCODE_TEST_KUBECONFIG=$kubeconfig KUBEOPENCODE_TEST_OPERATOR_KUBECONFIG=$state/operator.kubeconfig \
  KUBEOPENCODE_TEST_AUDIT_LOG=$state/logs/audit.log "$@"
