//! Where Git and URL contexts may be fetched from: schemes, hosts, and words that must not look like an option.
//!
//! May touch: text. Must not touch: the network.

use url::Url;

/// What may be cloned or fetched.
pub(super) struct Address {
    /// Its host, in lower case.
    pub(super) host: String,
    /// What the user should know about it.
    pub(super) warning: Option<String>,
}

/// A repository: `https://`, `http://`, `ssh://` or `user@host:path`.
pub(super) fn repository(repository: &str) -> Result<Address, String> {
    word("repository", repository)?;
    if let Some((scheme, _)) = repository.split_once("://") {
        if !matches!(scheme, "https" | "http" | "ssh") {
            return Err(format!(
                "repository \"{}\" has the scheme {scheme}: use https://, ssh:// or user@host:path",
                shown(repository)
            ));
        }
        return Ok(Address {
            host: host("repository", repository)?,
            warning: unencrypted(scheme, repository),
        });
    }
    let host = repository
        .split_once(':')
        .and_then(|(left, path)| Some((left.split_once('@')?, path)))
        .filter(|((user, host), path)| {
            is_word(user) && is_word(host) && !path.is_empty() && !path.starts_with('-')
        })
        .map(|((_, host), _)| host.to_ascii_lowercase())
        .ok_or_else(|| {
            format!(
                "repository \"{}\" is no address: use https://, ssh:// or user@host:path",
                shown(repository)
            )
        })?;
    Ok(Address { host, warning: None })
}

/// A URL, `https://` or `http://`.
pub(super) fn url(url: &str) -> Result<Address, String> {
    word("URL", url)?;
    match url.split_once("://") {
        Some((scheme @ ("https" | "http"), _)) => {
            Ok(Address { host: host("URL", url)?, warning: unencrypted(scheme, url) })
        }
        _ => Err(format!("URL \"{}\" is neither https:// nor http://", shown(url))),
    }
}

/// A branch, tag or commit.
pub(super) fn reference(reference: &str) -> Result<(), String> {
    word("ref", reference)
}

/// A path inside a repository, normalised; empty: all of it.
pub(super) fn sub_path(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Ok(String::new());
    }
    plain("path", path)?;
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                return Err(format!("path \"{path}\" holds \"..\": write it from the top of the repository"));
            }
            ".git" => return Err(format!("path \"{path}\" leads into .git")),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// A request header of one line.
pub(super) fn header(name: &str, value: &str) -> Result<(), String> {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("\"{name}\" cannot be the name of a header"));
    }
    if http::HeaderValue::from_str(value).is_err() {
        return Err(format!("the value of header {name} holds a character that no header may"));
    }
    Ok(())
}

/// Nothing that a program could take for an option, and no control characters.
fn plain(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if text.starts_with('-') {
        return Err(format!("{what} \"{}\" begins with \"-\"", shown(text)));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} holds a control character"));
    }
    Ok(())
}

/// The same, and no spaces.
fn word(what: &str, text: &str) -> Result<(), String> {
    plain(what, text)?;
    if text.contains(char::is_whitespace) {
        return Err(format!("{what} \"{}\" holds a space", shown(text)));
    }
    Ok(())
}

/// Read as the tools in the Pod do, or the host that is looked at here would be another than the one they go to.
fn host(what: &str, address: &str) -> Result<String, String> {
    let url = Url::parse(address).map_err(|e| format!("{what} \"{}\" is no address: {e}", shown(address)))?;
    let is_there = address.split_once("://").is_some_and(|(_, rest)| !rest.starts_with(['/', '\\']));
    let host = url.host_str().filter(|host| is_there && !host.is_empty() && !host.starts_with('-'));
    // a user that begins with "-" would reach ssh as an option
    host.filter(|_| !url.username().starts_with('-'))
        .map(str::to_ascii_lowercase)
        .ok_or_else(|| format!("{what} \"{}\" names no host", shown(address)))
}

/// The address as it may be shown: a password or token in front of the host is nobody's business.
fn shown(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => address.to_owned(),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

/// What a URL says behind "?" may be a key, and others than its author read the message.
fn unencrypted(scheme: &str, address: &str) -> Option<String> {
    let place = address.split(['?', '#']).next().unwrap_or_default();
    (scheme == "http").then(|| format!("{} is fetched without encryption: use https://", shown(place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_https_ssh_or_user_at_host() {
        for (address, host) in [
            ("https://github.com/org/repo", "github.com"),
            ("https://user:token@Git.example:8443/org/repo.git", "git.example"),
            ("ssh://git@github.com/org/repo", "github.com"),
            ("git@github.com:org/repo.git", "github.com"),
        ] {
            let found = repository(address).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((found.host.as_str(), found.warning), (host, None), "{address}");
        }
        let warning = repository("http://user:token@git/x").unwrap().warning.unwrap();
        assert_eq!(warning, "http://***@git/x is fetched without encryption: use https://");
        for address in [
            "",
            "--upload-pack=x",
            "file:///etc",
            "ext::sh -c x",
            "/srv/repo",
            "git@-oProxyCommand=x:y",
            "ssh://-oProxyCommand=x/y",
            "https:///x",
            "a@b:-x",
            "https://a\n/b",
            "git@github.com:org/a b",
            "ssh://git@git.local:h222/a.git",
            "https://git.local:99999/a.git",
        ] {
            assert!(repository(address).is_err(), "{address}");
        }
        // the host is the one that a client reaches, however it is written
        for (address, host) in [("https://2130706433/a", "127.0.0.1"), ("https://a\\@b/c", "a")] {
            assert_eq!(repository(address).unwrap_or_else(|e| panic!("{e}")).host, host, "{address}");
        }
    }

    #[test]
    fn urls_are_http_or_https() {
        let found = url("https://A.example:8443/x?y#z").unwrap();
        assert_eq!((found.host.as_str(), found.warning), ("a.example", None));
        let found = url("http://user:token@A.example:80/x?key=y#z").unwrap();
        let warning = "http://***@A.example:80/x is fetched without encryption: use https://";
        assert_eq!((found.host.as_str(), found.warning.as_deref()), ("a.example", Some(warning)));
        for address in ["ftp://a/b", "https://", "a", "file:///etc/passwd", "https://a b/"] {
            assert!(url(address).is_err(), "{address}");
        }
    }

    #[test]
    fn refs_sub_paths_and_headers_are_plain() {
        assert!(reference("main").is_ok() && reference("-x").is_err() && reference("a b").is_err());
        assert_eq!(sub_path("/guides//a/").unwrap(), "guides/a");
        for path in ["../x", "a/../../b", "-x", ".git/config"] {
            assert!(sub_path(path).is_err(), "{path}");
        }
        assert!(header("X-Api", "v").is_ok());
        assert!(header("X Api", "v").is_err() && header("X-Api", "v\r\nY: z").is_err());
    }
}
