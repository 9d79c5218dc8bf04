//! Context type `URL`: a file from the web at mountPath, or an archive laid out there.

use std::collections::BTreeMap;

use kubeopencode_plugin_sdk::{
    About, Action, Answer, ContextType, Header, HttpRequest, MountPath, Request, SecretRef, UrlFetch,
    context_type, ready,
};
use serde::Deserialize;

/// The plugin.
pub struct Url;

/// The item's `url`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    source: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    secret_ref: Option<SecretRef>,
    #[serde(rename = "insecureSkipTLSVerify", default)]
    insecure_skip_tls_verify: bool,
    #[serde(default = "half_a_minute")]
    timeout: u32,
    sha256: Option<String>,
    #[serde(default)]
    unpack: bool,
}

fn half_a_minute() -> u32 {
    30
}

impl ContextType for Url {
    type Config = Config;
    const ABOUT: About = About {
        name: "URL",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        capabilities: &["secret", "url"],
        mount_path: MountPath::Required,
        ..About::NOTHING
    };

    fn evaluate(config: Config, request: &Request) -> Answer {
        ready([Action::FetchUrl(UrlFetch {
            request: HttpRequest {
                url: config.source,
                body: None,
                headers: config.headers.into_iter().map(|(name, value)| Header::value(name, value)).collect(),
                credentials: config.secret_ref.map(|secret| secret.name),
                sha256: config.sha256,
                insecure_skip_tls_verify: config.insecure_skip_tls_verify,
                timeout_seconds: config.timeout,
            },
            unpack: config.unpack,
            path: request.required_mount_path()?.to_owned(),
            mode: request.file_mode,
        })])
    }
}

context_type!(Url);

#[cfg(test)]
mod tests {
    use kubeopencode_plugin_sdk::testing::{evaluate, request};
    use kubeopencode_plugin_sdk::{Action, Header, HttpRequest, UrlFetch, ready};
    use serde_json::json;

    use super::Url;

    #[test]
    fn a_source_alone_is_a_plain_download() {
        let mut request = request(json!({"source": "https://files.example/a.json"}));
        request.mount_path = Some("a.json".into());
        assert_eq!(
            evaluate::<Url>(&request),
            ready([Action::FetchUrl(UrlFetch {
                request: HttpRequest::get("https://files.example/a.json"),
                unpack: false,
                path: "a.json".into(),
                mode: None,
            })])
        );
    }

    #[test]
    fn everything_that_is_written_is_handed_over() {
        let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let mut request = request(json!({
            "source": "http://files.example/a.tar.gz", "headers": {"X-B": "2", "X-A": "1"},
            "secretRef": {"name": "files"}, "insecureSkipTLSVerify": true, "timeout": 5, "sha256": digest,
            "unpack": true,
        }));
        request.mount_path = Some("/opt/a".into());
        request.file_mode = Some(0o440);
        assert_eq!(
            evaluate::<Url>(&request),
            ready([Action::FetchUrl(UrlFetch {
                request: HttpRequest {
                    headers: vec![Header::value("X-A", "1"), Header::value("X-B", "2")],
                    sha256: Some(digest.into()),
                    insecure_skip_tls_verify: true,
                    timeout_seconds: 5,
                    credentials: Some("files".into()),
                    ..HttpRequest::get("http://files.example/a.tar.gz")
                },
                unpack: true,
                path: "/opt/a".into(),
                mode: Some(0o440),
            })])
        );
    }
}
