#!/bin/sh
# Puts OpenCode into the Pod's tools volume. An init container may run twice, so the copy appears whole or not at all.
set -eu
target=${TOOLS_DIR:-/tools}/${OPENCODE_BIN:-opencode}
busybox cp /opencode "$target.partial"
busybox chmod 0755 "$target.partial"
busybox mv -f "$target.partial" "$target"
