//! What else is in a cluster: users, the scheduler and the kubelet.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

use kubeopencode_api::literals::{LAUNCH_GATE, STOP_ANNOTATION, TASK_UID_LABEL};
use kubeopencode_tests::record::{History as Record, Kind};
use serde_json::{Value, json};

use crate::api::{ApiServer, Id};

const TEAM: &str = "team";
const PLATFORM: &str = "platform";

/// The Tasks that there may be, each with its Agent: one with a limit in its own namespace (three times), one without,
/// one with a limit in another namespace (twice).
pub(crate) const NAMES: [(&str, &str, &str); 6] = [
    ("fix", TEAM, "limited"),
    ("test", TEAM, "limited"),
    ("review", TEAM, "limited"),
    ("free", TEAM, "free"),
    ("far", PLATFORM, "shared"),
    ("away", PLATFORM, "shared"),
];

fn id(plural: &str, namespace: &str, name: &str) -> Id {
    (plural.to_owned(), namespace.to_owned(), name.to_owned())
}

pub(crate) fn prepare(api: &mut ApiServer, limit: usize) {
    for (namespace, name, limit) in [(TEAM, "limited", limit), (TEAM, "free", 0), (PLATFORM, "shared", limit)]
    {
        let agent = json!({
            "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "metadata": {"name": name},
            "spec": {
                "serviceAccountName": "agent", "maxConcurrentTasks": limit, "allowedNamespaces": [TEAM, PLATFORM],
                "contexts": [],
            },
        });
        api.create("agents", namespace, agent).unwrap();
    }
}

/// A Task that is there already stays as it is.
pub(crate) fn create_task(api: &mut ApiServer, which: usize) {
    let (name, namespace, agent) = NAMES[which];
    let task = json!({
        "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task", "metadata": {"name": name},
        "spec": {"description": "d", "agentRef": {"name": agent, "namespace": namespace}},
    });
    api.create("tasks", TEAM, task).ok();
}

pub(crate) fn delete_task(api: &mut ApiServer, which: usize) {
    api.delete(&id("tasks", TEAM, NAMES[which].0), &Value::Null).ok();
}

pub(crate) fn stop_task(api: &mut ApiServer, which: usize) {
    let stop = json!({"metadata": {"annotations": {STOP_ANNOTATION: "true"}}});
    api.patch(&id("tasks", TEAM, NAMES[which].0), "", &stop).ok();
}

pub(crate) fn pods(api: &ApiServer) -> Vec<Id> {
    api.objects.keys().filter(|(plural, ..)| plural == "pods").cloned().collect()
}

/// One step of a Pod; whether there was one.
pub(crate) fn kubelet(api: &mut ApiServer, id: &Id, ends_well: bool) -> bool {
    let Some(pod) = api.objects.get(id) else { return false };
    let is_gated = pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
    let is_over = ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == **phase);
    let is_deleted = !pod["metadata"]["deletionTimestamp"].is_null();
    let (phase, code) = match (is_gated, is_over, is_deleted) {
        (true, ..) => return false,
        (_, true, true) => {
            api.delete(id, &json!({"gracePeriodSeconds": 0})).unwrap();
            return true;
        }
        (_, true, false) => return false,
        (_, false, true) => ("Failed", Some(143)),
        _ if pod["spec"]["nodeName"].is_null() => {
            api.patch(id, "", &json!({"spec": {"nodeName": "node"}})).unwrap();
            ("Running", None)
        }
        _ if ends_well => ("Succeeded", Some(0)),
        _ => ("Failed", Some(3)),
    };
    let now = jiff::Timestamp::now();
    let state = match code {
        None => json!({"running": {"startedAt": now}}),
        Some(code) => json!({"terminated": {"exitCode": code, "startedAt": now, "finishedAt": now}}),
    };
    let agent = json!({"name": "agent", "image": "", "imageID": "", "ready": code.is_none(), "restartCount": 0, "state": state});
    let status = json!({"status": {"phase": phase, "containerStatuses": [agent]}});
    api.patch(id, "status", &status).unwrap();
    true
}

