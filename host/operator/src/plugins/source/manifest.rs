//! What a registry says: its challenges, its errors, and the manifests of artifacts. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Of the component itself, by the CNCF's guide for WebAssembly artifacts and by those before it.
const COMPONENTS: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];
/// Endings of a file's name, as ORAS writes it into an annotation.
const ENDINGS: [&str; 3] = [".wasm", ".wasm.gz", ".wasm.zst"];
pub(super) const TITLE: &str = "org.opencontainers.image.title";

/// What manifests may be.
pub(super) const MANIFESTS: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// A manifest, as far as it is used here.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) layers: Vec<Layer>,
    /// Those of an index.
    #[serde(default)]
    manifests: Vec<serde_json::Value>,
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
    use serde_json::json;

    use super::*;

    fn component(manifest: serde_json::Value) -> Result<String, String> {
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
