//! The API server's own record of what happened in a namespace: every revision of every object, from the start on.
//!
//! Tests wait on it and judge by it, never on the operator's word.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::core::{GroupVersionKind, ObjectList, Request};
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::APP_LABEL;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the watch of a machine with much else to do may be behind.
const CATCH_UP: Duration = Duration::from_secs(120);

/// A kind that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Task of `kubeopencode.io`
    Task,
    /// Task of `kubetask.io`
    KubeTask,
    /// Batch
    Batch,
    /// Agent
    Agent,
    /// Pod
    Pod,
    /// ConfigMap
    ConfigMap,
    /// Event, of `events.k8s.io`
    Event,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Task, Self::KubeTask, Self::Batch, Self::Agent, Self::Pod, Self::ConfigMap, Self::Event];

    /// Whether it is the Task of a group.
    pub fn is_task(self) -> bool {
        matches!(self, Self::Task | Self::KubeTask)
    }

    /// How the API server knows it.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind) = match self {
            Self::Task => ("kubeopencode.io", "v1alpha1", "Task"),
            Self::KubeTask => ("kubetask.io", "v1alpha1", "Task"),
            Self::Batch => ("kubetask.io", "v1alpha1", "Batch"),
            Self::Agent => ("kubeopencode.io", "v1alpha1", "Agent"),
            Self::Pod => ("", "v1", "Pod"),
            Self::ConfigMap => ("", "v1", "ConfigMap"),
            Self::Event => ("events.k8s.io", "v1", "Event"),
        };
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    }
}

/// One revision of one object.
#[derive(Clone, Debug)]
pub struct Revision {
    /// What it is.
    pub kind: Kind,
    /// `metadata.resourceVersion`: one order for all kinds, since one etcd keeps them all.
    pub version: u64,
    /// From which version of everything on it is known to be so: its own, or that of the list that showed it. A list shows
    /// what each object has become, and not in which order: a Task that was written after its Pod stands after it by its own
    /// version, and was there before it all the same.
    pub since: u64,
    /// Whether this is the last state of a deleted object.
    pub gone: bool,
    /// The object.
    pub object: Value,
}

impl Revision {
    /// A string in the object, empty where there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `metadata.namespace`
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// `metadata.uid`
    pub fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }

    /// A label.
    pub fn label(&self, key: &str) -> &str {
        self.object["metadata"]["labels"][key].as_str().unwrap_or_default()
    }

    /// UID of the Task that a Pod or a ConfigMap says it was made for, empty where it says none: the label of the group
    /// that its label `app` names.
    pub fn task_uid(&self) -> &str {
        let group = Group::ALL.into_iter().find(|group| self.label(APP_LABEL) == group.names().app);
        self.label(group.unwrap_or(Group::KubeOpenCode).names().task_uid_label)
    }

    /// An annotation.
    pub fn annotation(&self, key: &str) -> &str {
        self.object["metadata"]["annotations"][key].as_str().unwrap_or_default()
    }

    /// Elements of a list, none where there is no list.
    pub fn list(&self, pointer: &str) -> &[Value] {
        self.object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a Pod still has our gate.
    pub fn is_gated(&self) -> bool {
        self.list("/spec/schedulingGates").iter().any(|gate| gate["name"] == "kubeopencode.io/launch")
    }
}

/// Kind, name and namespace of an object: the order in which it is looked for.
type Key = (Kind, String, String);

/// What happened, and what is there now.
#[derive(Debug, Default)]
pub struct History {
    /// Every revision, in the order of its kind's watch.
    pub revisions: Vec<Arc<Revision>>,
    now: BTreeMap<Key, Arc<Revision>>,
    /// The newest version of each object that was ever seen.
    newest: HashMap<Key, u64>,
}

impl History {
    /// Several namespaces as one.
    pub fn merged<'a>(histories: impl IntoIterator<Item = &'a MutexGuard<'a, Self>>) -> Self {
        let mut merged = Self::default();
        for history in histories {
            merged.revisions.extend(history.revisions.iter().cloned());
            merged.now.extend(history.now.iter().map(|(key, revision)| (key.clone(), Arc::clone(revision))));
        }
        merged
    }

    /// What happened, as an API server would have recorded it: the revisions in their order.
    pub fn of(revisions: impl IntoIterator<Item = Revision>) -> Self {
        let mut history = Self::default();
        revisions.into_iter().for_each(|revision| history.add(revision));
        history
    }

    /// The object of this name as it is now; in the record of several namespaces, the first one.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Revision>> {
        let first = (kind, name.to_owned(), String::new());
        self.now
            .range(first..)
            .next()
            .filter(|((k, n, _), _)| (*k, n.as_str()) == (kind, name))
            .map(|(_, r)| r)
    }

    /// The object of this namespace and name as it is now.
    pub fn get_in(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Revision>> {
        self.now.get(&(kind, name.to_owned(), namespace.to_owned()))
    }

    /// What is there now, by name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Arc<Revision>> {
        self.now.values().filter(move |revision| revision.kind == kind)
    }

    /// The Tasks of both groups that are there now.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Revision>> {
        self.now.values().filter(|revision| revision.kind.is_task())
    }

    /// All revisions of one kind, oldest first.
    pub fn revisions(&self, kind: Kind) -> impl Iterator<Item = &Arc<Revision>> {
        self.revisions.iter().filter(move |revision| revision.kind == kind)
    }

    fn add(&mut self, revision: Revision) {
        let key = (revision.kind, revision.name().to_owned(), revision.namespace().to_owned());
        let revision = Arc::new(revision);
        self.newest.insert(key.clone(), revision.version);
        if revision.gone {
            self.now.remove(&key);
        } else {
            self.now.insert(key, Arc::clone(&revision));
        }
        self.revisions.push(revision);
    }

    fn has_seen(&self, kind: Kind, namespace: &str, name: &str, version: u64) -> bool {
        let key = (kind, name.to_owned(), namespace.to_owned());
        self.newest.get(&key).is_some_and(|newest| *newest >= version)
    }
}

