//! The servers of server-mode Agents: a Deployment, a Service, a NetworkPolicy and the ConfigMaps with their contexts.
//!
//! What they are is decided by `plan::build_server`; here they are made, kept as planned, and removed when `serverConfig`
//! goes. An object of that name that does not belong to the Agent is never touched. The status that they have is
//! written to the Agent: `serverStatus` and the conditions `ServerReady` and `ServerHealthy`.

mod objects;
pub mod status;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::AGENT_LABEL;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_plan::{Refusal, ServerObjects, build_server};
use kubeopencode_plugin_host::PluginHost;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::answers::{is_conflict, is_not_found};
use crate::backoff::Failures;
use crate::caches::{Caches, key_of};
use crate::gather::{GatherError, Live, Plugins, gather_server};
use crate::metrics::Metrics;
use crate::wakes::look_at_named;
use objects::{Kept, belongs_to, keep, remove};
use status::ServerState;

/// Labels of the Deployments of all servers.
pub(crate) const SERVER_SELECTOR: &str =
    "app.kubernetes.io/name=kubeopencode-server,app.kubernetes.io/managed-by=kubeopencode";
/// Servers that are looked at at once.
const CONCURRENCY: usize = 8;
/// How often all servers are looked at without a cause: the content of ConfigMaps is not watched.
const ROUND: Duration = Duration::from_secs(600);
/// Pauses before a look that failed is repeated: the first, and the longest.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Why a look at a server ended early.
#[derive(Debug, thiserror::Error)]
enum LookError {
    /// The Agent makes no sense as a server, or something that it names is missing.
    #[error("{0}")]
    Refused(Refusal),
    /// Kind and name of an object that somebody else has.
    #[error("{0} does not belong to the Agent")]
    NameTaken(String),
    /// The API server did not answer, or refused.
    #[error("{0}")]
    Api(#[from] kube::Error),
}

/// Keeps the servers of Agents.
pub(crate) struct Servers {
    /// The API.
    pub client: Client,
    /// The plugins.
    pub host: Arc<PluginHost>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the watches show.
    pub caches: Arc<Caches>,
    /// The servers' Deployments.
    pub deployments: Store<Deployment>,
    /// Looks that failed, in a row.
    pub failures: Failures<ObjectKey>,
}

impl Servers {
    /// Looks at the Agents that somebody named, and at all of them now and then, until it is dropped.
    pub(crate) async fn run(&self, woken: UnboundedReceiver<ObjectKey>) {
        look_at_named(woken, ROUND, CONCURRENCY, || self.concerned(), |key| self.look(key)).await;
    }

    /// Agents that have a server, or had one.
    pub(crate) fn concerned(&self) -> Vec<ObjectKey> {
        let agents = self.caches.agents.state();
        let agents = agents.iter().filter_map(|guarded| guarded.0.as_ref().ok());
        agents.filter(|agent| self.has_or_had_server(agent)).map(key_of).collect()
    }

    /// One look; how long until the next, if it failed.
    async fn look(&self, key: ObjectKey) -> Option<Duration> {
        let looked = match self.caches.agent(&key).filter(|agent| self.has_or_had_server(agent)) {
            Some(agent) => self.keep_or_remove(&agent).await,
            None => Ok(()),
        };
        let Err(error) = looked else {
            self.failures.forget(&key);
            return None;
        };
        let pause = self.failures.next(&key).min(MAX_PAUSE);
        tracing::warn!(agent = %key, %error, ?pause, "the Agent's server could not be brought up to date and is tried again");
        Some(pause)
    }

    /// What it had is told by its status, and by the Deployment where that could not be written.
    fn has_or_had_server(&self, agent: &Agent) -> bool {
        agent.spec.server_config.is_some()
            || agent.status.as_ref().is_some_and(|s| s.server_status.is_some() || !s.conditions.is_empty())
            || self.deployment_of(agent).is_some()
    }

    async fn keep_or_remove(&self, agent: &Agent) -> Result<(), LookError> {
        if agent.metadata.deletion_timestamp.is_some() {
            // garbage collection takes what it owns
            return Ok(());
        }
        if agent.spec.server_config.is_none() {
            return self.remove(agent).await;
        }
        match self.keep(agent).await {
            Ok(state) => self.write(agent, &state).await,
            Err(error) => {
                // what is in the way may go, or come; nobody tells
                if let Some((reason, message)) = told(&error) {
                    let deployment = self.deployment_of(agent);
                    let state = ServerState::held_up(agent, deployment.as_deref(), reason, message);
                    self.write(agent, &state).await?;
                }
                Err(error)
            }
        }
    }

