//! Server mode: what `Agent.spec.serverConfig` says of where the server is.
//!
//! May touch: that field. Must not touch: the server's objects.

use kubeopencode_api::agent::{PasswordRef, ServerConfig};
use kubeopencode_api::names::AgentKey;
use kubeopencode_api::plugin::SecretKey;

use crate::Refusal;
use crate::object_name::is_service_name;
use crate::run::Server;

pub(super) fn read(
    config: Option<&ServerConfig>,
    agent: &AgentKey,
    cluster_domain: &str,
) -> Result<Option<Server>, Refusal> {
    let Some(config) = config else { return Ok(None) };
    let AgentKey { namespace, name } = agent;
    if !is_service_name(name) {
        return Err(Refusal::invalid_config(format!(
            "Agent {agent}: with spec.serverConfig its name becomes that of a Service: use at most 63 of a-z, 0-9 \
                 and -, beginning with a letter"
        )));
    }
    let port = config.port();
    let url = format!("http://{name}.{namespace}.svc.{cluster_domain}:{port}");
    let password = config.password_secret_ref.clone();
    let password = password.map(|PasswordRef { name, key }| SecretKey { name, key, optional: false });
    Ok(Some(Server { port, url, password }))
}
