//! The credentials of registries, out of Docker configurations as a Secret of type `kubernetes.io/dockerconfigjson` has them.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

/// A Docker configuration, as far as it is used here.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Entry {
    fn basic(&self) -> Option<HeaderValue> {
        let encoded = match (&self.auth, &self.username, &self.password) {
            (Some(auth), ..) if !auth.is_empty() => auth.clone(),
            (_, Some(username), Some(password)) => STANDARD.encode(format!("{username}:{password}")),
            _ => return None,
        };
        let mut header = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// What is sent to the registry for this repository, in the one of these configurations that names it most exactly. One that
/// cannot be read says nothing.
fn basic(configs: &[String], registry: &str, repository: &str) -> Option<HeaderValue> {
    let wanted = format!("{registry}/{repository}");
    let configs: Vec<Config> =
        configs.iter().map(|text| serde_json::from_str(text).unwrap_or_default()).collect();
    let fitting = configs.iter().flat_map(|config| &config.auths).filter_map(|(place, entry)| {
        let place = plain(place);
        let is_it = wanted == place || wanted.strip_prefix(&place).is_some_and(|rest| rest.starts_with('/'));
        is_it.then_some((place.len(), entry))
    });
    fitting.max_by_key(|(length, _)| *length).and_then(|(_, entry)| entry.basic())
}

/// `https://index.docker.io/v1/` and the like, as an image's name has it.
fn plain(place: &str) -> String {
    let place = place.trim_start_matches("https://").trim_start_matches("http://");
    let place = place.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    match place {
        "docker.io" | "index.docker.io" => super::oci::DOCKER_HUB.to_owned(),
        place => place.to_owned(),
    }
}

/// What is sent to the registry for this repository, out of the `.json` files of a folder.
pub(super) async fn of_folder(folder: &Path, registry: &str, repository: &str) -> Option<HeaderValue> {
    let mut configs = Vec::new();
    let mut entries = tokio::fs::read_dir(folder).await.ok()?;
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            configs.extend(tokio::fs::read_to_string(entry.path()).await.ok());
        }
    }
    basic(&configs, registry, repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_entry_for_a_repository_is_taken() {
        let configs = [
            "no JSON".to_owned(),
            r#"{"auths": {"ghcr.io": {"auth": "YTpi"}, "https://index.docker.io/v1/": {"username": "a", "password": "hub"}}}"#
                .to_owned(),
            r#"{"auths": {"ghcr.io/acme": {"auth": "YWNtZQ=="}, "registry:5000": {}}}"#.to_owned(),
        ];
        for (registry, repository, found) in [
            ("ghcr.io", "other/jira", Some("Basic YTpi")),
            ("ghcr.io", "acme/jira", Some("Basic YWNtZQ==")),
            ("ghcr.io", "acme2/jira", Some("Basic YTpi")),
            ("registry-1.docker.io", "acme/jira", Some("Basic YTpodWI=")),
            ("registry:5000", "jira", None),
            ("ghcr.io.evil.example", "jira", None),
        ] {
            let header = basic(&configs, registry, repository);
            assert_eq!(header.as_ref().map(|h| h.to_str().unwrap()), found, "{registry}/{repository}");
        }
    }
}
