//! What `url-fetch` is told. Pure.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use kubeopencode_api::names::hex;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use crate::Error;
use crate::environment::Environment;
use crate::network::Network;
use crate::redact::shown;

const DEFAULT_TIMEOUT_SECONDS: u64 = 30;

/// Everything one download needs.
pub(super) struct Settings {
    pub(super) source: Url,
    /// From the top of the file system.
    pub(super) target: PathBuf,
    /// Sent in a POST; `None`: a GET.
    pub(super) body: Option<String>,
    /// The Task's own, those with a Secret in them included.
    pub(super) headers: HeaderMap,
    pub(super) credentials: Option<Credentials>,
    /// Name of their Secret, for messages.
    pub(super) secret: Option<String>,
    /// For one try, from the first byte sent to the last received.
    pub(super) timeout: Duration,
    /// Accepts any certificate.
    pub(super) insecure: bool,
    pub(super) sha256: Option<String>,
    pub(super) unpack: bool,
    pub(super) file_mode: Option<u32>,
    /// The target is the one file of a volume. An optional download that fails leaves it empty: kubelet mounts this
    /// path, and would make a directory of nothing.
    pub(super) placeholder: bool,
    /// Where its requests go through, without credentials; the HTTP client finds that out by itself.
    pub(super) proxy: Option<String>,
    /// Where it may be fetched from, redirects included.
    pub(super) network: Network,
}

pub(super) enum Credentials {
    Token(String),
    Login { username: String, password: String },
}

impl Settings {
    pub(super) fn of(environment: &Environment) -> Result<Self, Error> {
        let file_mode = environment.mode("URL_FILE_MODE")?;
        let sha256 = environment.text("URL_SHA256")?.map(|digest| digest.to_ascii_lowercase());
        if let Some(digest) = &sha256
            && (digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(Error::Env {
                name: "URL_SHA256",
                reason: "a SHA-256 has 64 hexadecimal digits".into(),
            });
        }
        let credentials = credentials(environment)?;
        let mut headers = headers(environment.json("URL_HEADERS")?)?;
        secret_headers(environment, &mut headers)?;
        let body = match environment.flag("URL_POST")? {
            true => Some(environment.text("URL_BODY")?.unwrap_or_default()),
            false => None,
        };
        if credentials.is_some() {
            // a request has one, and the Secret was named for it
            headers.remove(AUTHORIZATION);
        }
        let source = source(&environment.required("URL_SOURCE")?)?;
        Ok(Settings {
            proxy: proxy(environment, source.scheme())?,
            source,
            target: target(&environment.required("URL_TARGET")?)?,
            body,
            headers,
            credentials,
            secret: environment.text("URL_SECRET")?,
            timeout: Duration::from_secs(environment.number("URL_TIMEOUT", DEFAULT_TIMEOUT_SECONDS)?),
            insecure: environment.flag("URL_INSECURE")?,
            sha256,
            unpack: environment.flag("URL_UNPACK")?,
            file_mode,
            placeholder: environment.flag("URL_PLACEHOLDER")?,
            network: Network::of(environment, "URL_NETWORK")?,
        })
    }

    /// Stands for the download: all that decides what lies at the target, without any secret in clear.
    pub(super) fn mark(&self) -> String {
        let mut what = format!("{} {:?} {} {:?}", self.source, self.sha256, self.unpack, self.file_mode);
        if let Some(body) = &self.body {
            what += body;
        }
        hex(&Sha256::digest(what))
    }
}

fn proxy(environment: &Environment, scheme: &str) -> Result<Option<String>, Error> {
    let names = match scheme {
        "https" => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    for name in names {
        if let Some(text) = environment.text(name)? {
            return Ok(Some(Url::parse(&text).map_or_else(|_| format!("of {name}"), |url| shown(&url))));
        }
    }
    Ok(None)
}

fn source(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok().filter(|url| is_web(url) && url.has_host());
    url.ok_or_else(|| Error::Env { name: "URL_SOURCE", reason: "it must be an https or http address".into() })
}

/// Whether the scheme is one that is fetched.
pub(super) fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
}

fn target(text: &str) -> Result<PathBuf, Error> {
    let path = Path::new(text);
    let fine = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    let below: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    if fine && !below.as_os_str().is_empty() {
        return Ok(below);
    }
    let reason = format!("{text:?} must be an absolute path without \"..\"");
    Err(Error::Env { name: "URL_TARGET", reason })
}

