//! What the items of a user come to.

use kubeopencode_plugin_sdk::testing::{evaluate, request};
use kubeopencode_plugin_sdk::{
    Action, Header, HeaderValue, HttpRequest, Outcome, SecretKey, SecretText, UrlFetch, ready,
};
use serde_json::json;

use super::PullRequest;

fn fetch(url: &str, path: &str, accept: &str, authorization: Option<Header>, mode: Option<u32>) -> Action {
    let mut headers =
        vec![Header::value("Accept", accept), Header::value("X-GitHub-Api-Version", "2022-11-28")];
    headers.extend(authorization);
    Action::FetchUrl(UrlFetch {
        request: HttpRequest { headers, ..HttpRequest::get(url) },
        unpack: false,
        path: path.into(),
        mode,
    })
}

#[test]
fn a_public_pull_request_is_two_files_and_words_that_say_where() {
    let url = "https://api.github.com/repos/acme/shop/pulls/7";
    let words = "Pull request 7 of acme/shop, in the workspace:\n\
                 - pull-request-7/pull.diff: what it changes\n\
                 - pull-request-7/pull.json: title, description, author and branches, as GitHub's API gives them";
    assert_eq!(
        evaluate::<PullRequest>(&request(json!({"repository": "acme/shop", "number": 7}))),
        ready([
            fetch(url, "pull-request-7/pull.diff", "application/vnd.github.diff", None, None),
            fetch(url, "pull-request-7/pull.json", "application/vnd.github+json", None, None),
            Action::Inline(words.into()),
        ])
    );
}

#[test]
fn a_token_is_part_of_a_header_and_a_mount_path_says_where_the_files_go() {
    let mut request = request(json!({
        "repository": "acme/shop", "number": 7, "tokenSecret": {"name": "github"},
        "apiUrl": "https://github.example.com/api/v3/",
    }));
    request.mount_path = Some("/opt/pull/".into());
    request.file_mode = Some(0o440);
    let url = "https://github.example.com/api/v3/repos/acme/shop/pulls/7";
    let token = |key: &str| {
        let secret = SecretKey { name: "github".into(), key: key.into(), optional: false };
        let text = SecretText { before: "Bearer ".into(), secret, after: String::new() };
        Some(Header { name: "Authorization".into(), value: HeaderValue::Secret(text) })
    };
    let mode = Some(0o440);
    assert_eq!(
        evaluate::<PullRequest>(&request),
        ready([
            fetch(url, "/opt/pull/pull.diff", "application/vnd.github.diff", token("token"), mode),
            fetch(url, "/opt/pull/pull.json", "application/vnd.github+json", token("token"), mode),
        ])
    );
}

#[test]
fn the_key_of_the_token_can_be_another() {
    let item = json!({"repository": "a/b", "number": 1, "tokenSecret": {"name": "github", "key": "read"}});
    let Ok(Outcome::Ready(plan)) = evaluate::<PullRequest>(&request(item)) else { panic!("no plan") };
    let Action::FetchUrl(fetch) = &plan.actions[0] else { panic!("{plan:?}") };
    let HeaderValue::Secret(text) = &fetch.request.headers[2].value else { panic!("{fetch:?}") };
    assert_eq!((text.secret.name.as_str(), text.secret.key.as_str()), ("github", "read"));
}
