//! The name of an artifact, in its parts, as other programs read it. Pure.

use kubeopencode_api::names::hex;
use sha2::{Digest, Sha256};
use url::Url;

/// Where images without a registry in their name are.
pub(super) const DOCKER_HUB: &str = "registry-1.docker.io";
/// Most characters of a tag: the distribution specification's.
const MAX_TAG: usize = 128;

/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) tag: Option<String>,
    /// `sha256:…`
    pub(super) digest: Option<String>,
    /// Registry and repository as they were written.
    pub(super) written: String,
}

impl Image {
    /// None: it is no name.
    pub(super) fn parse(image: &str) -> Option<Self> {
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (image, None),
        };
        // the colon of a port is before a slash
        let (written, tag) = match name.rsplit_once(':') {
            Some((written, tag)) if !tag.contains('/') => (written, Some(tag)),
            _ => (name, None),
        };
        let (registry, repository) = match written.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest.to_owned())
            }
            Some(_) => (DOCKER_HUB, written.to_owned()),
            None => (DOCKER_HUB, format!("library/{written}")),
        };
        let registry =
            if matches!(registry, "docker.io" | "index.docker.io") { DOCKER_HUB } else { registry };
        let in_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        let in_repository = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let is_whole = |part: &str| !part.is_empty() && part != "." && part != "..";
        let is_good = registry.chars().all(in_host)
            && repository.chars().all(in_repository)
            && repository.split('/').all(is_whole)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_sha256);
        is_good.then(|| Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
            written: written.to_owned(),
        })
    }

    /// Something of the repository.
    ///
    /// # Errors
    /// A registry that is no host.
    pub(super) fn url(&self, what: &str, plain_http: bool) -> Result<Url, String> {
        let scheme = if plain_http { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/{}/{what}", self.registry, self.repository);
        Url::parse(&url).map_err(|error| format!("{url} is no address: {error}"))
    }

    /// What stands in an address for the artifact: its digest, or else its tag.
    pub(super) fn reference(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or_default()
    }

    /// In words.
    pub(super) fn name(&self) -> String {
        let (registry, repository) = (&self.registry, &self.repository);
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{registry}/{repository}@{digest}"),
            (None, Some(tag)) => format!("{registry}/{repository}:{tag}"),
            (None, None) => format!("{registry}/{repository}"),
        }
    }
}

fn is_tag(tag: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=MAX_TAG).contains(&tag.len()) && tag.chars().all(fits) && !tag.starts_with(['.', '-'])
}

/// A digest as registries write it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Whether it is `sha256:` and 64 hexadecimal digits, and so nothing else in an address.
pub(super) fn is_sha256(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_digest_of_sha256_names_a_blob() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert!(is_sha256(&digest));
        for other in ["sha256:../../../token", "sha512:0a", &digest[1..], &format!("{digest}/..")] {
            assert!(!is_sha256(other), "{other}");
        }
    }

    #[test]
    fn the_name_of_an_artifact_is_read_as_other_programs_read_it() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (name, tag, registry, repository) in [
            ("ghcr.io/acme/jira", "", "ghcr.io", "acme/jira"),
            ("registry:5000/jira", ":1.2", "registry:5000", "jira"),
            ("localhost/jira", "", "localhost", "jira"),
            ("[::1]:5000/jira", ":v1_2-rc.1", "[::1]:5000", "jira"),
            ("acme/jira", ":latest", DOCKER_HUB, "acme/jira"),
            ("docker.io/acme/jira", "", DOCKER_HUB, "acme/jira"),
            ("jira", "", DOCKER_HUB, "library/jira"),
            ("jira", ":5000", DOCKER_HUB, "library/jira"),
        ] {
            for digest in [None, Some(&digest)] {
                let at = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
                let image = Image::parse(&format!("{name}{tag}{at}")).unwrap();
                assert_eq!((image.registry.as_str(), image.repository.as_str()), (registry, repository));
                assert_eq!((image.written.as_str(), image.digest.as_ref()), (name, digest));
                assert_eq!(image.tag.as_deref().unwrap_or_default(), tag.trim_start_matches(':'));
            }
        }
        for image in [
            "",
            "ghcr.io/../admin",
            "ghcr.io/a?b",
            "ghcr.io/",
            "ghcr.io/a//b",
            "ghcr.io/A",
            "ghcr.io#/a",
            "ghcr.io/a:",
            "ghcr.io/a:-b",
            "https://ghcr.io/a",
            "ghcr.io/a@sha256:a",
            "ghcr.io/a@",
        ] {
            assert_eq!(Image::parse(image), None, "{image}");
        }
    }
}
