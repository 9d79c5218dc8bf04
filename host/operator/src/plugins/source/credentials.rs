//! The credentials of registries, out of Docker configurations: as a Secret of type `kubernetes.io/dockerconfigjson` has them,
//! and as `docker login` leaves them on somebody's machine, maybe with a program that keeps them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::image::DOCKER_HUB;

/// As programs that keep credentials call Docker Hub.
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";
/// In place of a name: what comes is a token that is to be changed for another one.
const IDENTITY: &str = "<token>";
/// A program says this of a server that it does not know, and ends with 1.
const NOT_FOUND: &str = "credentials not found";

/// A Docker configuration, as far as it is used here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    /// Programs that keep credentials, by registry.
    cred_helpers: Option<BTreeMap<String, String>>,
    /// The one for all others.
    creds_store: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Entry {
    fn basic(&self) -> Option<HeaderValue> {
        match (&self.auth, &self.username, &self.password) {
            (Some(auth), ..) if !auth.is_empty() => header(auth),
            (_, Some(username), Some(password)) => of_login(username, password),
            _ => None,
        }
    }
}

fn of_login(username: &str, password: &str) -> Option<HeaderValue> {
    header(&STANDARD.encode(format!("{username}:{password}")))
}

fn header(encoded: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// What is sent to the registry for this repository, in the one of these configurations that names it most exactly.
fn basic(configs: &[Config], registry: &str, repository: &str) -> Option<HeaderValue> {
    let wanted = format!("{registry}/{repository}");
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
        "docker.io" | "index.docker.io" => DOCKER_HUB.to_owned(),
        place => place.to_owned(),
    }
}

/// One that makes no sense says nothing.
fn read(text: &[u8]) -> Option<Config> {
    serde_json::from_slice(text).ok()
}

/// What is sent to the registry for this repository, out of the `.json` files of a folder.
pub(super) async fn of_folder(folder: &Path, registry: &str, repository: &str) -> Option<HeaderValue> {
    let mut configs = Vec::new();
    let mut entries = tokio::fs::read_dir(folder).await.ok()?;
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.path().extension().is_some_and(|extension| extension == "json")
            && let Ok(text) = tokio::fs::read(entry.path()).await
        {
            configs.extend(read(&text));
        }
    }
    basic(&configs, registry, repository)
}

/// What is sent to the registry for this repository, by the configuration of somebody's own machine, whose programs are asked.
///
/// # Errors
/// Why that is not known.
pub(super) async fn of_file(
    path: &Path,
    registry: &str,
    repository: &str,
) -> Result<Option<HeaderValue>, String> {
    let place = path.display();
    let text = tokio::fs::read(path).await.map_err(|error| format!("{place}: {error}"))?;
    // what the parser says may have a password in it
    let config: Config = serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("{place}: line {line}, column {column}: it is no Docker configuration")
    })?;
    let own = config.cred_helpers.iter().flatten().find(|(server, _)| plain(server) == registry);
    let helper = own.map(|(_, helper)| helper).or(config.creds_store.as_ref());
    if let Some(helper) = helper.filter(|helper| !helper.is_empty())
        && let Some(found) = of_helper(helper, registry).await.map_err(|why| {
            format!("{place}: {why}; mend that, or name a file that has name and password in auths with --registry-config")
        })?
    {
        return Ok(Some(found));
    }
    Ok(basic(&[config], registry, repository))
}

/// What a program gives that keeps credentials, by the protocol of Docker's credential helpers.
async fn of_helper(helper: &str, registry: &str) -> Result<Option<HeaderValue>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Login {
        username: String,
        secret: String,
    }
    let program = format!("docker-credential-{helper}");
    let server = if registry == DOCKER_HUB { DOCKER_HUB_SERVER } else { registry };
    let Output { status, stdout, .. } =
        ask(&program, server).await.map_err(|error| format!("{program}, which it names: {error}"))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stdout);
        let said = said.lines().next().unwrap_or_default();
        return match said.contains(NOT_FOUND) {
            true => Ok(None),
            false => Err(format!("{program} says of {server}: {said}")),
        };
    }
    let Login { username, secret } = serde_json::from_slice(&stdout)
        .map_err(|_| format!("{program} gives no JSON with Username and Secret"))?;
    if username == IDENTITY {
        return Err(format!("{program} has an identity token of {server}, and name and password are needed"));
    }
    Ok(of_login(&username, &secret))
}

async fn ask(program: &str, server: &str) -> std::io::Result<Output> {
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut asked = command.spawn()?;
    if let Some(mut stdin) = asked.stdin.take() {
        // one that reads nothing may be gone already
        stdin.write_all(server.as_bytes()).await.ok();
    }
    asked.wait_with_output().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_entry_for_a_repository_is_taken() {
        let configs = [
            "no JSON",
            r#"{"auths": {"ghcr.io": {"auth": "YTpi"}, "https://index.docker.io/v1/": {"username": "a", "password": "hub"}}}"#,
            r#"{"auths": {"ghcr.io/acme": {"auth": "YWNtZQ=="}, "registry:5000": {}}}"#,
        ];
        let configs: Vec<_> = configs.iter().filter_map(|text| read(text.as_bytes())).collect();
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
