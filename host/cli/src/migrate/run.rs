//! From the objects of the files to those that are printed.
//!
//! May touch: objects, and the plan's own checks. Must not touch: files, how an object is printed.

use std::collections::HashMap;

use kube::Resource;
use kubeopencode_api::agent::{Agent, AgentSpec};
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::task::Task;
use kubeopencode_plan::frontend::kubeopencode;
use kubeopencode_plan::{Layer, Settings};
use serde::Serialize;
use serde_json::Value;

use super::agent::{self, Known, home, is_in_a_home};
use super::chart::Chart;
use super::contexts::{Part, normal};
use super::metadata::{names_old_group, passed};
use super::objects::{Object, Objects, twice};
use super::warnings::Warnings;
use crate::error::CliError;
use crate::render::objects::{Problems, refuse};

/// What is printed, and what is said of it.
#[derive(Debug)]
pub(super) struct Migration<'a> {
    pub(super) objects: &'a Objects,
    /// The Batch becomes a chart.
    pub(super) helm: bool,
    agents: HashMap<ObjectKey, Known>,
    places: HashMap<(&'static str, ObjectKey), String>,
    pub(super) warnings: Warnings,
    pub(super) documents: Vec<Value>,
    pub(super) chart: Option<Chart>,
}

impl<'a> Migration<'a> {
    /// What becomes of the objects, in their order.
    ///
    /// # Errors
    /// Every object that cannot be migrated.
    pub(super) fn of(objects: &'a Objects, helm: bool) -> Result<Self, CliError> {
        let mut migration = Self {
            objects,
            helm,
            agents: HashMap::new(),
            places: objects.places.clone(),
            warnings: Warnings::default(),
            documents: Vec::new(),
            chart: None,
        };
        let mut problems = Problems::new();
        // Tasks may stand before what they name
        let mut agents = HashMap::new();
        for (i, object) in objects.all.iter().enumerate() {
            let known = match object {
                Object::WorkspaceConfig(read) => {
                    match agent::migrate(read, &objects.config_maps, &mut migration.warnings) {
                        Ok((agent, known)) => {
                            agents.insert(i, agent);
                            (read.key.clone(), known)
                        }
                        Err(refused) => {
                            problems.extend(refused);
                            continue;
                        }
                    }
                }
                Object::Agent(read) => {
                    let agent = read.object.clone();
                    (read.key.clone(), Known { agent, had_entrypoint: false, texts: Vec::new() })
                }
                _ => continue,
            };
            migration.agents.insert(known.0, known.1);
        }
        for (i, object) in objects.all.iter().enumerate() {
            let done = match object {
                Object::WorkspaceConfig(_) => agents.get(&i).map_or(Ok(()), |agent| migration.print(agent)),
                Object::Task(read) => migration.task(read),
                Object::Batch(read) => migration.batch(read),
                Object::Agent(read) => migration.pass(&read.place, &read.value),
                Object::Other(place, value) => migration.pass(place, value),
            };
            problems.extend(done.err().into_iter().flatten());
        }
        if problems.is_empty() { Ok(migration) } else { Err(CliError::Refused(problems)) }
    }

    /// An object that stays as it is.
    fn pass(&mut self, place: &str, value: &Value) -> Result<(), Problems> {
        let value = passed(value);
        if let Some(field) = names_old_group(&value) {
            let field = field.trim_start_matches('.');
            self.warnings
                .say(place, format!("{field}: it names kubetask, and passes as it is: adapt it by hand"));
        }
        self.documents.push(value);
        Ok(())
    }

    pub(super) fn print(&mut self, object: &impl Serialize) -> Result<(), Problems> {
        let value = serde_json::to_value(object).map_err(|error| vec![error.to_string()])?;
        self.documents.push(value);
        Ok(())
    }

