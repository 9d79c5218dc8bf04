//! The Tasks of `kubeopencode.io`.

use kube::Client;
use kubeopencode_api::group::Group;
use kubeopencode_api::task::Task;
use kubeopencode_plan::frontend::kubeopencode::{self as plan, spec_agent};
use kubeopencode_plan::{Refusal, Run, Settings};
use serde_json::Value;

use super::{Frontend, Runner, Unresolved, readable};
use crate::cache::Caches;
use crate::cache::item::Item;
use crate::cache::listed::Cached;

/// The first group.
pub(crate) struct KubeOpenCode;

impl Frontend for KubeOpenCode {
    const GROUP: Group = Group::KubeOpenCode;

    type Object = Task;

    fn tasks(caches: &Caches) -> &Cached<Item<Task>> {
        &caches.tasks
    }

    fn own_timeout(task: &Task) -> Option<&str> {
        task.spec.timeout.as_deref()
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

    fn spec_runner(task: &Item<Task>) -> Result<Runner, Refusal> {
        spec_agent(readable(task)?).map(Runner::Agent)
    }

    fn timeout(runner: Option<&Runner>, caches: &Caches) -> Option<(String, String)> {
        let agent = runner?.agent()?;
        Some((caches.agent_timeout(agent)?, format!("spec.timeout of Agent \"{agent}\"")))
    }

    fn agent_images(caches: &Caches, runner: &Runner, settings: &Settings) -> Option<[String; 2]> {
        caches.of_agent(runner.agent()?, |agent| plan::agent_images(agent, settings))
    }

    async fn resolve(
        _: &Client,
        task: &Item<Task>,
        caches: &Caches,
        settings: &Settings,
    ) -> Result<Run, Unresolved> {
        let task = readable(task).map_err(Unresolved::Refused)?;
        let key = spec_agent(task).map_err(Unresolved::Refused)?;
        if let Some(run) = caches.of_agent(&key, |agent| plan::task(task, agent, settings)) {
            return run.map_err(Unresolved::Refused);
        }
        if !caches.show(&key.namespace) {
            return Err(Unresolved::Missing(Refusal::agent_not_watched(&key)));
        }
        let refusal = Refusal::agent_not_found(&key);
        Err(Unresolved::Missing(match caches.broken_agent(&key) {
            Some(error) => {
                Refusal { message: format!("agent \"{}\" cannot be read: {error}", key.name), ..refusal }
            }
            None => refusal,
        }))
    }
}
