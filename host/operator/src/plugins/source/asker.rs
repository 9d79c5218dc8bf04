//! Who asks a registry or a web server, and so what mends what it refuses: values of the chart, or flags of a command. Pure.

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

    pub(super) fn unknown_authority(self) -> &'static str {
        match self {
            Self::Operator => "name the server's authority in plugins.caBundle of the operator's chart",
            Self::Author => "name a file with the server's authority with --ca",
        }
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
