#!/usr/bin/env bash
# The project's container images, built without Docker: a folder, one layer, one archive that every tool loads.
#
#   build.sh [NAME...]          build what is missing and print a line `NAME DIGEST ARCHIVE` for each (default: all but the cluster's parts)
#   build.sh root NAME FOLDER   fill FOLDER with its file system alone: for the Dockerfile
#   build.sh config NAME        print its settings as JSON
#   build.sh prune              remove archives that nobody needs, as each build does in the end
#
#   system          quay.io/kubeopencode/kubeopencode: the operator and what runs inside a Task's Pod
#   agent-opencode  …-agent-opencode: the OpenCode program, copied into the Pod by an init container
#   agent-devbox    …-agent-devbox: Debian with what an agent works with, from git and gh to python3, node and a C compiler
#   agent-attach    …-agent-attach: a shell and little more, where a Task talks to its Agent's server
#   model-stub      a stand-in for a model, for the demo and the tests
#   sources         a git server and a web server with what a mounted folder holds, for the demo and the tests
#   agent-entrypoint  an agent by its own entrypoint, as kubetask.io has them, which tells what it was given: for the tests;
#                   agent-entrypoint-root and agent-entrypoint-1000 are the same as other users
#   aws-stand-in    a program `aws` that gets objects from `sources`, for the tests of examples/plugins/s3-object
#   pause, coredns  parts of the local cluster
#
# An archive is docker-archive, NAME-DIGEST.tar in ${XDG_CACHE_HOME:-~/.cache}/kubeopencode/images, tagged `latest`
# (`1` for the cluster's parts) and DIGEST. The digest covers everything that the image is made from, so a second run
# builds nothing. Of each image the three stay that were used last, and none that was not used for 14 days; nor does an older
# version of what was fetched from npm. Debian's packages are as of the first build; remove debian-*.tar there to take newer ones.
#
# Env, for a release: IMAGE_ARCHITECTURE, amd64 (the default) or arm64, whose archives are NAME-arm64-DIGEST.tar and whose
# packages are set up under qemu; IMAGE_PROGRAMS, a folder with programs in place of those that cargo would build here.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
. "$here/debian.sh"
. "$here/foreign.sh"

# modes are part of an image, where other users read what root wrote
umask 022
images=$cache/images
mkdir -p "$images"
# enough to go back and forth between checkouts
kept_archives=3
user=65532
architecture=${IMAGE_ARCHITECTURE:-amd64}
case $architecture in
  amd64)
    libraries=x86_64-linux-gnu loader=/lib64/ld-linux-x86-64.so.2
    opencode_version=1.18.33
    opencode_package=opencode-linux-x64
    opencode_sha512=abfb7fde9d824f1393f72da4be37ac6ff2d969bdbed5eaa5861580d3605eea68d3b6662d341701b2b239c83a38170ed948f056da8c8c20630d46a88a4238805b
    ;;
  arm64)
    libraries=aarch64-linux-gnu loader=/lib/ld-linux-aarch64.so.1
    # the newest that could be fetched and looked at when this was pinned
    opencode_version=1.18.18
    opencode_package=opencode-linux-arm64
    opencode_sha512=7bc0f7834a89108cdac04836fb2816def9198c060bdacb32031e066e2863c17c1916f959672e734565b3773e4a2c1a07493974141ef7bcdb6735e5ce3721e955
    ;;
  *) die "there are no images for $architecture" "IMAGE_ARCHITECTURE is amd64 or arm64" ;;
esac

