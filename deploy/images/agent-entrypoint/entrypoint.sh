#!/bin/sh
# A stand-in for an agent image with a program of its own: it says where it runs, what its variables are and what every
# file that it was given holds, for as many seconds as /workspace/seconds says, and exits with what /workspace/exit-code says.
echo "user $(id -u):$(id -g) in $PWD, home $HOME"
env | grep ^TASK_ | sort
for file in /workspace/* /workspace/*/* /etc/* /etc/*/* /home/agent/.*/*; do
  [ -f "$file" ] || continue
  echo "==> $file $(stat -L -c %a "$file")"
  cat "$file"
done
[ ! -f /workspace/seconds ] || sleep "$(cat /workspace/seconds)"
[ ! -f /workspace/exit-code ] || exit "$(cat /workspace/exit-code)"
