//! Plugins whose components come from elsewhere than ConfigMaps: a real registry over TLS, with a password and with tokens, a web
//! server, a volume; and what whoever runs the operator allows of it.

use std::path::Path;

use kubeopencode_api::network::OwnNetwork;
use kubeopencode_api::task::Phase;
use kubeopencode_operator::{PluginSources, SourceKind};
use kubeopencode_tests::components::{SET_ENV, component, greeting, sha256};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::operator::{Operator, Setup};
use tempfile::TempDir;

use super::registry::{Artifact, Pusher, Registry, Tokens, corrupt, docker_config, with_password};
use super::signed::Signer;
use super::{apply_plugin, clear, condition, context_of, events, in_config_map, serves, task_of, until};
use crate::scenario;
use crate::web::{Response, Web, issue};

/// What the operator's container has, in a folder: volumes, credentials, keys, authorities.
pub(super) fn sources(folder: &Path, authorities: &[&str]) -> PluginSources {
    for name in ["registries", "keys", "volumes"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("ca.crt"), authorities.concat()).unwrap();
    PluginSources {
        keys: folder.join("keys"),
        registries: folder.join("registries"),
        volumes: folder.join("volumes"),
        authorities: Some(folder.join("ca.crt")),
        network: OwnNetwork { private: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()] },
        ..PluginSources::default()
    }
}

pub(super) fn operator(ns: &TestNamespace, sources: &PluginSources) -> Operator {
    ns.start_operator(Setup { sources: sources.clone(), ..Setup::default() })
}

