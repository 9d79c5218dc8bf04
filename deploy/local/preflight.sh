#!/usr/bin/env bash
# Looks whether this machine has what a step wants, before anything starts that takes minutes. About a second.
#
#   preflight.sh STEP...    demo, test, or some of: lint licences unit api e2e images bench; scripts name smaller ones
#
# What can be installed is: Debian's packages of requirements.txt by apt-get as root, the Rust toolchain of
# rust-toolchain.toml and its parts by rustup. Where something else is missing nothing is installed, and all that is
# missing is named, each with the command that mends it. Prints nothing when all is there.
#
# Env: XDG_CACHE_HOME, CARGO_TARGET_DIR, CARGO_HOME, RUSTUP_HOME, GOCACHE, GOMODCACHE: where there must be space.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/addresses.sh"

list=$here/requirements.txt
# nothing is installed without a word
export RUSTUP_AUTO_INSTALL=0

main() {
  [ $# -gt 0 ] || die "usage: preflight.sh STEP..."
  steps=" "
  want any
  local step
  for step; do want "$step"; done
  check_packages
  if wants build; then check_rust; fi
  if wants go; then check_go; fi
  check_space
  check_memory
  if wants images || wants root; then check_architecture; fi
  if wants root; then check_root; fi
  if wants control-plane; then check_ports; fi
  if [ ${#lacks[@]} -gt ${#mends[@]} ]; then
    name_all "$@"
    exit 1
  fi
  for step in "${mends[@]}"; do "$step"; done
}

# want STEP: with everything that this step does
want() {
  local step more=""
  case $1 in
    test) more="lint licences unit api e2e" ;;
    demo) more="build images node" ;;
    demo-release) more="demo push registry" ;;
    e2e) more="build images node registry" ;;
    node) more="root control-plane clients go" ;;
    # the demo on a cluster that is there
    elsewhere) more="build images clients go" ;;
    lint) more="formats clients go" ;;
    unit) more="build clients go" ;;
    api | bench) more="build control-plane clients go" ;;
    licences | images | formats | fuzz | mutants | site | compile) more="build" ;;
    release) more="images compile clients go" ;;
    release-test) more="push sign try registry clients go" ;;
    sign) more="go" ;;
    any | build | go | try | clients | control-plane | push | registry | bare | root) ;;
    *) die "there is no step '$1'" "see the top of $0" ;;
  esac
  steps+="$1 "
  for step in $more; do wants "$step" || want "$step"; done
}
wants() { [[ $steps == *" $1 "* ]]; }

# What is missing, with the command that mends it: ours to give, where a function of this script runs it, or the user's.
lacks=() remedies=() mends=()
lack() { lacks+=("$1") remedies+=("$2"); }
mend() {
  lack "$1" "$2 (done here as soon as the rest is there)"
  mends+=("$3")
}

name_all() {
  local i
  say "this machine is not ready for: $*"
  for i in "${!lacks[@]}"; do
    echo "$me: $((i + 1)). ${lacks[$i]}" >&2
    echo "$me:    do: ${remedies[$i]}" >&2
  done
  echo "$me: error: ${#lacks[@]} of its needs are not met; nothing was started" >&2
}

# --- Debian's packages ------------------------------------------------------------------------------------------

