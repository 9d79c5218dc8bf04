//! Sigstore bundles that were made with a key: of a file by `cosign sign-blob --bundle`, of an artifact in a registry by `cosign
//! sign` since its version 3. Pure.
//!
//! The key decides, and nothing else in a bundle: not the hint at a key, not a certificate, no entry of a log, no time.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubeopencode_api::names::hex;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::Key;

/// How the media types of all bundles begin.
pub(in super::super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";
/// The versions that there are, from `sigstore_bundle.proto` of Sigstore's protobuf specifications: with a key they do not differ.
const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
];
/// What cosign's envelopes hold: a statement of in-toto.
const PAYLOAD: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// That it is a signature. Others attest something, good or bad.
pub(in super::super) const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What must have been signed.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Signed<'a> {
    /// These bytes.
    File(&'a [u8]),
    /// The artifact whose manifest has this digest, `sha256:…`.
    Artifact(&'a str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    verification_material: Material,
    message_signature: Option<MessageSignature>,
    dsse_envelope: Option<Envelope>,
}

/// What it says that it was signed by.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: Option<HashOutput>,
    signature: String,
}

/// Nobody's word, too: a hint at what was signed.
#[derive(Deserialize)]
struct HashOutput {
    #[serde(default)]
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    type_: String,
    predicate_type: String,
    #[serde(default)]
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

/// Whether a bundle holds a signature of this by the key.
///
/// # Errors
/// Why not, as said of the bundle.
pub(in super::super) fn verify(bundle: &[u8], key: &Key, signed: Signed<'_>) -> Result<(), String> {
    let bundle: Bundle =
        serde_json::from_slice(bundle).map_err(|error| format!("it is no Sigstore bundle: {error}"))?;
    let (media_type, newest) = (bundle.media_type.as_str(), MEDIA_TYPES[0]);
    if !MEDIA_TYPES.contains(&media_type) {
        return Err(format!("its mediaType is \"{media_type}\": bundles up to {newest} are known here"));
    }
    let by_another = || Err(bundle.verification_material.of_another_key(key));
    match (&bundle.message_signature, &bundle.dsse_envelope, signed) {
        (Some(message), None, Signed::File(bytes)) => {
            if key.verifies(bytes, &decoded("messageSignature.signature", &message.signature)?) {
                return Ok(());
            }
            match message.of_other_bytes(bytes) {
                Some(why) => Err(why),
                None => by_another(),
            }
        }
        (Some(_), None, Signed::Artifact(_)) => {
            Err("it is the signature of a file: sign the artifact with cosign sign".to_owned())
        }
        (None, Some(envelope), signed) => {
            let payload = decoded("dsseEnvelope.payload", &envelope.payload)?;
            if !envelope.is_by(key, &payload)? {
                return by_another();
            }
            let digest = match signed {
                Signed::File(bytes) => hex(&Sha256::digest(bytes)),
                Signed::Artifact(digest) => digest.trim_start_matches("sha256:").to_owned(),
            };
            is_signature_of(&payload, &digest)
        }
        _ => Err("it has not exactly one of messageSignature and dsseEnvelope".to_owned()),
    }
}

impl Material {
    fn of_another_key(&self, key: &Key) -> String {
        if self.certificate.is_some() || self.x509_certificate_chain.is_some() {
            return "it was made with a certificate, and keys alone are known here".to_owned();
        }
        let why = match key.is_edwards {
            true => {
                "it is not by this key: with one of Ed25519, cosign signs artifacts, and what it writes to a log, as Ed25519ph, which \
                 is not known here; take one of ECDSA on P-256, as cosign generate-key-pair makes it"
            }
            false => "it is not by this key",
        };
        why.to_owned()
    }
}

impl MessageSignature {
    fn of_other_bytes(&self, bytes: &[u8]) -> Option<String> {
        let said = STANDARD.decode(&self.message_digest.as_ref()?.digest).ok()?;
        let found = Sha256::digest(bytes);
        (said.len() == found.len() && said != found.as_slice()).then(|| {
            let (said, found) = (hex(&said), hex(&found));
            format!("it is of sha256:{said}, and the component is sha256:{found}: sign the component itself, not packed")
        })
    }
}

impl Envelope {
    /// Whether the payload is signed by the key, as an envelope of DSSE has it.
    fn is_by(&self, key: &Key, payload: &[u8]) -> Result<bool, String> {
        let [signature] = self.signatures.as_slice() else {
            return Err(format!("its envelope has {} signatures, and must have one", self.signatures.len()));
        };
        if self.payload_type != PAYLOAD {
            return Err(format!("its payloadType is \"{}\", and must be {PAYLOAD}", self.payload_type));
        }
        let signed = pre_authentication_encoding(&self.payload_type, payload);
        Ok(key.verifies(&signed, &decoded("dsseEnvelope.signatures[0].sig", &signature.sig)?))
    }
}

/// What DSSE signs in place of a payload, so that it is signed with its type.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Whether a statement that was signed says that it is a signature of what has this digest, in hex.
fn is_signature_of(statement: &[u8], digest: &str) -> Result<(), String> {
    let statement: Statement = serde_json::from_slice(statement)
        .map_err(|error| format!("its payload is no statement of in-toto: {error}"))?;
    let Statement { type_, predicate_type, subject } = statement;
    if type_ != STATEMENT {
        return Err(format!("its payload is of \"{type_}\", and must be of {STATEMENT}"));
    }
    if predicate_type != SIGNATURE {
        return Err(format!(
            "it attests \"{predicate_type}\", and is no signature: make one with cosign sign"
        ));
    }
    let is_it = |subject: &Subject| subject.digest.get("sha256").is_some_and(|found| found == digest);
    match subject.iter().any(is_it) {
        true => Ok(()),
        false => Err(format!("it is of something else than sha256:{digest}")),
    }
}

fn decoded(field: &str, text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("its {field} is no base64: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::Signer;
    use super::*;

    const COMPONENT: &[u8] = b"component";

    /// As `cosign sign-blob --key --bundle` writes it of the component.
    fn of_file(signer: &Signer) -> Value {
        json!({
            "mediaType": MEDIA_TYPES[0],
            "verificationMaterial": {"publicKey": {"hint": "nobody's word"}, "tlogEntries": [{"logIndex": "1"}]},
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(Sha256::digest(COMPONENT))},
                "signature": signer.sign(COMPONENT),
            },
        })
    }

