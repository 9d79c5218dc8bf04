//! Which Secrets a plan may use: those that the item itself names, or that a grant does, and then only towards that
//! grant's hosts.
//!
//! May touch: names. Must not touch: a Secret.

use kubeopencode_api::config::TaskSecretRefs;
use kubeopencode_api::plugin::{Capability, SecretKey};

use super::Validator;
use crate::Refusal;
use crate::object_name::{is_key, is_object_name};
use kubeopencode_api::globs::matches;

impl Validator<'_> {
    /// A key that becomes a file or a variable: it has no host that it would go to, so the item itself must name it.
    pub(super) fn check_secret_key(&self, secret: &SecretKey) -> Result<(), Refusal> {
        self.check_key(secret)?;
        self.check_handed_over(&secret.name)
    }

    /// A Secret that the agent itself gets: whoever wrote the item named it. A grant is for hosts, and nobody knows to which ones
    /// the agent sends it.
    pub(super) fn check_handed_over(&self, secret: &str) -> Result<(), Refusal> {
        if self.is_named(secret)? {
            return Ok(());
        }
        Err(self.refuse(format!("Secret {secret} is not named by the item")))
    }

    pub(super) fn check_key(&self, secret: &SecretKey) -> Result<(), Refusal> {
        if is_key(&secret.key) {
            return Ok(());
        }
        Err(self.refuse(format!("\"{}\" cannot be a key of a Secret", secret.key)))
    }

    /// Credentials for a host. The Pod's programs send them to no other, also after redirects.
    pub(super) fn check_credentials(&self, secret: &str, host: &str) -> Result<(), Refusal> {
        self.need(Capability::Secret, "a Secret")?;
        if self.is_named(secret)? {
            return Ok(());
        }
        let Some(grant) = self.granted.secrets.iter().find(|grant| grant.name == secret) else {
            let remedy = self.granted.remedy("secrets");
            return Err(
                self.refuse(format!("Secret {secret} is neither named by the item nor granted: {remedy}"))
            );
        };
        if grant.hosts.iter().any(|glob| matches(glob, host) == Ok(true)) {
            return Ok(());
        }
        Err(self.refuse(format!(
            "Secret {secret} must not go to {host}, its grant names [{}]: {}",
            grant.hosts.join(", "),
            self.granted.remedy("secrets")
        )))
    }

    /// Whether the item itself names the Secret, and may.
    fn is_named(&self, secret: &str) -> Result<bool, Refusal> {
        if !is_object_name(secret) {
            return Err(self.refuse(format!("\"{secret}\" cannot be the name of a Secret")));
        }
        let payload = &self.item.payload;
        if !self.granted.secret_fields.iter().any(|field| field.names(payload).contains(&secret)) {
            return Ok(false);
        }
        if !self.item.is_agents() && self.item.namespace != self.run.pod_namespace() {
            return Err(self.item.refused(format!(
                "Secret {secret} of namespace \"{}\" is out of reach: the Pod runs in \"{}\"; let the {} hold it",
                self.item.namespace,
                self.run.pod_namespace(),
                self.run.conventions.agent_kind
            )));
        }
        if !self.item.is_agents() && self.run.agent.task_secret_refs == TaskSecretRefs::Deny {
            return Err(self.item.refused(format!(
                "Secret {secret}: contexts of Tasks may not name Secrets here (taskSecretRefs: Deny in \
                 KubeOpenCodeConfig, or a KubeOpenCodeConfig that cannot be read); let the {} hold it",
                self.run.conventions.agent_kind
            )));
        }
        Ok(true)
    }
}
