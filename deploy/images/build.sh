#!/usr/bin/env bash
# The project's container images, built without Docker: a folder, one layer, one archive that every tool loads.
#
#   build.sh [NAME...]   build what is missing and print a line `NAME DIGEST ARCHIVE` for each (default: the first four)
#
#   system          quay.io/kubeopencode/kubeopencode: the operator and what runs inside a Task's Pod
#   agent-opencode  …-agent-opencode: the OpenCode program, copied into the Pod by an init container
#   agent-devbox    …-agent-devbox: Debian with git, where the agent runs
#   model-stub      a stand-in for a model, for the demo and the tests
#   pause, coredns  parts of the local cluster
#
# An archive is docker-archive, NAME-DIGEST.tar in ${XDG_CACHE_HOME:-~/.cache}/kubeopencode/images, tagged `latest`
# (`1` for the cluster's parts) and DIGEST. The digest covers everything that the image is made from, so a second run
# builds nothing. Debian's packages are as of the first build; remove debian-*.tar there to take newer ones.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"

images=$cache/images
mkdir -p "$images"
user=65532
opencode_version=1.18.33
debian_suite=bookworm
debian_packages=git,ca-certificates

opencode_package=opencode-linux-x64
opencode_sha512=abfb7fde9d824f1393f72da4be37ac6ff2d969bdbed5eaa5861580d3605eea68d3b6662d341701b2b239c83a38170ed948f056da8c8c20630d46a88a4238805b
[ "$(uname -m)" = x86_64 ] || die "the images are for x86_64, this machine is $(uname -m)" "build on x86_64"

main() {
  local name
  for name in "${@:-system agent-opencode agent-devbox model-stub}"; do
    # shellcheck disable=SC2086 # the default is several names
    for name in $name; do build "$name"; done
  done
}

