//! Context type `PullRequest`: the diff and the metadata of a GitHub pull request as two files.
//!
//! GitHub answers at one address with either, as the `Accept` header asks: docs.github.com/rest/pulls/pulls.

use kubeopencode_plugin_sdk::{
    About, Action, Answer, ContextType, Header, HeaderValue, HttpRequest, Request, SecretKey, SecretText,
    UrlFetch, context_type, ready,
};
use serde::Deserialize;

/// Version of the REST API.
const API_VERSION: &str = "2022-11-28";
const DIFF: (&str, &str) = ("pull.diff", "application/vnd.github.diff");
const METADATA: (&str, &str) = ("pull.json", "application/vnd.github+json");

/// The plugin.
pub struct PullRequest;

/// The item's `config`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    repository: String,
    number: u32,
    token_secret: Option<TokenSecret>,
    #[serde(default = "github")]
    api_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenSecret {
    name: String,
    #[serde(default = "token")]
    key: String,
}

fn github() -> String {
    "https://api.github.com".to_owned()
}

fn token() -> String {
    "token".to_owned()
}

impl ContextType for PullRequest {
    type Config = Config;
    const ABOUT: About = About {
        name: "PullRequest",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        capabilities: &["secret", "url"],
        default_name: Some("pull-request"),
        ..About::NOTHING
    };

    fn evaluate(config: Config, request: &Request) -> Answer {
        let own = format!("pull-request-{}", config.number);
        let directory = request.mount_path.as_deref().unwrap_or(&own).trim_end_matches('/');
        let file = |(name, accept): (&str, &str)| {
            Action::FetchUrl(UrlFetch {
                request: config.request(accept),
                unpack: false,
                path: format!("{directory}/{name}"),
                mode: request.file_mode,
            })
        };
        let files = [file(DIFF), file(METADATA)];
        // whoever says where the files go tells the agent so
        let words = request.mount_path.is_none().then(|| Action::Inline(config.words(directory)));
        ready(files.into_iter().chain(words))
    }
}

impl Config {
    fn request(&self, accept: &str) -> HttpRequest {
        let (api, repository, number) = (self.api_url.trim_end_matches('/'), &self.repository, self.number);
        let mut headers =
            vec![Header::value("Accept", accept), Header::value("X-GitHub-Api-Version", API_VERSION)];
        headers.extend(self.token_secret.as_ref().map(|secret| Header {
            name: "Authorization".to_owned(),
            value: HeaderValue::Secret(SecretText {
                before: "Bearer ".to_owned(),
                secret: SecretKey { name: secret.name.clone(), key: secret.key.clone(), optional: false },
                after: String::new(),
            }),
        }));
        HttpRequest { headers, ..HttpRequest::get(format!("{api}/repos/{repository}/pulls/{number}")) }
    }

    /// What the agent reads in its context.
    fn words(&self, directory: &str) -> String {
        let (diff, metadata) = (DIFF.0, METADATA.0);
        format!(
            "Pull request {} of {}, in the workspace:\n\
             - {directory}/{diff}: what it changes\n\
             - {directory}/{metadata}: title, description, author and branches, as GitHub's API gives them",
            self.number, self.repository
        )
    }
}

context_type!(PullRequest);

#[cfg(test)]
mod tests;
