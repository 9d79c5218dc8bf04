//! The objects of the files that a Task's Pod depends on, typed and found by their keys.
//!
//! May touch: documents. Must not touch: what a Task comes to.

use std::collections::HashMap;
use std::fmt;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::{KubeOpenCodeConfig, KubeOpenCodeConfigSpec};
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{DEFAULT_NAME, GROUP};
use kubeopencode_api::names::{AgentKey, ObjectKey};
use kubeopencode_api::task::Task;

use kubeopencode_plan::{is_namespace_name, is_object_name};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::input::Document;
use super::schema::{self, Schema};
use crate::error::CliError;

/// The group of Batch and WorkspaceConfig: an unknown kind of it is an error, and not ignored as a foreign one.
const OTHER_GROUP: &str = Group::KubeTask.names().group;

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// In the order of the files, each with its place, as the Agents are.
    pub(super) tasks: Vec<(String, Task)>,
    pub(super) agents: Vec<(String, Agent)>,
    configs: HashMap<ObjectKey, KubeOpenCodeConfig>,
    pub(super) config_maps: HashMap<ObjectKey, ConfigMap>,
    seen: HashMap<(String, ObjectKey), String>,
}

impl Objects {
    /// Reads and checks all documents. Kinds of other groups are left out: they may be anything.
    ///
    /// # Errors
    /// All that the API server would refuse, of every object; no Task at all.
    pub(super) fn read(documents: &[Document], namespace: &str) -> Result<Self, CliError> {
        let reader = Reader { schemas: schema::all()?, namespace };
        let mut objects = Self::default();
        let mut problems = Problems::new();
        for Document { file, number, value } in documents {
            let place = format!("{file}: document {number}");
            problems.extend(objects.add(&reader, &place, value.clone()).err().into_iter().flatten());
        }
        if !problems.is_empty() {
            return Err(CliError::Refused(problems));
        }
        let servers = objects.agents.iter().any(|(_, agent)| agent.spec.server_config.is_some());
        if objects.tasks.is_empty() && !servers {
            let problem = "there is nothing to render: name a file that holds one with -f";
            return Err(CliError::Refused(refuse("no Task", problem)));
        }
        Ok(objects)
    }

    /// The Agent of this key.
    pub(super) fn agent(&self, key: &AgentKey) -> Option<&Agent> {
        let found = self.agents.iter().find(|(_, agent)| AgentKey::of(agent) == *key);
        found.map(|(_, agent)| agent)
    }

    /// The spec of the KubeOpenCodeConfig that is read in a namespace.
    pub(super) fn config(&self, namespace: &str) -> Option<&KubeOpenCodeConfigSpec> {
        self.configs.get(&ObjectKey::new(namespace, DEFAULT_NAME)).map(|config| &config.spec)
    }

    fn add(&mut self, reader: &Reader<'_>, place: &str, value: Value) -> Result<(), Problems> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version.is_empty() || kind.is_empty() {
            return Err(refuse(place, "apiVersion and kind are required: is this a Kubernetes object?"));
        }
        if version == "v1" && kind == "List" {
            let items = value["items"].as_array().cloned().unwrap_or_default();
            let added = items
                .into_iter()
                .enumerate()
                .map(|(i, item)| self.add(reader, &format!("{place}: items[{i}]"), item));
            let problems: Problems = added.filter_map(Result::err).flatten().collect();
            return if problems.is_empty() { Ok(()) } else { Err(problems) };
        }
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let Some(schema) = reader.schemas.iter().find(|schema| schema.is_of(&version, &kind)) else {
            return match group {
                GROUP | OTHER_GROUP => {
                    Err(refuse(place, format!("no matches for kind \"{kind}\" in version \"{version}\"")))
                }
                _ => Ok(()),
            };
        };
        let reader = ObjectReader { schema, kind: &kind, namespace: reader.namespace };
        match (group, kind.as_str()) {
            (GROUP, "Task") => {
                let (place, task) = reader.object::<Task>(place, value)?;
                self.first(&kind, &task, &place)?;
                self.tasks.push((place, task));
            }
            (GROUP, "Agent") => {
                let (place, agent) = reader.object::<Agent>(place, value)?;
                self.first(&kind, &agent, &place)?;
                self.agents.push((place, agent));
            }
            ("", "ConfigMap") => {
                let (place, map) = reader.object(place, value)?;
                let key = self.first(&kind, &map, &place)?;
                self.config_maps.insert(key, map);
            }
            (GROUP, "KubeOpenCodeConfig") => {
                let (place, config) = reader.object(place, value)?;
                let key = self.first(&kind, &config, &place)?;
                self.configs.insert(key, config);
            }
            // no Task's Pod depends on it
            _ => {}
        }
        Ok(())
    }

    /// Its key, if no other document has it.
    fn first<K: Resource>(&mut self, kind: &str, object: &K, place: &str) -> Result<ObjectKey, Problems> {
        let key = ObjectKey::of(object);
        match self.seen.insert((kind.to_owned(), key.clone()), place.to_owned()) {
            None => Ok(key),
            Some(other) => Err(refuse(place, format!("the same object stands in {other}: remove one"))),
        }
    }
}

/// What is known of all objects.
struct Reader<'a> {
    schemas: Vec<Schema>,
    /// Where an object without a namespace goes.
    namespace: &'a str,
}

/// What is known of one.
struct ObjectReader<'a> {
    schema: &'a Schema,
    kind: &'a str,
    namespace: &'a str,
}

impl ObjectReader<'_> {
    fn object<K>(&self, place: &str, mut value: Value) -> Result<(String, K), Problems>
    where
        K: Resource + DeserializeOwned,
    {
        let kind = self.kind;
        if let Some(object) = value.as_object_mut() {
            // what a cluster reports of it is no input
            object.remove("status");
        }
        let metadata = &value["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        let namespace = metadata["namespace"].as_str().unwrap_or(self.namespace).to_owned();
        if name.is_empty() {
            return Err(refuse(place, format!("{kind}: metadata.name is missing: add it")));
        }
        let file = place.split(": document").next().unwrap_or(place);
        let place = format!("{file}: {kind} {namespace}/{name}");
        if !is_object_name(&name) {
            return Err(refuse(&place, "metadata.name: use a-z, 0-9, - and ."));
        }
        if !is_namespace_name(&namespace) {
            return Err(refuse(&place, "metadata.namespace: use a-z, 0-9 and -"));
        }
        let problems = self.schema.check(&mut value);
        if !problems.is_empty() {
            return Err(problems.into_iter().flat_map(|problem| refuse(&place, problem)).collect());
        }
        let mut unknown = Vec::new();
        let mut object: K =
            serde_ignored::deserialize(value, |path| unknown.push(path.to_string().replace(".?", "")))
                .map_err(|error: serde_json::Error| refuse(&place, error.to_string()))?;
        unknown.retain(|field| field.starts_with("spec."));
        if !unknown.is_empty() {
            let problem = |field| refuse(&place, format!("{field}: no such field: remove it"));
            return Err(unknown.into_iter().flat_map(problem).collect());
        }
        let metadata = object.meta_mut();
        // the API server gives a random one; here the same files give the same bytes
        let uid = || Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{namespace}/{name}").as_bytes()).to_string();
        metadata.uid = metadata.uid.take().or_else(|| Some(uid()));
        metadata.namespace = Some(namespace);
        Ok((place, object))
    }
}

/// What is wrong, each with its place.
type Problems = Vec<String>;

fn refuse(place: &str, problem: impl fmt::Display) -> Problems {
    vec![format!("{place}: {problem}")]
}