# build NAME: `key_NAME` prints what the image is made from, `root_NAME FOLDER` fills its file system,
# `config_NAME` prints its settings
build() {
  local name=$1 function digest archive started=$SECONDS work
  function=${name//-/_}
  declare -F "key_$function" >/dev/null || die "there is no image '$name'" "see $0"
  digest=$( { cat "$0" "$here/$name"/* 2>/dev/null; "key_$function"; } | short_digest)
  archive=$images/$name-$digest.tar
  if [ ! -f "$archive" ]; then
    say "$name: building"
    work=$(mktemp -d "$images/work.XXXXXX")
    mkdir "$work/root"
    "root_$function" "$work/root"
    pack "$name" "$digest" "$work" "$(config_$function)"
    rm -rf "$work"
    say "$name: $(du -h "$archive" | cut -f1) in $((SECONDS - started)) s"
    forget_old "$name"
  fi
  touch "$archive"
  echo "$name $digest $archive"
}

# pack NAME DIGEST WORK CONFIG: WORK/root becomes the only layer
pack() {
  local archive=$images/$1-$2.tar layer tags
  tar -cf "$3/layer.tar" --sort=name --mtime=@0 --numeric-owner -C "$3/root" .
  layer=$(sha256sum "$3/layer.tar" | cut -d' ' -f1)
  jq -n --argjson config "$4" --arg layer "sha256:$layer" '{architecture: "amd64", os: "linux",
    created: "1970-01-01T00:00:00Z", config: $config, rootfs: {type: "layers", diff_ids: [$layer]}}' >"$3/config.json"
  jq -n --arg latest "$(reference "$1")" --arg digest "$(reference "$1" "$2")" \
    '[{Config: "config.json", RepoTags: [$latest, $digest], Layers: ["layer.tar"]}]' >"$3/manifest.json"
  tar -cf "$archive.partial" -C "$3" manifest.json config.json layer.tar
  mv "$archive.partial" "$archive"
}

# reference NAME [TAG]
reference() {
  case $1 in
    system) echo "quay.io/kubeopencode/kubeopencode:${2:-latest}" ;;
    pause | coredns) echo "localhost/$1:${2:-1}" ;;
    model-stub) echo "quay.io/kubeopencode/model-stub:${2:-latest}" ;;
    *) echo "quay.io/kubeopencode/kubeopencode-$1:${2:-latest}" ;;
  esac
}

# three of a kind are enough to go back and forth between checkouts
forget_old() {
  find "$images" -name "$1-????????????.tar" -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2- | xargs -r rm -f
}

# --- system -----------------------------------------------------------------------------------------------------

key_system() { sha256sum <"$(program kubeopencode)" && debian_key; }
root_system() {
  program_into kubeopencode "$1"
  mkdir -p "$1/etc/ssl/certs" "$1/tmp"
  chmod 1777 "$1/tmp"
  tar -xOf "$(debian)" ./etc/ssl/certs/ca-certificates.crt >"$1/etc/ssl/certs/ca-certificates.crt"
  echo "kubeopencode:x:$user:$user::/tmp:/sbin/nologin" >"$1/etc/passwd"
  echo "kubeopencode:x:$user:" >"$1/etc/group"
}
config_system() { printf '{"Entrypoint": ["/kubeopencode"], "User": "%s:%s", "Env": ["PATH=/"]}' $user $user; }

# --- model-stub -------------------------------------------------------------------------------------------------

key_model_stub() { sha256sum <"$(program model-stub)"; }
root_model_stub() { program_into model-stub "$1"; }
config_model_stub() { printf '{"Entrypoint": ["/model-stub"], "User": "%s:%s", "ExposedPorts": {"8080/tcp": {}}}' $user $user; }

# program NAME: path of a binary of this workspace, built (or found fresh) by cargo
program() {
  [ -n "${programs:-}" ] || die "programs are built before they are asked for"
  jq -r --arg name "$1" 'select(.reason == "compiler-artifact" and .target.name == $name and .executable != null).executable' \
    "$programs" | tail -n 1 | grep . || die "cargo built no program $1"
}
program_into() {
  install -m 0755 "$(program "$1")" "$2/$1"
  strip "$2/$1"
}
# one call for all: another selection of packages would select other features and compile everything twice
build_programs() {
  programs=$(mktemp)
  at_exit rm -f "$programs"
  say "cargo: building kubeopencode and model-stub"
  (cd "$repo" && cargo build --workspace --bin kubeopencode --bin model-stub --message-format=json-render-diagnostics) >"$programs" ||
    die "cargo build failed; its lines above say why"
}

# --- agent-opencode ---------------------------------------------------------------------------------------------

key_agent_opencode() { echo "$opencode_package $opencode_version" && sha256sum </bin/busybox; }
root_agent_opencode() {
  local package=$cache/downloads/$opencode_package-$opencode_version.tgz
  [ -f "$package" ] || download_opencode "$package"
  tar -xzf "$package" -C "$1" --strip-components=2 package/bin/opencode
  mkdir -p "$1/bin"
  install -m 0755 /bin/busybox "$1/bin/busybox"
  ln -s busybox "$1/bin/sh"
  install -m 0755 "$here/agent-opencode/entrypoint.sh" "$1/entrypoint.sh"
}
config_agent_opencode() { printf '{"Entrypoint": ["/entrypoint.sh"], "User": "%s:%s", "Env": ["PATH=/bin"]}' $user $user; }

download_opencode() {
  local folder log=$cache/logs/opencode.log
  need npm:npm
  say "agent-opencode: fetching $opencode_package $opencode_version from npm (60 MB, once per machine)"
  folder=$(mktemp -d "$images/npm.XXXXXX")
  (cd "$folder" && npm pack "$opencode_package@$opencode_version") >"$log" 2>&1 ||
    die_with_log "$log" "npm could not fetch $opencode_package@$opencode_version" "see whether npm reaches its registry"
  echo "$opencode_sha512  $(echo "$folder"/*.tgz)" | sha512sum --check --quiet >"$log" 2>&1 ||
    die_with_log "$log" "$opencode_package $opencode_version is not what it was when it was pinned" "do not use it; see who changed it"
  mkdir -p "$(dirname "$1")"
  mv "$folder"/*.tgz "$1"
  rm -rf "$folder"
}

# --- agent-devbox -----------------------------------------------------------------------------------------------

key_agent_devbox() { debian_key; }
root_agent_devbox() {
  tar -xf "$(debian)" -C "$1" --numeric-owner
  echo "agent:x:$user:$user::/tmp:/bin/bash" >>"$1/etc/passwd"
  echo "agent:x:$user:" >>"$1/etc/group"
  install -d -m 1777 "$1/workspace"
}
config_agent_devbox() {
  printf '{"Cmd": ["/bin/bash"], "User": "%s:%s", "WorkingDir": "/workspace", "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}' $user $user
}

debian_key() { echo "$debian_suite $debian_packages" | short_digest; }
# a small Debian as a tar: base of the devbox, and where the certificates of the authorities come from
debian() {
  local tar=$images/debian-$(debian_key).tar log=$cache/logs/debian.log
  if [ ! -f "$tar" ]; then
    need mmdebstrap:mmdebstrap
    say "Debian $debian_suite with $debian_packages: installing into a folder (about a minute, once per machine; log: $log)"
    mmdebstrap --variant=minbase --include="$debian_packages" \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      "$debian_suite" - >"$tar.partial" 2>"$log" ||
      die_with_log "$log" "mmdebstrap could not install Debian $debian_suite" "see whether this machine reaches Debian's packages"
    mv "$tar.partial" "$tar"
  fi
  echo "$tar"
}

# --- parts of the local cluster ---------------------------------------------------------------------------------

key_pause() { :; }
root_pause() { cc -Os -static -o "$1/pause" "$here/pause/pause.c"; }
config_pause() { echo '{"Entrypoint": ["/pause"]}'; }

key_coredns() { sha256sum <"$("$here/../local/tools.sh")/coredns"; }
root_coredns() { install -m 0755 "$("$here/../local/tools.sh")/coredns" "$1/coredns"; }
config_coredns() { echo '{"Entrypoint": ["/coredns"]}'; }

need jq:jq busybox:busybox-static strip:binutils
case " ${*:-system model-stub} " in *" system "* | *" model-stub "*) build_programs ;; esac
main "$@"
