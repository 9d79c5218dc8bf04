# Programs of another architecture on this machine. Sourced by build.sh, and by what tries a release.

# run_foreign_programs: the kernel hands the programs of $architecture to qemu, also those in another root, from now until this
# script ends, unless something on this machine has it so already. F: it opens qemu now. Never in a subshell, which has no end.
run_foreign_programs() {
  local formats=/proc/sys/fs/binfmt_misc name=kubeopencode-$architecture qemu
  [ "$architecture" != amd64 ] || return 0
  ! grep -qsl '^interpreter .*qemu-aarch64' "$formats"/* || return 0
  [ "$(id -u)" = 0 ] || die "programs for $architecture run under qemu, for which the kernel asks for root" "run this as root"
  qemu=$(command -v qemu-aarch64-static) || die "programs for $architecture run under qemu, which is missing" "deploy/local/preflight.sh release"
  if [ ! -f "$formats/register" ]; then
    mount -t binfmt_misc binfmt_misc "$formats" 2>/dev/null || die "this kernel has no binfmt_misc" "modprobe binfmt_misc"
    at_exit umount "$formats"
  fi
  printf ':%s:M::%s:%s:%s:F' "$name" '\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' \
    '\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff' "$qemu" >"$formats/register"
  at_exit forget_format "$formats/$name"
}
forget_format() { echo -1 >"$1"; }
