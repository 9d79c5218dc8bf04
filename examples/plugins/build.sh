#!/bin/sh
# Builds the examples; prints the folder with NAME.wasm of each. Wants Rust with the target wasm32-wasip2, which
# rust-toolchain.toml names.
set -eu
# beside what the caller builds, and not in it: this cargo would wait for that one
target=${CARGO_TARGET_DIR:+$(realpath -m "$CARGO_TARGET_DIR")/example-plugins}
cd "$(dirname "$0")"
target=${target:-$PWD/target}
# what was said to a cargo that calls this is not meant for these
unset CARGO_TARGET_DIR RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
cargo build --quiet --release --locked --target wasm32-wasip2 --target-dir "$target" >&2
cd "$target/wasm32-wasip2/release"
# a library's name has no hyphens; whoever reads one meanwhile has it whole
for component in *_*.wasm; do
  name=$(echo "$component" | tr _ -)
  cp "$component" "$name.$$" && mv "$name.$$" "$name"
done
pwd
