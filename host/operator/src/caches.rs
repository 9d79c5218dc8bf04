//! What the watches show: Tasks, Agents, settings and Pods, as far as a decision may look at them.

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::{KubeOpenCodeConfig, KubeOpenCodeConfigSpec};
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::task::Task;
use kubeopencode_plan::Settings;

use crate::pods::Pods;

/// Namespace and name of an object.
pub fn key_of(object: &impl ResourceExt) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// A Task as the watch shows it; one that cannot be read does not wedge the others.
pub type GuardedTask = DeserializeGuard<Task>;

/// What the watches show.
#[derive(Debug)]
pub struct Caches {
    /// Tasks.
    pub tasks: Store<GuardedTask>,
    /// Agents.
    pub agents: Store<DeserializeGuard<Agent>>,
    /// Settings.
    pub configs: Store<DeserializeGuard<KubeOpenCodeConfig>>,
    /// Pods of Tasks.
    pub pods: Pods,
    /// Namespace whose settings hold for everybody.
    pub operator_namespace: String,
}

impl Caches {
    /// Looks at a Task that can be read.
    pub fn task<R>(&self, key: &ObjectKey, look: impl FnOnce(&Task) -> R) -> Option<R> {
        let guarded = self.tasks.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        guarded.0.as_ref().ok().map(look)
    }

    /// An Agent that can be read.
    pub fn agent(&self, key: &ObjectKey) -> Option<Agent> {
        let guarded = self.agents.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        guarded.0.as_ref().ok().cloned()
    }

    /// Why an Agent cannot be read, where there is one that cannot.
    pub fn broken_agent(&self, key: &ObjectKey) -> Option<String> {
        let guarded = self.agents.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        guarded.0.as_ref().err().map(|invalid| invalid.error.clone())
    }

    /// The settings of a Task in one namespace whose Pod runs in another.
    pub fn settings(&self, task_namespace: &str, pod_namespace: &str) -> Settings {
        let [task, pod, operator] =
            [task_namespace, pod_namespace, &self.operator_namespace].map(|namespace| self.config(namespace));
        Settings::resolve(task.as_ref(), pod.as_ref(), operator.as_ref())
    }

    fn config(&self, namespace: &str) -> Option<KubeOpenCodeConfigSpec> {
        let guarded = self.configs.get(&ObjectRef::new(DEFAULT_NAME).within(namespace))?;
        guarded.0.as_ref().ok().map(|config| config.spec.clone())
    }
}
