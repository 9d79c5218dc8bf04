//! What of a repository's history comes, by reference and depth.

use crate::git::{branch_of, commit_of, count_of, server};
use crate::git_server::{Repositories, git};
use crate::tool::Pod;
use crate::web::Web;

#[test]
fn takes_as_much_history_as_asked_for() {
    let server = server();
    for (depth, count) in [("1", "1"), ("2", "2"), ("0", "3")] {
        let pod = server.pod(&[("GIT_DEPTH", depth)]);
        pod.succeeds("git-init");
        assert_eq!(count_of(&pod), count, "depth {depth}");
    }
}

#[test]
fn with_the_full_history_whatever_is_checked_out_can_be_compared_with_its_base() {
    let server = server();
    for reference in ["feature/x", "refs/pull/7/head", "refs/tags/v1", server.commits[1].as_str()] {
        let pod = server.pod(&[("GIT_REF", reference), ("GIT_DEPTH", "0")]);
        pod.succeeds("git-init");
        let base = git(&pod.path("git/repo"), &["merge-base", "HEAD", "origin/main"]);
        assert_eq!(base.trim(), commit_of(&pod), "{reference}");
    }
}

#[test]
fn a_tag_keeps_its_name() {
    let server = server();
    for depth in ["0", "1"] {
        let pod = server.pod(&[("GIT_REF", "refs/tags/v1"), ("GIT_DEPTH", depth)]);
        pod.succeeds("git-init");
        assert_eq!(git(&pod.path("git/repo"), &["describe"]), "v1\n");
    }
}

#[test]
fn a_repository_with_sha256_is_like_any_other() {
    let server = server();
    let commits = server.repositories.sample_with("b", "sha256");
    for (reference, content, branch) in [
        ("HEAD", "three", "main"),
        ("feature/x", "two", "feature/x"),
        ("v1", "one", "HEAD"),
        ("refs/tags/v1", "one", "HEAD"),
        ("refs/pull/7/head", "one", "HEAD"),
        (commits[1].as_str(), "two", "HEAD"),
        (&commits[1][..50], "two", "HEAD"),
    ] {
        for depth in ["0", "1"] {
            let address = server.web.url("/b.git");
            let pod = server.pod(&[("GIT_REPO", &address), ("GIT_REF", reference), ("GIT_DEPTH", depth)]);
            pod.succeeds("git-init");
            assert_eq!(
                (pod.read("git/repo/README.md").as_str(), branch_of(&pod).as_str()),
                (content, branch),
                "{reference} at depth {depth}"
            );
        }
    }
}

#[test]
fn finds_a_commit_on_a_server_that_gives_out_only_branches() {
    let repositories = Repositories::new();
    let commits = repositories.sample("a");
    let root = repositories.path().to_owned();
    let web = Web::https(move |request| Repositories::answer(&root, request, false));
    let pod = Pod::new()
        .trusting(web.authority())
        .with(&[("GIT_REPO", &web.url("/a.git")), ("GIT_REF", &commits[1])]);
    pod.succeeds("git-init");
    assert_eq!(commit_of(&pod), commits[1]);
}

#[test]
fn a_tag_and_a_branch_of_one_name_are_told_apart_by_their_full_names() {
    let server = server();
    let bare = server.repositories.path().join("a.git");
    git(&bare, &["branch", "v1", "main"]);
    for (reference, content) in [("v1", "three"), ("refs/heads/v1", "three"), ("refs/tags/v1", "one")] {
        let pod = server.pod(&[("GIT_REF", reference)]);
        pod.succeeds("git-init");
        assert_eq!(pod.read("git/repo/README.md"), content, "{reference}");
    }
}
