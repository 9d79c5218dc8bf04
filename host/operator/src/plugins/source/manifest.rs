//! What a registry says: its challenges, its errors, and the manifests of artifacts. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::trust::bundle::{MEDIA_TYPE, SIGNATURE};
use super::image::is_sha256;

/// Of the component itself, by the CNCF's guide for WebAssembly artifacts and by those before it.
const COMPONENTS: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];
/// Endings of a file's name, as ORAS writes it into an annotation.
const ENDINGS: [&str; 3] = [".wasm", ".wasm.gz", ".wasm.zst"];
pub(super) const TITLE: &str = "org.opencontainers.image.title";

/// What manifests may be.
pub(super) const MANIFESTS: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// What a list of manifests is.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What cosign's bundles have for a configuration. Clients that knew no types of artifacts called a bundle so, too.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// What is in a bundle, and when it was made, as the manifest that refers to an artifact says.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
const CREATED: &str = "org.opencontainers.image.created";

/// A manifest, as far as it is used here.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) layers: Vec<Layer>,
    /// Those of an index.
    #[serde(default)]
    manifests: Vec<IgnoredAny>,
}

/// A blob of a manifest.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Layer {
    #[serde(default, rename = "mediaType")]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// The one layer that is a component.
    ///
    /// # Errors
    /// When there is none, or several.
    pub(super) fn component(&self) -> Result<&Layer, String> {
        if !self.manifests.is_empty() {
            return Err(
                "it is an index of several artifacts: name the digest of the one with the component".into()
            );
        }
        let is_component = |layer: &&Layer| {
            let title = layer.annotations.get(TITLE).map_or("", String::as_str);
            COMPONENTS.contains(&layer.media_type.as_str())
                || ENDINGS.iter().any(|ending| title.ends_with(ending))
        };
        let mut found = self.layers.iter().filter(is_component);
        match (found.next(), found.next()) {
            (Some(layer), None) => Ok(layer),
            (Some(_), Some(_)) => Err("it has several components: push one of them alone".into()),
            (None, _) => {
                let types: Vec<_> = self.layers.iter().map(|layer| layer.media_type.as_str()).collect();
                Err(format!(
                    "it has no layer of {} and no file whose name ends in .wasm, .wasm.gz or .wasm.zst, but [{}]: is it a \
                     container image?",
                    COMPONENTS[0],
                    types.join(", ")
                ))
            }
        }
    }
}

impl Manifest {
    /// The bundle of Sigstore's that it is there for.
    pub(super) fn bundle(&self) -> Option<&Layer> {
        match self.layers.as_slice() {
            [layer] if layer.media_type.starts_with(MEDIA_TYPE) && is_sha256(&layer.digest) => Some(layer),
            _ => None,
        }
    }
}

/// The digests of what may be a signature in a bundle, among all that refers to an artifact, in pages: the newest first, and then
/// those whose time nobody says. What is no list of manifests refers to nothing.
pub(super) fn bundles(pages: &[Vec<u8>]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Referrer {
        digest: String,
        #[serde(default, rename = "artifactType")]
        artifact_type: Option<String>,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    // each by itself: one that is no descriptor hides no other
    #[derive(Deserialize)]
    struct Index<'a> {
        #[serde(default, borrow)]
        manifests: Vec<&'a RawValue>,
    }
    let indexes = pages.iter().filter_map(|page| serde_json::from_slice::<Index<'_>>(page).ok());
    let manifests = indexes.flat_map(|index| index.manifests);
    let may_be = |referrer: &Referrer| {
        let type_ = referrer.artifact_type.as_deref();
        type_.is_none_or(|type_| type_.starts_with(MEDIA_TYPE) || type_ == EMPTY)
            && referrer.annotations.get(PREDICATE).is_none_or(|predicate| predicate == SIGNATURE)
            && is_sha256(&referrer.digest)
    };
    let mut found: Vec<Referrer> =
        manifests.filter_map(|one| serde_json::from_str(one.get()).ok()).filter(may_be).collect();
    found.sort_by(|a, b| b.annotations.get(CREATED).cmp(&a.annotations.get(CREATED)));
    found.into_iter().map(|referrer| referrer.digest).collect()
}

/// Where the next page is, by the headers `Link` of an answer (RFC 8288).
pub(super) fn next_page<'a>(links: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    links.flat_map(|link| link.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let mut parameters = parameters.split(';').map(str::trim);
        parameters.any(|parameter| matches!(parameter, "rel=\"next\"" | "rel=next")).then_some(target)
    })
}

/// Most characters of a registry's own words.
const MAX_WORDS: usize = 200;

/// Why a registry refuses, by the first of the errors that the distribution specification has it say.
pub(super) fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Said>,
    }
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let Said { code, message } = answer.errors.into_iter().next()?;
    let words = format!("{code}: {message}");
    Some(words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect())
}

/// How a registry wants to know who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With name and password.
    Basic,
    /// With a token, to be had there.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The challenge of an answer, a token where there is a choice.
pub(super) fn challenge<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            let mut parameters = parameters(rest);
            let (service, scope) = (parameters.remove("service"), parameters.remove("scope"));
            if let Some(realm) = parameters.remove("realm") {
                return Some(Challenge::Bearer { realm, service, scope });
            }
        }
    }
    basic
}