/// A step of every Pod; whether there was any.
pub(crate) fn kubelet_round(api: &mut ApiServer) -> bool {
    pods(api).iter().fold(false, |happened, pod| kubelet(api, pod, true) | happened)
}

/// Whether nothing is left to do: all Tasks are over, nobody holds a slot, nothing is left of Tasks that are gone.
pub(crate) fn is_over(api: &ApiServer) -> bool {
    let tasks: HashSet<_> = objects(api, "tasks").map(|task| task["metadata"]["uid"].as_str()).collect();
    let is_needed = |object: &Value| tasks.contains(&object["metadata"]["labels"][TASK_UID_LABEL].as_str());
    objects(api, "tasks").all(|task| {
        let is_terminal = ["Completed", "Failed"].iter().any(|phase| task["status"]["phase"] == **phase);
        is_terminal && task["metadata"]["deletionTimestamp"].is_null()
    }) && objects(api, "agents").all(|agent| agent["status"]["admitted"].as_array().is_none_or(Vec::is_empty))
        && objects(api, "pods")
            .all(|pod| is_needed(pod) && pod["spec"]["schedulingGates"][0]["name"] != LAUNCH_GATE)
        && objects(api, "configmaps").all(is_needed)
}

fn objects<'a>(api: &'a ApiServer, plural: &str) -> impl Iterator<Item = &'a Value> {
    api.objects.iter().filter(move |((of, ..), _)| of == plural).map(|(_, object)| object)
}

/// Tasks that ended otherwise than their Pod did. Nobody but the operator deletes Pods here, and nothing is refused.
pub(crate) fn untrue_ends(record: &Record) -> Vec<String> {
    let (well, badly) = (ended(record, "Succeeded"), ended(record, "Failed"));
    let mut found = Vec::new();
    for task in record.revisions(Kind::Task) {
        let (phase, pod) = (task.text("/status/phase"), task.text("/status/podUID"));
        let reason = task.text("/status/reason");
        let is_true = match (phase, reason) {
            (_, "UserStopped") => task.annotation(STOP_ANNOTATION) == "true",
            ("Completed", _) => well.contains(pod),
            ("Failed", _) => badly.contains(pod),
            _ => true,
        };
        if !is_true {
            let message = task.text("/status/message");
            found.push(format!("Task {} {} is {phase}: {reason}: {message}", task.name(), task.uid()));
        }
    }
    found
}

/// The Pods that were once in this phase.
fn ended<'a>(record: &'a Record, phase: &str) -> BTreeSet<&'a str> {
    let pods = record.revisions(Kind::Pod).filter(|pod| pod.text("/status/phase") == phase);
    pods.map(|pod| pod.uid()).collect()
}

/// What happened, a line for each revision.
pub(crate) fn told(api: &ApiServer) -> String {
    let mut text = String::new();
    for change in api.log.iter().filter(|change| change.plural != "events") {
        let object = &change.object;
        let metadata = &object["metadata"];
        write!(
            text,
            "{:4} {:8} {}/{}",
            change.version,
            change.what,
            change.plural,
            metadata["name"].as_str().unwrap()
        )
        .unwrap();
        write!(text, " {}", metadata["uid"].as_str().unwrap()).unwrap();
        for (word, value) in [
            ("task", &metadata["labels"][TASK_UID_LABEL]),
            ("phase", &object["status"]["phase"]),
            ("pod", &object["status"]["podUID"]),
            ("reason", &object["status"]["reason"]),
            ("gates", &object["spec"]["schedulingGates"]),
            ("admitted", &object["status"]["admitted"]),
            ("finalizers", &metadata["finalizers"]),
            ("deleted", &metadata["deletionTimestamp"]),
        ] {
            if !value.is_null() {
                write!(text, " {word}={value}").unwrap();
            }
        }
        text.push('\n');
    }
    text
}
