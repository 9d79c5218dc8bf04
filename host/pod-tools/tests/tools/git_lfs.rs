//! Files of Git LFS, from a server as GitHub's: a batch request with the repository's credentials, then the bytes.

use std::fs;

use kubeopencode_api::names::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::git_server::{Repositories, git};
use crate::program::program;
use crate::tool::Pod;
use crate::web::{Request, Response, Web};

const CONTENT: &str = "large\n";
/// `ada:s3cret`
const AUTHORIZATION: &str = "Basic YWRhOnMzY3JldA==";

/// A server with a repository of one large file, of which it has the content or not, and a Pod that may read it.
fn serving(has_content: bool) -> (Web, Pod) {
    // git starts it
    drop(program("git-lfs"));
    let repositories = Repositories::new();
    let (work, oid) = (repositories.create("a"), hex(&Sha256::digest(CONTENT)));
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {}\n", CONTENT.len());
    fs::write(work.join("model.bin"), pointer).unwrap();
    fs::write(work.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n").unwrap();
    git(&work, &["add", "--all"]);
    git(&work, &["commit", "--quiet", "-m", "large"]);
    repositories.publish("a");
    let web = Web::https(move |request| match request.headers.get("authorization") {
        Some(given) if given == AUTHORIZATION => match request.path.as_str() {
            "/a.git/info/lfs/objects/batch" => batch(request, has_content),
            path if path.starts_with("/objects/") => Response::ok(CONTENT),
            _ => Repositories::answer(repositories.path(), request, true),
        },
        _ => Response::status(401).header("www-authenticate", "Basic realm=\"git\""),
    });
    let login = [("GIT_USERNAME", "ada"), ("GIT_PASSWORD", "s3cret"), ("GIT_CONFIG_NOSYSTEM", "1")];
    let pod = Pod::new().trusting(web.authority()).with(&login).with(&[("GIT_REPO", &web.url("/a.git"))]);
    (web, pod)
}

fn batch(request: &Request, has_content: bool) -> Response {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let objects = asked["objects"].as_array().unwrap().iter().map(|object| {
        let mut answer = object.clone();
        match has_content {
            true => {
                let href = format!(
                    "https://{}/objects/{}",
                    request.headers["host"],
                    object["oid"].as_str().unwrap()
                );
                answer["actions"] = json!({"download": {"href": href}});
            }
            false => answer["error"] = json!({"code": 404, "message": "Object does not exist"}),
        }
        answer
    });
    let body = json!({"transfer": "basic", "objects": objects.collect::<Vec<_>>()}).to_string();
    Response::ok(body).header("content-type", "application/vnd.git-lfs+json")
}

#[test]
fn a_large_file_comes_as_itself_and_unchanged_also_to_a_git_without_lfs() {
    let (_web, pod) = serving(true);
    pod.succeeds("git-init");
    assert_eq!((pod.read("git/repo/model.bin").as_str(), pod.mode("git/repo/model.bin")), (CONTENT, 0o666));
    assert_eq!(git(&pod.path("git/repo"), &["status", "--porcelain"]), "");
}

#[test]
fn a_large_file_that_the_server_does_not_have_is_named() {
    let (_web, pod) = serving(false);
    let message = pod.fails("git-init");
    assert!(message.contains("a file of Git LFS cannot be had from the server"), "{message}");
    assert!(message.contains("model.bin"), "{message}");
}
