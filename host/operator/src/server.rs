//! What an Agent says of itself (`Accepted`), and the servers of server-mode Agents: a Deployment, a Service, a NetworkPolicy
//! and the ConfigMaps with their contexts.
//!
//! What they are is decided by `plan::build_server`; here they are made, kept as planned, and removed when `serverConfig`
//! goes. An object of that name that does not belong to the Agent is never touched. The status that they have is
//! written to the Agent: `serverStatus` and the conditions `ServerReady` and `ServerHealthy`.

mod objects;
pub(crate) mod status;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::{AgentCondition, Reason, find};
use kubeopencode_api::literals::{AGENT_LABEL, PLAN_ANNOTATION};
use kubeopencode_api::names::AgentKey;
use kubeopencode_api::plugin::Kind;
use kubeopencode_evaluate::{Catalog, EvaluateError, Held, PlannedServer, evaluate, evaluate_server};
use kubeopencode_plan::{Refusal, ServerObjects, frontend};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::cache::Caches;
use crate::cache::item::Item;
use crate::frontend::whole_agent;
use crate::runtime::api_error::{is_conflict, is_not_found, words};
use crate::runtime::backoff::Failures;
use crate::runtime::config_maps::LiveConfigMaps;
use crate::runtime::keyed_queue::run_keyed;
use crate::runtime::metrics::Metrics;
use objects::{Applied, apply, get_own, is_owned_by, remove};
use status::{Accepted, ServerState};

/// Labels of the Deployments of all servers.
pub(crate) const SERVER_SELECTOR: &str =
    "app.kubernetes.io/name=kubeopencode-server,app.kubernetes.io/managed-by=kubeopencode";
/// Servers that are reconciled at the same time.
const CONCURRENCY: usize = 8;
/// How often all Agents are reconciled without a cause: the content of ConfigMaps is not watched.
const RESYNC: Duration = Duration::from_secs(600);
/// Pauses before a failed reconciliation is repeated: the first, and the longest.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest before a busy plugin, or memory, is asked for again, as for Tasks.
const MAX_BUSY_PAUSE: Duration = Duration::from_secs(15);

/// Why a server could not be brought up to date.
#[derive(Debug, thiserror::Error)]
enum ServerError {
    /// The Agent makes no sense, by itself or as a server, or something that it names is missing.
    #[error("{0}")]
    Refused(Refusal),
    /// A plugin that it needs answers others or is on its way, or others have the memory.
    #[error("{0}")]
    Busy(EvaluateError<kube::Error>),
    /// Kind and name of an object that somebody else has.
    #[error("{0} does not belong to the Agent")]
    NameTaken(String),
    /// The API server did not answer, or refused.
    #[error("{}", words(.0))]
    Api(#[from] kube::Error),
}

impl From<EvaluateError<kube::Error>> for ServerError {
    fn from(error: EvaluateError<kube::Error>) -> Self {
        match error {
            EvaluateError::Refused(refusal)
            | EvaluateError::Missing(refusal)
            | EvaluateError::NoPlugin { refusal, .. } => Self::Refused(refusal),
            EvaluateError::Busy(_) | EvaluateError::NoMemory | EvaluateError::NotYet(_) => Self::Busy(error),
            EvaluateError::Read(error) => Self::Api(error),
        }
    }
}

/// Keeps what Agents say of themselves, and their servers.
pub(crate) struct Servers {
    /// The API.
    pub(crate) client: Client,
    /// ConfigMaps that plugins ask for.
    pub(crate) config_maps: Arc<LiveConfigMaps>,
    /// The plugins.
    pub(crate) catalog: Arc<Catalog>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// What the watches show.
    pub(crate) caches: Arc<Caches>,
    /// Failures in a row, by Agent.
    pub(crate) failures: Failures<AgentKey>,
}

impl Servers {
    /// Reconciles the Agents in the queue and their servers, and all of them now and then, until it is dropped.
    pub(crate) async fn run(&self, queue: UnboundedReceiver<AgentKey>) {
        run_keyed(
            queue,
            RESYNC,
            CONCURRENCY,
            |_| false,
            |agent| Some(agent.namespace.as_str()),
            || self.agents_that(|_| true),
            |key| self.reconcile(key),
        )
        .await;
    }

    /// Agents that have a server, or had one.
    pub(crate) fn agents_with_server(&self) -> Vec<AgentKey> {
        self.agents_that(|agent| self.has_or_had_server(agent))
    }

