//! The objects of the files that a Task's Pod depends on, typed and found by their keys.
//!
//! May touch: documents. Must not touch: what a Task comes to.

use std::collections::HashMap;
use std::fmt;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use kubeopencode_api::agent::{Agent, AgentSpec};
use kubeopencode_api::config::{KubeOpenCodeConfig, KubeOpenCodeConfigSpec};
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::literals::{DEFAULT_NAME, GROUP};
use kubeopencode_api::names::{AgentKey, ObjectKey};
use kubeopencode_api::task::Task;

use kubeopencode_plan::frontend::kubeopencode::spec_agent;
use kubeopencode_plan::{is_namespace_name, is_object_name};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::input::Document;
use super::schema::{self, Schema};
use crate::cluster::Cluster;
use crate::error::CliError;

/// The group of Batch and WorkspaceConfig.
const KUBETASK: &str = Group::KubeTask.names().group;

/// What the files hold.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// In the order of the files, each with its place, as the Agents are.
    pub(crate) tasks: Vec<(String, Task)>,
    pub(crate) agents: Vec<(String, Agent)>,
    configs: HashMap<ObjectKey, KubeOpenCodeConfig>,
    pub(super) config_maps: HashMap<ObjectKey, ConfigMap>,
    /// Where ConfigMaps are that stand in no file.
    pub(crate) cluster: Option<Cluster>,
    /// Tasks of `kubetask.io`, as the Batches are.
    pub(super) kubetask: Vec<(String, kubetask::task::Task)>,
    pub(super) batches: Vec<(String, Batch)>,
    workspaces: HashMap<ObjectKey, WorkspaceConfig>,
    /// Group, kind and key, with the place.
    seen: HashMap<(String, String, ObjectKey), String>,
}

impl Objects {
    /// Reads and checks all documents. Kinds of other groups are left out: they may be anything.
    ///
    /// # Errors
    /// All that the API server would refuse, of every object; no Task at all.
    pub(crate) fn read(documents: &[Document], namespace: &str) -> Result<Self, CliError> {
        let reader = Reader::new(namespace)?;
        let mut objects = Self::default();
        let mut problems = Problems::new();
        for Document { place, value } in documents {
            problems.extend(objects.add(&reader, place, value.clone()).err().into_iter().flatten());
        }
        if !problems.is_empty() {
            return Err(CliError::Refused(problems));
        }
        let servers = objects.agents.iter().any(|(_, agent)| agent.spec.server_config.is_some());
        let any = !objects.tasks.is_empty() || !objects.kubetask.is_empty() || !objects.batches.is_empty();
        if !any && !servers {
            let problem = "there is nothing to render: name a file that holds one with -f";
            return Err(CliError::Refused(refuse("no Task", problem)));
        }
        Ok(objects)
    }

    /// Adds an Agent for each Task whose own stands in no file: one that runs this command builder, or the default one.
    pub(crate) fn stand_in(&mut self, builder: Option<&str>) {
        let keys: Vec<_> = self.tasks.iter().filter_map(|(_, task)| spec_agent(task).ok()).collect();
        for key in keys {
            if self.agent(&key).is_some() {
                continue;
            }
            let spec = AgentSpec {
                service_account_name: "agent".to_owned(),
                command_builder: builder.map(str::to_owned),
                ..AgentSpec::default()
            };
            let mut agent = Agent::new(&key.name, spec);
            agent.metadata.uid = Some(uid(&key.namespace, &key.name));
            agent.metadata.namespace = Some(key.namespace);
            self.agents.push(("an Agent that stands in no file".to_owned(), agent));
        }
    }

    /// The Agent of this key.
    pub(super) fn agent(&self, key: &AgentKey) -> Option<&Agent> {
        let found = self.agents.iter().find(|(_, agent)| AgentKey::of(agent) == *key);
        found.map(|(_, agent)| agent)
    }

    /// The WorkspaceConfig of this name.
    pub(super) fn workspace(&self, namespace: &str, name: &str) -> Option<&WorkspaceConfig> {
        self.workspaces.get(&ObjectKey::new(namespace, name))
    }

    /// The spec of the KubeOpenCodeConfig that is read in a namespace.
    pub(super) fn config(&self, namespace: &str) -> Option<&KubeOpenCodeConfigSpec> {
        self.configs.get(&ObjectKey::new(namespace, DEFAULT_NAME)).map(|config| &config.spec)
    }

