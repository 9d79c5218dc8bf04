# What a release is called: its version, its images, its architectures. Sourced, never run.

# check_version VERSION: a version of Semantic Versioning, without build metadata, which no tag can have
check_version() {
  [[ $1 =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] ||
    die "'$1' is no version" "name it as in VERSION=0.2.0 or VERSION=0.2.0-rc.1, without a v"
}

# check_registry REGISTRY
check_registry() {
  [[ $1 =~ ^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$ ]] ||
    die "'$1' is no registry with a path" "name it as in REGISTRY=quay.io/kubeopencode, without https:// and without a / at its end"
}

# look_at FOLDER: a release, as build.sh wrote it; sets folder, version, and the registry that it was made for
look_at() {
  local first
  [ -f "$1/images.txt" ] || die "$1 is no release" "make release VERSION=0.2.0"
  folder=$(cd "$1" && pwd)
  read -r first <"$folder/images.txt"
  # shellcheck disable=SC2034 # for those that look
  version=${first##*:} registry=${first%/*}
}

# mirror_of REGISTRY HOST: where a registry's images are on another host
mirror_of() { echo "$2/${1#*/}"; }

# the images of a release, by their names in deploy/images/build.sh
release_images() { echo system agent-opencode agent-devbox agent-attach; }

# image_name NAME: what it is called in a registry
image_name() { if [ "$1" = system ]; then echo kubeopencode; else echo "kubeopencode-$1"; fi; }

# image_reference REGISTRY VERSION NAME
image_reference() { echo "$1/$(image_name "$3"):$2"; }

# field_of NAME: where an Agent or a KubeOpenCodeConfig names this image
field_of() {
  case $1 in
    system) echo systemImage ;;
    agent-opencode) echo agentImage ;;
    agent-devbox) echo executorImage ;;
    agent-attach) echo attachImage ;;
  esac
}

# rust_target ARCHITECTURE
rust_target() {
  case $1 in
    amd64) echo x86_64-unknown-linux-gnu ;;
    arm64) echo aarch64-unknown-linux-gnu ;;
    *) die "programs are not compiled for $1" "take amd64, arm64 or both" ;;
  esac
}

# programs_of_host: a line `PROGRAM PACKAGE` for each that users run; others are for tests
programs_of_host() {
  (cd "$repo" && cargo metadata --locked --no-deps --format-version 1) |
    jq -r --arg host "$repo/host/" '.packages[] | select(.manifest_path | startswith($host)) | .name as $package |
      .targets[] | select(.kind == ["bin"] and IN(.name; "kubeopencode", "kubectl-kubeopencode")) | "\(.name) \($package)"'
}
# packages_of_host: the same as flags of cargo
packages_of_host() { programs_of_host | cut -d' ' -f2 | sort -u | sed 's/^/--package=/'; }
# package_of PROGRAM
package_of() { programs_of_host | awk -v program="$1" '$1 == program {print $2}'; }
