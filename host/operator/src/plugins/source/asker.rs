//! Who asks a registry or a web server, and so what mends what it refuses: values of the chart, or flags of a command. Pure.

use kubeopencode_api::network::mended_certificate;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// The operator, for a Plugin that somebody wrote.
    Operator,
    /// The author of a plugin, from his own machine.
    Author,
}

impl Asker {
    /// Where the authorities stand.
    pub(super) fn authorities(self) -> &'static str {
        match self {
            Self::Operator => "plugins.caBundle",
            Self::Author => "--ca",
        }
    }

    /// What mends that a server's certificate is not taken, where the reason does not say enough: that it has ended, or is for
    /// other names.
    pub(super) fn remedy_of_certificate(self, reason: &str) -> Option<&'static str> {
        let is_unknown = ["UnknownIssuer", "BadSignature"].iter().any(|words| reason.contains(words));
        mended_certificate(reason).or(match self {
            _ if !is_unknown => None,
            Self::Operator => Some("name the server's authority in plugins.caBundle of the operator's chart"),
            Self::Author => Some("name a file with the server's authority with --ca"),
        })
    }

    pub(super) fn too_large(self) -> &'static str {
        match self {
            Self::Operator => {
                "make the component smaller (release build, size optimisation), or give the Plugin limits.class large"
            }
            Self::Author => "no plugin may have more",
        }
    }

    /// Who asks is not known to the registry, or may not.
    pub(super) fn unknown_to(self, registry: &str, has_credentials: bool) -> String {
        match (self, has_credentials) {
            (Self::Operator, true) => "it refuses the credentials of plugins.registrySecrets".to_owned(),
            (Self::Operator, false) => format!(
                "put a Secret of type kubernetes.io/dockerconfigjson with an entry for {registry} into plugins.registrySecrets of \
                 the operator's chart"
            ),
            (Self::Author, true) => format!(
                "it refuses the credentials that are here for it: log in as somebody who may, with `docker login {registry}`, or name \
                 another Docker configuration with --registry-config"
            ),
            (Self::Author, false) => format!(
                "there are no credentials for it here: log in with `docker login {registry}`, or name a Docker configuration that \
                 has some with --registry-config"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_mended_where_it_was_made_or_by_naming_who_signed_it() {
        let of = |asker: Asker, words: &str| {
            asker.remedy_of_certificate(&format!("invalid peer certificate: {words}")).unwrap_or_default()
        };
        for (asker, place) in [(Asker::Operator, "plugins.caBundle"), (Asker::Author, "--ca")] {
            for words in ["UnknownIssuer", "BadSignature"] {
                assert!(of(asker, words).contains(place));
            }
            let authority = of(asker, "Other(OtherError(CaUsedAsEndEntity))");
            assert!(authority.contains("CA:FALSE") && !authority.contains(place), "{authority}");
            let names = "certificate not valid for name \"a.example\"; certificate is only valid for b";
            assert_eq!(of(asker, names), "", "the words say it");
        }
    }
}
