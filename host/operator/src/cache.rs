//! What the watches showed, and what we wrote ourselves that they do not show yet. Never calls the API server, never
//! decides.

pub(crate) mod changed;
pub(crate) mod item;
pub(crate) mod listed;
mod metadata;
pub(crate) mod pending_writes;
pub(crate) mod pod_places;
pub(crate) mod pod_view;
pub(crate) mod pods;
pub(crate) mod recent;
pub(crate) mod task_view;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::reflector::{ObjectRef, Store};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task as KubeTask;
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_api::names::{AgentKey, ObjectKey, TaskKey, TaskUid};
use kubeopencode_api::task::Task;
use kubeopencode_plan::{Layer, Settings};

use item::{Item, Kind};
use listed::Cached;
use pods::Pods;
use recent::Recent;

/// What the watches show.
#[derive(Debug)]
pub(crate) struct Caches {
    /// Tasks of `kubeopencode.io`.
    pub(crate) tasks: Cached<Item<Task>>,
    /// Agents, the large ones as far as decisions look at them.
    pub(crate) agents: Cached<Item<Agent>>,
    /// The large ones that were read last.
    pub(crate) recent_agents: Recent<Agent>,
    /// Settings.
    pub(crate) configs: Cached<Item<KubeOpenCodeConfig>>,
    /// Deployments of servers.
    pub(crate) deployments: Cached<Deployment>,
    /// What there is of `kubetask.io`: nothing where the operator does without that group.
    pub(crate) kubetask: KubeTaskCaches,
    /// Pods of Tasks of both groups.
    pub(crate) pods: Pods,
    /// Namespace whose settings hold for everybody.
    pub(crate) operator_namespace: String,
    /// Where the watches look; none: everywhere.
    pub(crate) namespaces: Vec<String>,
    /// Domain of the cluster's Services.
    pub(crate) cluster_domain: String,
}

/// What the watches show of `kubetask.io`.
#[derive(Debug)]
pub(crate) struct KubeTaskCaches {
    /// Tasks.
    pub(crate) tasks: Cached<Item<KubeTask>>,
    /// Batches, the large ones without their contexts.
    pub(crate) batches: Cached<Item<Batch>>,
    /// The large ones that were read last.
    pub(crate) recent_batches: Recent<Batch>,
    /// WorkspaceConfigs, the large ones without what only a launch looks at.
    pub(crate) workspaces: Cached<Item<WorkspaceConfig>>,
    /// The large ones that were read last.
    pub(crate) recent_workspaces: Recent<WorkspaceConfig>,
}

impl KubeTaskCaches {
    /// A Batch, also one that cannot be read.
    pub(crate) fn batch(&self, key: &ObjectKey) -> Option<Arc<Item<Batch>>> {
        self.batches.get(&ObjectRef::new(&key.name).within(&key.namespace))
    }

    /// A WorkspaceConfig, also one that cannot be read.
    pub(crate) fn workspace(&self, key: &ObjectKey) -> Option<Arc<Item<WorkspaceConfig>>> {
        self.workspaces.get(&ObjectRef::new(&key.name).within(&key.namespace))
    }
}

impl Caches {
    /// The UID of the Task of this group, namespace and name.
    pub(crate) fn task_uid(&self, key: &TaskKey) -> Option<TaskUid> {
        fn uid<K: Kind>(tasks: &Store<Item<K>>, key: &TaskKey) -> Option<TaskUid> {
            let task = tasks.get(&ObjectRef::new(&key.name).within(&key.namespace));
            task.map(|task| TaskUid::of(task.as_ref()))
        }
        match key.group {
            Group::KubeOpenCode => uid(&self.tasks, key),
            Group::KubeTask => uid(&self.kubetask.tasks, key),
        }
    }

    /// Whether the first list of the group's Tasks is complete.
    pub(crate) fn has_tasks_of(&self, group: Group) -> bool {
        match group {
            Group::KubeOpenCode => self.tasks.is_listed(),
            Group::KubeTask => self.kubetask.tasks.is_listed(),
        }
    }

    /// An Agent, also one that cannot be read.
    pub(crate) fn agent(&self, key: &AgentKey) -> Option<Arc<Item<Agent>>> {
        self.agents.get(&ObjectRef::new(&key.name).within(&key.namespace))
    }

    /// Whether an Agent that can be read has limits.
    pub(crate) fn is_limited(&self, key: &AgentKey) -> bool {
        self.of_agent(key, |agent| agent.spec.is_limited()) == Some(true)
    }

    /// What `read` says of an Agent that can be read: its ledger may be large, and is not copied.
    pub(crate) fn of_agent<R>(&self, key: &AgentKey, read: impl FnOnce(&Agent) -> R) -> Option<R> {
        self.agent(key)?.get().ok().map(read)
    }

    /// `spec.timeout` of an Agent that can be read.
    pub(crate) fn agent_timeout(&self, key: &AgentKey) -> Option<String> {
        self.of_agent(key, |agent| agent.spec.timeout.clone())?
    }

    /// Whether the watches show what is in a namespace.
    pub(crate) fn show(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|shown| shown == namespace)
    }

    /// Whether there is such an Agent, also one that cannot be read.
    pub(crate) fn has_agent(&self, key: &AgentKey) -> bool {
        self.agent(key).is_some()
    }

    /// Agents with a limit.
    pub(crate) fn limited_agents(&self) -> Vec<AgentKey> {
        let agents = self.agents.state();
        let readable = agents.iter().filter_map(|agent| agent.get().ok());
        readable.filter(|agent| agent.spec.is_limited()).map(AgentKey::of).collect()
    }

    /// The settings of a Task in one namespace whose Pod runs in another.
    pub(crate) fn settings(&self, task_namespace: &str, pod_namespace: &str) -> Settings {
        let [task, pod, operator] =
            [task_namespace, pod_namespace, &self.operator_namespace].map(|namespace| self.config(namespace));
        let [task, pod, operator] =
            [&task, &pod, &operator].map(|config| match config.as_deref().map(Item::get) {
                None => Layer::Absent,
                Some(Ok(config)) => Layer::Read(&config.spec),
                Some(Err(_)) => Layer::Unreadable,
            });
        Settings::resolve(task, pod, operator).in_cluster_of(&self.cluster_domain)
    }

    fn config(&self, namespace: &str) -> Option<Arc<Item<KubeOpenCodeConfig>>> {
        self.configs.get(&ObjectRef::new(DEFAULT_NAME).within(namespace))
    }
}
