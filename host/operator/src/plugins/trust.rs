//! Whether a component was signed by who may: keys and signatures as cosign makes them. All but [`key`] and [`fingerprints`] is
//! pure.

pub(super) mod bundle;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::hex;
use kubeopencode_api::plugin_object::Signature;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::status::Problem;
use bundle::Signed;

/// What stands before the point in the public key of an ECDSA key on P-256 (RFC 5480), and before one of Ed25519 (RFC 8410).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const EDWARDS: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const IMAGE: &str = "cosign container image signature";

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    /// What `spec.signature.key` calls it.
    pub(super) name: String,
    /// `sha256:` and the digest of its DER form: another key has another one, whatever its name.
    pub(super) fingerprint: String,
    public: UnparsedPublicKey<Vec<u8>>,
    /// Of Ed25519, and else of ECDSA.
    is_edwards: bool,
}

impl Key {
    /// # Errors
    /// What is no key, or one of another kind.
    fn parse(name: &str, pem: &[u8]) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem)
            .map_err(|_| "it holds no block PUBLIC KEY, as cosign.pub does".to_owned())?;
        let after = |prefix: &[u8]| der.as_ref().strip_prefix(prefix).map(<[u8]>::to_vec);
        let (public, is_edwards) = match (after(P256), after(EDWARDS)) {
            (Some(point), _) => (UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point), false),
            (_, Some(point)) => (UnparsedPublicKey::new(&ED25519, point), true),
            _ => {
                return Err(
                    "it is neither a key of ECDSA on P-256, which cosign generates, nor one of Ed25519"
                        .to_owned(),
                );
            }
        };
        let fingerprint = format!("sha256:{}", hex(&Sha256::digest(der.as_ref())));
        Ok(Self { name: name.to_owned(), fingerprint, public, is_edwards })
    }

    /// Whether this is a signature of the message by the key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify(message, signature).is_ok()
    }
}

/// The key of this name among those that are mounted.
///
/// # Errors
/// When it is not there, or none.
pub(super) async fn key(folder: &Path, name: &str) -> Result<Key, Problem> {
    let refused = |why: String| Problem::verified(Reason::SignatureInvalid, why);
    let pem = tokio::fs::read(folder.join(format!("{name}.pub"))).await.map_err(|_| {
        refused(format!(
            "spec.signature.key: there is no key {name}: add it to plugins.cosignKeys of the operator's chart"
        ))
        .passing()
    })?;
    Key::parse(name, &pem)
        .map_err(|why| refused(format!("key {name} of plugins.cosignKeys cannot be used: {why}")).passing())
}

/// The fingerprints of all keys that are mounted.
pub(super) async fn fingerprints(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return found };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.path().extension().is_some_and(|extension| extension == "pub")
            && let Ok(pem) = tokio::fs::read(entry.path()).await
        {
            found.extend(Key::parse("", &pem).map(|key| key.fingerprint));
        }
    }
    found
}

/// Whether a component has the signature that the Plugin holds: the bundle that `cosign sign-blob` writes, or the value that it
/// prints.
///
/// # Errors
/// When it has not.
pub(super) fn detached(key: &Key, signature: &Signature, component: &[u8]) -> Result<(), Problem> {
    let refused = |field: &str, why: &str| {
        let message = format!(
            "spec.signature.{field} is no signature of this component by the key {}: {why}",
            key.name
        );
        Err(Problem::verified(Reason::SignatureInvalid, message))
    };
    if let Some(bundle) = &signature.bundle {
        let verified = bundle::verify(bundle.as_bytes(), key, Signed::File(component));
        return verified.or_else(|why| refused("bundle", &why));
    }
    let value = signature.value.as_deref().unwrap_or_default();
    match STANDARD.decode(value).is_ok_and(|bytes| key.verifies(component, &bytes)) {
        true => Ok(()),
        false => refused("value", "sign the component itself, not packed, with cosign sign-blob"),
    }
}

