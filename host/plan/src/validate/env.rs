//! Which environment variables a context's plugin may set.
//!
//! May touch: names and grants.

use kubeopencode_api::plugin::{EnvSource, EnvVar};

use super::{Validator, unknown};
use crate::Refusal;
use crate::object_name::is_env_name;
use kubeopencode_api::globs::matches;

/// Never a plugin's, whatever is granted: they decide which programs run, or are the host's own.
const RESERVED: [&str; 7] = ["PATH", "HOME", "SHELL", "ENV", "BASH_ENV", "NODE_OPTIONS", "WORKSPACE_DIR"];
const RESERVED_PREFIXES: [&str; 7] = ["LD_", "GIT_", "KUBERNETES_", "OPENCODE_", "SSL_", "TASK_", "XDG_"];
const RESERVED_SUFFIX: &str = "_PROXY";

impl Validator<'_> {
    pub(super) fn check_env(&self, variable: &EnvVar) -> Result<(), Refusal> {
        let name = variable.name.as_str();
        if !is_env_name(name) {
            return Err(self.refuse(format!("\"{name}\" cannot be the name of an environment variable")));
        }
        if decides_on_programs(name) {
            return Err(self.refuse(format!("environment variable {name} is reserved")));
        }
        if !self.granted.env.iter().any(|glob| matches(glob, name) == Ok(true)) {
            let remedy = self.granted.remedy("env");
            return Err(self.refuse(format!("environment variable {name} is not granted: {remedy}")));
        }
        self.check_env_source(variable)
    }

    pub(super) fn check_env_source(&self, variable: &EnvVar) -> Result<(), Refusal> {
        match &variable.source {
            EnvSource::Value(_) => Ok(()),
            EnvSource::Secret(secret) => {
                self.need(kubeopencode_api::plugin::Capability::Secret, "a Secret")?;
                self.check_secret_key(secret)
            }
            EnvSource::Extended(extension) => Err(unknown(self.item, &extension.kind)),
        }
    }
}

/// Whether the variable decides which programs run, or what they are told.
pub(super) fn decides_on_programs(name: &str) -> bool {
    // programs read the proxy variables in either case
    let name = name.to_ascii_uppercase();
    RESERVED.contains(&name.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with(RESERVED_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::decides_on_programs;

    #[test]
    fn what_decides_which_program_runs_decides_on_programs() {
        for name in [
            "PATH",
            "LD_PRELOAD",
            "https_proxy",
            "NO_PROXY",
            "GIT_SSH_COMMAND",
            "TASK_NAME",
            "Home",
            "XDG_DATA_HOME",
            "SSL_CERT_FILE",
        ] {
            assert!(decides_on_programs(name), "{name}");
        }
        for name in ["JIRA_URL", "TASKS", "PROXY", "GITHUB_TOKEN"] {
            assert!(!decides_on_programs(name), "{name}");
        }
    }
}
