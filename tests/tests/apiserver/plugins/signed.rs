//! Plugins whose components are signed by bundles, as cosign makes them since version 3: in a real registry, which has no API for
//! what refers to an artifact, behind one that has it, and in the Plugin.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubeopencode_operator::PluginSources;
use kubeopencode_tests::components::{greeting, sha256};
use kubeopencode_tests::namespace::TEAM;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::registry::{Artifact, Pusher, Registry, index};
use super::sources::{operator, sources};
use super::{apply_plugin, clear, condition, in_config_map, named, serves};
use crate::scenario;
use crate::web::{Response, Web, issue};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// A bundle that a registry lists and does not give.
const LOST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A key of cosign's, and how it signs.
pub(super) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(super) fn new() -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap())
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), bytes).unwrap())
    }

    /// RFC 5480.
    fn der(&self) -> Vec<u8> {
        let prefix = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").unwrap();
        [prefix.as_slice(), self.0.public_key().as_ref()].concat()
    }

    /// As `cosign.pub` has it.
    pub(super) fn public(&self) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(self.der()))
    }

    pub(super) fn fingerprint(&self) -> String {
        format!("sha256:{}", sha256(&self.der()))
    }

    fn material(&self) -> Value {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.der());
        json!({"publicKey": {"hint": STANDARD.encode(digest)}})
    }

    /// As `cosign sign-blob --key --bundle` writes it.
    fn bundle_of_file(&self, bytes: &[u8]) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        json!({
            "mediaType": BUNDLE, "verificationMaterial": self.material(),
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(digest)},
                "signature": self.sign(bytes),
            },
        })
        .to_string()
    }

    /// As `cosign sign --key` makes it of an artifact, and `cosign attest --key` of something else than a signature.
    fn bundle_of_artifact(&self, digest: &str, predicate: &str) -> String {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "predicate": {},
            "subject": [{"digest": {"sha256": digest.trim_start_matches("sha256:")}}],
        })
        .to_string();
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        json!({
            "mediaType": BUNDLE, "verificationMaterial": self.material(),
            "dsseEnvelope": {
                "payload": STANDARD.encode(&statement), "payloadType": kind,
                "signatures": [{"sig": self.sign(signed.as_bytes())}],
            },
        })
        .to_string()
    }
}