    /// Agents that use a plugin of one of these types; `None`: of any type.
    pub(crate) fn agents_that_use(&self, types: Option<&[(Kind, String)]>) -> Vec<AgentKey> {
        let uses = |agent: &Agent, (kind, name): &(Kind, String)| match kind {
            Kind::ContextType => agent.spec.contexts.iter().any(|item| item.type_ == *name),
            Kind::CommandBuilder => agent.spec.command_builder.as_ref() == Some(name),
        };
        self.agents_that(|agent| types.is_none_or(|types| types.iter().any(|type_| uses(agent, type_))))
    }

    fn agents_that(&self, is_so: impl Fn(&Agent) -> bool) -> Vec<AgentKey> {
        let agents = self.caches.agents.state();
        let agents = agents.iter().filter_map(|agent| agent.get().ok());
        agents.filter(|agent| is_so(agent)).map(AgentKey::of).collect()
    }

    /// One reconciliation; how long until the next, if it failed.
    async fn reconcile(&self, key: AgentKey) -> Option<Duration> {
        let Err(error) = self.look_at(&key).await else {
            self.failures.forget(&key);
            return None;
        };
        let longest = if matches!(error, ServerError::Busy(_)) { MAX_BUSY_PAUSE } else { MAX_PAUSE };
        let pause = self.failures.next(&key).min(longest);
        match error {
            // the Agent says so itself, or others need no word of it
            ServerError::Refused(_)
            | ServerError::Busy(EvaluateError::NotYet(_) | EvaluateError::NoMemory) => {
                tracing::debug!(agent = %key, %error, ?pause, "requeued")
            }
            _ => {
                tracing::warn!(agent = %key, %error, ?pause, "the Agent could not be brought up to date, requeued");
            }
        }
        Some(pause)
    }

    /// Reads the Agent, with the memory that it needs, and brings it up to date.
    async fn look_at(&self, key: &AgentKey) -> Result<(), ServerError> {
        let Some(cached) = self.caches.agent(key) else { return Ok(()) };
        if cached.meta().deletion_timestamp.is_some() {
            // garbage collection takes what it owns
            return Ok(());
        }
        let held = self.catalog.snapshot().hold::<kube::Error>(cached.spec_weight()).await?;
        match self.agent(key).await? {
            Some(agent) => self.bring_up_to_date(&agent, held.as_ref()).await,
            None => Ok(()),
        }
    }

    /// The whole of an Agent that can be read.
    async fn agent(&self, key: &AgentKey) -> Result<Option<Agent>, kube::Error> {
        let Some(cached) = self.caches.agent(key) else { return Ok(None) };
        let whole = whole_agent(&self.client, &self.caches, key).await?;
        let both = whole.as_deref().and_then(|whole| whole.get().ok()).zip(cached.get().ok());
        Ok(both.map(|(whole, cached)| with_newest_status(whole, cached)))
    }

    /// Whether it had one is seen by its status, and by the Deployment where that could not be written.
    fn has_or_had_server(&self, agent: &Agent) -> bool {
        agent.spec.server_config.is_some()
            || agent.status.as_ref().is_some_and(|s| {
                s.server_status.is_some() || find(&s.conditions, AgentCondition::ServerReady).is_some()
            })
            || self.deployment_of(agent).is_some()
    }

    async fn bring_up_to_date(&self, agent: &Agent, held: Option<&Held>) -> Result<(), ServerError> {
        let accepted = self.accept(agent, held).await?;
        if agent.spec.server_config.is_none() {
            if self.has_or_had_server(agent) {
                self.remove(agent).await?;
            }
            self.write(agent, &ServerState::none().accepted(&accepted)).await?;
            // what is missing may come without an event
            return accepted.map(drop).map_err(ServerError::Refused);
        }
        match self.apply(agent, held).await {
            Ok(state) => self.write(agent, &state.accepted(&accepted)).await,
            Err(error) => {
                // what is in the way may go, or come, without an event
                if let Some((reason, message)) = user_facing(&error) {
                    let deployment = self.deployment_of(agent);
                    let state = ServerState::held_up(agent, deployment.as_deref(), reason, message);
                    let accepted = match &error {
                        ServerError::Refused(refusal) => Err(refusal.clone()),
                        _ => accepted,
                    };
                    self.write(agent, &state.accepted(&accepted)).await?;
                }
                Err(error)
            }
        }
    }

