//! Whether a component was signed by who may: keys and signatures as cosign makes them. All but [`key`] and [`fingerprints`] is
//! pure.

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
}

impl Key {
    /// # Errors
    /// What is no key, or one of another kind.
    fn parse(name: &str, pem: &[u8]) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem)
            .map_err(|_| "it holds no block PUBLIC KEY, as cosign.pub does".to_owned())?;
        let after = |prefix: &[u8]| der.as_ref().strip_prefix(prefix).map(<[u8]>::to_vec);
        let public = match (after(P256), after(EDWARDS)) {
            (Some(point), _) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point),
            (_, Some(point)) => UnparsedPublicKey::new(&ED25519, point),
            _ => {
                return Err(
                    "it is neither a key of ECDSA on P-256, which cosign generates, nor one of Ed25519"
                        .to_owned(),
                );
            }
        };
        let fingerprint = format!("sha256:{}", hex(&Sha256::digest(der.as_ref())));
        Ok(Self { name: name.to_owned(), fingerprint, public })
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

/// Whether a component has the signature that the Plugin holds, as `cosign sign-blob` prints it.
///
/// # Errors
/// When it has not.
pub(super) fn detached(key: &Key, signature: &Signature, component: &[u8]) -> Result<(), Problem> {
    let value = signature.value.as_deref().unwrap_or_default();
    let is_good = STANDARD.decode(value).is_ok_and(|bytes| key.verifies(component, &bytes));
    if is_good {
        return Ok(());
    }
    let message = format!(
        "spec.signature.value is no signature of this component by the key {}: sign the component itself, not packed, with \
         cosign sign-blob",
        key.name
    );
    Err(Problem::verified(Reason::SignatureInvalid, message))
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

    use super::*;

    fn pem(prefix: &[u8], point: &[u8]) -> String {
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode([prefix, point].concat())
        )
    }

    #[test]
    fn a_signature_by_either_kind_of_key_is_good_for_its_message_alone() {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
        let ecdsa = Key::parse("acme", pem(P256, pair.public_key().as_ref()).as_bytes()).unwrap();
        let by_ecdsa = pair.sign(&random, b"component").unwrap();
        let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let edwards = Key::parse("acme", pem(EDWARDS, pair.public_key().as_ref()).as_bytes()).unwrap();
        let by_edwards = pair.sign(b"component");
        for (key, own, other) in [
            (&ecdsa, by_ecdsa.as_ref(), by_edwards.as_ref()),
            (&edwards, by_edwards.as_ref(), by_ecdsa.as_ref()),
        ] {
            assert!(key.verifies(b"component", own));
            assert!(!key.verifies(b"component2", own));
            assert!(!key.verifies(b"component", other));
            let value = |bytes: &[u8]| Signature { key: "acme".into(), value: Some(STANDARD.encode(bytes)) };
            assert!(detached(key, &value(own), b"component").is_ok());
            let refused = detached(key, &value(other), b"component").unwrap_err();
            assert_eq!(refused.reason, Reason::SignatureInvalid);
            assert!(detached(key, &Signature { key: "acme".into(), value: None }, b"component").is_err());
        }
    }

    #[test]
    fn a_key_of_cosign_and_openssl_verifies_what_they_signed() {
        // openssl ecparam -name prime256v1 -genkey -noout; openssl dgst -sha256 -sign
        let pem = include_bytes!("trust/example.pub");
        let key = Key::parse("example", pem).unwrap();
        let signature = Signature {
            key: "example".into(),
            value: Some(include_str!("trust/example.sig").trim().to_owned()),
        };
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