#[tokio::test]
async fn bundles_in_a_registry_refer_to_the_artifact_that_they_sign() {
    scenario(async |ns| {
        let (folder, issued) = (TempDir::new().unwrap(), issue());
        let (at, signer, other) = (folder.path(), Signer::new(), Signer::new());
        let [hello, salut, ciao] = ["hello", "salut", "ciao!"].map(greeting);
        let registry = Registry::start(at, &issued, None, "");
        let pusher = Pusher::new(&issued, &registry.address, "team/greeting");
        let signed = pusher.artifact(&Artifact::Cncf, &hello).await;
        let copied = pusher.artifact(&Artifact::Cncf, &salut).await;
        let listed = pusher.artifact(&Artifact::Cncf, &ciao).await;
        let by = async |signer: &Signer, of: &str, predicate: &str, to: &str, day: &str| {
            let created = format!("2026-11-{day}T00:00:00Z");
            pusher.bundle(to, predicate, &created, &signer.bundle_of_artifact(of, predicate)).await
        };
        let slsa = "https://slsa.dev/provenance/v1";
        // one older than that of a key that nobody named
        let good = by(&signer, &signed, SIGNATURE, &signed, "01").await;
        let theirs = by(&other, &signed, SIGNATURE, &signed, "02").await;
        pusher.refer(&signed, &[theirs, good]).await;
        // a statement about an artifact is no word for it, and a signature of another one is none
        let attestation = by(&signer, &copied, slsa, &copied, "01").await;
        pusher.refer(&copied, std::slice::from_ref(&attestation)).await;
        let good = by(&signer, &listed, SIGNATURE, &listed, "01").await;
        let theirs = by(&other, &listed, SIGNATURE, &listed, "02").await;
        let mut lost = theirs.clone();
        lost["digest"] = json!(LOST);
        lost["annotations"]["org.opencontainers.image.created"] = json!("2026-11-03T00:00:00Z");
        let pages = [index(&[lost, theirs]), index(&[good])].map(|page| page.to_string());
        // a registry that has the API, whose list is two pages, before the one that has it not; neither what is at the tag nor the
        // newest bundle ever comes out of it
        let (behind, place) = (registry.address.clone(), format!("/v2/team/greeting/referrers/{listed}"));
        let web = Web::https(move |request| match (request.path == place, request.query.as_str()) {
            (true, "") => Response::ok(pages[0].clone())
                .header("content-type", INDEX)
                .header("link", &format!("<{place}?last=1>; rel=\"next\"")),
            (true, _) => Response::ok(pages[1].clone()).header("content-type", INDEX),
            _ if [".sig", LOST].iter().any(|end| request.path.ends_with(*end)) => Response::status(500),
            (false, _) => Response::redirect(&format!("https://{behind}{}", request.path)),
        });
        let authority = std::fs::read_to_string(web.authority()).unwrap();
        let sources =
            PluginSources { require_signature: true, ..sources(at, &[&issued.authority, &authority]) };
        std::fs::write(at.join("keys/acme.pub"), signer.public()).unwrap();

        ns.apply(TEAM).await;
        let running = operator(ns, &sources);
        let image = |address: &str, digest: &str| {
            format!(
                "source: {{oci: {{image: '{address}/team/greeting@{digest}'}}}}, signature: {{key: acme}}"
            )
        };
        apply_plugin(ns, "greeting", &image(&registry.address, &signed)).await;
        let plugin = serves(ns, "greeting", &hello).await;
        assert_eq!(plugin.status.unwrap().signed_by, Some(signer.fingerprint()));
        apply_plugin(ns, "greeting", &image(&format!("localhost:{}", web.port()), &listed)).await;
        serves(ns, "greeting", &ciao).await;

        apply_plugin(ns, "copied", &image(&registry.address, &copied)).await;
        let why = condition(ns, "copied", "Verified", "False SignatureInvalid").await;
        assert!(
            why.contains("has no signature in its registry, neither a bundle that refers to it nor"),
            "{why}"
        );
        let stolen = by(&signer, &signed, SIGNATURE, &copied, "02").await;
        let theirs = by(&other, &copied, SIGNATURE, &copied, "02").await;
        let good = by(&signer, &copied, SIGNATURE, &copied, "01").await;
        let first = theirs["digest"].as_str().unwrap().to_owned();
        let hidden = [vec![theirs.clone(); 16], vec![good]].concat();
        for (team, referrers, words) in [
            ("a", vec![attestation.clone(), stolen], format!("it is of something else than {copied}")),
            ("b", vec![attestation, theirs], "it is not by this key".to_owned()),
            (
                "c",
                hidden,
                format!(
                    "of 17 bundles the newest 16 were looked at, so remove some, or put a bundle of the component into \
                     spec.signature.bundle; of the bundle {first}, it is not by this key"
                ),
            ),
        ] {
            pusher.refer(&copied, &referrers).await;
            // another generation: it is looked at anew
            let fields = format!("allowedNamespaces: [{team}]");
            apply_plugin(ns, "copied", &format!("{}, {fields}", image(&registry.address, &copied))).await;
            let why = condition(ns, "copied", "Verified", "False SignatureInvalid").await;
            assert!(why.starts_with("no signature of ") && why.ends_with(&words), "{why}");
        }
        // nobody who pushes can hide one that the Plugin holds
        let held = |component: &[u8]| {
            let (address, bundle) = (&registry.address, signer.bundle_of_file(component));
            format!(
                "source: {{oci: {{image: '{address}/team/greeting@{copied}'}}}}, names: {{Greeting: Held}}, \
                 signature: {{key: acme, bundle: '{bundle}'}}"
            )
        };
        apply_plugin(ns, "copied", &held(&hello)).await;
        let why = condition(ns, "copied", "Verified", "False SignatureInvalid").await;
        assert!(
            why.starts_with("spec.signature.bundle is no signature of this component by the key"),
            "{why}"
        );
        apply_plugin(ns, "copied", &held(&salut)).await;
        serves(ns, "copied", &salut).await;
        pusher.sign(&copied, |bytes| signer.sign(bytes)).await;
        apply_plugin(
            ns,
            "copied",
            &format!("{}, names: {{Greeting: Old}}", image(&registry.address, &copied)),
        )
        .await;
        serves(ns, "copied", &salut).await;
        running.stop().await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn a_bundle_in_the_plugin_signs_a_component_from_anywhere_else() {
    scenario(async |ns| {
        let (folder, signer) = (TempDir::new().unwrap(), Signer::new());
        let (at, hello) = (folder.path(), greeting("hello"));
        let packed = zstd::encode_all(hello.as_slice(), 3).unwrap();
        let given = packed.clone();
        let web = Web::https(move |_| Response::ok(given.clone()));
        let authority = std::fs::read_to_string(web.authority()).unwrap();
        let sources = PluginSources { require_signature: true, ..sources(at, &[&authority]) };
        std::fs::write(at.join("keys/acme.pub"), signer.public()).unwrap();
        let file = at.join("volumes/greeting.wasm.zst");
        std::fs::write(&file, &packed).unwrap();

        ns.apply(TEAM).await;
        let _operator = operator(ns, &sources);
        let signature = |bundle: &str| format!("signature: {{key: acme, bundle: '{bundle}'}}");
        let good = signature(&signer.bundle_of_file(&hello));
        for (name, source) in [
            ("map", format!("source: {{configMap: {{name: {}}}}}", named(ns, "map"))),
            ("file", format!("source: {{directory: {{path: '{}'}}}}", file.display())),
            (
                "web",
                format!("source: {{https: {{url: '{}'}}}}, sha256: {}", web.url("/greeting.wasm.zst"), sha256(&hello)),
            ),
        ] {
            let source = format!("{source}, names: {{Greeting: Greeting-{name}}}");
            // of what is packed, which is another file
            apply_plugin(ns, name, &format!("{source}, {}", signature(&signer.bundle_of_file(&packed)))).await;
            if name == "map" {
                ns.apply(in_config_map(ns, name, "greeting.wasm.zst", &packed)).await;
            }
            let why = condition(ns, name, "Verified", "False SignatureInvalid").await;
            assert!(
                why.starts_with("spec.signature.bundle is no signature of this component by the key acme: it is of sha256:"),
                "{why}"
            );
            apply_plugin(ns, name, &format!("{source}, {good}")).await;
            let plugin = serves(ns, name, &hello).await;
            assert_eq!(plugin.status.unwrap().signed_by, Some(signer.fingerprint()));
        }
        clear(ns).await;
    })
    .await;
}