    /// Makes everything as planned and says how it stands.
    async fn keep(&self, agent: &Agent) -> Result<ServerState, LookError> {
        let key = key_of(agent);
        let settings = self.caches.settings(&key.namespace, &key.namespace);
        let plugins = Plugins { host: &self.host, metrics: &self.metrics };
        let gathered = gather_server(plugins, &Live(&self.client), agent, &settings).await;
        let gathered = gathered.map_err(|error| match error {
            GatherError::Refused(refusal) | GatherError::Missing(refusal) => LookError::Refused(refusal),
            GatherError::Api(error) => LookError::Api(error),
        })?;
        let server = build_server(&gathered.resolved, &gathered.contexts, &gathered.command);
        let server = server.map_err(LookError::Refused)?;
        let before = self.deployment(&key);
        if let Some(taken) = self.keep_all(agent, &server).await? {
            return Err(LookError::NameTaken(taken));
        }
        self.drop_old_config_maps(agent, before.as_deref(), &server).await?;
        Ok(ServerState::of(&key, server.url, &server.digest, self.deployment(&key).as_deref()))
    }

    /// The Deployment that belongs to this Agent.
    fn deployment_of(&self, agent: &Agent) -> Option<Arc<Deployment>> {
        self.deployment(&key_of(agent)).filter(|there| belongs_to(there.as_ref(), agent))
    }

    /// The server's Deployment, as the watch shows it.
    fn deployment(&self, agent: &ObjectKey) -> Option<Arc<Deployment>> {
        self.deployments.get(&ObjectRef::new(&deployment_name(&agent.name)).within(&agent.namespace))
    }

    /// `Some`: this object's name is held by somebody else.
    async fn keep_all(&self, agent: &Agent, server: &ServerObjects) -> Result<Option<String>, kube::Error> {
        for map in &server.config_maps {
            if let Kept::Taken(name) = keep(&self.client, agent, map, false).await? {
                return Ok(Some(name));
            }
        }
        if let Kept::Taken(name) = keep(&self.client, agent, &server.service, true).await? {
            return Ok(Some(name));
        }
        if let Kept::Taken(name) = keep(&self.client, agent, &server.network_policy, true).await? {
            return Ok(Some(name));
        }
        match keep(&self.client, agent, &server.deployment, true).await? {
            Kept::Taken(name) => Ok(Some(name)),
            Kept::AsPlanned => Ok(None),
        }
    }

    /// ConfigMaps of the plan before; a Pod that runs has read them already.
    async fn drop_old_config_maps(
        &self,
        agent: &Agent,
        before: Option<&Deployment>,
        server: &ServerObjects,
    ) -> Result<(), kube::Error> {
        let now: BTreeSet<String> = server.config_maps.iter().map(ResourceExt::name_any).collect();
        for name in before.map(objects::config_maps_of).unwrap_or_default() {
            if !now.contains(&name) {
                remove::<ConfigMap>(&self.client, agent, &name).await?;
            }
        }
        Ok(())
    }

    /// `serverConfig` is gone: so is the server.
    async fn remove(&self, agent: &Agent) -> Result<(), LookError> {
        let key = key_of(agent);
        let (name, deployment) = (deployment_name(&key.name), self.deployment(&key));
        // the Deployment alone knows their names, and goes after them; its Pods have read them already
        for name in deployment.as_deref().map(objects::config_maps_of).unwrap_or_default() {
            remove::<ConfigMap>(&self.client, agent, &name).await?;
        }
        remove::<Deployment>(&self.client, agent, &name).await?;
        remove::<Service>(&self.client, agent, &key.name).await?;
        remove::<NetworkPolicy>(&self.client, agent, &name).await?;
        self.write(agent, &ServerState::none()).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the only writer of serverStatus and the Agent's conditions"
    )]
    async fn write(&self, agent: &Agent, state: &ServerState) -> Result<(), LookError> {
        let status = agent.status.clone().unwrap_or_default();
        let Some(patch) = state.patch(&status, agent.metadata.generation, jiff::Timestamp::now()) else {
            return Ok(());
        };
        let key = key_of(agent);
        let patch = json!({"metadata": {"uid": agent.uid()}, "status": patch});
        let api = Api::<Agent>::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What of a failed look is for the user: reason and message of ServerReady.
fn told(error: &LookError) -> Option<(Reason, String)> {
    match error {
        LookError::Refused(refusal) => Some((refusal.reason, refusal.message.clone())),
        LookError::NameTaken(taken) => {
            let message = format!(
                "{taken} exists and does not belong to this Agent; it is left alone: rename the Agent, or remove that object"
            );
            Some((Reason::NameConflict, message))
        }
        LookError::Api(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            let message = format!("the API server refused an object of the server: {}", status.message);
            Some((Reason::DeploymentNotReady, message))
        }
        LookError::Api(_) => None,
    }
}

/// Name of an Agent's Deployment and NetworkPolicy; the Service has the Agent's own.
fn deployment_name(agent: &str) -> String {
    format!("{agent}-server")
}

/// The Agent that a Deployment of a server belongs to.
pub(crate) fn agent_of(deployment: &Deployment) -> Option<ObjectKey> {
    let agent = deployment.labels().get(AGENT_LABEL)?;
    let owner = deployment.owner_references().iter().find(|owner| owner.kind == "Agent");
    let name = owner.map_or(agent, |owner| &owner.name);
    Some(ObjectKey::new(deployment.namespace()?, name.clone()))
}
