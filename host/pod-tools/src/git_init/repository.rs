//! The address of a repository. Pure.

use std::fmt;

use url::Url;

use crate::Error;

/// Where to clone from, without any password.
#[derive(Debug, PartialEq)]
pub(super) struct Repository {
    /// What `git` gets.
    pub(super) address: String,
    /// `https://host:port` for credentials over http(s); none for ssh.
    pub(super) host: Option<String>,
    /// The host's name or address alone.
    pub(super) name: String,
    /// User and password that stood in the address.
    pub(super) userinfo: Option<(String, String)>,
    pub(super) plain_http: bool,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Repository {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| Err(Error::Env { name: "GIT_REPO", reason: reason.to_owned() });
        const FORMS: &str =
            "a repository is https://HOST/PATH, http://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH";
        if text.starts_with('-') || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return refuse(FORMS);
        }
        if !text.contains("://") {
            // as git reads it: the host ends at the first colon
            return match text.split_once(':').and_then(|(left, path)| Some((left.split_once('@')?, path))) {
                Some(((user, host), path))
                    if is_word(user) && is_word(host) && !path.is_empty() && !path.starts_with('-') =>
                {
                    Ok(Repository {
                        address: text.to_owned(),
                        host: None,
                        name: host.to_owned(),
                        userinfo: None,
                        plain_http: false,
                    })
                }
                _ => refuse(FORMS),
            };
        }
        let Ok(mut url) = Url::parse(text) else { return refuse(FORMS) };
        let Some(host) = url.host_str().filter(|host| !host.starts_with('-')) else { return refuse(FORMS) };
        let name = host.to_owned();
        let host = match url.port() {
            Some(port) => format!("{}://{host}:{port}", url.scheme()),
            None => format!("{}://{host}", url.scheme()),
        };
        let over_http = match url.scheme() {
            "https" | "http" => true,
            "ssh" if !url.username().starts_with('-') => false,
            _ => return refuse(FORMS),
        };
        let password = url.password().unwrap_or_default();
        let userinfo = (over_http && !(url.username().is_empty() && password.is_empty()))
            .then(|| (decoded(url.username()), decoded(password)));
        // cannot fail for an address with a host
        url.set_password(None).ok();
        if over_http {
            url.set_username("").ok();
        }
        Ok(Repository {
            plain_http: url.scheme() == "http",
            address: url.into(),
            host: over_http.then_some(host),
            name,
            userinfo,
        })
    }
}

/// As the PlanValidator says it.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

fn decoded(text: &str) -> String {
    // a lone name without "=" or "&" passes as one key
    let escaped = text.replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
    url::form_urlencoded::parse(escaped.as_bytes())
        .next()
        .map(|(key, _)| key.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_contract_is_read() {
        for (text, address, host, plain_http) in [
            (
                "https://github.com/org/repo.git",
                "https://github.com/org/repo.git",
                Some("https://github.com"),
                false,
            ),
            ("http://git.local:3000/a", "http://git.local:3000/a", Some("http://git.local:3000"), true),
            ("ssh://git@git.local:2222/a.git", "ssh://git@git.local:2222/a.git", None, false),
            ("git@github.com:org/repo.git", "git@github.com:org/repo.git", None, false),
        ] {
            let repository = Repository::parse(text).unwrap();
            assert_eq!((repository.address.as_str(), repository.host.as_deref()), (address, host));
            assert_eq!((repository.plain_http, repository.userinfo), (plain_http, None));
        }
    }

    #[test]
    fn a_password_in_the_address_is_taken_out_of_it() {
        let repository = Repository::parse("https://us%40er:p+a%2Fss%3D@host/x").unwrap();
        assert_eq!(repository.to_string(), "https://host/x");
        assert_eq!(repository.userinfo, Some(("us@er".into(), "p+a/ss=".into())));
        assert_eq!(Repository::parse("ssh://git:pw@host/x").unwrap().to_string(), "ssh://git@host/x");
    }

    #[test]
    fn other_addresses_are_refused_without_showing_them() {
        for text in [
            "",
            "-x",
            "--upload-pack=evil",
            "/srv/repo",
            "file:///srv/repo",
            "git://host/x",
            "ext::sh -c id",
            "https://",
            "host:path",
            "@host:path",
            "a/b@host:path",
            "git@-host:path",
            "git@host:-path",
            "other:git@-host:a@b",
            "https://host/a b",
            "ssh://-oProxyCommand=x/y",
            "ssh://-user@host/y",
        ] {
            let message = Repository::parse(text).unwrap_err().to_string();
            assert!(
                message.starts_with("environment variable GIT_REPO: a repository is https://HOST/PATH"),
                "{text}: {message}"
            );
        }
    }
}