    /// Whether a Task of the Agent could be launched, as far as that is the Agent's matter.
    async fn accept(&self, agent: &Agent, held: Option<&Held>) -> Result<Accepted, ServerError> {
        let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
        let settings = self.caches.settings(namespace, namespace);
        let run = match frontend::kubeopencode::agent_alone(agent, &settings) {
            Ok(run) => run,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let snapshot = self.catalog.snapshot();
        let (reads, metrics) = (self.config_maps.as_ref(), self.metrics.as_ref());
        match evaluate(&snapshot, reads, metrics, run, held.cloned()).await.map_err(ServerError::from) {
            Ok(planned) => Ok(Ok(planned.plan.agent_notice)),
            Err(ServerError::Refused(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error),
        }
    }

    /// Makes everything as planned and says how it stands.
    async fn apply(&self, agent: &Agent, held: Option<&Held>) -> Result<ServerState, ServerError> {
        let key = AgentKey::of(agent);
        let settings = self.caches.settings(&key.namespace, &key.namespace);
        let run = frontend::kubeopencode::server(agent, &settings).map_err(ServerError::Refused)?;
        let snapshot = self.catalog.snapshot();
        let (reads, metrics) = (self.config_maps.as_ref(), self.metrics.as_ref());
        let server = evaluate_server(&snapshot, reads, metrics, run, held.cloned()).await;
        let PlannedServer { objects: mut server, held: _held } = server?;
        let before = get_own::<Deployment>(&self.client, agent, &deployment_name(&key.name)).await?;
        let waiting = before.as_ref().is_some_and(|there| server.keep_pod_metadata(there));
        if let Some(taken) = self.apply_all(agent, &server).await? {
            return Err(ServerError::NameTaken(taken));
        }
        self.drop_old_config_maps(agent, before.as_ref(), &server).await?;
        let deployment = self.deployment(&key);
        Ok(ServerState::of(&key, server.url, &server.digest, deployment.as_deref(), waiting))
    }

    /// The Deployment that belongs to this Agent.
    fn deployment_of(&self, agent: &Agent) -> Option<Arc<Deployment>> {
        self.deployment(&AgentKey::of(agent)).filter(|there| is_owned_by(there.as_ref(), agent))
    }

    /// The server's Deployment, as the watch shows it.
    fn deployment(&self, agent: &AgentKey) -> Option<Arc<Deployment>> {
        self.caches.deployments.get(&ObjectRef::new(&deployment_name(&agent.name)).within(&agent.namespace))
    }

    /// `Some`: this object's name is held by somebody else.
    async fn apply_all(&self, agent: &Agent, server: &ServerObjects) -> Result<Option<String>, kube::Error> {
        for map in &server.config_maps {
            if let Applied::Taken(name) = apply(&self.client, agent, map, false).await? {
                return Ok(Some(name));
            }
        }
        if let Applied::Taken(name) = apply(&self.client, agent, &server.service, true).await? {
            return Ok(Some(name));
        }
        if let Applied::Taken(name) = apply(&self.client, agent, &server.network_policy, true).await? {
            return Ok(Some(name));
        }
        match apply(&self.client, agent, &server.deployment, true).await? {
            Applied::Taken(name) => Ok(Some(name)),
            Applied::AsPlanned => Ok(None),
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
    async fn remove(&self, agent: &Agent) -> Result<(), ServerError> {
        let key = AgentKey::of(agent);
        let name = deployment_name(&key.name);
        let deployment = get_own::<Deployment>(&self.client, agent, &name).await?;
        // the Deployment alone knows their names, and goes after them; its Pods have read them already
        for name in deployment.as_ref().map(objects::config_maps_of).unwrap_or_default() {
            remove::<ConfigMap>(&self.client, agent, &name).await?;
        }
        remove::<Deployment>(&self.client, agent, &name).await?;
        remove::<Service>(&self.client, agent, &key.name).await?;
        remove::<NetworkPolicy>(&self.client, agent, &name).await?;
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the only writer of serverStatus and the Agent's conditions"
    )]
    async fn write(&self, agent: &Agent, state: &ServerState) -> Result<(), ServerError> {
        let status = agent.status.clone().unwrap_or_default();
        let Some(patch) = state.patch(&status, agent.metadata.generation, jiff::Timestamp::now()) else {
            return Ok(());
        };
        let key = AgentKey::of(agent);
        let patch = json!({"metadata": {"uid": agent.uid()}, "status": patch});
        let api = Api::<Item<Agent>>::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The Agent with the status that the watch shows: it may have been read a while ago. One with another spec than the watch shows
/// was read just now.
fn with_newest_status(whole: &Agent, cached: &Agent) -> Agent {
    let generation = |agent: &Agent| (agent.metadata.uid.clone(), agent.metadata.generation);
    let newest = if generation(whole) == generation(cached) { cached } else { whole };
    Agent { metadata: newest.metadata.clone(), spec: whole.spec.clone(), status: newest.status.clone() }
}

/// What of a failure is for the user: reason and message of ServerReady.
fn user_facing(error: &ServerError) -> Option<(Reason, String)> {
    match error {
        ServerError::Refused(refusal) => Some((refusal.reason, refusal.message.clone())),
        ServerError::NameTaken(taken) => {
            let message = format!(
                "{taken} exists and does not belong to this Agent; it is left alone: rename the Agent, or remove that object"
            );
            Some((Reason::NameConflict, message))
        }
        ServerError::Api(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            let message = format!("the API server refused an object of the server: {}", status.message);
            Some((Reason::DeploymentNotReady, message))
        }
        ServerError::Api(_) | ServerError::Busy(_) => None,
    }
}

/// Name of an Agent's Deployment and NetworkPolicy; the Service has the Agent's own.
fn deployment_name(agent: &str) -> String {
    format!("{agent}-server")
}

/// Drops what nobody here looks at, and what whoever may label a Deployment can make as large as the API server takes it.
pub(crate) fn slim_deployment(deployment: &mut Deployment) {
    deployment.spec = None;
    let metadata = &mut deployment.metadata;
    (metadata.managed_fields, metadata.finalizers) = (None, None);
    let owners = metadata.owner_references.iter_mut();
    owners.for_each(|owners| owners.retain(|owner| owner.controller == Some(true)));
    for (map, ours) in [(&mut metadata.labels, AGENT_LABEL), (&mut metadata.annotations, PLAN_ANNOTATION)] {
        map.iter_mut().for_each(|map| map.retain(|key, _| key == ours));
    }
}

/// The Agent that a Deployment of a server belongs to.
pub(crate) fn server_agent(deployment: &Deployment) -> Option<AgentKey> {
    let agent = deployment.labels().get(AGENT_LABEL)?;
    let owner = deployment.owner_references().iter().find(|owner| owner.kind == "Agent");
    let name = owner.map_or(agent, |owner| &owner.name);
    Some(AgentKey::new(deployment.namespace()?, name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_was_read_a_while_ago_has_the_status_of_now() {
        let agent = |generation: i64, account: &str, running: i64| -> Agent {
            let metadata = json!({"name": "a", "namespace": "n", "uid": "u", "generation": generation});
            let spec = json!({"serviceAccountName": account});
            let status = json!({"running": running});
            serde_json::from_value(json!({
                "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "metadata": metadata, "spec": spec, "status": status,
            }))
            .unwrap()
        };
        let part = agent(2, "", 5);
        assert_eq!(with_newest_status(&agent(2, "whole", 1), &part), agent(2, "whole", 5));
        let newer = agent(3, "newer", 6);
        assert_eq!(with_newest_status(&newer, &part), newer, "the watch is behind");
    }

    #[test]
    fn of_a_deployment_it_is_kept_whose_it_is_and_of_which_plan() {
        let ours = json!({
            "name": "slack-server", "namespace": "team", "uid": "d",
            "labels": {AGENT_LABEL: "slack"}, "annotations": {PLAN_ANNOTATION: "digest"},
            "ownerReferences": [
                {"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "name": "slack", "uid": "a", "controller": true},
            ],
        });
        let mut whole = ours.clone();
        for i in 0..100 {
            let key = format!("example.com/{i}");
            whole["labels"][&key] = json!("x");
            whole["annotations"][&key] = json!("x");
            let owner = json!({"apiVersion": "v1", "kind": "Agent", "name": key, "uid": key});
            whole["ownerReferences"].as_array_mut().unwrap().push(owner);
        }
        whole["finalizers"] = json!(["example.com/a"]);
        whole["managedFields"] = json!([{"manager": "kubectl"}]);
        let mut deployment: Deployment =
            serde_json::from_value(json!({"metadata": whole, "status": {"replicas": 1}})).unwrap();
        slim_deployment(&mut deployment);
        assert_eq!(server_agent(&deployment), Some(AgentKey::new("team", "slack")));
        assert_eq!(json!(deployment.metadata), ours);
        assert_eq!(deployment.status.unwrap().replicas, Some(1), "how it stands");
    }
}
