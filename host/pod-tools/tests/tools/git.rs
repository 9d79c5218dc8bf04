//! `git-init` over http(s).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::git_server::{Repositories, git};
use crate::tool::Pod;
use crate::web::{Request, Response, Web};

const LOGIN: [(&str, &str); 2] = [("GIT_USERNAME", "ada"), ("GIT_PASSWORD", "s3cret/pass")];
/// `ada:s3cret/pass`
pub(crate) const AUTHORIZATION: &str = "Basic YWRhOnMzY3JldC9wYXNz";

/// A server with the sample repository `a`, open to all.
pub(crate) struct Server {
    pub(crate) repositories: Arc<Repositories>,
    pub(crate) commits: Vec<String>,
    pub(crate) web: Web,
}

pub(crate) fn server() -> Server {
    serving(|request, answer| answer(request))
}

/// The same, with somebody in between.
pub(crate) fn serving(
    between: impl Fn(&Request, &dyn Fn(&Request) -> Response) -> Response + Send + Sync + 'static,
) -> Server {
    let repositories = Arc::new(Repositories::new());
    let commits = repositories.sample("a");
    let root = repositories.clone();
    let web = Web::https(move |request| {
        between(request, &|request| Repositories::answer(root.path(), request, true))
    });
    Server { repositories, commits, web }
}

fn private() -> Server {
    serving(|request, answer| match request.headers.get("authorization") {
        Some(given) if given == AUTHORIZATION => answer(request),
        _ => Response::status(401).header("www-authenticate", "Basic realm=\"git\""),
    })
}

impl Server {
    pub(crate) fn pod(&self, environment: &[(&str, &str)]) -> Pod {
        Pod::new()
            .trusting(self.web.authority())
            .with(&[("GIT_REPO", &self.web.url("/a.git"))])
            .with(environment)
    }
}

pub(crate) fn commit_of(pod: &Pod) -> String {
    git(&pod.path("git/repo"), &["rev-parse", "HEAD"]).trim().to_owned()
}

pub(crate) fn branch_of(pod: &Pod) -> String {
    git(&pod.path("git/repo"), &["rev-parse", "--abbrev-ref", "HEAD"]).trim().to_owned()
}

pub(crate) fn count_of(pod: &Pod) -> String {
    git(&pod.path("git/repo"), &["rev-list", "--count", "--all"]).trim().to_owned()
}

#[test]
fn clones_the_default_branch_open_to_any_user() {
    let server = server();
    let pod = server.pod(&[]);
    assert_eq!(pod.succeeds("git-init"), "");
    assert_eq!(pod.read("git/repo/README.md"), "three");
    assert_eq!((branch_of(&pod).as_str(), count_of(&pod).as_str()), ("main", "1"));
    for (path, mode) in [
        ("git/repo", 0o777),
        ("git/repo/docs", 0o777),
        ("git/repo/README.md", 0o666),
        ("git/repo/run.sh", 0o777),
        ("git/repo/.git/config", 0o666),
    ] {
        assert_eq!(pod.mode(path), mode, "{path}");
    }
    assert_eq!(git(&pod.path("git/repo"), &["status", "--porcelain"]), "", "modes make no difference to git");
    assert_eq!(git(&pod.path("git/repo"), &["diff-files"]), "", "it need not read all files again");
    assert_eq!(pod.list("git"), ["repo"]);
}

