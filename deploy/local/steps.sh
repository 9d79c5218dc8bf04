# Numbered steps with their times, and which one failed. Sourced.

step_titles=() step_commands=() step_seconds=() step_now=""
say_failed_step() {
  [ "$exit_code" -eq 0 ] || [ -z "$step_now" ] || echo "$me: FAILED after $(elapsed "$SECONDS") in step $step_now" >&2
}
at_exit say_failed_step

# step TITLE COMMAND...: what run_steps will do
step() {
  step_titles+=("$1")
  shift
  step_commands+=("$(printf '%q ' "$@")")
}

# run_steps: all of them, in this shell, until one fails
run_steps() {
  local i started
  for i in "${!step_titles[@]}"; do
    started=$SECONDS
    step_now="$((i + 1))/${#step_titles[@]}: ${step_titles[$i]}"
    printf '\n[%s] %s\n' "${step_now%%:*}" "${step_titles[$i]}" >&2
    eval "${step_commands[$i]}"
    step_seconds+=($((SECONDS - started)))
    echo "    done in $(elapsed "${step_seconds[-1]}"), $(elapsed "$SECONDS") since the start" >&2
  done
  step_now=""
  echo >&2
  for i in "${!step_titles[@]}"; do printf '%5d s  %s\n' "${step_seconds[$i]}" "${step_titles[$i]}"; done >&2
  printf '%5d s  altogether\n\n' "$SECONDS" >&2
}