/// Records a namespace until it is dropped.
pub struct Recorder {
    client: Client,
    namespace: String,
    history: Arc<Mutex<History>>,
    changed: watch::Sender<u64>,
    _watches: JoinSet<()>,
}

impl Recorder {
    /// Starts to record; what happens after this call is in the record.
    pub async fn start(client: &Client, namespace: &str) -> Self {
        let (history, changed) = (Arc::<Mutex<History>>::default(), watch::Sender::new(0));
        let mut watches = JoinSet::new();
        for kind in Kind::ALL {
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind.resource());
            let list = listed(client, &api).await;
            let version = list.metadata.resource_version.clone().unwrap_or_default();
            let since = version.parse().expect("a list has a version");
            for object in list.items {
                let shown = Revision { since, ..revision(kind, object, false) };
                history.lock().add(shown);
            }
            watches.spawn(follow(client.clone(), kind, api, version, Arc::clone(&history), changed.clone()));
        }
        Self { client: client.clone(), namespace: namespace.to_owned(), history, changed, _watches: watches }
    }

    /// The record so far.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }

    /// Changes when the record does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until `look` finds what it looks for; `Err` after `patience`.
    pub async fn wait<T>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&History) -> Option<T>,
    ) -> Result<T, ()> {
        let mut changed = self.changed.subscribe();
        let found = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = look(&self.history()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(patience, found).await.map_err(drop)
    }

    /// Waits until the record shows everything that the API server shows.
    pub async fn catch_up(&self) {
        for kind in Kind::ALL {
            let api =
                Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.namespace, &kind.resource());
            let list = listed(&self.client, &api).await;
            let version = list.metadata.resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
            let (listed, version) = (list.items, version.unwrap_or_default());
            let there: BTreeMap<String, u64> =
                listed.iter().map(|object| (object.name(), object.version())).collect();
            let caught_up = |history: &History| {
                // by what was ever seen: it may be gone again by now
                let seen = there
                    .iter()
                    .all(|(name, version)| history.has_seen(kind, &self.namespace, name, *version));
                let knows = |seen: &Arc<Revision>| seen.version > version || there.contains_key(seen.name());
                (seen && history.all(kind).all(knows)).then_some(())
            };
            self.wait(CATCH_UP, caught_up).await.expect("the watch shows what the list shows");
        }
    }
}

async fn follow(
    client: Client,
    kind: Kind,
    api: Api<DynamicObject>,
    mut version: String,
    history: Arc<Mutex<History>>,
    changed: watch::Sender<u64>,
) {
    loop {
        let request = Request::new(api.resource_url()).watch(&WatchParams::default(), &version).unwrap();
        let events = client.request_events::<Recorded>(request).await.unwrap();
        futures::pin_mut!(events);
        while let Ok(Some(event)) = events.try_next().await {
            let (object, gone) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(bookmark) => {
                    version.clone_from(&bookmark.metadata.resource_version);
                    continue;
                }
                WatchEvent::Error(error) => panic!("the record has a gap: {error:?}"),
            };
            version = object.version().to_string();
            history.lock().add(revision(kind, object, gone));
            changed.send_modify(|count| *count += 1);
        }
    }
}

async fn listed(client: &Client, api: &Api<DynamicObject>) -> ObjectList<Recorded> {
    let request = Request::new(api.resource_url()).list(&ListParams::default()).unwrap();
    client.request(request).await.unwrap()
}

fn revision(kind: Kind, object: Recorded, gone: bool) -> Revision {
    let version = object.version();
    Revision { kind, version, since: version, gone, object: object.0 }
}

/// An object, without those fields of it that are nested too deep for serde_json: some tests make such objects.
#[derive(Clone, Debug)]
struct Recorded(Value);

impl Recorded {
    fn name(&self) -> String {
        self.0["metadata"]["name"].as_str().unwrap_or_default().to_owned()
    }

    fn version(&self) -> u64 {
        self.0["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|version| version.parse().ok())
            .unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Recorded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Fields = BTreeMap<String, Box<RawValue>>;
        let readable = |fields: Fields| {
            let values = fields.into_iter().filter_map(|(key, field)| Some((key, field.get().parse().ok()?)));
            values.collect::<serde_json::Map<String, Value>>()
        };
        let mut fields = Fields::deserialize(deserializer)?;
        let metadata = fields.remove("metadata").and_then(|metadata| {
            let mut metadata: Fields = serde_json::from_str(metadata.get()).ok()?;
            metadata.remove("managedFields");
            Some(readable(metadata))
        });
        let has_spec = fields.contains_key("spec");
        let mut object = readable(fields);
        let mut metadata = metadata.unwrap_or_default();
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            // nobody asks for them, and some tests fill them
            annotations.retain(|_, value| value.as_str().is_none_or(|value| value.len() < 10_000));
        }
        object.insert("metadata".to_owned(), metadata.into());
        if has_spec {
            object.entry("spec").or_insert_with(|| Value::Object(Default::default()));
        }
        Ok(Self(object.into()))
    }
}