#[test]
fn a_link_leads_no_mount_out_of_the_clone() {
    let server = server();
    let work = server.repositories.create("links");
    symlink("/usr/local", work.join("door")).unwrap();
    fs::create_dir(work.join("real")).unwrap();
    fs::write(work.join("real/file"), "").unwrap();
    git(&work, &["add", "--all"]);
    git(&work, &["commit", "--quiet", "-m", "links"]);
    server.repositories.publish("links");
    let address = server.web.url("/links.git");
    let pod = |mounts: &str| server.pod(&[("GIT_REPO", &address), ("GIT_MOUNTS", mounts)]);
    for mounts in [r#"["real/x", "door/bin"]"#, r#"["door"]"#] {
        let message = pod(mounts).fails("git-init");
        assert!(
            message.contains("is mounted in it, and door is a symbolic link of the repository"),
            "{message}"
        );
    }
    pod(r#"["real/x", "new/door"]"#).succeeds("git-init");
}

#[test]
fn a_file_mode_holds_for_the_files_and_is_no_change_to_git() {
    let server = server();
    let pod = server.pod(&[("GIT_FILE_MODE", "416")]);
    pod.succeeds("git-init");
    for (path, mode) in [
        ("git/repo/docs", 0o777),
        ("git/repo/README.md", 0o640),
        ("git/repo/docs/guide.md", 0o640),
        ("git/repo/run.sh", 0o640),
        ("git/repo/.git/HEAD", 0o666),
    ] {
        assert_eq!(pod.mode(path), mode, "{path}");
    }
    assert_eq!(git(&pod.path("git/repo"), &["status", "--porcelain"]), "");
}

#[test]
fn checks_out_what_the_reference_names() {
    let server = server();
    let (one, two) = (&server.commits[0], &server.commits[1]);
    for (reference, content, branch) in [
        ("main", "three", "main"),
        ("feature/x", "two", "feature/x"),
        ("refs/heads/feature/x", "two", "feature/x"),
        ("v1", "one", "HEAD"),
        ("refs/tags/v1", "one", "HEAD"),
        ("refs/pull/7/head", "one", "HEAD"),
        (one.as_str(), "one", "HEAD"),
        (&two[..9], "two", "HEAD"),
    ] {
        let pod = server.pod(&[("GIT_REF", reference)]);
        pod.succeeds("git-init");
        assert_eq!(
            (pod.read("git/repo/README.md").as_str(), branch_of(&pod).as_str()),
            (content, branch),
            "{reference}"
        );
    }
}

#[test]
fn names_the_reference_the_commit_or_the_path_that_is_not_there() {
    let server = server();
    let commit = "0123456789".repeat(4);
    for (environment, words) in [
        (
            ("GIT_REF", "v9"),
            "at \"v9\": the repository has no branch or tag of this name (fatal: Remote branch v9 not found",
        ),
        (("GIT_REF", commit.as_str()), "no branch or tag of the repository holds the commit 0123456789"),
        (("GIT_REF", "refs/pull/9/head"), "the repository has no such reference"),
        (("GIT_PATH", "docs/missing"), "at \"HEAD\": the repository has no path \"docs/missing\""),
    ] {
        let pod = server.pod(&[environment]);
        let message = pod.fails("git-init");
        assert!(
            message.starts_with("git-init: cannot clone https://localhost:") && message.contains(words),
            "{message}"
        );
        assert_eq!(pod.list("git"), [""; 0], "nothing is left");
    }
    server.pod(&[("GIT_PATH", "docs/guide.md")]).succeeds("git-init");
}

#[test]
fn a_path_that_leads_out_of_the_repository_is_an_error_and_a_link_inside_of_it_is_none() {
    let server = server();
    let work = server.repositories.create("links");
    std::fs::create_dir(work.join("docs")).unwrap();
    std::fs::write(work.join("docs/guide.md"), "guide").unwrap();
    for (link, to) in [
        ("inside", "docs"),
        ("up", "../.."),
        ("root", "/etc"),
        ("nowhere", "/no/such"),
        ("docs/out", "../../.."),
    ] {
        std::os::unix::fs::symlink(to, work.join(link)).unwrap();
    }
    git(&work, &["add", "--all"]);
    git(&work, &["commit", "--quiet", "-m", "links"]);
    server.repositories.publish("links");
    let url = server.web.url("/links.git");
    for path in ["up", "root", "nowhere", "docs/out", "inside/out", "root/passwd"] {
        let pod = server.pod(&[("GIT_REPO", &url), ("GIT_PATH", path)]);
        let words = format!(
            "the path {path:?} leads out of the repository, by a link: name a directory inside of it"
        );
        let message = pod.fails("git-init");
        assert!(message.contains(&words), "{message}");
        assert_eq!(pod.list("git"), [""; 0], "nothing is left");
    }
    for path in ["inside", "docs", "inside/guide.md"] {
        server.pod(&[("GIT_REPO", &url), ("GIT_PATH", path)]).succeeds("git-init");
    }
}

#[test]
fn a_repository_without_a_commit_or_without_its_default_branch_is_an_error() {
    let server = server();
    for name in ["empty", "headless"] {
        let work = server.repositories.create(name);
        if name == "headless" {
            git(&work, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
            git(&work, &["branch", "--move", "trunk"]);
        }
        server.repositories.publish(name);
        let bare = server.repositories.path().join(format!("{name}.git"));
        git(&bare, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    }
    for (name, words) in [
        ("empty", "at \"HEAD\": the repository is empty: push a first commit"),
        (
            "headless",
            "at \"HEAD\": the repository has no default branch, its HEAD names one that is not there",
        ),
    ] {
        for depth in ["0", "1"] {
            let address = server.web.url(&format!("/{name}.git"));
            let pod = server.pod(&[("GIT_REPO", &address), ("GIT_DEPTH", depth)]);
            let message = pod.fails("git-init");
            assert!(message.contains(words) && !message.contains("trying"), "{message}");
            assert_eq!(pod.list("git"), [""; 0]);
        }
    }
    let address = server.web.url("/empty.git");
    let message = server.pod(&[("GIT_REPO", &address), ("GIT_REF", "main")]).fails("git-init");
    assert!(message.contains("the repository has no branch or tag of this name"), "{message}");
}

#[test]
fn a_private_repository_wants_the_secret_which_leaves_no_trace() {
    let server = private();
    let pod = server.pod(&LOGIN);
    assert_eq!(pod.succeeds("git-init"), "");
    assert_eq!(pod.read("git/repo/README.md"), "three");
    let config = pod.read("git/repo/.git/config");
    assert!(!config.contains("s3cret") && config.contains(&server.web.url("/a.git")), "{config}");
}

#[test]
fn a_password_of_odd_characters_from_a_file_works_and_leaves_no_trace() {
    // `ada:p@ss:w/rd%20 #"'$(id)`+`{}`, without the newline of the file
    const ODD: &str = "Basic YWRhOnBAc3M6dy9yZCUyMCAjIickKGlkKWArYHt9";
    let server = serving(|request, answer| match request.headers.get("authorization") {
        Some(given) if given == ODD => answer(request),
        _ => Response::status(401).header("www-authenticate", "Basic realm=\"git\""),
    });
    let login = [("GIT_USERNAME", "ada\n"), ("GIT_PASSWORD", "p@ss:w/rd%20 #\"'$(id)`+`{}\n")];
    let pod = server.pod(&login);
    assert_eq!(pod.succeeds("git-init"), "");
    assert_eq!(pod.read("git/repo/README.md"), "three");
    assert!(!pod.read("git/repo/.git/config").contains("p@ss"));
}

#[test]
fn a_password_in_the_address_works_and_leaves_no_trace_either() {
    let server = private();
    let address = server.web.url("/a.git").replace("://", "://ada:s3cret%2Fpass@");
    let pod = server.pod(&[("GIT_REPO", &address)]);
    assert_eq!(pod.succeeds("git-init"), "");
    assert!(!pod.read("git/repo/.git/config").contains("s3cret"));
}

#[test]
fn a_missing_or_wrong_secret_is_said_at_once_and_never_shown() {
    let server = private();
    let message = server.pod(&[]).fails("git-init");
    assert!(
        message.contains(
            "the server asks for credentials: name a Secret with the keys username and password in secretRef"
        ),
        "{message}"
    );
    let before = server.web.seen().len();
    let ended = server.pod(&[("GIT_USERNAME", "ada"), ("GIT_PASSWORD", "wr0ng/word")]).run("git-init");
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("the server refuses the Secret's username and password"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("wr0ng"), "{}", ended.stderr);
    assert!(server.web.seen().len() - before <= 4, "no further tries");
}

#[test]
fn a_secret_without_a_key_of_use_is_named() {
    let server = private();
    let message = server.pod(&[("GIT_SECRET", "deploy")]).fails("git-init");
    assert!(
        message.contains(
            "Secret \"deploy\" is not there or has none of the keys username, password and ssh-privatekey (fatal: could not read Username"
        ),
        "{message}"
    );
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let server = server();
    let message = Pod::new().with(&[("GIT_REPO", &server.web.url("/a.git"))]).fails("git-init");
    assert!(message.contains("authority is not trusted: add it to the bundle of spec.caBundle"), "{message}");
    let authority = server.web.authority().to_str().unwrap();
    let pod = Pod::new().with(&[("GIT_REPO", &server.web.url("/a.git")), ("GIT_SSL_CAINFO", authority)]);
    pod.succeeds("git-init");
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    for (repository, name) in
        [("https://git.example/a.git", "https_proxy"), ("http://git.example/a.git", "http_proxy")]
    {
        let pod = Pod::new().with(&[("GIT_REPO", repository), (name, "http://proxy.corp.invalid:3128")]);
        let message = pod.fails("git-init");
        assert!(message.contains("Could not resolve proxy: proxy.corp.invalid"), "{message}");
    }
}

#[test]
fn a_server_that_recovers_is_tried_again() {
    let failures = AtomicU32::new(2);
    let server = serving(move |request, answer| {
        if failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Response::status(503);
        }
        answer(request)
    });
    let log = server.pod(&[]).succeeds("git-init");
    assert_eq!(log.matches("trying again").count(), 2, "{log}");
}

#[test]
fn a_clone_that_is_there_is_kept() {
    let server = server();
    let pod = server.pod(&[]);
    std::fs::create_dir(pod.path("git/.repo.partial")).unwrap();
    std::fs::write(pod.path("git/.repo.partial/left"), "by a killed run").unwrap();
    pod.succeeds("git-init");
    assert!(!pod.path("git/repo/left").exists());
    let requests = server.web.seen().len();
    std::fs::write(pod.path("git/repo/README.md"), "changed").unwrap();
    pod.succeeds("git-init");
    assert_eq!(pod.read("git/repo/README.md"), "changed");
    assert_eq!(server.web.seen().len(), requests);
}

#[test]
fn an_optional_clone_that_fails_leaves_an_empty_directory_and_a_message() {
    let server = server();
    let pod = server.pod(&[("GIT_REF", "v9"), ("GIT_PATH", "docs"), ("GIT_OPTIONAL", "true")]);
    // kubelet may start it twice
    for _ in 0..2 {
        std::fs::write(pod.path("termination-log"), "").unwrap();
        let ended = pod.run("git-init");
        assert_eq!(ended.code, 0);
        assert!(ended.message.starts_with("skipped: cannot clone https://localhost:"), "{}", ended.message);
        assert_eq!((pod.list("git"), pod.list("git/repo/docs")), (vec!["repo".to_owned()], vec![]));
    }
    assert_eq!((pod.mode("git/repo"), pod.mode("git/repo/docs")), (0o777, 0o777));
    let pod = pod.with(&[("GIT_REF", "main")]);
    pod.succeeds("git-init");
    assert_eq!(pod.read("git/repo/docs/guide.md"), "guide", "what was missing then is there now");
}

#[test]
fn a_repository_of_200_mb_comes_whole_or_not_at_all() {
    let server = server();
    server.repositories.incompressible("big", 200);
    let address = server.web.url("/big.git");
    let pod = server.pod(&[("GIT_REPO", &address)]);
    pod.succeeds("git-init");
    assert_eq!(pod.list("git/repo").len(), 11);
    assert_eq!(std::fs::metadata(pod.path("git/repo/part-9")).unwrap().len(), 20 << 20);
    assert_eq!(git(&pod.path("git/repo"), &["status", "--porcelain"]), "");
    drop(pod);
    // a Pod that is deleted meanwhile, and started again
    let pod = server.pod(&[("GIT_REPO", &address)]);
    let mut process = pod.start("git-init");
    while !pod.path("git/.repo.partial/.git").exists() {
        assert!(process.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    pod.kill(process);
    assert!(!pod.path("git/repo").exists());
    pod.succeeds("git-init");
    assert_eq!((pod.list("git"), pod.list("git/repo").len()), (vec!["repo".to_owned()], 11));
}

#[test]
fn submodules_come_along_when_asked_for() {
    let server = server();
    let work = server.repositories.create("super");
    let nested = server.repositories.path().join("a.git");
    git(&work, &["submodule", "--quiet", "add", nested.to_str().unwrap(), "lib"]);
    git(&work, &["config", "--file", ".gitmodules", "submodule.lib.url", "../a.git"]);
    git(&work, &["commit", "--quiet", "--all", "-m", "with lib"]);
    server.repositories.publish("super");
    let address = server.web.url("/super.git");
    let without = server.pod(&[("GIT_REPO", &address)]);
    without.succeeds("git-init");
    assert_eq!(without.list("git/repo/lib"), [""; 0]);
    for depth in ["1", "0"] {
        let with = server.pod(&[("GIT_REPO", &address), ("GIT_SUBMODULES", "true"), ("GIT_DEPTH", depth)]);
        with.succeeds("git-init");
        assert_eq!(
            (with.read("git/repo/lib/README.md").as_str(), with.mode("git/repo/lib/README.md")),
            ("three", 0o666)
        );
    }
}

/// A repository whose submodule lies at `url`.
pub(crate) fn with_submodule_at(repositories: &Repositories, url: &str) {
    let work = repositories.create("trap");
    let nested = repositories.path().join("a.git");
    git(&work, &["submodule", "--quiet", "add", nested.to_str().unwrap(), "lib"]);
    git(&work, &["config", "--file", ".gitmodules", "submodule.lib.url", url]);
    git(&work, &["commit", "--quiet", "--all", "-m", "trap"]);
    repositories.publish("trap");
}

#[test]
fn a_submodule_on_another_host_never_gets_the_secret() {
    let server = private();
    with_submodule_at(&server.repositories, &server.web.other_url("/a.git"));
    let pod =
        server.pod(&LOGIN).with(&[("GIT_REPO", &server.web.url("/trap.git")), ("GIT_SUBMODULES", "true")]);
    let message = pod.fails("git-init");
    assert!(message.contains("the server asks for credentials"), "{message}");
    let leaked = server.web.seen().iter().any(|request| {
        request.headers["host"].starts_with("127.0.0.1") && request.headers.contains_key("authorization")
    });
    assert!(!leaked);
}

#[test]
fn a_submodule_cannot_run_a_command_or_read_the_pods_files() {
    for trap in ["ext::sh -c 'touch /tmp/never'", "file://@/a.git", "@/a.git"] {
        let server = server();
        let url = trap.replace('@', server.repositories.path().to_str().unwrap());
        with_submodule_at(&server.repositories, &url);
        let pod = server.pod(&[("GIT_REPO", &server.web.url("/trap.git")), ("GIT_SUBMODULES", "true")]);
        let message = pod.fails("git-init");
        assert!(
            message.contains("submodules and redirects must have https, http or ssh addresses"),
            "{message}"
        );
        assert!(!Path::new("/tmp/never").exists());
    }
}

#[test]
fn a_redirect_to_another_host_never_gets_the_secret() {
    let server = private();
    let target = server.web.other_url("");
    let front =
        Web::http(move |request| Response::redirect(&format!("{target}{}?{}", request.path, request.query)));
    let pod = server.pod(&LOGIN).with(&[("GIT_REPO", &front.url("/a.git"))]);
    pod.fails("git-init");
    assert!(server.web.seen().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn plain_http_works_with_a_warning() {
    let repositories = Repositories::new();
    repositories.sample("a");
    let root = repositories.path().to_owned();
    let web = Web::http(move |request| Repositories::answer(&root, request, true));
    let pod = Pod::new().with(&[("GIT_REPO", &web.url("/a.git"))]);
    let log = pod.succeeds("git-init");
    assert!(log.starts_with("git-init: warning: http://localhost:"), "{log}");

    let pod = Pod::new().with(&[("GIT_REPO", &web.url("/a.git")), ("GIT_REF", "v9")]);
    let ended = pod.run("git-init");
    assert!(ended.stderr.starts_with("git-init: warning: "), "{}", ended.stderr);
    assert!(ended.message.starts_with("git-init: cannot clone http://localhost:"), "{}", ended.message);
}
