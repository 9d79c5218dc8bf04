//! A Batch, which becomes Tasks or a chart.
//!
//! May touch: the Batch. Must not touch: how a context is read.

use std::collections::HashSet;

use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::batch_task::{BATCH_INDEX_LABEL, BATCH_LABEL, batch_task_name};
use kubeopencode_api::kubetask::context::Context;
use kubeopencode_api::names::{ObjectKey, label_value};
use kubeopencode_api::task::Task;
use serde_json::Value;

use super::chart::Chart;
use super::contexts::{Part, items, parts};
use super::layers::{Contents, description};
use super::metadata::{is_exported, is_paused, kept};
use super::objects::Read;
use super::run::Migration;
use super::task::task_spec;
use crate::render::objects::Problems;

/// Label of the Tasks of one Batch: a label of nobody's, as in examples/helm-batch.
pub(super) const LABEL: &str = "batch";

/// A Task of a Batch, and the prompt that is its own.
pub(super) struct Variant {
    /// As in `task-3`: what comes after the Batch's name and a dash.
    pub(super) ending: String,
    pub(super) own_description: Option<String>,
    pub(super) task: Task,
}

impl Migration<'_> {
    pub(super) fn batch(&mut self, read: &Read<Batch>) -> Result<(), Problems> {
        let Read { place, key, object, value } = read;
        if let Some(phase) = value["status"]["phase"].as_str().filter(|phase| is_over(phase)) {
            let why = format!(
                "status.phase: left out: it is {phase}, and its agents would run again; remove status to have it"
            );
            self.warnings.say(place, why);
            return Ok(());
        }
        let spec = &object.spec;
        let config_maps = &self.objects.config_maps;
        let read_parts = |contexts: &[Context], field: &str| {
            items(contexts, field, place).map(|items| parts(items, &key.namespace, config_maps))
        };
        let common = read_parts(&spec.common_context, "spec.commonContext")?;
        let metadata = kept(value, place, &mut self.warnings);
        let agent = self.look_up(place, spec.workspace_config_ref.as_deref(), &key.namespace);
        self.look_at_places(place, &common, &agent);
        self.look_at_batch(read, &agent);
        let texts = self.texts(&agent);
        let made = made(value);
        let (mut variants, mut problems, mut refused) = (Vec::new(), Problems::new(), Vec::new());
        for (i, contexts) in spec.variable_contexts.iter().enumerate().skip(made) {
            let field = format!("spec.variableContexts[{i}]");
            let variable = match read_parts(contexts, &field) {
                Ok(variable) => variable,
                Err(wrong) => {
                    problems.extend(wrong);
                    continue;
                }
            };
            self.look_at_places(place, &variable, &agent);
            let hidden: HashSet<String> = variable.iter().filter_map(Part::path).collect();
            let is_hidden = |part: &&Part| part.path().is_some_and(|path| hidden.contains(&path));
            for part in common.iter().filter(is_hidden) {
                let field = &part.field;
                self.warnings.say(
                    place,
                    format!(
                        "{field}: its mountPath is overridden in Tasks that have it too, and left out there"
                    ),
                );
            }
            let common = common.iter().filter(|part| !is_hidden(part));
            let contents = Contents::of(texts.iter().chain(common).chain(&variable));
            for warning in &contents.warnings {
                self.warnings.say(place, warning);
            }
            self.look_at_prompt(place, &field, &contents, &agent);
            let ending = format!("task-{i}");
            let mut metadata = metadata.clone();
            metadata.name = Some(batch_task_name(&key.name, i));
            let labels = metadata.labels.get_or_insert_default();
            labels.entry(LABEL.to_owned()).or_insert_with(|| label_value(&key.name));
            let spec = task_spec(contents, spec.workspace_config_ref.as_deref(), spec.timeout.clone());
            let task = Task { metadata, spec, status: None };
            let task_key = ObjectKey::new(&key.namespace, task.metadata.name.clone().unwrap_or_default());
            refused.extend(self.refusals(&task, &task_key, &agent).into_iter().map(|refusal| (i, refusal)));
            if !self.helm {
                problems.extend(self.becomes(&task, &key.namespace, place).err().into_iter().flatten());
            }
            variants.push(Variant { ending, own_description: description(variable.iter()), task });
        }
        if let Some((i, refusal)) = refused.first() {
            let more = match refused.len() {
                1 => String::new(),
                number => format!(" ({} more such things are wrong with its Tasks)", number - 1),
            };
            let words = format!("spec.variableContexts[{i}]: as it stands, its Task fails: {refusal}{more}");
            self.warnings.say(place, words);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if self.helm {
            self.chart = Some(Chart::of(key, description(texts.iter().chain(&common)), &variants)?);
            return Ok(());
        }
        variants.iter().try_for_each(|variant| self.print(&variant.task))
    }

    /// What a Batch does and Tasks do not.
    fn look_at_batch(&mut self, read: &Read<Batch>, agent: &ObjectKey) {
        let Read { place, key, object, value } = read;
        let number = object.spec.variable_contexts.len();
        if let Some(parallelism) = object.spec.parallelism {
            let words = format!(
                "spec.parallelism: at most {parallelism} ran at a time, and Tasks start all at once: set \
                 spec.maxConcurrentTasks of Agent {agent} to {parallelism}, which counts all of its Tasks"
            );
            self.warnings.say(place, words);
        }
        if is_paused(value) {
            let words = format!(
                "metadata.annotations: it is paused, and Tasks are not: set spec.suspend of Agent {agent} to true, or apply \
                 the Tasks later"
            );
            self.warnings.say(place, words);
        }
        let task = batch_task_name(&key.name, 0);
        let names = format!(
            "metadata.name: its Tasks have the label {LABEL}={} in place of {BATCH_LABEL} and {BATCH_INDEX_LABEL}, and nothing \
             adds up how far they are; the Pod of Task {task} is {task}-pod, and was {task}-kt-pod",
            label_value(&key.name)
        );
        self.warnings.say(place, names);
        let made = made(value).min(number);
        if made > 0 {
            let words = format!(
                "status.made: left out: the first {made} of its {number} Tasks, which are made already"
            );
            self.warnings.say(place, words);
        }
        if is_exported(value) {
            let words = "metadata.uid: it is in a cluster: pause it there, and delete it when the Tasks that it made are over, before you \
                         apply these; or their agents run twice";
            self.warnings.say(place, words);
        }
    }
}

fn is_over(phase: &str) -> bool {
    ["Completed", "Failed"].contains(&phase)
}

/// How many of its Tasks it has made: those of the first indexes.
fn made(value: &Value) -> usize {
    value["status"]["made"].as_u64().and_then(|made| usize::try_from(made).ok()).unwrap_or(0)
}
