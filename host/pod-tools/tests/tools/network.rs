//! Where the tools connect to: loopback and link-local addresses are closed, in whatever way one gets there, and what the
//! rules of the cluster forbid.

use crate::git::{self, serving, with_submodule_at};
use crate::ssh::Sshd;
use crate::tool::Pod;
use crate::web::{Response, Web};

/// Nothing was said about the network.
const DEFAULT: [(&str, &str); 2] = [("GIT_NETWORK", ""), ("URL_NETWORK", "")];
const METADATA: &str = "http://169.254.169.254/latest/meta-data/";
const METADATA_REFUSED: &str = "contexts are not fetched from 169.254.169.254, a link-local address: choose another, or name \
                                the network in spec.taskNetwork.allow of the operator's KubeOpenCodeConfig";

fn download(web: &Web, address: &str) -> Pod {
    let pod = Pod::new();
    let target = pod.path("workspace/file").display().to_string();
    pod.trusting(web.authority()).with(&[("URL_SOURCE", address), ("URL_TARGET", &target)])
}

#[test]
fn a_download_from_the_pod_itself_or_its_link_is_refused_at_once() {
    let web = Web::https(|_| Response::ok("content"));
    for address in
        [web.url("/x"), web.other_url("/x"), web.other_url("/x").replace("127.0.0.1", "[::ffff:7f00:1]")]
    {
        let ended = download(&web, &address).with(&DEFAULT).run("url-fetch");
        assert_eq!(ended.code, 1, "{address}");
        assert!(ended.stderr.contains("contexts are not fetched from "), "{}", ended.stderr);
        assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
    }
    assert!(web.seen().is_empty());
}

#[test]
fn a_redirect_leads_nowhere_that_the_address_itself_may_not() {
    let web = Web::https(|_| Response::redirect(METADATA));
    let message = download(&web, &web.url("/x")).fails("url-fetch");
    assert!(message.ends_with(&format!("redirected to {METADATA}: {METADATA_REFUSED}")), "{message}");

    let elsewhere = Web::http(|_| Response::ok("from elsewhere"));
    let target = elsewhere.other_url("/");
    let web = Web::https(move |_| Response::redirect(&target));
    let rules = r#"{"open": ["127.0.0.0/8"], "allOf": [{"allow": ["localhost"]}]}"#;
    let message = download(&web, &web.url("/x")).with(&[("URL_NETWORK", rules)]).fails("url-fetch");
    assert!(
        message.contains("127.0.0.1: it is not in spec.taskNetwork.allow of a KubeOpenCodeConfig"),
        "{message}"
    );
    assert_eq!((web.seen().len(), elsewhere.seen().len()), (1, 0));
}

#[test]
fn what_a_proxy_dials_is_its_own_business_and_the_host_is_looked_at_all_the_same() {
    let proxy = Web::http(|_| Response::ok("by the proxy"));
    let trusted = Web::https(|_| Response::ok("content"));
    let by_proxy = |address: &str| {
        let pod = download(&trusted, address).with(&DEFAULT);
        pod.with(&[("http_proxy", &proxy.url("")), ("no_proxy", "direct.invalid")])
    };
    let pod = by_proxy("http://pages.corp.invalid/x");
    pod.succeeds("url-fetch");
    assert_eq!(pod.read("workspace/file"), "by the proxy");
    let message = by_proxy(METADATA).fails("url-fetch");
    assert!(message.ends_with(METADATA_REFUSED), "{message}");
    let message = by_proxy("http://direct.invalid/x").with(&[("URL_TIMEOUT", "5")]).fails("url-fetch");
    assert!(message.contains("cannot resolve direct.invalid"), "{message}");
    assert_eq!(proxy.seen().len(), 1);
}

#[test]
fn a_clone_from_the_pod_itself_is_refused_at_once() {
    let server = git::server();
    for address in [server.web.url("/a.git"), server.web.other_url("/a.git")] {
        let ended = server.pod(&DEFAULT).with(&[("GIT_REPO", &address)]).run("git-init");
        assert_eq!(ended.code, 1, "{address}");
        assert!(ended.stderr.contains("contexts are not fetched from "), "{}", ended.stderr);
        assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
    }
    assert!(server.web.seen().is_empty());
}

#[test]
fn a_clones_redirects_and_submodules_lead_nowhere_else() {
    let server = serving(|request, answer| match request.path.starts_with("/moved") {
        true => Response::redirect(&format!(
            "http://169.254.169.254/a.git{}",
            &request.path["/moved.git".len()..]
        )),
        false => answer(request),
    });
    let message = server.pod(&[("GIT_REPO", &server.web.url("/moved.git"))]).fails("git-init");
    assert!(message.ends_with(METADATA_REFUSED), "{message}");

    with_submodule_at(&server.repositories, "http://169.254.169.254/a.git");
    let trap = server.web.url("/trap.git");
    let with = [("GIT_REPO", trap.as_str()), ("GIT_SUBMODULES", "true")];
    let message = server.pod(&with).fails("git-init");
    assert!(message.ends_with(METADATA_REFUSED), "{message}");
}

#[test]
fn variables_of_the_image_lead_no_clone_past_the_rules() {
    let server = git::server();
    let rules = r#"{"open": ["127.0.0.0/8"], "allOf": [{"deny": ["127.0.0.0/8"]}]}"#;
    let with = [("GIT_NETWORK", rules), ("no_proxy", "*"), ("NO_PROXY", "localhost")];
    let message = server.pod(&with).fails("git-init");
    assert!(message.contains("spec.taskNetwork.deny of a KubeOpenCodeConfig has 127.0.0.0/8"), "{message}");
    assert!(server.web.seen().is_empty());
}

#[test]
fn ssh_connects_by_the_same_rules() {
    let sshd = Sshd::start();
    let key = sshd.read("user");
    let ended = sshd.pod(&[("GIT_SSH_KEY", &key)]).with(&DEFAULT).run("git-init");
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("contexts are not fetched from 127.0.0.1, a loopback address: "),
        "{}",
        ended.stderr
    );

    let rules = r#"{"open": ["127.0.0.0/8"], "allOf": [{"deny": ["127.0.0.1"]}]}"#;
    let ended = sshd.pod(&[("GIT_SSH_KEY", &key), ("GIT_NETWORK", rules)]).run("git-init");
    assert!(
        ended.stderr.contains("spec.taskNetwork.deny of a KubeOpenCodeConfig has 127.0.0.1"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);

    // a name that leads there is found out by what ssh dials through
    let named = [
        ("GIT_REPO", "ssh://git@localhost:1/a.git"),
        ("GIT_NETWORK", r#"{"open": ["127.0.0.1", "::1"], "allOf": [{"deny": ["127.0.0.1", "::1"]}]}"#),
    ];
    let ended = sshd.pod(&[("GIT_SSH_KEY", &key)]).with(&named).run("git-init");
    assert!(
        ended.stderr.contains("contexts are not fetched from localhost: spec.taskNetwork.deny"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
}
