//! The Tasks of `kubeopencode.io`.

use kube::Resource;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::AgentKey;
use kubeopencode_api::task::Task;
use kubeopencode_plan::frontend::kubeopencode::{self as plan, spec_agent};
use kubeopencode_plan::{Refusal, Run, Settings};
use serde_json::Value;

use super::{Frontend, Unresolved};
use crate::cache::Caches;
use crate::cache::item::Item;
use crate::cache::task_view::{TaskRef, stop_annotations};

/// The first group.
pub(crate) struct KubeOpenCode;

impl Frontend for KubeOpenCode {
    const GROUP: Group = Group::KubeOpenCode;

    type Object = Task;

    fn task_ref(task: &Item<Task>) -> Option<TaskRef<'_>> {
        Some(TaskRef {
            group: Self::GROUP,
            metadata: task.meta(),
            status: task.status().ok()?,
            stop: stop_annotations(Self::GROUP, task.meta()).any(|(_, value)| value == "true"),
            timeout: task.get().ok().and_then(|task| task.spec.timeout.as_deref()),
        })
    }

    fn slim(task: &mut Item<Task>) {
        task.slim(|task| {
            task.spec.description = None;
            task.spec.contexts = Vec::new();
            // what it has beside name and namespace makes the Task invalid, which the launch says
            if let Some(Value::Object(agent)) = &mut task.spec.agent_ref {
                agent.retain(|key, _| key == "name" || key == "namespace");
            }
        });
    }

    fn spec_agent(task: &Item<Task>) -> Result<AgentKey, Refusal> {
        spec_agent(readable(task)?)
    }

    fn agent_images(caches: &Caches, agent: &AgentKey, settings: &Settings) -> Option<[String; 2]> {
        caches.agent(agent).map(|agent| plan::agent_images(&agent, settings))
    }

    fn resolve(task: &Item<Task>, caches: &Caches, settings: &Settings) -> Result<Run, Unresolved> {
        let task = readable(task).map_err(Unresolved::Refused)?;
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

fn readable(task: &Item<Task>) -> Result<&Task, Refusal> {
    task.get().map_err(|unreadable| Refusal::invalid_config(unreadable.to_string()))
}
