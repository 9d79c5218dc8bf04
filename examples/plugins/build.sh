#!/bin/sh
# Builds the examples; prints the folder with NAME.wasm of each. Wants Rust with the target wasm32-wasip2, which
# rust-toolchain.toml names.
set -eu
cd "$(dirname "$0")"
# what was said to a cargo that calls this is not meant for these
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
cargo build --quiet --release --locked --target wasm32-wasip2 --target-dir target >&2
cd target/wasm32-wasip2/release
# a library's name has no hyphens; whoever reads one meanwhile has it whole
for component in *_*.wasm; do
  name=$(echo "$component" | tr _ -)
  cp "$component" "$name.$$" && mv "$name.$$" "$name"
done
pwd
