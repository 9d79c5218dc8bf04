//! From a Task that is over to one that does the same.
//!
//! May touch: objects. Must not touch: a client.

use std::collections::BTreeMap;

use kubeopencode_api::literals::GROUP;
use kubeopencode_api::task::Task;

use crate::task::{state, status};

/// kubectl's own note of what was applied, which would make the copy look like a changed original.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A copy: spec, labels and annotations of the user's, and nothing that the operator or another owner wrote.
///
/// # Errors
/// Where the agent may have done its work, unless that is wanted.
pub(crate) fn copy(task: &Task, force: bool) -> Result<Task, String> {
    let key = task.key();
    if !force && !task.is_terminal() {
        return Err(format!(
            "Task {key} is not over ({}): stop it with kubectl kubeopencode stop {}, or copy it all the same with --force",
            state(task),
            key.name
        ));
    }
    if !force && let Some(started) = status(task).agent_started {
        return Err(format!(
            "the agent of Task {key} started at {}, so it may have done its work: look at what it was to make, then copy it with --force",
            started.0
        ));
    }
    let mut copy = Task { spec: task.spec.clone(), ..Task::default() };
    let base = task.metadata.generate_name.clone().unwrap_or_else(|| format!("{}-", key.name));
    copy.metadata.generate_name = Some(base);
    copy.metadata.labels = of_the_user(task.metadata.labels.as_ref());
    copy.metadata.annotations = of_the_user(task.metadata.annotations.as_ref());
    Ok(copy)
}

fn of_the_user(keys: Option<&BTreeMap<String, String>>) -> Option<BTreeMap<String, String>> {
    let is_ours = |key: &str| key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    let kept = keys?.iter().filter(|(key, _)| !is_ours(key) && *key != LAST_APPLIED);
    let kept: BTreeMap<_, _> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::tests::task;

    #[test]
    fn a_copy_has_what_the_user_wrote_and_nothing_else() {
        let mut old = task(json!({"phase": "Failed", "reason": "AgentError"}));
        old.metadata = serde_json::from_value(json!({
            "name": "fix", "namespace": "team", "uid": "u-1", "resourceVersion": "7",
            "finalizers": ["kubeopencode.io/task-cleanup"],
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "u-2"}],
            "labels": {"kubeopencode.io/agent": "default", "team": "a"},
            "annotations": {"kubeopencode.io/stop": "true", "kubeopencode.io/made-in": "platform=1", LAST_APPLIED: "{}",
                "kubeopencode.iox/mine": "b"},
        }))
        .unwrap();
        let copied = copy(&old, false).unwrap();
        let expected = json!({
            "generateName": "fix-", "labels": {"team": "a"}, "annotations": {"kubeopencode.iox/mine": "b"},
        });
        assert_eq!(serde_json::to_value(&copied.metadata).unwrap(), expected);
        assert_eq!((copied.spec, copied.status), (old.spec.clone(), None));
        old.metadata.generate_name = Some("run-".to_owned());
        assert_eq!(copy(&old, false).unwrap().metadata.generate_name.as_deref(), Some("run-"));
    }

    #[test]
    fn a_task_that_may_have_done_its_work_is_copied_by_force_alone() {
        let ran =
            task(json!({"phase": "Failed", "reason": "PodFailed", "agentStarted": "2026-11-27T10:00:01Z"}));
        let waits = task(
            json!({"phase": "Queued", "reason": "AgentAtCapacity", "message": "Waiting", "queuePosition": 1}),
        );
        let words = [&ran, &waits].map(|task| copy(task, false).unwrap_err());
        insta::assert_snapshot!(words.join("\n"));
        assert!(copy(&ran, true).is_ok() && copy(&waits, true).is_ok());
    }
}
