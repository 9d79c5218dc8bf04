//! What the agent's own git can do in a clone: commit under a name, and push with the Secret, to that repository alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::git::AUTHORIZATION;
use crate::git_server::{Repositories, git};
use crate::program::program;
use crate::ssh::Sshd;
use crate::tool::Pod;
use crate::web::{Response, Web};

const IDENTITY: [(&str, &str); 2] =
    [("GIT_USER_NAME", "Build \"B\" Bot"), ("GIT_USER_EMAIL", "bot@example.com")];

/// A Pod with the keys of a Secret where the agent finds them.
fn with_secret(pod: Pod, keys: &[(&str, &str)]) -> Pod {
    let dir = pod.path("push");
    fs::create_dir(&dir).unwrap();
    for (key, value) in keys {
        fs::write(dir.join(key), value).unwrap();
        // or ssh refuses it
        fs::set_permissions(dir.join(key), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let dir = dir.to_str().unwrap().to_owned();
    pod.with(&[("GIT_PUSH", &dir), ("GIT_SECRET", "deploy")]).with(&IDENTITY)
}

/// What the agent's git says, with nothing but what the clone and its home tell it.
fn agent(pod: &Pod, args: &[&str]) -> Result<String, String> {
    let output = program("git")
        .args(args)
        .current_dir(pod.path("git/repo"))
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("HOME", pod.path("home"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Commits and pushes a branch, as an agent does; who the author of what is on the server then is.
fn pushed(pod: &Pod, server: &Path) -> String {
    for args in [
        &["switch", "--quiet", "--create", "work"][..],
        &["commit", "--quiet", "--allow-empty", "--message", "work"],
        &["push", "--quiet", "origin", "HEAD"],
    ] {
        agent(pod, args).unwrap();
    }
    git(server, &["log", "-1", "--format=%an <%ae>, %cn <%ce>", "work"])
}

#[test]
fn the_agent_pushes_with_a_password_to_this_repository_alone() {
    let repositories = Repositories::new();
    for name in ["a", "b"] {
        repositories.sample(name);
        let bare = repositories.path().join(format!("{name}.git"));
        git(&bare, &["config", "http.receivepack", "true"]);
    }
    let (a, root) = (repositories.path().join("a.git"), repositories.path().to_owned());
    let web = Web::https(move |request| match request.headers.get("authorization") {
        Some(given) if given == AUTHORIZATION => Repositories::answer(&root, request, true),
        _ => Response::status(401).header("www-authenticate", "Basic realm=\"git\""),
    });
    // with the newlines that files have
    let pod = Pod::new().trusting(web.authority()).with(&[
        ("GIT_REPO", &web.url("/a.git")),
        ("GIT_USERNAME", "ada\n"),
        ("GIT_PASSWORD", "s3cret/pass\r\n"),
    ]);
    let pod = with_secret(pod, &[("username", "ada\n"), ("password", "s3cret/pass\r\n")]);
    pod.succeeds("git-init");
    let config = pod.read("git/repo/.git/config");
    assert!(!config.contains("s3cret"), "{config}");

    let author = "Build \"B\" Bot <bot@example.com>";
    assert_eq!(pushed(&pod, &a), format!("{author}, {author}\n"));

    let message = agent(&pod, &["push", &web.url("/b.git"), "HEAD"]).unwrap_err();
    assert!(message.contains("could not read Username"), "{message}");

    // what is another one now is used from now on
    fs::write(pod.path("push/password"), "old").unwrap();
    let message = agent(&pod, &["push", "origin", "HEAD:other"]).unwrap_err();
    assert!(message.contains("Authentication failed"), "{message}");
}

#[test]
fn a_token_without_a_user_is_enough() {
    let repositories = Repositories::new();
    repositories.sample("a");
    let bare = repositories.path().join("a.git");
    git(&bare, &["config", "http.receivepack", "true"]);
    let root = repositories.path().to_owned();
    let web = Web::https(move |request| match request.headers.get("authorization") {
        // `git:token`
        Some(given) if given == "Basic Z2l0OnRva2Vu" => Repositories::answer(&root, request, true),
        _ => Response::status(401).header("www-authenticate", "Basic realm=\"git\""),
    });
    let pod = Pod::new().trusting(web.authority());
    let pod = pod.with(&[("GIT_REPO", &web.url("/a.git")), ("GIT_PASSWORD", "token")]);
    let pod = with_secret(pod, &[("password", "token")]);
    pod.succeeds("git-init");
    pushed(&pod, &bare);
}

#[test]
fn the_agent_pushes_with_a_key() {
    let sshd = Sshd::start();
    let (key, known) = (sshd.read("user"), sshd.known_hosts("host"));
    let pod = sshd.pod(&[("GIT_SSH_KEY", &key), ("GIT_SSH_KNOWN_HOSTS", &known)]);
    let pod = with_secret(pod, &[("ssh-privatekey", &key), ("ssh-known-hosts", &known)]);
    pod.succeeds("git-init");
    assert!(pushed(&pod, &sshd.repository()).starts_with("Build \"B\" Bot <bot@example.com>"));

    fs::write(pod.path("push/ssh-known-hosts"), sshd.known_hosts("stranger")).unwrap();
    let message = agent(&pod, &["push", "origin", "HEAD:other"]).unwrap_err();
    assert!(message.contains("Host key verification failed"), "{message}");
}

#[test]
fn a_secret_that_no_push_works_with_is_told_before_the_agent_starts() {
    let repositories = Repositories::new();
    repositories.sample("a");
    let web = Web::https(move |request| Repositories::answer(repositories.path(), request, true));
    let pod = Pod::new().trusting(web.authority()).with(&[("GIT_REPO", &web.url("/a.git"))]);
    let message = with_secret(pod, &[]).fails("git-init");
    assert!(
        message.ends_with("push: Secret \"deploy\" has neither username nor password: a push over https needs a password or a token"),
        "{message}"
    );
}

/// What is said for a clone holds for what is in it, too.
#[test]
fn who_commits_in_a_submodule_is_who_commits_in_the_clone() {
    let repositories = Repositories::new();
    repositories.sample("inner");
    let work = repositories.create("a");
    let inner = repositories.path().join("inner.git");
    git(&work, &["submodule", "--quiet", "add", inner.to_str().unwrap(), "lib"]);
    git(&work, &["config", "--file", ".gitmodules", "submodule.lib.url", "../inner.git"]);
    git(&work, &["commit", "--quiet", "--all", "-m", "with a submodule"]);
    repositories.publish("a");
    let web = Web::https(move |request| Repositories::answer(repositories.path(), request, true));
    let pod = Pod::new().trusting(web.authority());
    let pod = pod.with(&[("GIT_REPO", &web.url("/a.git")), ("GIT_SUBMODULES", "true")]).with(&IDENTITY);
    pod.succeeds("git-init");
    let name = agent(&pod, &["-C", "lib", "config", "user.name"]);
    assert_eq!(name.as_deref(), Ok("Build \"B\" Bot\n"));
}