fn headers(given: BTreeMap<String, String>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let header = HeaderName::try_from(&name).ok().zip(HeaderValue::try_from(value).ok());
        let Some((header, value)) = header else {
            // the value may be a secret
            let reason = format!("{name:?} or its value is no header");
            return Err(Error::Env { name: "URL_HEADERS", reason });
        };
        headers.insert(header, value);
    }
    Ok(headers)
}

/// A header whose value is partly a Secret's, in a variable of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretHeader {
    name: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    after: String,
    variable: String,
}

/// Adds them. One whose optional Secret is not there is left out.
fn secret_headers(environment: &Environment, headers: &mut HeaderMap) -> Result<(), Error> {
    for header in environment.json::<Vec<SecretHeader>>("URL_SECRET_HEADERS")? {
        let SecretHeader { name, before, after, variable } = header;
        let Some(secret) = environment.named_secret(&variable) else { continue };
        let value = HeaderValue::try_from(format!("{before}{secret}{after}")).ok();
        let Some((header, mut value)) = HeaderName::try_from(&name).ok().zip(value) else {
            let reason =
                format!("{name:?} is no header, or its Secret holds more than one line of plain text");
            return Err(Error::Env { name: "URL_SECRET_HEADERS", reason });
        };
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(())
}

fn credentials(environment: &Environment) -> Result<Option<Credentials>, Error> {
    if let Some(token) = environment.secret("URL_AUTH_TOKEN")? {
        if HeaderValue::try_from(&token).is_err() {
            return Err(Error::Env {
                name: "URL_AUTH_TOKEN",
                reason: "the token has one line of plain text".into(),
            });
        }
        return Ok(Some(Credentials::Token(token)));
    }
    let (username, password) =
        (environment.secret("URL_AUTH_USERNAME")?, environment.secret("URL_AUTH_PASSWORD")?);
    if username.is_none() && password.is_none() {
        return Ok(None);
    }
    let (username, password) = (username.unwrap_or_default(), password.unwrap_or_default());
    Ok(Some(Credentials::Login { username, password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHERE: [(&str, &str); 2] = [("URL_SOURCE", "https://h/x"), ("URL_TARGET", "/workspace/x")];

    fn with(more: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::of(&Environment::of(&[&WHERE, more].concat()))
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.timeout, Duration::from_secs(30));
        assert_eq!(settings.target, Path::new("workspace/x"));
        assert!(
            !settings.insecure
                && !settings.unpack
                && settings.credentials.is_none()
                && settings.headers.is_empty()
        );
    }

    #[test]
    fn a_token_comes_before_a_login() {
        let both = with(&[("URL_AUTH_TOKEN", "t\n"), ("URL_AUTH_USERNAME", "u")]).unwrap();
        assert!(matches!(both.credentials, Some(Credentials::Token(token)) if token == "t"));
        let login = with(&[("URL_AUTH_PASSWORD", "p")]).unwrap();
        assert!(matches!(login.credentials, Some(Credentials::Login { password, .. }) if password == "p"));
    }

    #[test]
    fn wrong_settings_are_named_without_their_secrets() {
        for (name, value, words) in [
            ("URL_SOURCE", "file:///etc/passwd", "URL_SOURCE: it must be an https or http address"),
            ("URL_SOURCE", "https://", "URL_SOURCE: it must be"),
            ("URL_TARGET", "x", "URL_TARGET: \"x\" must be an absolute path"),
            ("URL_TARGET", "/a/../b", "must be an absolute path without \"..\""),
            ("URL_TARGET", "/", "must be an absolute path"),
            (
                "URL_HEADERS",
                r#"{"X-Key":"s3cret\r\nHost: evil"}"#,
                "URL_HEADERS: \"X-Key\" or its value is no header",
            ),
            ("URL_FILE_MODE", "512", "URL_FILE_MODE: \"512\" is not within 0 and 511"),
            ("URL_SHA256", "abc", "URL_SHA256: a SHA-256 has 64 hexadecimal digits"),
            ("URL_AUTH_TOKEN", "s3cret\nline", "URL_AUTH_TOKEN: the token has one line"),
        ] {
            let message = with(&[(name, value)]).err().unwrap().to_string();
            assert!(message.contains(words) && !message.contains("s3cret"), "{message}");
        }
    }
}