/// Whether what was signed says that it is about this artifact.
pub(super) fn is_payload_of(payload: &[u8], digest: &str) -> bool {
    let Ok(payload) = serde_json::from_slice::<Value>(payload) else { return false };
    payload.pointer("/critical/type").and_then(Value::as_str) == Some(IMAGE)
        && payload.pointer("/critical/image/docker-manifest-digest").and_then(Value::as_str) == Some(digest)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    fn pem(prefix: &[u8], point: &[u8]) -> String {
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode([prefix, point].concat())
        )
    }

    /// Makes the signature of some bytes.
    type Sign = dyn Fn(&[u8]) -> Vec<u8>;

    /// Who has the other half of a key, which is called acme.
    pub(super) struct Signer {
        sign: Box<Sign>,
        pub(super) key: Key,
    }

    impl Signer {
        pub(super) fn ecdsa() -> Self {
            let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
            let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
            let key = Key::parse("acme", pem(P256, pair.public_key().as_ref()).as_bytes()).unwrap();
            let sign = move |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
            Self { sign: Box::new(sign), key }
        }

        pub(super) fn edwards() -> Self {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
            let key = Key::parse("acme", pem(EDWARDS, pair.public_key().as_ref()).as_bytes()).unwrap();
            Self { sign: Box::new(move |message: &[u8]| pair.sign(message).as_ref().to_vec()), key }
        }

        /// In base64.
        pub(super) fn sign(&self, message: &[u8]) -> String {
            STANDARD.encode((self.sign)(message))
        }
    }

    fn value(value: Option<String>) -> Signature {
        Signature { key: "acme".into(), value, bundle: None }
    }

    #[test]
    fn a_signature_by_either_kind_of_key_is_good_for_its_message_alone() {
        let (ecdsa, edwards) = (Signer::ecdsa(), Signer::edwards());
        assert!(edwards.key.is_edwards && !ecdsa.key.is_edwards);
        for (signer, other) in [(&ecdsa, &edwards), (&edwards, &ecdsa)] {
            let (key, own) = (&signer.key, signer.sign(b"component"));
            assert!(detached(key, &value(Some(own.clone())), b"component").is_ok());
            for (signature, component) in [
                (value(Some(own)), &b"component2"[..]),
                (value(Some(other.sign(b"component"))), b"component"),
                (value(None), b"component"),
            ] {
                let refused = detached(key, &signature, component).unwrap_err();
                assert_eq!(refused.reason, Reason::SignatureInvalid);
                assert!(
                    refused.message.starts_with("spec.signature.value is no signature of this component")
                );
            }
        }
    }

    #[test]
    fn a_bundle_is_looked_at_in_place_of_a_value() {
        let signer = Signer::ecdsa();
        let bundle = |component: &[u8]| {
            let bundle = json!({
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {"publicKey": {"hint": ""}},
                "messageSignature": {"signature": signer.sign(component)},
            });
            Signature { key: "acme".into(), value: None, bundle: Some(bundle.to_string()) }
        };
        assert!(detached(&signer.key, &bundle(b"component"), b"component").is_ok());
        let also = Signature { value: Some(signer.sign(b"component")), ..bundle(b"component2") };
        for signature in [bundle(b"component2"), also] {
            let refused = detached(&signer.key, &signature, b"component").unwrap_err();
            assert_eq!(refused.reason, Reason::SignatureInvalid);
            assert_eq!(
                refused.message,
                "spec.signature.bundle is no signature of this component by the key acme: it is not by this key"
            );
        }
    }

    #[test]
    fn a_key_of_cosign_and_openssl_verifies_what_they_signed() {
        // openssl ecparam -name prime256v1 -genkey -noout; openssl dgst -sha256 -sign
        let pem = include_bytes!("trust/example.pub");
        let key = Key::parse("example", pem).unwrap();
        let signature = value(Some(include_str!("trust/example.sig").trim().to_owned()));
        assert!(detached(&key, &signature, b"component").is_ok());
    }

    #[test]
    fn other_keys_are_refused_and_a_payload_is_of_one_artifact() {
        assert!(Key::parse("a", b"no").unwrap_err().contains("no block PUBLIC KEY"));
        assert!(Key::parse("a", pem(b"rsa", b"key").as_bytes()).unwrap_err().contains("neither"));
        let payload = br#"{"critical": {"type": "cosign container image signature", "identity": {"docker-reference": "a"},
            "image": {"docker-manifest-digest": "sha256:a"}}, "optional": null}"#;
        assert!(is_payload_of(payload, "sha256:a"));
        assert!(!is_payload_of(payload, "sha256:b"));
        assert!(!is_payload_of(b"{}", "sha256:a"));
    }
}
