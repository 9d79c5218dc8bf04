//! The Tasks of `kubeopencode.io`.

use kubeopencode_api::group::Group;
use kubeopencode_api::names::AgentKey;
use kubeopencode_api::task::Task;
use kubeopencode_plan::frontend::kubeopencode::{self as plan, spec_agent};
use kubeopencode_plan::{Refusal, Run, Settings};

use super::{Frontend, Unresolved};
use crate::cache::Caches;
use crate::cache::task_view::TaskRef;

/// The first group.
pub(crate) struct KubeOpenCode;

impl Frontend for KubeOpenCode {
    const GROUP: Group = Group::KubeOpenCode;

    type Object = Task;

    fn task_ref(task: &Task) -> TaskRef<'_> {
        let annotations = task.metadata.annotations.as_ref();
        let is_true =
            |key: &&str| annotations.and_then(|all| all.get(*key)).is_some_and(|value| value == "true");
        TaskRef {
            group: Self::GROUP,
            metadata: &task.metadata,
            status: task.status.as_ref(),
            stop: Self::GROUP.names().stop_annotations.iter().any(is_true),
            timeout: task.spec.timeout.as_deref(),
        }
    }

    fn slim(task: &mut Task) {
        task.spec.description = None;
        task.spec.contexts = Vec::new();
    }

    fn spec_agent(task: &Task) -> Result<AgentKey, Refusal> {
        spec_agent(task)
    }

    fn resolve(task: &Task, caches: &Caches, settings: &Settings) -> Result<Run, Unresolved> {
        let key = spec_agent(task).map_err(Unresolved::Refused)?;
        let Some(agent) = caches.agent(&key) else {
            let refusal = Refusal::agent_not_found(&key);
            return Err(Unresolved::Missing(match caches.broken_agent(&key) {
                Some(error) => {
                    Refusal { message: format!("agent \"{}\" cannot be read: {error}", key.name), ..refusal }
                }
                None => refusal,
            }));
        };
        plan::task(task, &agent, settings).map_err(Unresolved::Refused)
    }
}