    /// A Task that a Batch becomes, if no other one has its name.
    pub(super) fn becomes(&mut self, task: &Task, namespace: &str, place: &str) -> Result<(), Problems> {
        let name = task.meta().name.clone().unwrap_or_default();
        let key = ObjectKey::new(namespace, name);
        match self.places.insert(("Task", key.clone()), place.to_owned()) {
            None => Ok(()),
            Some(other) => Err(refuse(place, twice("Task", &key, &other))),
        }
    }

    /// The Agent that a Task or Batch names, if it is among the files; if not, that is said.
    pub(super) fn look_up(&mut self, place: &str, named: Option<&str>, namespace: &str) -> ObjectKey {
        let key = ObjectKey::new(namespace, named.unwrap_or(DEFAULT_NAME));
        if !self.agents.contains_key(&key) {
            let without = match named {
                Some(_) => "",
                None => {
                    ": without a WorkspaceConfig there were built-in images, without an Agent there is nothing"
                }
            };
            self.warnings.say(
                place,
                format!(
                    "spec.workspaceConfigRef: WorkspaceConfig {key} is not among the files{without}. Add it with -f, or \
                     apply an Agent {key}"
                ),
            );
        }
        key
    }

    /// The texts with which each prompt of the Agent's Tasks begins.
    pub(super) fn texts(&self, agent: &ObjectKey) -> Vec<Part> {
        self.agents.get(agent).map(|known| known.texts.clone()).unwrap_or_default()
    }

    /// Whether the Task needs a prompt: the Agent's program is not known to do without.
    pub(super) fn needs_prompt(&self, agent: &ObjectKey) -> bool {
        self.agents
            .get(agent)
            .is_none_or(|known| !known.had_entrypoint && known.agent.spec.command.is_empty())
    }

    /// What is said of the places of files, in whichever Task they are.
    pub(super) fn look_at_places(&mut self, place: &str, parts: &[Part], agent: &ObjectKey) {
        let known = self.agents.get(agent);
        for part in parts {
            let Some(path) = part.path() else { continue };
            let field = &part.field;
            if is_in_a_home(&path) && known.is_none_or(|known| known.had_entrypoint) {
                let remedy = format!("let Agent {agent} hold this context, and set HOME in its podSpec.env");
                self.warnings.say(place, format!("{field}: {}", home(&path, &remedy)));
            }
            let agents = known.map(|known| known.agent.spec.contexts.as_slice()).unwrap_or_default();
            let is_there = |path_: &Option<String>| path_.as_deref().map(normal).as_ref() == Some(&path);
            if let Some(i) = agents.iter().position(|item| is_there(&item.mount_path)) {
                let words = format!(
                    "{field}: mountPath {path} is that of spec.contexts[{i}] of Agent {agent} too; the higher layer won, and \
                     now it is a conflict, which fails the Task: remove one of the two"
                );
                self.warnings.say(place, words);
            }
        }
    }

    /// Why the Task would fail as it stands.
    pub(super) fn refusals(&self, task: &Task, key: &ObjectKey, agent: &ObjectKey) -> Vec<String> {
        let mut task = task.clone();
        task.metadata.namespace = Some(key.namespace.clone());
        task.metadata.uid = Some(key.to_string());
        let agent = match self.agents.get(agent) {
            Some(known) => known.agent.clone(),
            None => {
                let service_account_name = DEFAULT_NAME.to_owned();
                let mut any =
                    Agent::new(&agent.name, AgentSpec { service_account_name, ..AgentSpec::default() });
                any.metadata.namespace = Some(agent.namespace.clone());
                any
            }
        };
        match kubeopencode::task(&task, &agent, &settings()) {
            Ok(run) => run.misplaced().into_iter().map(|refusal| refusal.message).collect(),
            Err(refusal) => vec![refusal.message],
        }
    }
}

/// Those of a cluster that says nothing else.
pub(super) fn settings() -> Settings {
    Settings::resolve(Layer::Absent, Layer::Absent, Layer::Absent)
}