    fn statement() -> Value {
        json!({
            "_type": STATEMENT,
            "subject": [{"digest": {"sha256": hex(&Sha256::digest(COMPONENT))}, "annotations": {"a": "b"}}],
            "predicateType": SIGNATURE,
            "predicate": {},
        })
    }

    /// As `cosign sign --key` makes it of what the statement says.
    fn of_artifact(signer: &Signer, statement: &Value) -> Value {
        let payload = statement.to_string();
        let signed = pre_authentication_encoding(PAYLOAD, payload.as_bytes());
        json!({
            "mediaType": MEDIA_TYPES[0],
            "verificationMaterial": {"publicKey": {"hint": "nobody's word"}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload), "payloadType": PAYLOAD,
                "signatures": [{"sig": signer.sign(&signed)}],
            },
        })
    }

    /// A bundle with something else at one place.
    fn with(mut bundle: Value, place: &str, value: Value) -> Value {
        *bundle.pointer_mut(place).unwrap() = value;
        bundle
    }

    fn said_of(bundle: &Value, signer: &Signer, signed: Signed<'_>) -> String {
        verify(bundle.to_string().as_bytes(), &signer.key, signed).err().unwrap_or_default()
    }

    #[test]
    fn what_is_signed_with_its_type_is_what_the_specification_of_dsse_says() {
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn what_cosign_itself_signed_is_good_for_that_alone() {
        // cosign 3.1.3, sign-blob --bundle and sign, --key --use-signing-config=false --tlog-upload=false
        let key = Key::parse("acme", include_bytes!("cosign.pub")).unwrap();
        let (file, artifact) = (include_bytes!("cosign-file.json"), include_bytes!("cosign-artifact.json"));
        let digest = "sha256:b5fde1fe6ee533deff2c295241be56cb305b16cfacc43c5a3daeee82f5900a68";
        assert_eq!(verify(file, &key, Signed::File(COMPONENT)), Ok(()));
        assert_eq!(verify(artifact, &key, Signed::Artifact(digest)), Ok(()));
        let other = digest.replace('b', "c");
        for refused in [
            verify(file, &key, Signed::File(b"another")),
            verify(artifact, &key, Signed::Artifact(&other)),
            verify(artifact, &Signer::ecdsa().key, Signed::Artifact(digest)),
        ] {
            assert!(refused.is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_bundle_is_good_by_either_kind_of_key_for_what_was_signed_alone() {
        let digest = format!("sha256:{}", hex(&Sha256::digest(COMPONENT)));
        let other = format!("sha256:{}", "0a".repeat(32));
        for signer in [Signer::ecdsa(), Signer::edwards()] {
            let (file, artifact) = (of_file(&signer), of_artifact(&signer, &statement()));
            for media_type in MEDIA_TYPES {
                let (file, artifact) = (file.clone(), artifact.clone());
                let [file, artifact] = [file, artifact].map(|b| with(b, "/mediaType", json!(media_type)));
                assert_eq!(said_of(&file, &signer, Signed::File(COMPONENT)), "");
                assert_eq!(said_of(&artifact, &signer, Signed::Artifact(&digest)), "");
            }
            // a statement is of whatever has the digest
            assert_eq!(said_of(&artifact, &signer, Signed::File(COMPONENT)), "");
            let why = said_of(&file, &signer, Signed::File(b"packed"));
            assert!(why.contains("sign the component itself, not packed"), "{why}");
            let why = said_of(&artifact, &signer, Signed::Artifact(&other));
            assert_eq!(why, format!("it is of something else than {other}"));
            let why = said_of(&file, &signer, Signed::Artifact(&digest));
            assert_eq!(why, "it is the signature of a file: sign the artifact with cosign sign");
            for theirs in [Signer::ecdsa(), Signer::edwards()] {
                for (bundle, signed) in
                    [(&file, Signed::File(COMPONENT)), (&artifact, Signed::Artifact(&digest))]
                {
                    let why = said_of(bundle, &theirs, signed);
                    assert!(why.starts_with("it is not by this key"), "{why}");
                    assert_eq!(why.contains("Ed25519ph"), theirs.key.is_edwards, "{why}");
                }
            }
        }
    }

    #[test]
    fn whatever_else_a_bundle_is_it_is_told() {
        let signer = Signer::ecdsa();
        let digest = format!("sha256:{}", hex(&Sha256::digest(COMPONENT)));
        let (file, artifact) = (of_file(&signer), of_artifact(&signer, &statement()));
        let stated = |place: &str, value: Value| of_artifact(&signer, &with(statement(), place, value));
        let both = {
            let mut both = file.clone();
            both["dsseEnvelope"] = artifact["dsseEnvelope"].clone();
            both
        };
        let certified = {
            let mut certified = of_artifact(&Signer::ecdsa(), &statement());
            certified["verificationMaterial"] = json!({"certificate": {"rawBytes": "MII="}});
            certified
        };
        let sig = artifact["dsseEnvelope"]["signatures"][0].clone();
        let retold = STANDARD.encode(with(statement(), "/predicate", json!({"a": 1})).to_string());
        for (bundle, words) in [
            (json!([]), "it is no Sigstore bundle: "),
            (
                json!({"base64Signature": "MEUC", "cert": ""}),
                "it is no Sigstore bundle: missing field `mediaType`",
            ),
            (
                with(artifact.clone(), "/mediaType", json!("application/vnd.dev.sigstore.bundle.v0.4+json")),
                "its mediaType is \"application/vnd.dev.sigstore.bundle.v0.4+json\": bundles up to application/",
            ),
            (
                json!({"mediaType": MEDIA_TYPES[0]}),
                "it has not exactly one of messageSignature and dsseEnvelope",
            ),
            (both, "it has not exactly one of messageSignature and dsseEnvelope"),
            (certified, "it was made with a certificate, and keys alone are known here"),
            (with(artifact.clone(), "/dsseEnvelope/signatures", json!([])), "its envelope has 0 signatures"),
            (
                with(artifact.clone(), "/dsseEnvelope/signatures", json!([sig, sig])),
                "its envelope has 2 signatures",
            ),
            (
                with(artifact.clone(), "/dsseEnvelope/payloadType", json!("text/plain")),
                "its payloadType is \"text/plain\", and must be application/vnd.in-toto+json",
            ),
            (
                with(artifact.clone(), "/dsseEnvelope/payload", json!("!")),
                "its dsseEnvelope.payload is no base64",
            ),
            (with(artifact.clone(), "/dsseEnvelope/payload", json!(retold)), "it is not by this key"),
            (of_artifact(&signer, &json!("text")), "its payload is no statement of in-toto"),
            (
                stated("/_type", json!("https://in-toto.io/Statement/v9")),
                "its payload is of \"https://in-toto.io/",
            ),
            (
                stated("/predicateType", json!("https://slsa.dev/provenance/v1")),
                "it attests \"https://slsa.dev/provenance/v1\", and is no signature",
            ),
            (stated("/subject", json!([])), "it is of something else than sha256:"),
            (stated("/subject/0/digest", json!({"sha512": "0a"})), "it is of something else than sha256:"),
        ] {
            let why = said_of(&bundle, &signer, Signed::Artifact(&digest));
            assert!(why.starts_with(words), "{why}\n{bundle:#}");
        }
        let why = verify(b"\x7fELF", &signer.key, Signed::File(COMPONENT)).unwrap_err();
        assert!(why.starts_with("it is no Sigstore bundle: "), "{why}");
    }
}
