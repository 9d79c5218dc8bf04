//! How the Tasks of an API group come in: the only modules that know a spec of a Task. Everything behind them works on
//! [`TaskRef`] and on what [`Frontend::resolve`] gives.

mod kubeopencode;
mod live;

use kube::core::NamespaceResourceScope;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::AgentKey;
use kubeopencode_plan::{Refusal, Run, Settings};

use crate::cache::Caches;
use crate::cache::item::{Item, Kind};
use crate::cache::task_view::TaskRef;

pub(crate) use kubeopencode::KubeOpenCode;
pub(crate) use live::{live_task, whole_task};

/// The Tasks of one API group.
pub(crate) trait Frontend: Send + Sync + 'static {
    /// The group.
    const GROUP: Group;

    /// Its Task.
    type Object: Kind<Scope = NamespaceResourceScope> + Send + Sync + 'static;

    /// What the shared stages see of it; `None`: its status cannot be read.
    fn task_ref(task: &Item<Self::Object>) -> Option<TaskRef<'_>>;

    /// Drops what only the launch needs: contexts, prompt, labels.
    fn slim(task: &mut Item<Self::Object>);

    /// The Agent that the Task names, whose limits hold for it.
    ///
    /// # Errors
    /// What of it cannot be read, or cannot be the name of an Agent.
    fn spec_agent(task: &Item<Self::Object>) -> Result<AgentKey, Refusal>;

    /// What the container `agent` of a Pod of this Agent may run now; `None`: the Agent is not there.
    fn agent_images(caches: &Caches, agent: &AgentKey, settings: &Settings) -> Option<[String; 2]>;

    /// Reads and checks all that the Task's Pod is planned from.
    ///
    /// # Errors
    /// See [`Unresolved`].
    fn resolve(task: &Item<Self::Object>, caches: &Caches, settings: &Settings) -> Result<Run, Unresolved>;
}

/// Why there is nothing to evaluate.
#[derive(Debug)]
pub(crate) enum Unresolved {
    /// The Task can never run as it is.
    Refused(Refusal),
    /// Something is missing that may still come.
    Missing(Refusal),
}
