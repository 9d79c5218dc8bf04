//! The CNCF's registry as a process of its own, over TLS: what is pushed into a folder, one without a password serves to those
//! who push, and others with a password or with tokens to the operator.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kubeopencode_tests::cluster::from_environment;
use kubeopencode_tests::components::sha256;
use reqwest::Certificate;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::web::Issued;

/// Who may pull, and with which password; as the registry keeps it.
pub(crate) const LOGIN: &str = "puller:open sesame";
const PASSWORDS: &str = "puller:$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";
const SERVICE: &str = "registry-of-the-tests";

/// A registry. Ended when it is dropped.
pub(crate) struct Registry {
    process: Child,
    /// `localhost:<port>`
    pub(crate) address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Registry {
    /// One that serves what is in `folder/data`, at this port or a free one, with further lines of its configuration. Without a
    /// certificate it has no TLS.
    pub(crate) fn start<'a>(
        folder: &Path,
        issued: impl Into<Option<&'a Issued>>,
        port: Option<u16>,
        lines: &str,
    ) -> Self {
        let port = port.unwrap_or_else(|| {
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
        });
        let path = |name: &str| folder.join(name).display().to_string();
        let tls = issued.into().map(|issued| {
            std::fs::write(path("tls.crt"), issued.certificate.pem()).unwrap();
            std::fs::write(path("tls.key"), issued.key.serialize_pem()).unwrap();
            format!(", tls: {{certificate: {}, key: {}}}", path("tls.crt"), path("tls.key"))
        });
        std::fs::write(path("passwords"), PASSWORDS).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}', secret: of-the-tests{}}}\n{lines}",
            path("data"),
            tls.unwrap_or_default(),
        );
        let file = path(&format!("{port}.yaml"));
        std::fs::write(&file, config).unwrap();
        let process = Command::new(from_environment("KUBEOPENCODE_TEST_REGISTRY"))
            .args(["serve", &file])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { process, address: format!("localhost:{port}") };
        for _ in 0..400 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("the registry does not listen")
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }
}

/// Wants a password.
pub(crate) fn with_password(folder: &Path) -> String {
    let passwords = folder.join("passwords");
    format!("auth: {{htpasswd: {{realm: tests, path: {}}}}}\n", passwords.display())
}

/// What `kubectl create secret docker-registry` makes of the password.
pub(crate) fn docker_config(addresses: &[&str]) -> String {
    let auth = STANDARD.encode(LOGIN);
    let auths: Value =
        addresses.iter().map(|address| ((*address).to_owned(), json!({"auth": auth}))).collect();
    json!({"auths": auths}).to_string()
}

/// Who gives out tokens.
pub(crate) struct Tokens {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { pair, random }
    }

    /// The lines of a registry that takes them from `realm`.
    pub(crate) fn wanted(&self, folder: &Path, realm: &str) -> String {
        let point = self.pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        let key = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "tests", "x": x, "y": y});
        let file = folder.join("keys.json");
        std::fs::write(&file, json!({"keys": [key]}).to_string()).unwrap();
        format!(
            "auth: {{token: {{realm: '{realm}', service: {SERVICE}, issuer: tests, jwks: {}}}}}\n",
            file.display()
        )
    }

    /// A token for these rights on a repository, as the server of tokens answers.
    pub(crate) fn token(&self, repository: &str, actions: &[&str]) -> String {
        let now = jiff::Timestamp::now().as_second();
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": "tests"});
        let claims = json!({
            "iss": "tests", "sub": "puller", "aud": SERVICE, "jti": "1",
            "iat": now, "nbf": now - 10, "exp": now + 300,
            "access": [{"type": "repository", "name": repository, "actions": actions}],
        });
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.pair.sign(&self.random, signed.as_bytes()).unwrap();
        json!({"token": format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))}).to_string()
    }
}

