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

/// Whether Kubernetes takes this as the name of a Service (an RFC 1035 label).
pub(crate) fn is_service_name(name: &str) -> bool {
    is_namespace_name(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether Kubernetes takes this as the key of a label: a name, with the domain that it belongs to in front.
pub(crate) fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_object_name(domain) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

/// Whether Kubernetes takes this as the value of a label.
pub(crate) fn is_label_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let outer = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || (value.len() <= 63
            && value.chars().all(inner)
            && value.starts_with(outer)
            && value.ends_with(outer))
}

/// Whether Kubernetes takes this as a key of a ConfigMap or a Secret.
pub(crate) fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !key.is_empty() && key.len() <= 253 && key != "." && !key.starts_with("..") && key.chars().all(plain)
}

/// Whether Kubernetes takes this as the name of an environment variable.
pub(crate) fn is_env_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'=')
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
        assert!(is_service_name("slack-agent") && !is_service_name("1a") && !is_service_name("a.b"));
        assert!(is_label_key("app.kubernetes.io/name") && is_label_key("Team_1") && is_label_value(""));
        for key in ["", "a/b/c", "/a", "a/", "-a", "a b", "A.B/c"] {
            assert!(!is_label_key(key), "{key}");
        }
        assert!(is_key("Guide_1.md") && !is_key("..data") && !is_key("a/b") && !is_key(""));
    }
}
