//! What a release says of itself, where a development build says what the checkout does: `make release` names it in the
//! environment of the compiler.

/// Version of this program.
pub const VERSION: &str = match option_env!("KUBEOPENCODE_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// An image of ours: the release's own, else the newest.
pub(crate) const fn image(own: Option<&'static str>, latest: &'static str) -> &'static str {
    match own {
        Some(own) => own,
        None => latest,
    }
}