#[tokio::test]
async fn a_component_comes_out_of_a_registry_and_serves_on_when_that_is_gone() {
    scenario(async |ns| {
        let (folder, issued) = (TempDir::new().unwrap(), issue());
        let (at, hello, salut) = (folder.path(), greeting("hello"), greeting("salut"));
        let setter = component("Variable", SET_ENV, "hello");
        let open = Registry::start(at, &issued, None, "");
        let pusher = Pusher::new(&issued, &open.address, "team/greeting");
        let cncf = pusher.artifact(&Artifact::Cncf, &hello).await;
        let packed = zstd::encode_all(salut.as_slice(), 3).unwrap();
        let oras = pusher.artifact(&Artifact::Oras("greeting.wasm.zst"), &packed).await;
        let variable = pusher.artifact(&Artifact::Cncf, &setter).await;
        let bad = b"\0asm of nobody";
        let lie = pusher.artifact(&Artifact::Cncf, bad).await;
        corrupt(at, &sha256(bad));
        drop(open);
        let private = Registry::start(at, &issued, None, &with_password(at));
        let sources = sources(at, &[&issued.authority]);

        ns.apply(TEAM).await;
        let running = operator(ns, &sources);
        let image = |digest: &str| format!("source: {{oci: {{image: '{}/team/greeting@{digest}'}}}}", private.address);
        apply_plugin(ns, "greeting", &image(&cncf)).await;
        let why = condition(ns, "greeting", "Fetched", "False FetchFailed").await;
        assert!(
            why.contains("401 Unauthorized: put a Secret of type kubernetes.io/dockerconfigjson with an entry for localhost:"),
            "{why}"
        );
        until(ns, "greeting", "says when it is tried again", |status| status.next_try.is_some()).await;
        // nothing of the Plugin changes: the next try finds the password
        std::fs::write(at.join("registries/team.json"), docker_config(&[&private.address])).unwrap();
        let plugin = serves(ns, "greeting", &hello).await;
        let served = plugin.status.unwrap();
        assert_eq!((served.image.as_ref(), served.next_try), (Some(&cncf), None));
        ns.apply(task_of("first", "Greeting")).await;
        ns.phase("first", Phase::Completed).await;
        assert!(context_of(ns, "first").await.contains("hello"));
        apply_plugin(ns, "greeting", &image(&oras)).await;
        serves(ns, "greeting", &salut).await;

        // grants are for the artifact, without a digest of the component
        let grants = "grants: {capabilities: [env], env: [GREETING]}";
        apply_plugin(ns, "variable", &format!("{}, {grants}", image(&variable))).await;
        serves(ns, "variable", &setter).await;
        ns.apply(task_of("granted", "Variable")).await;
        ns.phase("granted", Phase::Completed).await;

        apply_plugin(ns, "lie", &image(&lie)).await;
        let why = condition(ns, "lie", "Verified", "False DigestMismatch").await;
        assert!(why.starts_with("the registry gave sha256:"), "{why}");

        // what is here already needs no registry, and what is not there yet is tried again
        let port = private.port();
        let address = private.address.clone();
        drop(private);
        running.stop().await;
        let _running = operator(ns, &sources);
        ns.apply(task_of("without", "Greeting")).await;
        ns.phase("without", Phase::Completed).await;
        assert!(context_of(ns, "without").await.contains("salut"));
        ns.apply(task_of("still-granted", "Variable")).await;
        ns.phase("still-granted", Phase::Completed).await;
        let image = |digest: &str| format!("source: {{oci: {{image: '{address}/team/greeting@{digest}'}}}}");
        apply_plugin(ns, "greeting", &image(&cncf)).await;
        let why = condition(ns, "greeting", "Fetched", "False FetchFailed").await;
        assert!(why.contains("Connection refused"), "{why}");
        serves(ns, "greeting", &salut).await;
        let _private = Registry::start(at, &issued, Some(port), &with_password(at));
        serves(ns, "greeting", &hello).await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn a_registry_may_ask_for_tokens_and_signatures_lie_beside_the_artifact() {
    scenario(async |ns| {
        let (folder, issued) = (TempDir::new().unwrap(), issue());
        let (at, hello, signer) = (folder.path(), greeting("hello"), Signer::new());
        let setter = component("Variable", SET_ENV, "hello");
        let open = Registry::start(at, &issued, None, "");
        let pusher = Pusher::new(&issued, &open.address, "team/greeting");
        let signed = pusher.artifact(&Artifact::Cncf, &hello).await;
        pusher.sign(&signed, |bytes| signer.sign(bytes)).await;
        let unsigned = pusher.artifact(&Artifact::Cncf, &setter).await;
        drop(open);
        let tokens = std::sync::Arc::new(Tokens::new());
        let given = tokens.clone();
        let web = Web::https(move |request| {
            let scope = "scope=repository%3Ateam%2Fgreeting%3Apull";
            let is_right = request.query.contains(scope) && request.headers.contains_key("authorization");
            if is_right {
                Response::ok(given.token("team/greeting", &["pull"]))
            } else {
                Response::status(401)
            }
        });
        let registry = Registry::start(at, &issued, None, &tokens.wanted(at, &web.url("/token")));
        let authority = std::fs::read_to_string(web.authority()).unwrap();
        let sources =
            PluginSources { require_signature: true, ..sources(at, &[&issued.authority, &authority]) };
        std::fs::write(at.join("registries/team.json"), docker_config(&[&registry.address])).unwrap();

        ns.apply(TEAM).await;
        let running = operator(ns, &sources);
        let image = |digest: &str| {
            format!(
                "source: {{oci: {{image: '{}/team/greeting@{digest}'}}}}, signature: {{key: acme}}",
                registry.address
            )
        };
        apply_plugin(ns, "greeting", &image(&signed)).await;
        let why = condition(ns, "greeting", "Verified", "False SignatureInvalid").await;
        assert!(why.contains("add it to plugins.cosignKeys of the operator's chart"), "{why}");
        std::fs::write(at.join("keys/acme.pub"), signer.public()).unwrap();
        serves(ns, "greeting", &hello).await;
        apply_plugin(ns, "unsigned", &image(&unsigned)).await;
        let why = condition(ns, "unsigned", "Verified", "False SignatureInvalid").await;
        assert!(why.contains("has no signature in its registry"), "{why}");
        // the keys change hands
        std::fs::write(at.join("keys/acme.pub"), Signer::new().public()).unwrap();
        apply_plugin(ns, "greeting", &format!("{}, allowedNamespaces: ['*']", image(&signed))).await;
        let why = condition(ns, "greeting", "Verified", "False SignatureInvalid").await;
        assert!(why.starts_with("no signature of "), "{why}");
        condition(ns, "greeting", "Ready", "False Nothing").await;
        std::fs::write(at.join("keys/acme.pub"), signer.public()).unwrap();
        let plugin = serves(ns, "greeting", &hello).await;
        assert_eq!(plugin.status.unwrap().signed_by, Some(signer.fingerprint()));

        // what the operator's own settings forbid does not serve
        ns.apply(in_config_map(ns, "variable", "variable.wasm", &setter)).await;
        let why = condition(ns, "variable", "Verified", "False SignatureInvalid").await;
        assert!(why.starts_with("plugins.requireSignature of the operator's chart is set"), "{why}");
        condition(ns, "variable", "Ready", "False Nothing").await;

        // without the registry what is kept serves, as long as the key that signed it is there
        drop(registry);
        running.stop().await;
        let running = operator(ns, &sources);
        condition(ns, "greeting", "Fetched", "False FetchFailed").await;
        serves(ns, "greeting", &hello).await;
        running.stop().await;
        std::fs::write(at.join("keys/acme.pub"), Signer::new().public()).unwrap();
        let _running = operator(ns, &sources);
        condition(ns, "greeting", "Ready", "False Nothing").await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn a_component_comes_from_the_web_by_its_digest_and_from_no_private_network() {
    scenario(async |ns| {
        let (folder, hello, signer) = (TempDir::new().unwrap(), greeting("hello"), Signer::new());
        let at = folder.path();
        let body = zstd::encode_all(hello.as_slice(), 3).unwrap();
        let web = Web::https(move |request| match request.path.as_str() {
            "/moved" => Response::redirect("/greeting.wasm.zst"),
            "/away" => Response::redirect("https://127.0.0.2/greeting.wasm"),
            "/plain" => Response::redirect("http://localhost/greeting.wasm"),
            "/large" => Response::streamed(|out| std::io::copy(&mut std::io::repeat(0), out).map(drop)),
            "/greeting.wasm.zst" => Response::ok(body.clone()),
            _ => Response::status(404),
        });
        let authority = std::fs::read_to_string(web.authority()).unwrap();
        let allowed = sources(at, &[&authority]);
        std::fs::write(at.join("keys/acme.pub"), signer.public()).unwrap();
        let from = |path: &str, bytes: &[u8]| {
            format!("source: {{https: {{url: '{}'}}}}, sha256: {}", web.url(path), sha256(bytes))
        };

        ns.apply(TEAM).await;
        let closed = PluginSources { network: OwnNetwork::default(), ..allowed.clone() };
        let running = operator(ns, &closed);
        apply_plugin(ns, "greeting", &from("/moved", &hello)).await;
        let why = condition(ns, "greeting", "Fetched", "False FetchFailed").await;
        assert!(why.contains("components are not fetched from localhost, at "), "{why}");
        assert!(
            why.contains(
                "a loopback address: choose another, or name the network in plugins.privateAddresses"
            ),
            "{why}"
        );
        assert!(web.seen().is_empty(), "it was not dialled");
        running.stop().await;

        let running = operator(ns, &allowed);
        serves(ns, "greeting", &hello).await;
        for (name, path, words) in [
            (
                "away",
                "/away",
                "it redirects to https://127.0.0.2/greeting.wasm: components are not fetched from 127.0.0.2",
            ),
            ("plain", "/plain", "it redirects to something that is no https address"),
            ("missing", "/missing", "the server answered 404"),
        ] {
            apply_plugin(ns, name, &from(path, &hello)).await;
            let why = condition(ns, name, "Fetched", "False FetchFailed").await;
            assert!(why.contains(words), "{why}");
        }
        apply_plugin(ns, "large", &from("/large", &hello)).await;
        let why = condition(ns, "large", "Fetched", "False TooLarge").await;
        assert!(why.contains("has more than 4259840 bytes"), "{why}");
        apply_plugin(ns, "other", &from("/moved", b"other")).await;
        condition(ns, "other", "Verified", "False DigestMismatch").await;
        events(ns, "away", &["Plugin Warning PluginRefused"]).await;

        // signed by the key that the Plugin names, over what was decompressed
        let signature = |value: String| format!("signature: {{key: acme, value: '{value}'}}");
        let source = format!("{}, names: {{Greeting: Signed}}", from("/moved", &hello));
        apply_plugin(ns, "signed", &format!("{source}, {}", signature(signer.sign(b"other")))).await;
        let why = condition(ns, "signed", "Verified", "False SignatureInvalid").await;
        assert!(why.contains("with cosign sign-blob"), "{why}");
        apply_plugin(ns, "signed", &format!("{source}, {}", signature(signer.sign(&hello)))).await;
        serves(ns, "signed", &hello).await;
        running.stop().await;

        let taken = PluginSources { taken: vec![SourceKind::ConfigMap, SourceKind::Oci], ..allowed.clone() };
        let _running = operator(ns, &taken);
        let why = condition(ns, "greeting", "Fetched", "False FetchFailed").await;
        assert!(
            why.starts_with("spec.source.https is not taken here: plugins.sources of the operator's chart"),
            "{why}"
        );
        condition(ns, "greeting", "Ready", "False Nothing").await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn a_file_in_a_volume_is_looked_at_again_and_again() {
    scenario(async |ns| {
        let (folder, hello, salut) = (TempDir::new().unwrap(), greeting("hello"), greeting("salut"));
        let at = folder.path();
        let every = std::time::Duration::from_millis(200);
        let sources = PluginSources { look_at_files: every, ..sources(at, &[]) };
        let file = at.join("volumes/acme/greeting.wasm");
        ns.apply(TEAM).await;
        let _operator = operator(ns, &sources);
        let from = |path: &Path| format!("source: {{directory: {{path: '{}'}}}}", path.display());
        apply_plugin(ns, "greeting", &from(&file)).await;
        let why = condition(ns, "greeting", "Fetched", "False NotFound").await;
        assert!(
            why.contains("is no file of the operator's container: name a volume in plugins.directories"),
            "{why}"
        );
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &hello).unwrap();
        serves(ns, "greeting", &hello).await;
        let new = at.join("new.wasm");
        std::fs::write(&new, &salut).unwrap();
        std::fs::rename(&new, &file).unwrap();
        serves(ns, "greeting", &salut).await;
        ns.apply(task_of("fix", "Greeting")).await;
        ns.phase("fix", Phase::Completed).await;
        assert!(context_of(ns, "fix").await.contains("salut"));
        std::fs::remove_file(&file).unwrap();
        condition(ns, "greeting", "Fetched", "False NotFound").await;
        serves(ns, "greeting", &salut).await;

        // nothing else of the container, also not behind a link
        std::fs::write(at.join("secret"), "token").unwrap();
        std::os::unix::fs::symlink(at.join("secret"), at.join("volumes/link.wasm")).unwrap();
        for (name, path) in [("link", at.join("volumes/link.wasm")), ("up", at.join("volumes/../secret"))] {
            apply_plugin(ns, name, &from(&path)).await;
            let why = condition(ns, name, "Fetched", "False NotFound").await;
            assert!(why.contains("does not lie in "), "{why}");
        }
        clear(ns).await;
    })
    .await;
}
