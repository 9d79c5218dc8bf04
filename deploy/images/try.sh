#!/usr/bin/env bash
# Tries the images `system` and `sources` without a cluster: read-only roots, users that no image knows, a network of
# their own. git-init clones over http, https with a password, and ssh; with submodules; url-fetch downloads.
#
#   try.sh SYSTEM-ARCHIVE SOURCES-ARCHIVE    as build.sh prints them; run it as root
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../local/lib.sh"
[ $# = 2 ] || die "usage: $0 SYSTEM-ARCHIVE SOURCES-ARCHIVE" "build.sh system sources prints them"
[ "${KUBEOPENCODE_TRY:-}" ] || KUBEOPENCODE_TRY=inside exec unshare --net --mount --pid --fork --kill-child "$0" "$@"
preflight try
ip link set lo up

work=$(mktemp -d)
at_exit rm -rf "$work"
for image in system sources; do
  mkdir -p "$work/$image"
  tar -xOf "$1" layer.tar | tar -x -C "$work/$image"
  shift
done

# in_container IMAGE UID NAME=VALUE... -- COMMAND...: root read-only, /dev and the folders below $work/volumes/IMAGE mounted
in_container() {
  local root=$work/$1 user=$2 volumes=$work/volumes/$1 environment=() folder
  shift 2
  while [ "$1" != -- ]; do
    environment+=("$1")
    shift
  done
  shift
  for folder in dev $(cd "$volumes" && echo *); do mkdir -p "$root/$folder"; done
  unshare --mount bash -c '
    set -e; root=$1 volumes=$2; shift 2
    mount --bind "$root" "$root"
    mount --rbind /dev "$root/dev"
    for folder in "$volumes"/*; do mount --bind "$folder" "$root/$(basename "$folder")"; done
    mount -o remount,bind,ro "$root"
    cd "$root"
    exec env -i "${@:2:$1}" /usr/sbin/chroot --userspec="$0" "$root" "${@:$1 + 2}"' \
    "$user:0" "$root" "$volumes" ${#environment[@]} "${environment[@]}" "$@"
}

seed=$work/volumes/sources/seed
mkdir -p "$seed"/{repo/docs,private,www,auth,tls,ssh} "$work/volumes/sources/data" "$work/volumes/system"/{git,workspace}
chmod 1777 "$work/volumes/sources/data" "$work/volumes/system"/*
echo public >"$seed/repo/README.md"
echo guide >"$seed/repo/docs/guide.md"
echo secret >"$seed/private/README.md"
echo page >"$seed/www/page.txt"
printf ada >"$seed/auth/username"
printf pw >"$seed/auth/password"
printf t0ken >"$seed/auth/token"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=sources \
  -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1 -keyout "$seed/tls/tls.key" -out "$seed/tls/tls.crt" 2>/dev/null
ssh-keygen -q -t ed25519 -N '' -f "$seed/ssh/ssh_host_ed25519_key"
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
cp "$work/key.pub" "$seed/ssh/authorized_keys"
chmod -R a+rX "$seed"

in_container sources 65532 PATH=/usr/sbin:/usr/bin:/bin -- /sources/entrypoint.sh >"$work/log" 2>&1 &
wait_until 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8443 4<>/dev/tcp/127.0.0.1/2222' ||
  die_with_log "$work/log" "the image sources does not start" "see deploy/images/sources/entrypoint.sh"

# what no mounted file can say: a repository with a submodule
data=$work/volumes/sources/data
as_author=(git -c user.name=T -c user.email=t@example.com -c protocol.file.allow=always)
git init --quiet "$work/super"
cp -r "$data/repositories/repo.git" "$work/repo.git"
"${as_author[@]}" -C "$work/super" submodule --quiet add "$work/repo.git" lib
git config --file "$work/super/.gitmodules" submodule.lib.url ../repo.git
"${as_author[@]}" -C "$work/super" commit --quiet --all --message super
git clone --quiet --bare "$work/super" "$data/repositories/super.git"
chown -R --reference="$data/repositories/repo.git" "$data/repositories/super.git"

# expect FILE TEXT TOOL NAME=VALUE...: the tool leaves this in this file
expect() {
  local file=$1 text=$2 tool=$3
  shift 3
  rm -rf "$work/volumes/system"/{git,workspace}/{repo,file,.repo.partial}
  in_container system 12345 PATH=/usr/bin:/bin GIT_ROOT=/git GIT_LINK=repo URL_TARGET=/workspace/file "${open[@]}" "$@" \
    -- /kubeopencode "$tool" >"$work/tool.log" 2>&1 || die_with_log "$work/tool.log" "$tool failed with $1"
  [ "$(cat "$work/volumes/system/$file")" = "$text" ] || die "$tool with $1 did not leave '$text' in $file"
  local more=("${@:2}")
  say "ok: $tool $1 ${more[*]%%=*}"
}

# this network has loopback addresses alone, which are closed by themselves
open=(GIT_NETWORK='{"open":["127.0.0.0/8"]}' URL_NETWORK='{"open":["127.0.0.0/8"]}')
trust=(SSL_CERT_FILE=/workspace/authority GIT_SSL_CAINFO=/workspace/authority)
cp "$seed/tls/tls.crt" "$work/volumes/system/workspace/authority"
login=(GIT_USERNAME=ada GIT_PASSWORD=pw)
http=http://127.0.0.1:8080 https=https://127.0.0.1:8443 ssh=ssh://git@127.0.0.1:2222
expect git/repo/README.md public git-init "GIT_REPO=$http/git/repo.git"
expect git/repo/docs/guide.md guide git-init "GIT_REPO=$http/git/repo.git" GIT_REF=v1 GIT_DEPTH=0
expect git/repo/README.md secret git-init "GIT_REPO=$https/git/private.git" "${login[@]}" "${trust[@]}"
expect git/repo/README.md public git-init "GIT_REPO=$ssh/repo.git" "GIT_SSH_KEY=$(cat "$work/key")" \
  "GIT_SSH_KNOWN_HOSTS=[127.0.0.1]:2222 $(cat "$seed/ssh/ssh_host_ed25519_key.pub")"
expect git/repo/README.md secret git-init "GIT_REPO=$ssh/private.git" "GIT_SSH_KEY=$(cat "$work/key")"
expect git/repo/lib/README.md public git-init "GIT_REPO=$ssh/super.git" "GIT_SSH_KEY=$(cat "$work/key")" GIT_SUBMODULES=true
expect git/repo/lib/README.md public git-init "GIT_REPO=$http/git/super.git" GIT_SUBMODULES=true
expect workspace/file page url-fetch "URL_SOURCE=$http/page.txt"
expect workspace/file page url-fetch "URL_SOURCE=$https/private/page.txt" URL_AUTH_USERNAME=ada URL_AUTH_PASSWORD=pw "${trust[@]}"
expect workspace/file page url-fetch "URL_SOURCE=$https/token/page.txt" URL_AUTH_TOKEN=t0ken "${trust[@]}"
expect workspace/file/docs/guide.md guide url-fetch "URL_SOURCE=$http/repo.tar.gz" URL_UNPACK=true
expect workspace/file/docs/guide.md guide url-fetch "URL_SOURCE=$http/repo.zip" URL_UNPACK=true

# refused NAME=VALUE...: without the secret nothing comes
refused() {
  ! in_container system 12345 PATH=/usr/bin:/bin GIT_ROOT=/git GIT_LINK=other URL_TARGET=/workspace/other "${open[@]}" "${trust[@]}" "$@" \
    >"$work/tool.log" 2>&1 || die "this should be refused: $*"
}
refused "URL_SOURCE=$https/token/page.txt" -- /kubeopencode url-fetch
refused "URL_SOURCE=$https/token/page.txt" URL_AUTH_TOKEN=other -- /kubeopencode url-fetch
refused "URL_SOURCE=$https/private/page.txt" -- /kubeopencode url-fetch
refused "GIT_REPO=$https/git/private.git" -- /kubeopencode git-init
refused "GIT_REPO=$http/git/repo.git" GIT_NETWORK= -- /kubeopencode git-init
refused "GIT_REPO=$ssh/repo.git" "GIT_SSH_KEY=$(cat "$work/key")" GIT_NETWORK= -- /kubeopencode git-init
refused "URL_SOURCE=$http/page.txt" URL_NETWORK= -- /kubeopencode url-fetch
say "ok: nothing private without its secret, nothing closed without a rule that opens it"
