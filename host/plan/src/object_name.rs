//! Which words may be names of objects: checked before a name gets into a request or a Pod.
//!
//! May touch: text.

/// Whether Kubernetes takes this as the name of an Agent, a ConfigMap or a Secret (an RFC 1123 subdomain).
pub fn is_object_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

/// Whether Kubernetes takes this as the name of a namespace (an RFC 1123 label).
pub fn is_namespace_name(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

/// Whether Kubernetes takes this as a key of a ConfigMap or a Secret.
pub(crate) fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !key.is_empty() && key.len() <= 253 && key != "." && !key.starts_with("..") && key.chars().all(plain)
}

fn is_part(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_api_server_does() {
        for name in ["a", "open-code.v1", "0"] {
            assert!(is_object_name(name), "{name}");
        }
        for name in ["", "A", "a/b", "../a", "a..b", "-a", "a-", "a_b", &"x".repeat(254)] {
            assert!(!is_object_name(name), "{name}");
        }
        assert!(!is_namespace_name("a.b"));
        assert!(is_key("Guide_1.md") && !is_key("..data") && !is_key("a/b") && !is_key(""));
    }
}
