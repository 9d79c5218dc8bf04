//! Keeps credentials out of everything that is printed. Pure.

use url::Url;

const HIDDEN: &str = "***";

/// Knows the credentials of one run.
pub(crate) struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Empty secrets are none.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Vec::new();
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            // the way it would stand in an address
            all.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
            all.push(secret.to_owned());
        }
        // the longest first, or one that holds another would be left in part
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Redactor { secrets: all }
    }

    /// The text without the secrets and without what stands before the `@` of any web address.
    pub(crate) fn clean(&self, text: &str) -> String {
        let without = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN));
        hide_userinfo(&without)
    }
}

/// An address as messages show it: a query may hold a signature, the part before `@` a password.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // neither fails for http and https addresses
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_fragment(None);
    if url.query().is_some() {
        url.set_query(Some("..."));
    }
    url.to_string()
}

fn hide_userinfo(text: &str) -> String {
    let mut rest = text;
    let mut clean = String::with_capacity(text.len());
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end =
            after.find(|c: char| c == '/' || c.is_whitespace() || c.is_control()).unwrap_or(after.len());
        let authority = &after[..end];
        match authority.rsplit_once('@') {
            // `ssh://git@host` names no secret
            Some((user, _)) if before.ends_with("ssh://") && !user.contains(':') => clean.push_str(authority),
            Some((_, host)) => clean.extend([HIDDEN, "@", host]),
            None => clean.push_str(authority),
        }
        rest = &after[end..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_secrets_in_every_form() {
        let redactor = Redactor::new(["s3/cret", "s3/cretlong", ""]);
        assert_eq!(redactor.clean("s3/cret s3%2Fcret s3/cretlong"), "*** *** ***");
    }

    #[test]
    fn hides_what_stands_before_the_host() {
        let redactor = Redactor::new([]);
        for (text, clean) in [
            (
                "fatal: 'https://user:pa@ss@host:8443/a/b.git' and http://token@h",
                "fatal: 'https://***@host:8443/a/b.git' and http://***@h",
            ),
            (
                "ssh://git@host/x ssh://git:pw@host/x git@host:x",
                "ssh://git@host/x ssh://***@host/x git@host:x",
            ),
            ("https://host/a@b nothing ://", "https://host/a@b nothing ://"),
        ] {
            assert_eq!(redactor.clean(text), clean);
        }
    }

    #[test]
    fn an_address_is_shown_without_password_and_query() {
        let url = Url::parse("https://user:pw@host:8443/a?X-Amz-Signature=abc#top").unwrap();
        assert_eq!(shown(&url), "https://host:8443/a?...");
    }
}
