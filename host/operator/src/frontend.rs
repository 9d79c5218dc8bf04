//! How the Tasks of an API group come in: the only modules that know a spec of a Task. Everything behind them works on
//! [`TaskRef`] and on what [`Frontend::resolve`] gives.

mod kubeopencode;

use kube::Resource;
use kube::core::DeserializeGuard;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::AgentKey;
use kubeopencode_plan::{Refusal, Run, Settings};
use serde::de::DeserializeOwned;

use crate::cache::Caches;
use crate::cache::task_view::TaskRef;

pub(crate) use kubeopencode::KubeOpenCode;

/// A Task of a group as the watch shows it; one that cannot be read is no error of the list that it stands in.
pub(crate) type Guarded<F> = DeserializeGuard<<F as Frontend>::Object>;

/// The Tasks of one API group.
pub(crate) trait Frontend: Send + Sync + 'static {
    /// The group.
    const GROUP: Group;

    /// Its Task.
    type Object: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static;

    /// What the shared stages see of it.
    fn task_ref(task: &Self::Object) -> TaskRef<'_>;

    /// Drops what nobody needs any more once the Task was launched.
    fn slim(task: &mut Self::Object);

    /// The Agent that the Task names, whose limits hold for it.
    ///
    /// # Errors
    /// What cannot be the name of an Agent.
    fn spec_agent(task: &Self::Object) -> Result<AgentKey, Refusal>;

    /// Reads and checks all that the Task's Pod is planned from.
    ///
    /// # Errors
    /// See [`Unresolved`].
    fn resolve(task: &Self::Object, caches: &Caches, settings: &Settings) -> Result<Run, Unresolved>;
}

/// Why there is nothing to evaluate.
#[derive(Debug)]
pub(crate) enum Unresolved {
    /// The Task can never run as it is.
    Refused(Refusal),
    /// Something is missing that may still come.
    Missing(Refusal),
}