check_packages() {
  packages=()
  local source needed_for provides step found
  while read -r source needed_for provides; do
    case $source in '' | '#'* | rust | go | cluster | yours | *:*) continue ;; esac
    for step in ${needed_for//,/ }; do
      wants "$step" || continue
      for found in $provides; do
        case $found in
          /*) [ -e "$found" ] ;;
          *) command -v "$found" >/dev/null ;;
        esac || { packages+=("$source") && break; }
      done
      break
    done
  done <"$list"
  [ ${#packages[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    lack "missing packages, by Debian's names: ${packages[*]}" "install them; on Debian: $(apt_command)"
  elif [ "$(id -u)" != 0 ]; then
    lack "missing packages: ${packages[*]}" "sudo $(apt_command)"
  else
    mend "missing packages: ${packages[*]}" "$(apt_command)" install_packages
  fi
}

apt_command() { echo "apt-get install --no-install-recommends ${packages[*]}"; }

install_packages() {
  local log=$cache/logs/apt.log
  say "$(apt_command)"
  watched "$log" "installing Debian packages" apt_get ||
    die_with_log "$log" "apt-get could not install ${packages[*]}" "repair what apt-get says, then run this again"
}
apt_get() { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; }

# --- Rust -------------------------------------------------------------------------------------------------------

check_rust() {
  local toolchain installed part parts=() targets=()
  toolchain=$(toolchain)
  if ! command -v rustup >/dev/null; then
    check_rust_without_rustup "$toolchain"
    return
  fi
  if ! rustup which rustc --toolchain "$toolchain" >/dev/null 2>&1; then
    rust_missing="Rust $toolchain is missing"
    rust_command=(rustup toolchain install "$toolchain" --no-self-update --profile minimal)
    for part in $(of_toolchain components); do rust_command+=(--component "$part"); done
    for part in $(targets_of_rust); do rust_command+=(--target "$part"); done
    mend "$rust_missing" "${rust_command[*]}" install_rust
    return
  fi
  # a toolchain of one's own has no components, so what cannot be listed is looked for
  installed=$(rustup component list --toolchain "$toolchain" --installed 2>/dev/null) || { check_rust_without_rustup "$toolchain" && return; }
  for part in $(of_toolchain components); do grep -q "^$part-" <<<"$installed" || parts+=("$part"); done
  for part in $(targets_of_rust); do grep -qx "rust-std-$part" <<<"$installed" || targets+=("$part"); done
  [ ${#parts[@]} -gt 0 ] || [ ${#targets[@]} -gt 0 ] || return 0
  if [ ${#parts[@]} -eq 0 ]; then
    rust_missing="Rust $toolchain has no target ${targets[*]}"
    rust_command=(rustup target add --toolchain "$toolchain" "${targets[@]}")
  else
    rust_missing="Rust $toolchain has no ${parts[*]} ${targets[*]}"
    rust_command=(rustup component add --toolchain "$toolchain" "${parts[@]}" "${targets[@]/#/rust-std-}")
  fi
  mend "$rust_missing" "${rust_command[*]}" install_rust
}

# A Rust from elsewhere is taken when it is new enough and has the target. Lints are those of one version, and no other's.
check_rust_without_rustup() {
  local version target
  if ! command -v cargo >/dev/null || ! version=$(cd / && rustc --version 2>/dev/null | cut -d' ' -f2); then
    lack "Rust is missing: rustup, which brings Rust $1" \
      "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"
    return
  fi
  if ! at_least "$version" "$1" || { wants formats && [ "$version" != "$1" ]; }; then
    lack "Rust $1 is missing: the one on the PATH is $version, and not rustup's" \
      "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"
  fi
  for target in $(targets_of_rust); do
    [ -d "$(cd / && rustc --print target-libdir --target "$target" 2>/dev/null)" ] ||
      lack "the Rust on the PATH has no target $target, and rustup is missing, which could add it" \
        "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"
  done
}

# targets_of_rust: those of everybody, and what a release is compiled for
targets_of_rust() { of_toolchain targets && if wants compile; then echo x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; fi; }

# of_toolchain KEY: a list of rust-toolchain.toml
of_toolchain() { sed -n "s/^$1 = \[\(.*\)\]/\1/p" "$repo/rust-toolchain.toml" | tr -d '",'; }

install_rust() {
  local log=$cache/logs/rustup.log
  say "$rust_missing: ${rust_command[*]}"
  watched "$log" "rustup" "${rust_command[@]}" ||
    die_with_log "$log" "$rust_missing, and rustup could not install it" "${rust_command[*]}"
}

# --- Go ---------------------------------------------------------------------------------------------------------

check_go() {
  local wanted_version version remedy
  wanted_version=$(sed -n 's/^go //p' "$repo"/deploy/local/tools/*/go.mod "$repo"/tests/*/go.mod | sort -V | tail -n 1)
  remedy="curl -sSfL https://go.dev/dl/go$wanted_version.linux-amd64.tar.gz | tar -C /usr/local -xz && export PATH=/usr/local/go/bin:\$PATH"
  if ! command -v go >/dev/null; then
    lack "Go is missing: $wanted_version or newer (Debian's own is older)" "$remedy"
    return
  fi
  version=$(cd / && go env GOVERSION)
  at_least "${version#go}" "$wanted_version" && return
  # since 1.21 Go fetches a newer one by itself, unless it is told not to
  if at_least "${version#go}" 1.21 && [ "$(cd / && go env GOTOOLCHAIN)" != local ]; then return; fi
  lack "Go $wanted_version or newer is missing: this one is ${version#go}" "$remedy"
}

at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# --- the machine ------------------------------------------------------------------------------------------------

check_architecture() {
  [ "$(uname -m)" = x86_64 ] || lack "the images and the cluster are for x86_64, this machine is $(uname -m)" "take another machine; 'make unit' runs on this one"
}

check_memory() {
  local available limit
  available=$(awk '$1 == "MemTotal:" {print $2}' /proc/meminfo)
  for limit in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
    limit=$(cat "$limit" 2>/dev/null) && [ "$limit" != max ] || continue
    [ $((limit / 1024)) -ge "$available" ] || available=$((limit / 1024))
  done
  wants build || wants node || return 0
  [ "$available" -ge $((memory_gb * 1000 * 1000)) ] ||
    lack "memory: $memory_gb GB are needed, this machine has $((available / 1000 / 1000)) GB" "give it more"
}

# How much is written on the first run, in GB; less when most is there already.
memory_gb=4
check_space() {
  local folders=() sizes=()
  if wants build; then
    local target=${CARGO_TARGET_DIR:-$repo/target}
    folders+=("$target") sizes+=("$([ -d "$target" ] && echo 2 || echo 10)")
    folders+=("${CARGO_HOME:-$HOME/.cargo}") sizes+=(1)
  fi
  if wants go && command -v go >/dev/null && ! "$here/tools.sh" look all >/dev/null 2>&1; then
    folders+=("$(cd / && go env GOCACHE)" "$(cd / && go env GOMODCACHE)") sizes+=(6 4)
  fi
  folders+=("$cache") sizes+=(1)
  if wants images; then folders+=("$cache/images") sizes+=("$([ -d "$cache/images" ] && echo 1 || echo 3)"); fi
  if wants node; then folders+=("$cache/clusters") sizes+=(3); fi
  local i folder mount free
  local -A needed=() places=()
  for i in "${!folders[@]}"; do
    folder=${folders[$i]}
    until [ -d "$folder" ]; do folder=$(dirname "$folder"); done
    mount=$(df --output=target "$folder" | tail -n 1)
    needed[$mount]=$((${needed[$mount]:-0} + ${sizes[$i]}))
    [[ " ${places[$mount]:-} " == *" $folder "* ]] || places[$mount]="${places[$mount]:-}${places[$mount]:+ }$folder"
  done
  for mount in "${!needed[@]}"; do
    free=$(df --block-size=1000000 --output=avail "$mount" | tail -n 1)
    [ "$free" -ge $((needed[$mount] * 1000)) ] ||
      lack "disk: ${needed[$mount]} GB are needed on $mount (for ${places[$mount]// /, }), $((free / 1000)) GB are free" \
        "make space there, or set XDG_CACHE_HOME, CARGO_TARGET_DIR or GOCACHE to folders elsewhere"
  done
}

check_ports() {
  local base
  # a cluster of ours that runs has its ports
  ! compgen -G "$clusters/*/ports" >/dev/null || return 0
  for base in $(port_blocks); do
    ! block_is_free "$base" || return 0
  done
  lack "ports: no ten in a row are free between 16440 and 17449" "end what listens there: ss -ltnp"
}

# What the node takes of the machine; see node.sh.
check_root() {
  [ "$(id -u)" = 0 ] || lack "root: the local cluster makes containers, cgroups and addresses" \
    "run this as root; or set KUBECONFIG or DEMO_CONTEXT for 'make demo' on a cluster of yours; 'make lint unit api' need no root"
  # containerd and the kubelet make unix sockets under it, whose names end at 107 characters
  [ ${#cache} -le 45 ] || lack "the path $cache is too long for unix sockets" "set XDG_CACHE_HOME to a shorter path"
  # a cluster of ours that runs has them
  ! compgen -G "$clusters/*/node-address" >/dev/null || return 0
  ! address_is_used "$node_ip\$" ||
    lack "another local cluster holds the address $node_ip on this machine" \
      "take it down, with its own cluster.sh down; if there is none: ip address del $node_ip/32 dev lo"
  ! address_is_used "$pod_net." ||
    lack "the network of the Pods, $pod_net.0/24, is used by an interface of this machine" "take that interface down: ip route show to match $pod_net.1"
}
# address_is_used PATTERN: read where it also can be without the package iproute2
address_is_used() { grep -qE -- "-- ${1//./\\.}" /proc/net/fib_trie; }

main "$@"
