#!/bin/sh
# A git server and a web server for demo and tests. What is mounted below /seed is served as of the start:
#
#   /seed/repo      its files become the one commit of branch main, and tag v1, of the repository `repo`
#   /seed/private   the same for the repository `private`, which wants a password or a key
#   /seed/www       files for the web server
#   /seed/auth      username, password, token: who may read what is private
#   /seed/tls       tls.crt, tls.key: https, if there
#   /seed/ssh       authorized_keys, ssh_host_ed25519_key: ssh, if there
#
# The repository `large` is always there: its one file is in Git LFS, whose server is lfs-batch.sh.
#
# The same files make the same commit. Everything written goes to /data. Any uid may run it; only the image's own one
# is the user `git`, whom ssh lets in.
set -eu
cd /data
rm -rf repositories www users token.conf tls.conf host_key
mkdir repositories www
export HOME=/data GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Sources GIT_AUTHOR_EMAIL=sources@example.com GIT_AUTHOR_DATE=2026-01-01T00:00:00Z
export GIT_COMMITTER_NAME=Sources GIT_COMMITTER_EMAIL=sources@example.com GIT_COMMITTER_DATE=2026-01-01T00:00:00Z

# copy FROM TO: what a volume of a ConfigMap or Secret shows, without the entries of kubelet, which start with `..`
copy() {
  mkdir -p "$2"
  [ ! -d "$1" ] || cp -rL "$1/." "$2"
  rm -rf "$2"/..?*
}

# repository NAME
repository() {
  copy "/seed/$1" "work/$1"
  publish "$1"
}

# publish NAME: what lies in work/NAME
publish() {
  git -C "work/$1" init --quiet --initial-branch=main
  git -C "work/$1" add --all
  git -C "work/$1" commit --quiet --allow-empty --message "What is mounted at /seed/$1"
  git -C "work/$1" tag v1
  git clone --quiet --bare "work/$1" "repositories/$1.git"
  rm -rf work
}

repository repo
repository private
copy /seed/www www

mkdir -p work/large
echo "This file is too large for a repository." >www/large.bin
echo "$(sha256sum <www/large.bin | cut -d' ' -f1) $(wc -c <www/large.bin)" >large
read -r oid size <large
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %s\n' "$oid" "$size" >work/large/large.bin
echo '*.bin filter=lfs diff=lfs merge=lfs -text' >work/large/.gitattributes
publish large

git -C repositories/repo.git archive --output=/data/www/repo.tar.gz v1
git -C repositories/repo.git archive --output=/data/www/repo.zip v1

secret() { [ ! -f "/seed/auth/$1" ] || cat "/seed/auth/$1"; }
umask 077
: >users
: >token.conf
: >tls.conf
[ -z "$(secret username)" ] || echo "$(secret username):$(secret password)" >users
# without a token nobody has the right one
cat >token.conf <<CONF
\$REQUEST_HEADER["Authorization"] != "Bearer $(secret token)" { url.access-deny = ("") }
CONF
[ -n "$(secret token)" ] || echo 'url.access-deny = ("")' >token.conf
if [ -f /seed/tls/tls.crt ]; then
  cat >tls.conf <<CONF
\$SERVER["socket"] == "0.0.0.0:8443" {
  ssl.engine = "enable"
  ssl.pemfile = "/seed/tls/tls.crt"
  ssl.privkey = "/seed/tls/tls.key"
}
CONF
fi
if [ -f /seed/ssh/authorized_keys ]; then
  # sshd refuses a key that others may read, as those of a volume with an fsGroup
  cp -L /seed/ssh/ssh_host_ed25519_key host_key
  /usr/sbin/sshd -e -f /sources/sshd_config
fi
exec lighttpd -D -f /sources/lighttpd.conf
