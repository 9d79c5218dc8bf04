//! `kubeopencode plugin push` and `plugin pull`, as an author calls them: into a real registry, and from there to an operator by
//! the line that was printed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kubeopencode_api::task::Phase;
use kubeopencode_tests::cluster::from_environment;
use kubeopencode_tests::components::{checked_greeting, greeting, sha256};
use kubeopencode_tests::kubectl::{Kubectl, Said};
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::program::under_test;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::registry::{LOGIN, Registry, Tokens, docker_config, with_password};
use super::sources::{operator, sources};
use super::{apply_plugin, clear, context_of, named, serves, task_of};
use crate::scenario;
use crate::web::{Issued, Response, Web, issue};

/// Somebody with a machine of his own: its home is the folder, where his components and files are.
pub(super) struct Author {
    program: PathBuf,
    home: PathBuf,
}

impl Author {
    pub(super) fn new(home: &Path) -> Self {
        fs::create_dir_all(home.join(".docker")).unwrap();
        fs::create_dir_all(home.join("bin")).unwrap();
        Self { program: under_test("dev", ["--test", "apiserver"]), home: home.to_owned() }
    }

    pub(super) fn writes(&self, file: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.home.join(file), bytes).unwrap();
    }

    fn reads(&self, file: &str) -> Vec<u8> {
        fs::read(self.home.join(file)).unwrap()
    }

    pub(super) async fn calls(&self, line: &str) -> Said {
        let path = std::env::var("PATH").unwrap();
        let call = Command::new(&self.program)
            .arg("plugin")
            .args(line.split(' '))
            .current_dir(&self.home)
            .env_clear()
            .env("HOME", &self.home)
            .env("KUBECONFIG", from_environment("KUBEOPENCODE_TEST_KUBECONFIG"))
            .env("PATH", format!("{}:{path}", self.home.join("bin").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Kubectl::end(call).await
    }

    /// What a call prints that must do well.
    pub(super) async fn prints(&self, line: &str) -> String {
        let said = self.calls(line).await;
        assert_eq!(said.code, 0, "{line}: {}", said.stderr);
        said.stdout
    }

    /// What a call says that must not.
    async fn is_told(&self, line: &str, code: i32) -> String {
        let said = self.calls(line).await;
        assert_eq!((said.code, said.stdout.as_str()), (code, ""), "{line}: {}", said.stderr);
        said.stderr
    }
}

#[tokio::test]
async fn what_is_pushed_serves_by_the_line_that_was_printed_and_comes_back() {
    scenario(async |ns| {
        let (folder, issued) = (TempDir::new().unwrap(), issue());
        let (at, hello) = (folder.path(), checked_greeting("hello"));
        let author = Author::new(&at.join("home"));
        author.writes("hello.wasm", &hello);
        author.writes("ca.crt", &issued.authority);
        let registry = Registry::start(at, &issued, None, &with_password(at));
        let address = &registry.address;
        let image = format!("{address}/team/greeting");
        let push = format!("push {image}:1.0.0 hello.wasm");

        let why = author.is_told(&push, 1).await;
        assert!(why.contains("UnknownIssuer") && why.contains("the server's authority with --ca"), "{why}");
        let push = format!("{push} --ca ca.crt");
        let why = author.is_told(&push, 1).await;
        let expected = format!(
            "kubeopencode: cannot push {image}:1.0.0: {address} answered 401 Unauthorized (UNAUTHORIZED: authentication required): \
             there are no credentials for it here: log in with `docker login {address}`, or"
        );
        assert!(why.starts_with(&expected), "{why}");
        author.writes(".docker/config.json", json!({"auths": {address: {"auth": "cHVsbGVyOm5v"}}}).to_string());
        let why = author.is_told(&push, 1).await;
        assert!(why.contains("it refuses the credentials that are here for it: log in as somebody"), "{why}");

        author.writes(".docker/config.json", docker_config(&[address]));
        let Said { code, stdout: line, stderr } = author.calls(&push).await;
        let hint = format!("install it with: kubeopencode plugin install hello.wasm --image {image}@sha256:");
        assert!(code == 0 && stderr.contains(&hint), "{stderr}");
        assert_eq!(author.prints(&push).await, line, "the same component is the same artifact");
        let again = author.prints(&format!("{push} --output json")).await;
        let stored: Value = serde_json::from_str(&again).unwrap();
        let digest = stored["digest"].as_str().unwrap();
        assert_eq!(line, format!("oci: {{image: \"{image}@{digest}\"}}\n"));
        let expected = json!({
            "image": format!("{image}@{digest}"), "digest": digest, "sha256": sha256(&hello), "bytes": hello.len(),
        });
        assert_eq!(stored, expected);

        // the whole way: into a Plugin, and what a Task's agent reads
        let sources = sources(at, &[&issued.authority]);
        fs::write(at.join("registries/team.json"), docker_config(&[address])).unwrap();
        ns.apply(TEAM).await;
        let _operator = operator(ns, &sources);
        apply_plugin(ns, "greeting", &format!("source: {{{}}}", line.trim())).await;
        let plugin = serves(ns, "greeting", &hello).await;
        assert_eq!(plugin.status.unwrap().image.as_deref(), Some(digest));
        ns.apply(task_of("first", "Greeting")).await;
        ns.phase("first", Phase::Completed).await;
        assert!(context_of(ns, "first").await.contains("hello"));

        // and by the verb that waits for it
        let name = named(ns, "greeting");
        let install = format!("install hello.wasm --image {image}@{digest} --name {name} --force-conflicts");
        let said = author.prints(&install).await;
        assert!(said.starts_with(&format!("Plugin {name} applied\nPlugin {name}: Ready after ")), "{said}");
        assert!(serves(ns, "greeting", &hello).await.spec.sha256 == Some(sha256(&hello)), "{said}");

        let pull = format!("pull {image}:1.0.0 --ca ca.crt");
        assert_eq!(author.prints(&pull).await, format!("{line}sha256: {}\n", sha256(&hello)));
        assert!(author.reads("greeting.wasm") == hello);
        let why = author.is_told(&pull, 2).await;
        assert!(why.contains("greeting.wasm: it is there already: name another file, or remove it"), "{why}");
        let why = author.is_told(&format!("pull {image}:2.0.0 --ca ca.crt"), 1).await;
        assert_eq!(why, format!("kubeopencode: there is no {image}:2.0.0\n"));

        // a program keeps the password
        let (name, password) = LOGIN.split_once(':').unwrap();
        let keeper = author.home.join("bin/docker-credential-tests");
        let answer = json!({"ServerURL": address, "Username": name, "Secret": password});
        let not_found = "credentials not found in native keychain";
        author.writes(
            "bin/docker-credential-tests",
            format!("#!/bin/sh\n[ \"$1 $(cat)\" = 'get {address}' ] || {{ echo {not_found}; exit 1; }}\necho '{answer}'\n"),
        );
        fs::set_permissions(keeper, fs::Permissions::from_mode(0o755)).unwrap();
        author.writes("kept.json", json!({"auths": {address: {}}, "credsStore": "tests"}).to_string());
        author.prints(&format!("pull {image}@{digest} kept.wasm --ca ca.crt --registry-config kept.json")).await;
        assert!(author.reads("kept.wasm") == hello);
        clear(ns).await;
    })
    .await;
}

/// As `openssl req -x509` makes one without further words.
#[tokio::test]
async fn a_registry_that_shows_an_authoritys_own_certificate_is_told_what_to_show() {
    let folder = TempDir::new().unwrap();
    let author = Author::new(&folder.path().join("home"));
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let issued = Issued { authority: certificate.pem(), certificate, key };
    author.writes("ca.crt", &issued.authority);
    let registry = Registry::start(folder.path(), &issued, None, "");
    let why = author.is_told(&format!("pull {}/team/greeting:1.0.0 --ca ca.crt", registry.address), 1).await;
    assert!(why.contains("CaUsedAsEndEntity"), "{why}");
    assert!(why.contains("give it one of its own, with CA:FALSE") && !why.contains("with --ca"), "{why}");
}

#[tokio::test]
async fn a_token_for_pushing_is_asked_for_and_a_registry_of_the_machine_needs_no_tls() {
    let (folder, issued) = (TempDir::new().unwrap(), issue());
    let (at, hello) = (folder.path(), greeting("hello"));
    let author = Author::new(&at.join("home"));
    author.writes("hello.wasm", &hello);
    let tokens = std::sync::Arc::new(Tokens::new());
    let given = tokens.clone();
    let web = Web::https(move |request| {
        // a pull asks as the registry says, a push for both from the start
        let wants =
            |rights: &str| request.query.ends_with(&format!("scope=repository%3Ateam%2Fgreeting%3A{rights}"));
        let actions = match (wants("pull%2Cpush"), wants("pull")) {
            (true, _) => &["pull", "push"][..],
            (_, true) => &["pull"],
            _ => return Response::status(401),
        };
        match request.headers.contains_key("authorization") {
            true => Response::ok(given.token("team/greeting", actions)),
            false => Response::status(401),
        }
    });
    let registry = Registry::start(at, &issued, None, &tokens.wanted(at, &web.url("/token")));
    let authorities = issued.authority.clone() + &fs::read_to_string(web.authority()).unwrap();
    author.writes("ca.crt", authorities);
    author.writes(".docker/config.json", docker_config(&[&registry.address]));
    let image = |registry: &Registry| format!("{}/team/greeting:1.0.0", registry.address);
    let line = author.prints(&format!("push {} hello.wasm --ca ca.crt", image(&registry))).await;
    author.prints(&format!("pull {} token.wasm --ca ca.crt", image(&registry))).await;
    assert!(author.reads("token.wasm") == hello);
    drop(registry);

    let plain = Registry::start(at, None, None, "");
    let why = author.is_told(&format!("push {} hello.wasm", image(&plain)), 1).await;
    assert!(why.contains("where it has no TLS, and is on this machine: --plain-http"), "{why}");
    let printed = author.prints(&format!("push {} hello.wasm --plain-http", image(&plain))).await;
    let digest = |line: &str| line.split_once('@').unwrap().1.to_owned();
    assert_eq!(digest(&printed), digest(&line));
    author.prints(&format!("pull {} plain.wasm --plain-http", image(&plain))).await;
    assert!(author.reads("plain.wasm") == hello);
}
