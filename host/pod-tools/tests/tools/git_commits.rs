//! What others put into a clone: where it can lie, and that it is in no commit.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::git_server::{Repositories, git};
use crate::tool::Pod;
use crate::web::Web;

/// A Pod with the repository that `prepare` makes.
fn pod(prepare: impl FnOnce(&Repositories)) -> (Web, Pod) {
    let repositories = Repositories::new();
    prepare(&repositories);
    let web = Web::https(move |request| Repositories::answer(repositories.path(), request, true));
    let pod = Pod::new().trusting(web.authority()).with(&[("GIT_REPO", &web.url("/a.git"))]);
    (web, pod)
}

fn sample() -> (Web, Pod) {
    pod(|repositories| drop(repositories.sample("a")))
}

#[test]
fn what_others_put_into_a_clone_is_in_no_commit() {
    let (_web, pod) = sample();
    let others = ["task.md", ".kubeopencode/context.md", "README.md", "a*b", "vendor/lib/", "docs/secret "];
    let pod = pod.with(&[("GIT_EXCLUDE", &json!(others).to_string())]);
    pod.succeeds("git-init");
    let clone = pod.path("git/repo");
    // the repository has a README of its own
    for other in others {
        let path = clone.join(other.trim_end_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match other.ends_with('/') {
            true => {
                fs::create_dir(&path).unwrap();
                git(&path, &["init", "--quiet"]);
                git(&path, &["commit", "--quiet", "--allow-empty", "-m", "a clone in the clone"]);
            }
            false => fs::write(path, "the prompt").unwrap(),
        }
    }
    assert_eq!(git(&clone, &["status", "--porcelain"]), "");
    for own in ["docs/guide.md", "docs/new.md", "axb"] {
        fs::write(clone.join(own), "the agent's").unwrap();
    }
    git(&clone, &["add", "--all"]);
    assert_eq!(git(&clone, &["status", "--porcelain"]), "A  axb\nM  docs/guide.md\nA  docs/new.md\n");
}

#[test]
fn directories_above_what_is_mounted_in_a_clone_are_open_to_all() {
    let (_web, pod) = sample();
    let pod = pod.with(&[("GIT_PATH", "docs"), ("GIT_DIRECTORIES", r#"["a/b","c"]"#)]);
    pod.succeeds("git-init");
    for directory in ["a", "a/b", "c"] {
        assert_eq!(pod.mode(&format!("git/repo/docs/{directory}")), 0o777, "{directory}");
    }
    // also where there is no clone
    let pod =
        sample().1.with(&[("GIT_REF", "v9"), ("GIT_OPTIONAL", "true"), ("GIT_DIRECTORIES", r#"["a/b"]"#)]);
    pod.succeeds("git-init");
    assert_eq!((pod.mode("git/repo/a"), pod.mode("git/repo/a/b")), (0o777, 0o777));
}

#[test]
fn no_directory_is_made_through_a_link_of_the_repository() {
    let (_web, pod) = pod(|repositories| {
        let work = repositories.create("a");
        symlink("/etc", work.join("vendor")).unwrap();
        git(&work, &["add", "--all"]);
        git(&work, &["commit", "--quiet", "-m", "trap"]);
        repositories.publish("a");
    });
    let message = pod.with(&[("GIT_DIRECTORIES", r#"["vendor/x"]"#)]).fails("git-init");
    assert!(
        message.ends_with("/vendor: a symbolic link is in the way; a directory is needed there"),
        "{message}"
    );
}

#[test]
fn directories_above_mounts_are_made_in_the_volumes_before_anything_is_mounted() {
    let (_web, pod) = sample();
    let root = pod.path("workspace");
    let parents = json!([{"root": root, "directories": ["services", "libs/deep"]}]).to_string();
    let pod = pod.with(&[("MOUNT_PARENTS", &parents)]);
    // kubelet may start it twice
    for tool in ["git-init", "git-init", "context-init"] {
        pod.succeeds(tool);
        for directory in ["services", "libs", "libs/deep"] {
            assert_eq!(pod.mode(&format!("workspace/{directory}")), 0o777, "{directory}");
        }
    }
    for outside in ["../x", "/x"] {
        let parents = json!([{"root": root, "directories": [outside]}]).to_string();
        let message = Pod::new().with(&[("MOUNT_PARENTS", &parents)]).fails("context-init");
        assert!(message.ends_with("must be a relative path without \"..\""), "{message}");
    }
}
