//! The Tasks of `kubeopencode.io`.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::Client;
use kubeopencode_api::agent::{Agent, AgentSpec};
use kubeopencode_api::context::ContextItem;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{AgentKey, ObjectKey};
use kubeopencode_api::task::Task;
use kubeopencode_plan::frontend::kubeopencode::{self as plan, spec_agent};
use kubeopencode_plan::{Refusal, Run, Settings};
use serde_json::Value;

use super::live::whole_object;
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

    fn weight(task: &Item<Task>, runner: &Runner, caches: &Caches) -> usize {
        let agent = runner.agent().and_then(|agent| caches.agent(agent));
        task.spec_weight() + agent.map_or(0, |agent| agent.spec_weight())
    }

    async fn resolve(
        client: &Client,
        task: &Item<Task>,
        caches: &Caches,
        settings: &Settings,
    ) -> Result<Run, Unresolved> {
        let task = readable(task).map_err(Unresolved::Refused)?;
        let key = spec_agent(task).map_err(Unresolved::Refused)?;
        let agent = whole_agent(client, caches, &key).await.map_err(Unresolved::Unanswered)?;
        match agent.as_deref().map(Item::get) {
            Some(Ok(agent)) => plan::task(task, agent, settings).map_err(Unresolved::Refused),
            Some(Err(unreadable)) => {
                let message = format!("agent \"{}\" cannot be read: {unreadable}", key.name);
                Err(Unresolved::Missing(Refusal { message, ..Refusal::agent_not_found(&key) }))
            }
            None if caches.show(&key.namespace) => Err(Unresolved::Missing(Refusal::agent_not_found(&key))),
            None => Err(Unresolved::Missing(Refusal::agent_not_watched(&key))),
        }
    }
}

/// The whole Agent that the watch shows, also one that cannot be read; `None`: there is none.
///
/// # Errors
/// When it is large, and the API server does not answer.
pub(crate) async fn whole_agent(
    client: &Client,
    caches: &Caches,
    key: &AgentKey,
) -> Result<Option<Arc<Item<Agent>>>, kube::Error> {
    let Some(cached) = caches.agent(key) else { return Ok(None) };
    let object = ObjectKey::new(&*key.namespace, &*key.name);
    whole_object(client, &object, Some(cached), &caches.recent_agents).await
}

/// Of a large Agent it is kept what its limits, its timeout, its images and its server are, and which plugins it needs: the rest
/// only a launch and its server look at.
pub(crate) fn slim_agent(item: &mut Item<Agent>) {
    item.slim_if_large(|agent| {
        let whole = std::mem::take(&mut agent.spec);
        let types: BTreeSet<_> = whole.contexts.into_iter().map(|context| context.type_).collect();
        let of_type = |type_| ContextItem { type_, ..ContextItem::default() };
        agent.spec = AgentSpec {
            agent_image: whole.agent_image,
            executor_image: whole.executor_image,
            attach_image: whole.attach_image,
            command_builder: whole.command_builder,
            contexts: types.into_iter().map(of_type).collect(),
            max_concurrent_tasks: whole.max_concurrent_tasks,
            quota: whole.quota,
            timeout: whole.timeout,
            suspend: whole.suspend,
            server_config: whole.server_config,
            ..AgentSpec::default()
        };
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cache::item::MAX_WHOLE;

    fn kept(spec: &Value, status: &Value) -> Item<Agent> {
        let metadata = json!({
            "name": "a", "namespace": "n", "uid": "u", "generation": 3, "resourceVersion": "7",
            "labels": {"team": "a"}, "finalizers": ["example.com/a"],
        });
        let agent = json!({"metadata": metadata, "spec": spec, "status": status});
        let mut item = serde_json::from_value(agent).unwrap();
        slim_agent(&mut item);
        item
    }

    #[test]
    fn of_a_large_agent_it_is_kept_what_decisions_look_at() {
        let mut expected = json!({
            "agentImage": "agent", "executorImage": "executor", "attachImage": "attach", "commandBuilder": "claude",
            "maxConcurrentTasks": 2, "quota": {"maxTaskStarts": 3, "windowSeconds": 60}, "suspend": true, "timeout": "1h",
            "serverConfig": {"port": 4096, "passwordSecretRef": {"name": "s", "key": "k"}},
        });
        let mut spec = expected.clone();
        spec["serviceAccountName"] = json!("s");
        spec["config"] = json!({"model": "m"});
        spec["contexts"] = json!([
            {"type": "Text", "text": "x".repeat(MAX_WHOLE)}, {"type": "Jira", "config": {"a": 1}}, {"type": "Jira"},
        ]);
        spec["podSpec"] = json!({"env": [{"name": "A", "value": "a"}], "labels": {"team": "a"}});
        let item = kept(&spec, &json!({"running": 1}));
        assert!(!item.is_whole());
        let agent = item.get().unwrap();
        expected["serviceAccountName"] = json!("");
        expected["contexts"] = json!([{"type": "Jira"}, {"type": "Text"}]);
        assert_eq!(json!(agent.spec), expected);
        let metadata =
            json!({"name": "a", "namespace": "n", "uid": "u", "generation": 3, "resourceVersion": "7"});
        assert_eq!(json!(agent.metadata), metadata);
        assert_eq!(agent.status.as_ref().unwrap().running, Some(1), "its ledger is read from here");
    }

    #[test]
    fn an_agent_that_takes_more_memory_than_text_is_large() {
        let volumes = json!([{"name": "v", "projected": {"sources": vec![json!({}); 1_000]}}]);
        let item = kept(&json!({"serviceAccountName": "s", "podSpec": {"volumes": volumes}}), &json!({}));
        assert!(item.bytes() < MAX_WHOLE && !item.is_whole());
        assert_eq!(item.get().unwrap().spec.pod_spec, None);
    }

    #[test]
    fn what_a_large_agent_takes_is_known_before_it_is_read() {
        let with = |tolerations: usize| {
            let scheduling = json!({"tolerations": vec![json!({}); tolerations]});
            let spec = json!({"serviceAccountName": "s", "podSpec": {"scheduling": scheduling}});
            kept(&spec, &json!({"running": 1}))
        };
        let item = with(20_000);
        assert!(item.bytes() < 64_000 && !item.is_whole());
        assert!(item.spec_weight() > 5_000_000, "{}", item.spec_weight());
        let unreadable = with(30_000);
        assert!(unreadable.get().is_err());
        assert_eq!(unreadable.spec_weight(), 0);
    }

    #[test]
    fn who_holds_its_slots_makes_no_agent_large() {
        let entry = |i: usize| json!({"taskUID": format!("uid-{i}"), "taskNamespace": "n", "taskName": "t", "startTime": "2026-01-01T00:00:00Z"});
        let admitted: Vec<_> = (0..100).map(entry).collect();
        let spec = json!({"serviceAccountName": "s", "config": {"model": "m"}});
        let item = kept(&spec, &json!({"admitted": admitted}));
        assert!(item.bytes() > MAX_WHOLE && item.is_whole());
        assert_eq!(json!(item.get().unwrap().spec), spec);
    }
}
