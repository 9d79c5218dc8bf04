# Debian without Docker, for build.sh: a whole one, or a few of its programs with the libraries they need. Sourced.
# What is fetched is kept as a tar in the folder of the images.

debian_suite=bookworm
# its release; nothing that mmdebstrap writes is younger
debian_date=1686355200

# fetch_debian WHAT TAR ARGUMENT...: mmdebstrap, once per machine
fetch_debian() {
  local log=$cache/logs/debian.log what=$1 tar=$2
  shift 2
  # whether it can run is seen to where it has to
  watched "$log" "$what of Debian $debian_suite $architecture, once per machine" env SOURCE_DATE_EPOCH=$debian_date \
    mmdebstrap --format=tar --architectures="$architecture" --skip=check/qemu "$@" "$debian_suite" "$tar" ||
    die_with_log "$log" "mmdebstrap could not fetch Debian $debian_suite" "see whether this machine reaches Debian's packages"
}

# debian_tar WORD...: the path of the tar for what these words say
debian_tar() { echo "$images/debian-$([ "$architecture" = amd64 ] || echo "$architecture-")$( (echo "$debian_suite $*" && cat) | short_digest).tar"; }

# whole_debian PACKAGES: path of a tar, a small Debian with these
whole_debian() {
  local tar
  tar=$(debian_tar "$1" </dev/null)
  if [ ! -f "$tar" ]; then
    fetch_debian "a small system with $1" "$tar.partial" --variant=minbase --include="$1" \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
    mv "$tar.partial" "$tar"
  fi
  echo "$tar"
}

# part_of_debian PACKAGES FILE...: path of a tar with these files of the packages, the libraries they need, the
# certificates of the authorities, a name for any uid, and what scanners look for
part_of_debian() (
  packages=$1
  tar=$(debian_tar "$@" <"$here/debian.sh")
  shift
  if [ ! -f "$tar" ]; then
    unpacked=$(mktemp -d "$images/debian.XXXXXX") root=$(mktemp -d "$images/debian.XXXXXX")
    trap 'stop_ticker; rm -rf "$unpacked" "$unpacked.tar" "$root"' EXIT
    fetch_debian "files from $packages" "$unpacked.tar" --variant=extract --include="$packages" \
      "--extract-hook=$(declare -f note_packages); note_packages \"\$1\""
    tar -xf "$unpacked.tar" -C "$unpacked" --no-same-owner --exclude=./dev
    take "$unpacked" "$root" "$@" "/usr/lib/$libraries/libnss_unknown.so.2"
    mkdir -p "$root/etc/ssl/certs" "$root/usr/share/git-core/templates"
    cat "$unpacked"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
    name_any_user "$root"
    mkdir -m 1777 "$root/tmp"
    name_packages "$unpacked" "$root"
    tar -cf "$tar.partial" -C "$root" .
    mv "$tar.partial" "$tar"
  fi
  echo "$tar"
)

# busybox_program: path of a static busybox; this machine's own, or that of Debian for another architecture
busybox_program() {
  local program=$images/busybox-$architecture
  if [ "$architecture" = amd64 ]; then
    echo /bin/busybox
    return
  fi
  if [ ! -f "$program" ]; then
    fetch_debian "busybox" "$program.tar" --variant=extract --include=busybox-static
    tar -xOf "$program.tar" ./bin/busybox >"$program.partial"
    rm -f "$program.tar"
    mv "$program.partial" "$program"
  fi
  echo "$program"
}

# runs inside mmdebstrap, which knows nothing of the rest of this file
note_packages() {
  for deb in "$1"/var/cache/apt/archives/*.deb; do
    folder=$1/packages/$(dpkg-deb --field "$deb" Package)
    mkdir -p "$folder"
    dpkg-deb --field "$deb" >"$folder/control"
    dpkg-deb --fsys-tarfile "$deb" | tar -t | sed 's|^\./|/|' >"$folder/files"
  done
}

# take FROM TO FILE...
take() {
  local from=$1 to=$2 file library needed
  shift 2
  for file; do
    [ ! -e "$to$file" ] && [ ! -L "$to$file" ] || continue
    [ -e "$from$file" ] || [ -L "$from$file" ] || die "Debian has no file $file" "see the packages in $0"
    (cd "$from" && cp --parents --no-dereference --preserve=mode ".$file" "$to")
    if [ -L "$from$file" ]; then
      case $(readlink "$from$file") in
        /*) take "$from" "$to" "$(readlink "$from$file")" ;;
        *) take "$from" "$to" "$(realpath --canonicalize-missing --no-symlinks "$(dirname "$file")/$(readlink "$from$file")")" ;;
      esac
      continue
    fi
    # an ELF file names its loader and its libraries; a script has none
    needed=$(readelf --program-headers --dynamic "$from$file" 2>/dev/null |
      sed -n 's/.*program interpreter: \(.*\)\]/\1/p; s/.*(NEEDED).*\[\(.*\)\]/\1/p') || true
    for library in $needed; do
      case $library in
        /*) take "$from" "$to" "$library" ;;
        *) take "$from" "$to" "$(cd "$from" && find lib usr/lib -name "$library" -printf '/%p\n' | head -n 1 | grep .)" ;;
      esac
    done
  done
}

# name_any_user ROOT: ssh, and git when it commits, refuse to run for a uid without a name; libnss-unknown gives each one
name_any_user() {
  printf '%s\n' 'passwd: files unknown' 'group: files' 'hosts: files dns' >"$1/etc/nsswitch.conf"
}

# users ROOT LINE...: lines of /etc/passwd, each with a group of its own
users() {
  local root=$1 line
  shift
  for line; do
    echo "$line" >>"$root/etc/passwd"
    echo "$line" | awk -F: '{print $1 ":x:" $4 ":"}' >>"$root/etc/group"
  done
}

# name_packages FROM ROOT: which packages the files are of, where scanners look in images without dpkg, and their licences
name_packages() {
  local from=$1 root=$2 folder name
  mkdir -p "$root/var/lib/dpkg/status.d"
  for folder in "$from"/packages/*/; do
    name=$(basename "$folder")
    (cd "$root" && find . ! -type d -printf '/%P\n') | grep -qxFf - "$folder/files" || continue
    cp "$folder/control" "$root/var/lib/dpkg/status.d/$name"
    (cd "$from" && cp --parents --dereference "usr/share/doc/$name/copyright" "$root") 2>/dev/null || true
  done
}
