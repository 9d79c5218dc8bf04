//! The kubeopencode binary.
fn main() {}
