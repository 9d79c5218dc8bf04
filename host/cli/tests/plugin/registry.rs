//! `plugin push` and `plugin pull` where no registry is asked. Into a real one: `tests/tests/apiserver/plugins/pushed.rs`.

use std::net::TcpListener;

use crate::{Said, component, file, greeting, plugin};

/// A call that must not do well.
fn refused(args: &[&str], code: i32) -> String {
    let Said { stdout, stderr, code: ended } = plugin(args, &[("PATH", "/nowhere")]);
    assert_eq!((ended, stdout.as_str()), (code, ""), "{args:?}: {stderr}");
    stderr
}

#[test]
fn a_name_says_where_and_what() {
    let path = component("pushed.wasm", &greeting(""));
    let path = path.to_str().unwrap();
    let digest = format!("localhost:1/a@sha256:{}", "0a".repeat(32));
    for image in ["localhost:1/team/greeting", &digest, "localhost:1/Team:1", "https://localhost:1/a:1"] {
        let words = format!(
            "kubeopencode: \"{image}\" is no name to push to: write registry/repository:tag, as in ghcr.io/acme/greeting:1.0.0\n"
        );
        assert_eq!(refused(&["push", image, path], 2), words);
    }
    for image in ["localhost:1/team/greeting", "localhost:1/a@sha256:0a"] {
        let words = format!(
            "kubeopencode: \"{image}\" is no name of an artifact: write registry/repository:tag or registry/repository@sha256:…\n"
        );
        assert_eq!(refused(&["pull", image], 2), words);
    }
    let said = refused(&["pull", "registry.example:5000/a:1", "--plain-http"], 2);
    assert!(
        said.contains(
            "--plain-http is for a registry on this machine, as localhost:5000: to registry.example"
        ),
        "{said}"
    );
}

#[test]
fn what_the_operator_would_not_load_is_not_pushed() {
    let path = component("pushed-bad.wasm", "(component)");
    let said = refused(&["push", "localhost:1/a:1", path.to_str().unwrap()], 1);
    assert!(
        said.contains("it exports no plugin\n`kubeopencode plugin check` says all that is wrong"),
        "{said}"
    );
}

#[test]
fn credentials_and_authorities_that_cannot_be_had_are_named_with_their_files() {
    for (name, text, words) in [
        (
            "none.json",
            "{\"auths\": 1, \"a\": \"secret\"}",
            "none.json: line 1, column 11: it is no Docker configuration",
        ),
        (
            "helper.json",
            "{\"credHelpers\": {\"localhost:1\": \"vault\"}}",
            "helper.json: docker-credential-vault, which it names: No such file or directory (os error 2); mend that, or name a \
             file that has name and password in auths with --registry-config",
        ),
    ] {
        let path = file(name, text);
        let said = refused(&["pull", "localhost:1/a:1", "--registry-config", path.to_str().unwrap()], 1);
        assert!(said.contains(words) && !said.contains("secret"), "{said}");
    }
    let said = refused(&["pull", "localhost:1/a:1", "--registry-config", "no.json"], 1);
    assert!(said.contains("no.json: No such file or directory"), "{said}");
    let said = refused(&["pull", "localhost:1/a:1", "--ca", "no.crt"], 1);
    assert!(said.contains("the authorities of --ca, no.crt, cannot be read: No such file"), "{said}");
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let image = format!("localhost:{port}/a:1");
    assert_eq!(
        refused(&["pull", &image], 1),
        format!("kubeopencode: cannot pull {image}: Connection refused\n")
    );
}
