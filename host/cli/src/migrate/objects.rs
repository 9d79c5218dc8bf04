//! The objects of the files, sorted by what becomes of them.
//!
//! May touch: documents. Must not touch: what an object becomes.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::literals::GROUP;
use kubeopencode_api::names::ObjectKey;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::CliError;
use crate::render::input::Document;
use crate::render::objects::{ObjectReader, Problems, Reader, refuse};

/// The group that is left.
pub(super) const OLD_GROUP: &str = Group::KubeTask.names().group;

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// In the order of the files.
    pub(super) all: Vec<Object>,
    pub(super) config_maps: ConfigMaps,
    /// Where each Agent, Task and Batch stands that there will be.
    pub(super) places: HashMap<(&'static str, ObjectKey), String>,
}

/// ConfigMaps by their keys.
pub(super) type ConfigMaps = HashMap<ObjectKey, ConfigMap>;

/// An object, by what becomes of it.
#[derive(Debug)]
pub(super) enum Object {
    WorkspaceConfig(Box<Read<WorkspaceConfig>>),
    Task(Box<Read<Task>>),
    Batch(Box<Read<Batch>>),
    /// It stays, and Tasks may name it.
    Agent(Box<Read<Agent>>),
    /// It stays: where it stands, and what it is.
    Other(String, Value),
}

/// An object that was read.
#[derive(Debug)]
pub(super) struct Read<K> {
    /// As in `a.yaml: Task team/fix`.
    pub(super) place: String,
    pub(super) key: ObjectKey,
    /// With the namespace that it goes to.
    pub(super) object: K,
    /// As it is written.
    pub(super) value: Value,
}

impl Objects {
    /// Reads and checks all documents.
    ///
    /// # Errors
    /// All that the API server would refuse, of every object of ours; nothing of `kubetask.io` at all.
    pub(super) fn read(documents: Vec<Document>, namespace: &str) -> Result<Self, CliError> {
        let reader = Reader::new(namespace)?;
        let mut objects = Self::default();
        let mut problems = Problems::new();
        for document in documents {
            problems.extend(objects.add(&reader, document).err().into_iter().flatten());
        }
        let is_old = |object: &Object| !matches!(object, Object::Agent(_) | Object::Other(..));
        if problems.is_empty() && !objects.all.iter().any(is_old) {
            let problem = "there is nothing to migrate: name a file that holds one with -f";
            problems = refuse("no WorkspaceConfig, Task or Batch of kubetask.io", problem);
        }
        if problems.is_empty() { Ok(objects) } else { Err(CliError::Refused(problems)) }
    }

    fn add(&mut self, reader: &Reader<'_>, Document { place, value }: Document) -> Result<(), Problems> {
        let Some(reader) = reader.of(&place, &value)? else {
            self.all.push(Object::Other(place, value));
            return Ok(());
        };
        let object = match (reader.group.as_str(), reader.kind.as_str()) {
            (OLD_GROUP, "WorkspaceConfig") => {
                Object::WorkspaceConfig(Box::new(self.object(&reader, "Agent", &place, value)?))
            }
            (OLD_GROUP, "Task") => Object::Task(Box::new(self.object(&reader, "Task", &place, value)?)),
            (OLD_GROUP, "Batch") => Object::Batch(Box::new(self.object(&reader, "Batch", &place, value)?)),
            (GROUP, "Agent") => Object::Agent(Box::new(self.object(&reader, "Agent", &place, value)?)),
            (GROUP, "Task") => {
                let task = self.object::<kubeopencode_api::task::Task>(&reader, "Task", &place, value)?;
                Object::Other(task.place, task.value)
            }
            ("", "ConfigMap") => {
                let map = self.object::<ConfigMap>(&reader, "ConfigMap", &place, value)?;
                self.config_maps.insert(map.key, map.object);
                Object::Other(map.place, map.value)
            }
            _ => Object::Other(place, value),
        };
        self.all.push(object);
        Ok(())
    }

    /// The object, if nothing else becomes one of this kind and key.
    fn object<K: Resource + DeserializeOwned>(
        &mut self,
        reader: &ObjectReader<'_>,
        becomes: &'static str,
        place: &str,
        value: Value,
    ) -> Result<Read<K>, Problems> {
        let (place, object) = reader.object::<K>(place, value.clone())?;
        let key = ObjectKey::of(&object);
        self.becomes(becomes, &key, &place)?;
        Ok(Read { place, key, object, value })
    }

    fn becomes(&mut self, kind: &'static str, key: &ObjectKey, place: &str) -> Result<(), Problems> {
        match self.places.insert((kind, key.clone()), place.to_owned()) {
            None => Ok(()),
            Some(other) => Err(refuse(place, twice(kind, key, &other))),
        }
    }
}

/// Two objects would become one.
pub(super) fn twice(kind: &str, key: &ObjectKey, other: &str) -> String {
    format!("it becomes {kind} {key}, and so does {other}: remove or rename one")
}
