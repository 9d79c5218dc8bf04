//! What the watches showed, and what we wrote ourselves that they do not show yet. Never calls the API server, never
//! decides.

pub(crate) mod pending_writes;
pub(crate) mod pod_view;
pub(crate) mod pods;
pub(crate) mod task_view;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::{KubeOpenCodeConfig, KubeOpenCodeConfigSpec};
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::task::Task;
use kubeopencode_plan::Settings;

use pods::Pods;

/// A Task as the watch shows it; one that cannot be read does not wedge the others.
pub(crate) type GuardedTask = DeserializeGuard<Task>;

/// `metadata.uid` of a Task, also of one that cannot be read.
pub(crate) fn task_uid(task: &GuardedTask) -> TaskUid {
    TaskUid(task.uid().unwrap_or_default())
}

/// What the watches show.
#[derive(Debug)]
pub(crate) struct Caches {
    /// Tasks.
    pub(crate) tasks: Store<GuardedTask>,
    /// Agents.
    pub(crate) agents: Store<DeserializeGuard<Agent>>,
    /// Settings.
    pub(crate) configs: Store<DeserializeGuard<KubeOpenCodeConfig>>,
    /// Deployments of servers.
    pub(crate) deployments: Store<Deployment>,
    /// Pods of Tasks.
    pub(crate) pods: Pods,
    /// Namespace whose settings hold for everybody.
    pub(crate) operator_namespace: String,
}

impl Caches {
    /// What `read` says of a Task that can be read.
    pub(crate) fn task<R>(&self, key: &TaskKey, read: impl FnOnce(&Task) -> R) -> Option<R> {
        let guarded = self.tasks.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        guarded.0.as_ref().ok().map(read)
    }

    /// An Agent that can be read.
    pub(crate) fn agent(&self, key: &AgentKey) -> Option<Agent> {
        let guarded = self.agents.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        guarded.0.as_ref().ok().cloned()
    }

    /// Agents with a limit.
    pub(crate) fn limited_agents(&self) -> Vec<AgentKey> {
        let agents = self.agents.state();
        let readable = agents.iter().filter_map(|guarded| guarded.0.as_ref().ok());
        readable.filter(|agent| agent.spec.is_limited()).map(AgentKey::of).collect()
    }

    /// Why an Agent cannot be read, where there is one that cannot.
    pub(crate) fn broken_agent(&self, key: &AgentKey) -> Option<String> {
        let guarded = self.agents.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        guarded.0.as_ref().err().map(|invalid| invalid.error.clone())
    }

    /// The settings of a Task in one namespace whose Pod runs in another.
    pub(crate) fn settings(&self, task_namespace: &str, pod_namespace: &str) -> Settings {
        let [task, pod, operator] =
            [task_namespace, pod_namespace, &self.operator_namespace].map(|namespace| self.config(namespace));
        Settings::resolve(task.as_ref(), pod.as_ref(), operator.as_ref())
    }

    fn config(&self, namespace: &str) -> Option<KubeOpenCodeConfigSpec> {
        let guarded = self.configs.get(&ObjectRef::new(DEFAULT_NAME).within(namespace))?;
        guarded.0.as_ref().ok().map(|config| config.spec.clone())
    }
}
