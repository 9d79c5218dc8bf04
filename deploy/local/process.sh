# Long-running processes of one cluster: started with a log each, known by PID and start time, and never confused
# with somebody else's process that got the same number. Sourced; uses $state.

# start_time PID: the kernel's start time, which together with the PID names one process within a boot.
# Nothing for a process that has ended and waits to be reaped.
start_time() { sed -n 's/.*) //; /^[^ZX]/p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

alive() {
  local pid started
  read -r pid started 2>/dev/null <"$state/pids/$1" || return 1
  [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]
}

# start NAME COMMAND...: in $state, log in $state/logs/NAME.log; nothing to do when it runs already
start() {
  local name=$1 pid
  shift
  ! alive "$name" || return 0
  # the lock (fd 9) must not live on in a daemon
  (cd "$state" && exec setsid "$@" >>"$state/logs/$name.log" 2>&1 </dev/null 9>&-) &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$state/pids/$name"
}

# ready NAME SECONDS COMMAND...: wait for a process that was started; its death or a time-out ends the script
ready() {
  local name=$1 seconds=$2 deadline
  shift 2
  deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    alive "$name" || die_with_log "$state/logs/$name.log" "$name stopped while starting" "see $state/logs/$name.log; '$(again down)' and up again starts from nothing"
    [ "$SECONDS" -lt "$deadline" ] || die_with_log "$state/logs/$name.log" "$name is not ready after $seconds s (waited for: $*)" "see $state/logs/$name.log; '$(again down)' and up again starts from nothing"
    sleep 0.2
  done
}

# stop NAME: SIGTERM, and SIGKILL after 5 s
stop() {
  local pid
  if alive "$1"; then
    read -r pid _ <"$state/pids/$1"
    kill "$pid" 2>/dev/null || true
    wait_until 5 gone "$1" || kill -9 "$pid" 2>/dev/null || true
    wait_until 5 gone "$1" || die "$1 (process $pid) does not end" "see $state/logs/$1.log"
  fi
  rm -f "$state/pids/$1"
}
gone() { ! alive "$1"; }
