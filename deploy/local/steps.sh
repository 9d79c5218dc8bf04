# Numbered steps with their times, and which one failed. Sourced.

step_titles=() step_seconds=() step_now=""
say_failed_step() {
  [ "$exit_code" -eq 0 ] || [ -z "$step_now" ] || echo "$me: FAILED in step $((${#step_titles[@]} + 1)): $step_now" >&2
}
at_exit say_failed_step

# step TITLE COMMAND...
step() {
  local title=$1 started=$SECONDS
  shift
  step_now=$title
  echo >&2
  echo "[$((${#step_titles[@]} + 1))] $title" >&2
  "$@"
  step_titles+=("$title") step_seconds+=($((SECONDS - started)))
  step_now=""
  echo "    done in ${step_seconds[-1]} s" >&2
}

summary() {
  local i
  echo >&2
  for i in "${!step_titles[@]}"; do printf '%5d s  %s\n' "${step_seconds[$i]}" "${step_titles[$i]}"; done >&2
  printf '%5d s  altogether\n\n' "$SECONDS" >&2
}