/// What an artifact is.
pub(crate) enum Artifact {
    /// As the CNCF's guide has it.
    Cncf,
    /// As `oras push` makes it of a file of this name.
    Oras(&'static str),
}

/// Pushes to a registry without a password.
pub(crate) struct Pusher {
    client: reqwest::Client,
    base: String,
}

impl Pusher {
    pub(crate) fn new(issued: &Issued, address: &str, repository: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let authority = Certificate::from_pem(issued.authority.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
        Self { client, base: format!("https://{address}/v2/{repository}") }
    }

    async fn blob(&self, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", sha256(bytes));
        let begun = self.client.post(format!("{}/blobs/uploads/", self.base)).send().await.unwrap();
        let place = begun.error_for_status().unwrap().headers()["location"].to_str().unwrap().to_owned();
        let and = if place.contains('?') { '&' } else { '?' };
        let put = self
            .client
            .put(format!("{place}{and}digest={digest}"))
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap();
        put.error_for_status().unwrap();
        digest
    }

    async fn manifest(&self, reference: Option<&str>, manifest: &Value) -> String {
        let text = manifest.to_string();
        let digest = format!("sha256:{}", sha256(text.as_bytes()));
        let put = self.client.put(format!("{}/manifests/{}", self.base, reference.unwrap_or(&digest)));
        let put = put.header("content-type", manifest["mediaType"].as_str().unwrap()).body(text);
        put.send().await.unwrap().error_for_status().unwrap();
        digest
    }

    /// Gives the artifact's digest.
    pub(crate) async fn artifact(&self, kind: &Artifact, bytes: &[u8]) -> String {
        let (config_type, config) = match kind {
            Artifact::Cncf => {
                ("application/vnd.wasm.config.v0+json", r#"{"architecture": "wasm", "os": "wasip2"}"#)
            }
            Artifact::Oras(_) => ("application/vnd.oci.empty.v1+json", "{}"),
        };
        let (config_digest, digest) = (self.blob(config.as_bytes()).await, self.blob(bytes).await);
        let layer = match kind {
            Artifact::Cncf => json!({"mediaType": "application/wasm", "digest": digest, "size": bytes.len()}),
            Artifact::Oras(name) => json!({
                "mediaType": "application/octet-stream", "digest": digest, "size": bytes.len(),
                "annotations": {"org.opencontainers.image.title": name},
            }),
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": config_type, "digest": config_digest, "size": config.len()},
            "layers": [layer],
        });
        self.manifest(None, &manifest).await
    }

    /// Signs an artifact as `cosign sign --key` does, by who makes a signature of bytes.
    pub(crate) async fn sign(&self, digest: &str, sign: impl Fn(&[u8]) -> String) {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": "tests"}, "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string();
        let (config, layer) = (self.blob(b"{}").await, self.blob(payload.as_bytes()).await);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": layer, "size": payload.len(),
                "annotations": {"dev.cosignproject.cosign/signature": sign(payload.as_bytes())},
            }],
        });
        self.manifest(Some(&format!("{}.sig", digest.replace(':', "-"))), &manifest).await;
    }
}

impl Pusher {
    /// Pushes a bundle that refers to an artifact, as `cosign sign` and `cosign attest` do since version 3, and gives what lists of
    /// such bundles say of it.
    pub(crate) async fn bundle(&self, digest: &str, predicate: &str, created: &str, bundle: &str) -> Value {
        let (image, kind) =
            ("application/vnd.oci.image.manifest.v1+json", "application/vnd.dev.sigstore.bundle.v0.3+json");
        let (config, layer) = (self.blob(b"{}").await, self.blob(bundle.as_bytes()).await);
        let head = self.client.head(format!("{}/manifests/{digest}", self.base)).header("accept", image);
        let head = head.send().await.unwrap().error_for_status().unwrap();
        let size: u64 = head.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let annotations = json!({
            "dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate,
            "org.opencontainers.image.created": created,
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": image, "artifactType": kind,
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json", "artifactType": kind, "digest": config, "size": 2,
            },
            "layers": [{"mediaType": kind, "digest": layer, "size": bundle.len()}],
            "subject": {"mediaType": image, "digest": digest, "size": size},
            "annotations": annotations,
        });
        let referrer = self.manifest(None, &manifest).await;
        json!({
            "mediaType": image, "digest": referrer, "size": manifest.to_string().len(), "artifactType": kind,
            "annotations": annotations,
        })
    }

    /// Says at a tag what refers to an artifact, as who pushes to a registry without the API does.
    pub(crate) async fn refer(&self, digest: &str, referrers: &[Value]) {
        self.manifest(Some(&digest.replace(':', "-")), &index(referrers)).await;
    }
}

/// What refers to an artifact, as the API of a registry lists it.
pub(crate) fn index(referrers: &[Value]) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": referrers,
    })
}

/// Other bytes in place of a blob, as a registry that lies gives them.
pub(crate) fn corrupt(folder: &Path, digest: &str) {
    let hex = digest.trim_start_matches("sha256:");
    let blob = folder.join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    assert!(blob.is_file(), "{}", blob.display());
    std::fs::write(blob, b"other bytes").unwrap();
}