    fn add(&mut self, reader: &Reader<'_>, place: &str, value: Value) -> Result<(), Problems> {
        let Some(reader) = reader.of(place, &value)? else { return Ok(()) };
        match (reader.group.as_str(), reader.kind.as_str()) {
            (GROUP, "Task") => {
                let (place, task) = reader.object::<Task>(place, value)?;
                self.first(&task, &place)?;
                self.tasks.push((place, task));
            }
            (GROUP, "Agent") => {
                let (place, agent) = reader.object::<Agent>(place, value)?;
                self.first(&agent, &place)?;
                self.agents.push((place, agent));
            }
            ("", "ConfigMap") => {
                let (place, map) = reader.object(place, value)?;
                let key = self.first::<ConfigMap>(&map, &place)?;
                self.config_maps.insert(key, map);
            }
            (GROUP, "KubeOpenCodeConfig") => {
                let (place, config) = reader.object(place, value)?;
                let key = self.first::<KubeOpenCodeConfig>(&config, &place)?;
                self.configs.insert(key, config);
            }
            (KUBETASK, "Task") => {
                let (place, task) = reader.object::<kubetask::task::Task>(place, value)?;
                self.first(&task, &place)?;
                self.kubetask.push((place, task));
            }
            (KUBETASK, "Batch") => {
                let (place, batch) = reader.object::<Batch>(place, value)?;
                self.first(&batch, &place)?;
                self.batches.push((place, batch));
            }
            (KUBETASK, "WorkspaceConfig") => {
                let (place, workspace) = reader.object(place, value)?;
                let key = self.first::<WorkspaceConfig>(&workspace, &place)?;
                self.workspaces.insert(key, workspace);
            }
            // no Task's Pod depends on it
            _ => {}
        }
        Ok(())
    }

    /// Its key, if no other document has it.
    fn first<K>(&mut self, object: &K, place: &str) -> Result<ObjectKey, Problems>
    where
        K: Resource<DynamicType = ()>,
    {
        let key = ObjectKey::of(object);
        let kind = (K::group(&()).into_owned(), K::kind(&()).into_owned(), key.clone());
        match self.seen.insert(kind, place.to_owned()) {
            None => Ok(key),
            Some(other) => Err(refuse(place, format!("the same object stands in {other}: remove one"))),
        }
    }
}

/// Reads objects of the kinds that have a schema.
pub(crate) struct Reader<'a> {
    schemas: Vec<Schema>,
    /// Where an object without a namespace goes.
    namespace: &'a str,
}

/// Reads those of one kind.
pub(crate) struct ObjectReader<'a> {
    schema: &'a Schema,
    /// Their API group, empty for that of ConfigMaps.
    pub(crate) group: String,
    /// Their kind.
    pub(crate) kind: String,
    namespace: &'a str,
}

impl<'a> Reader<'a> {
    /// # Errors
    /// A defect of the types.
    pub(crate) fn new(namespace: &'a str) -> Result<Self, CliError> {
        Ok(Self { schemas: schema::all()?, namespace })
    }

    /// The reader of an object's kind; `None` where that is a kind of another group, which may be anything.
    ///
    /// # Errors
    /// No object at all, or a kind that our groups do not have.
    pub(crate) fn of(&self, place: &str, value: &Value) -> Result<Option<ObjectReader<'_>>, Problems> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version.is_empty() || kind.is_empty() {
            return Err(refuse(place, "apiVersion and kind are required: is this a Kubernetes object?"));
        }
        let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
        match self.schemas.iter().find(|schema| schema.is_of(&version, &kind)) {
            Some(schema) => Ok(Some(ObjectReader { schema, group, kind, namespace: self.namespace })),
            None if [GROUP, KUBETASK].contains(&group.as_str()) => {
                Err(refuse(place, format!("no matches for kind \"{kind}\" in version \"{version}\"")))
            }
            None => Ok(None),
        }
    }
}

impl ObjectReader<'_> {
    /// The object and its place, as in `a.yaml: Task team/fix`. Without a UID it gets one that its name decides.
    ///
    /// # Errors
    /// All that the API server would refuse.
    pub(crate) fn object<K>(&self, place: &str, mut value: Value) -> Result<(String, K), Problems>
    where
        K: Resource + DeserializeOwned,
    {
        let kind = &self.kind;
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
        metadata.uid = metadata.uid.take().or_else(|| Some(uid(&namespace, &name)));
        metadata.namespace = Some(namespace);
        Ok((place, object))
    }
}

/// UID of an object that no API server has made: it gives a random one; here the same files give the same bytes.
pub(super) fn uid(namespace: &str, name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{namespace}/{name}").as_bytes()).to_string()
}

/// What is wrong, each with its place.
pub(crate) type Problems = Vec<String>;

pub(crate) fn refuse(place: &str, problem: impl fmt::Display) -> Problems {
    vec![format!("{place}: {problem}")]
}