main() {
  local name
  if [ "${1:-}" = root ]; then
    fill_root "${@:2}"
    return
  fi
  [ $# -gt 0 ] || set -- system agent-opencode agent-devbox agent-attach model-stub sources \
    agent-entrypoint agent-entrypoint-root agent-entrypoint-1000 aws-stand-in
  for name; do build "$name"; done
  prune
}

# build NAME: `key_NAME` prints what the image is made from, `root_NAME FOLDER` fills its file system,
# `config_NAME` prints its settings
build() {
  local name=$1 function digest archive started=$SECONDS work
  function=$(function_of "$name")
  digest=$( { echo "$architecture" && cat "$0" "$here/debian.sh" "$here/$name"/* 2>/dev/null; "key_$function"; } | short_digest)
  archive=$images/$(archive_name "$name")-$digest.tar
  if [ ! -f "$archive" ]; then
    say "$name: building"
    work=$(mktemp -d "$images/work.XXXXXX")
    at_exit rm -rf "$work"
    mkdir "$work/root"
    "root_$function" "$work/root"
    pack "$name" "$digest" "$work" "$("config_$function")"
    rm -rf "$work"
    say "$name: $(du -h "$archive" | cut -f1) in $((SECONDS - started)) s"
  fi
  touch "$archive"
  echo "$name $digest $archive"
}

# function_of NAME: by what its functions end
function_of() {
  declare -F "key_${1//-/_}" >/dev/null || die "there is no image '$1'" "see $0"
  echo "${1//-/_}"
}

fill_root() {
  local function
  [ $# = 2 ] || die "usage: build.sh root NAME FOLDER"
  function=$(function_of "$1")
  mkdir -p "$2"
  "root_$function" "$2"
}

print_config() {
  local function
  [ $# = 1 ] || die "usage: build.sh config NAME"
  function=$(function_of "$1")
  "config_$function"
}

archive_name() { if [ "$architecture" = amd64 ]; then echo "$1"; else echo "$1-$architecture"; fi; }

# pack NAME DIGEST WORK CONFIG: WORK/root becomes the only layer
pack() {
  local archive layer
  archive=$images/$(archive_name "$1")-$2.tar
  tar -cf "$3/layer.tar" --sort=name --mtime=@0 --numeric-owner -C "$3/root" .
  layer=$(sha256sum "$3/layer.tar" | cut -d' ' -f1)
  jq -n --argjson config "$4" --arg layer "sha256:$layer" --arg architecture "$architecture" '{$architecture, os: "linux",
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

# prune: the archives that were used are the youngest
prune() {
  local archives=(-type f -name '*-????????????.tar' ! -name 'debian-*')
  entries "$images" "${archives[@]}" -printf '%T@ %f\n' | sort -rn |
    awk -v most=$kept_archives '{ kind = $2; sub(/-[^-]*$/, "", kind); if (++seen[kind] > most) print $2 }' |
    remove_named "$images" "$kept_archives others of this image were used since"
  remove_unused "$images" 0 "${archives[@]}"
  remove_unfinished "$images" \( -name 'work.*' -o -name 'npm.*' -o -name 'debian.*' -o -name '*.partial' \)
  remove_unused "$cache/downloads" 1 -type f -name '*-*.tgz'
}

# --- system -----------------------------------------------------------------------------------------------------

# The operator needs nothing but itself and the authorities' certificates; git-init needs git, git-lfs and ssh. All start
# programs through sh, and git's submodules are a script that also calls sed, basename and uname: there is no more.
system_packages=git,git-lfs,openssh-client,ca-certificates,libnss-unknown,dash,sed,coreutils
system_files=(/usr/bin/git /usr/bin/git-lfs /usr/lib/git-core/git-remote-http /usr/lib/git-core/git-remote-https
  /usr/lib/git-core/git-submodule /usr/lib/git-core/git-sh-setup /usr/lib/git-core/git-sh-i18n
  /usr/bin/ssh /bin/sh /bin/sed /bin/uname /usr/bin/basename)

key_system() { sha256sum <"$(program kubeopencode)"; }
root_system() {
  program_into kubeopencode "$1"
  tar -xf "$(part_of_debian "$system_packages" "${system_files[@]}")" -C "$1"
  users "$1" "kubeopencode:x:$user:$user::/tmp:/bin/sh"
}
config_system() { printf '{"Entrypoint": ["/kubeopencode"], "User": "%s:%s", "Env": ["PATH=/usr/bin:/bin", "NSS_UNKNOWN_HOME=/tmp"]}' $user $user; }

# --- sources ----------------------------------------------------------------------------------------------------

sources_packages=git,lighttpd,lighttpd-mod-openssl,openssh-server,ca-certificates,libnss-unknown,busybox-static
sources_files=(/usr/bin/git /usr/bin/git-upload-pack /usr/lib/git-core/git-http-backend /usr/sbin/lighttpd /usr/sbin/sshd
  /bin/busybox /usr/lib/lighttpd/mod_{accesslog,auth,authn_file,cgi,openssl}.so)

key_sources() { :; }
root_sources() {
  tar -xf "$(part_of_debian "$sources_packages" "${sources_files[@]}")" -C "$1"
  local name
  for name in sh cat cp cut mkdir rm sha256sum wc; do ln -s busybox "$1/bin/$name"; done
  cp -r "$here/sources" "$1/sources"
  users "$1" "git:x:$user:$user::/data:/bin/sh"
  mkdir "$1/seed"
  install -d -m 1777 "$1/data"
}
config_sources() {
  printf '{"Entrypoint": ["/sources/entrypoint.sh"], "User": "%s:%s", "Env": ["PATH=/usr/sbin:/usr/bin:/bin"], "ExposedPorts": {"8080/tcp": {}, "8443/tcp": {}, "2222/tcp": {}}}' $user $user
}

# --- model-stub -------------------------------------------------------------------------------------------------

key_model_stub() { sha256sum <"$(program model-stub)"; }
root_model_stub() { program_into model-stub "$1"; }
config_model_stub() { printf '{"Entrypoint": ["/model-stub"], "User": "%s:%s", "ExposedPorts": {"8080/tcp": {}}}' $user $user; }

# program NAME: path of a binary of this workspace, built (or found fresh) by cargo
program() {
  [ -z "${IMAGE_PROGRAMS:-}" ] || { realpath --canonicalize-existing "$IMAGE_PROGRAMS/$1" && return; }
  [ -n "${programs:-}" ] || die "programs are built before they are asked for"
  jq -r --arg name "$1" 'select(.reason == "compiler-artifact" and .target.name == $name and .executable != null).executable' \
    "$programs" | tail -n 1 | grep . || die "cargo built no program $1"
}
program_into() {
  install -m 0755 "$(program "$1")" "$2/$1"
  # those of a release are stripped
  [ "${IMAGE_PROGRAMS:-}" ] || strip "$2/$1"
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

key_agent_opencode() { echo "$opencode_package $opencode_version" && sha256sum <"$(busybox_program)"; }
root_agent_opencode() {
  local package=$cache/downloads/$opencode_package-$opencode_version.tgz
  [ -f "$package" ] || download_opencode "$package"
  touch "$package"
  tar -xzf "$package" -C "$1" --strip-components=2 package/bin/opencode
  mkdir -p "$1/bin"
  install -m 0755 "$(busybox_program)" "$1/bin/busybox"
  ln -s busybox "$1/bin/sh"
  install -m 0755 "$here/agent-opencode/entrypoint.sh" "$1/entrypoint.sh"
}
config_agent_opencode() {
  printf '{"Entrypoint": ["/entrypoint.sh"], "User": "%s:%s", "Env": ["PATH=/bin"], "Labels": {"kubeopencode.io/npm-package": "%s@%s"}}' \
    $user $user $opencode_package $opencode_version
}

download_opencode() {
  local folder log=$cache/logs/opencode.log
  folder=$(mktemp -d "$images/npm.XXXXXX")
  watched "$log" "fetching $opencode_package $opencode_version from npm, once per machine" npm_pack "$folder" ||
    die_with_log "$log" "npm could not fetch $opencode_package@$opencode_version" "see whether npm reaches its registry"
  echo "$opencode_sha512  $(echo "$folder"/*.tgz)" | sha512sum --check --quiet >"$log" 2>&1 ||
    die_with_log "$log" "$opencode_package $opencode_version is not what it was when it was pinned" "do not use it; see who changed it"
  mkdir -p "$(dirname "$1")"
  mv "$folder"/*.tgz "$1"
  rm -rf "$folder"
}

npm_pack() { (cd "$1" && npm pack "$opencode_package@$opencode_version"); }

# --- agent-devbox -----------------------------------------------------------------------------------------------

# libc6-dev: without recommended packages gcc has no headers
devbox_packages=git,git-lfs,gh,openssh-client,curl,jq,ripgrep,python3,nodejs,make,gcc,libc6-dev,unzip,ca-certificates,libnss-unknown

key_agent_devbox() { :; }
root_agent_devbox() {
  # packages are set up by scripts, which call programs
  run_foreign_programs
  # without devices: every runtime brings its own, and a builder without root can make none
  tar -xf "$(whole_debian "$devbox_packages")" -C "$1" --numeric-owner --exclude='./dev/*'
  name_any_user "$1"
  echo "agent:x:$user:$user::/tmp:/bin/bash" >>"$1/etc/passwd"
  echo "agent:x:$user:" >>"$1/etc/group"
  install -d -m 1777 "$1/workspace"
}
config_agent_devbox() {
  printf '{"Cmd": ["/bin/bash"], "User": "%s:%s", "WorkingDir": "/workspace", "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NSS_UNKNOWN_HOME=/tmp"]}' $user $user
}

# --- agent-attach -----------------------------------------------------------------------------------------------

# what a client of a server needs: a shell, and the libraries that OpenCode is linked with
attach_packages=dash,coreutils,libc6,ca-certificates,libnss-unknown
attach_files=(/bin/sh /bin/cat "$loader"
  "/lib/$libraries"/lib{c.so.6,m.so.6,dl.so.2,pthread.so.0})

key_agent_attach() { :; }
root_agent_attach() {
  tar -xf "$(part_of_debian "$attach_packages" "${attach_files[@]}")" -C "$1"
  users "$1" "agent:x:$user:$user::/tmp:/bin/sh"
  install -d -m 1777 "$1/workspace"
}
config_agent_attach() {
  printf '{"Cmd": ["/bin/sh"], "User": "%s:%s", "WorkingDir": "/workspace", "Env": ["PATH=/usr/bin:/bin", "NSS_UNKNOWN_HOME=/tmp"]}' $user $user
}

# --- agent-entrypoint -------------------------------------------------------------------------------------------

key_agent_entrypoint() { sha256sum </bin/busybox && cat "$here/agent-entrypoint/entrypoint.sh"; }
root_agent_entrypoint() { entrypoint_root "$1" $user; }
config_agent_entrypoint() { entrypoint_config $user; }

key_agent_entrypoint_root() { key_agent_entrypoint; }
root_agent_entrypoint_root() { entrypoint_root "$1" 0; }
config_agent_entrypoint_root() { entrypoint_config 0; }

key_agent_entrypoint_1000() { key_agent_entrypoint; }
root_agent_entrypoint_1000() { entrypoint_root "$1" 1000; }
config_agent_entrypoint_1000() { entrypoint_config 1000; }

# entrypoint_root FOLDER USER
entrypoint_root() {
  local name
  mkdir -p "$1/bin" "$1/etc/image" "$1/home/agent"
  install -m 0755 /bin/busybox "$1/bin/busybox"
  for name in sh cat env grep id sleep sort stat; do ln -s busybox "$1/bin/$name"; done
  install -m 0755 "$here/agent-entrypoint/entrypoint.sh" "$1/entrypoint.sh"
  users "$1" "agent:x:$2:$2::/home/agent:/bin/sh"
  echo "of the image" >"$1/etc/image/own"
  install -d -m 1777 "$1/workspace"
}
# entrypoint_config USER
entrypoint_config() {
  printf '{"Entrypoint": ["/entrypoint.sh"], "User": "%s:%s", "WorkingDir": "/home/agent", "Env": ["PATH=/bin", "HOME=/home/agent"]}' "$1" "$1"
}

# --- aws-stand-in -----------------------------------------------------------------------------------------------

key_aws_stand_in() { sha256sum <"$(busybox_program)"; }
root_aws_stand_in() {
  local name
  mkdir -p "$1/bin"
  install -m 0755 "$(busybox_program)" "$1/bin/busybox"
  for name in sh base64 dirname mkdir wget; do ln -s busybox "$1/bin/$name"; done
  install -m 0755 "$here/aws-stand-in/aws.sh" "$1/bin/aws"
}
config_aws_stand_in() { printf '{"User": "%s:%s", "Env": ["PATH=/bin"]}' $user $user; }

# --- parts of the local cluster ---------------------------------------------------------------------------------

key_pause() { :; }
root_pause() { cc -Os -static -o "$1/pause" "$here/pause/pause.c"; }
config_pause() { echo '{"Entrypoint": ["/pause"]}'; }

key_coredns() { sha256sum <"$("$here/../local/tools.sh")/coredns"; }
root_coredns() { install -m 0755 "$("$here/../local/tools.sh")/coredns" "$1/coredns"; }
config_coredns() { echo '{"Entrypoint": ["/coredns"]}'; }

case ${1:-} in
  config)
    print_config "${@:2}"
    exit
    ;;
  prune)
    prune
    exit
    ;;
esac
case "$*" in
  # no more than a compiler
  pause | coredns | "pause coredns") preflight node ;;
  *) preflight images ;;
esac
case " ${IMAGE_PROGRAMS:-${*:-system model-stub}} " in *" system "* | *" model-stub "*) build_programs ;; esac
main "$@"