/// `a="b,c",d=e`
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([',', ' ']).to_ascii_lowercase();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.insert(name, value.to_owned());
        rest = left;
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn component(manifest: Value) -> Result<String, String> {
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        manifest.component().map(|layer| layer.digest.clone())
    }

    #[test]
    fn the_component_is_found_in_artifacts_of_both_kinds() {
        let cncf = json!({
            "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": "sha256:c"},
            "layers": [{"mediaType": "application/wasm", "digest": "sha256:a", "size": 1}],
        });
        assert_eq!(component(cncf).unwrap(), "sha256:a");
        let oras = json!({
            "artifactType": "application/vnd.unknown.artifact.v1",
            "layers": [
                {"mediaType": "text/markdown", "digest": "sha256:r", "annotations": {TITLE: "README.md"}},
                {"mediaType": "application/octet-stream", "digest": "sha256:b", "annotations": {TITLE: "jira.wasm.zst"}},
            ],
        });
        assert_eq!(component(oras).unwrap(), "sha256:b");
        let image = json!({"layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:t"}]});
        let why = component(image).unwrap_err();
        assert!(
            why.ends_with("but [application/vnd.oci.image.layer.v1.tar+gzip]: is it a container image?"),
            "{why}"
        );
        let layer = json!({"mediaType": "application/wasm", "digest": "sha256:a"});
        assert!(component(json!({"layers": [layer, layer]})).unwrap_err().contains("several components"));
        assert!(component(json!({"manifests": [{}]})).unwrap_err().contains("an index"));
    }

    #[test]
    fn the_bundles_among_what_refers_to_an_artifact_are_found_the_newest_first() {
        let digest = |of: &str| format!("sha256:{}", of.repeat(64));
        let bundle = |of: &str, day: &str| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(of), "size": 1,
                "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "annotations": {
                    "org.opencontainers.image.created": format!("2026-11-{day}T00:00:00Z"),
                    "dev.sigstore.bundle.content": "dsse-envelope",
                    "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
                },
            })
        };
        let attestation = {
            let mut bundle = bundle("a", "09");
            bundle["annotations"]["dev.sigstore.bundle.predicateType"] =
                json!("https://slsa.dev/provenance/v1");
            bundle
        };
        let page = |manifests: &[Value]| {
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
            index.to_string().into_bytes()
        };
        let first = page(&[
            json!({"digest": digest("b"), "artifactType": "application/spdx+json"}),
            json!({"digest": digest("c"), "artifactType": "application/vnd.oci.empty.v1+json"}),
            json!({"digest": digest("d")}),
            json!({"digest": "sha256:../../token"}),
            json!("text"),
            attestation,
            bundle("e", "01"),
        ]);
        let image = json!({"layers": [{"mediaType": "a", "digest": digest("f")}]}).to_string().into_bytes();
        let pages = [first, b"<html>".to_vec(), image, page(&[bundle("f", "03"), bundle("0", "02")])];
        assert_eq!(bundles(&pages), ["f", "0", "e", "c", "d"].map(digest));
        assert!(bundles(&[]).is_empty());
    }

    #[test]
    fn a_manifest_is_there_for_one_bundle_or_for_something_else() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let layer = |type_: &str, digest: &str| json!({"mediaType": type_, "digest": digest});
        let found = |layers: &[Value]| {
            let manifest: Manifest = serde_json::from_value(json!({"layers": layers})).unwrap();
            manifest.bundle().map(|layer| layer.digest.clone())
        };
        let bundle = layer("application/vnd.dev.sigstore.bundle.v0.3+json", &digest);
        assert_eq!(found(std::slice::from_ref(&bundle)), Some(digest.clone()));
        for layers in [
            &[bundle.clone(), bundle.clone()][..],
            &[],
            &[layer("application/wasm", &digest)],
            &[layer("application/vnd.dev.sigstore.bundle.v0.3+json", "sha256:../../token")],
        ] {
            assert_eq!(found(layers), None);
        }
    }

    #[test]
    fn the_next_page_is_where_the_link_says() {
        for (links, next) in [
            (
                &[r#"</v2/a/referrers/sha256:0?n=1&last=2>; rel="next""#][..],
                Some("/v2/a/referrers/sha256:0?n=1&last=2"),
            ),
            (
                &[r#"<https://a.example/1>; rel="first", <https://a.example/2>;rel=next"#],
                Some("https://a.example/2"),
            ),
            (&[r#"</1>; rel="prev""#, r#"</3>; title="b"; rel="next""#], Some("/3")),
            (&["", "next", "<", r#"</1>; rel="prev""#], None),
            (&[], None),
        ] {
            assert_eq!(next_page(links.iter().copied()), next);
        }
    }

    #[test]
    fn an_error_is_what_the_registry_says_first() {
        let body = br#"{"errors": [{"code": "DENIED", "message": "requested access\nis denied", "detail": [1]}, {"code": "B"}]}"#;
        assert_eq!(reason(body).unwrap(), "DENIED: requested access is denied");
        for other in [&br#"{"errors": []}"#[..], b"<html>", b""] {
            assert_eq!(reason(other), None);
        }
    }

    #[test]
    fn a_challenge_says_where_the_token_is() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(challenge([r#"Basic realm="x""#, bearer].into_iter()), Some(expected));
        assert_eq!(challenge([r#"basic realm="x""#].into_iter()), Some(Challenge::Basic));
        assert_eq!(challenge(["Negotiate", "Bearer"].into_iter()), None);
    }
}
