//! The data that crosses the plugin boundary, as plain Rust: the mirror of `wit/`.
