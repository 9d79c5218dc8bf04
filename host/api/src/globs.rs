//! Patterns with `*`, `?` and `[..]`, as users write them.
//!
//! May touch: text.

use globset::GlobBuilder;

/// Whether the pattern matches all of `text`. Braces mean themselves.
///
/// # Errors
/// What is wrong with the pattern.
pub fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let plain = pattern.replace('{', "[{]").replace('}', "[}]");
    let glob = GlobBuilder::new(&plain).build().map_err(|e| e.kind().to_string())?;
    Ok(glob.compile_matcher().is_match(text))
}
