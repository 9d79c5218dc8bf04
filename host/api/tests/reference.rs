//! docs/reference.md is what the types say.

#[test]
fn the_reference_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let fresh = kubeopencode_api::reference::markdown().unwrap();
    assert!(written == fresh, "docs/reference.md is not what host/api says; run: make crds");
}
