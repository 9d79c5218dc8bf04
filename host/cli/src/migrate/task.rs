//! A Task, which becomes one.
//!
//! May touch: the Task. Must not touch: how a context is read.

use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::task::Task as Old;
use kubeopencode_api::literals::{APP_LABEL, STOP_ANNOTATION};
use kubeopencode_api::names::{Naming, ObjectKey, TaskKey, TaskNames, TaskUid};
use kubeopencode_api::task::{Task, TaskSpec};
use serde_json::{Value, json};

use super::contexts::{items, parts};
use super::layers::Contents;
use super::metadata::{batch_of, is_exported, is_stopped, kept};
use super::objects::Read;
use super::run::Migration;
use crate::render::objects::Problems;

/// Longest `description`, in characters: the schema of Task.
const MAX_DESCRIPTION: usize = 1_048_576;

impl Migration<'_> {
    pub(super) fn task(&mut self, read: &Read<Old>) -> Result<(), Problems> {
        let Read { place, key, object, value } = read;
        if let Some(why) = left_out(value) {
            self.warnings.say(place, why);
            return Ok(());
        }
        let spec = &object.spec;
        let items = items(&spec.contexts, "spec.contexts", place)?;
        let parts = parts(items, &key.namespace, &self.objects.config_maps);
        let metadata = kept(value, place, &mut self.warnings);
        let agent = self.look_up(place, spec.workspace_config_ref.as_deref(), &key.namespace);
        self.look_at_places(place, &parts, &agent);
        let texts = self.texts(&agent);
        let contents = Contents::of(texts.iter().chain(&parts));
        for warning in &contents.warnings {
            self.warnings.say(place, warning);
        }
        self.look_at_prompt(place, "spec.contexts", &contents, &agent);
        let spec = task_spec(contents, spec.workspace_config_ref.as_deref(), spec.timeout.clone());
        let task = Task { metadata, spec, status: None };
        for refusal in self.refusals(&task, key, &agent) {
            self.warnings.say(place, format!("spec: as it stands, the Task fails: {refusal}"));
        }
        let [old, new] = [Group::KubeTask, Group::KubeOpenCode].map(|group| pod(group, key));
        self.warnings.say(place, format!("metadata.name: its Pod is {new}, and was {old}"));
        if is_exported(value) {
            self.warnings.say(
                place,
                "metadata.uid: it is in a cluster: delete it there first, or its agent runs twice",
            );
        }
        self.print(&task)
    }

    /// What is said of a Task that has nothing to do, and of one that is too big.
    pub(super) fn look_at_prompt(
        &mut self,
        place: &str,
        field: &str,
        contents: &Contents,
        agent: &ObjectKey,
    ) {
        if !contents.has_prompt() && self.needs_prompt(agent) {
            let words = "none of them is text that is known here, and a Task without a prompt fails: write spec.description";
            self.warnings.say(place, format!("{field}: {words}"));
        }
        let length = contents.description.as_deref().map_or(0, |text| text.chars().count());
        if length > MAX_DESCRIPTION {
            let words = format!(
                "its text has {length} characters, and spec.description at most {MAX_DESCRIPTION}: leave the file of a \
                 ConfigMap out, and its text stays there"
            );
            self.warnings.say(place, format!("{field}: {words}"));
        }
    }
}

pub(super) fn task_spec(contents: Contents, agent: Option<&str>, timeout: Option<String>) -> TaskSpec {
    TaskSpec {
        description: contents.description,
        contexts: contents.contexts,
        agent_ref: agent.map(|name| json!(name)),
        timeout,
    }
}

/// Why there is no new Task for an old one: an agent runs once.
fn left_out(value: &Value) -> Option<String> {
    if let Some(batch) = batch_of(value) {
        return Some(format!(
            "metadata.ownerReferences: left out: it is a Task of Batch {batch}, which becomes Tasks itself"
        ));
    }
    let phase = value["status"]["phase"].as_str().unwrap_or_default();
    let has_pod = value["status"]["podUID"].is_string();
    if has_pod || ["Running", "Completed", "Failed"].contains(&phase) {
        return Some(format!(
            "status.phase: left out: it is {phase}, and its agent would run again; remove status to have it"
        ));
    }
    is_stopped(value).then(|| {
        format!("metadata.annotations: left out: it is stopped; remove {STOP_ANNOTATION} or kubetask.io/stop to have it")
    })
}

/// The Pod of a Task and its labels, as `kubectl` shows and takes them.
fn pod(group: Group, key: &ObjectKey) -> String {
    let names = group.names();
    let (task, uid) = (TaskKey::new(group, &key.namespace, &key.name), TaskUid(String::new()));
    let pod = TaskNames::new(&task, &uid, &key.namespace, Naming::Plain).pod();
    format!("{pod} with the labels {APP_LABEL}={} and {}", names.app, names.task_label)
}
