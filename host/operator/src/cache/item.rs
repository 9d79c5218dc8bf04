//! Objects of our own kinds, each read for itself.
//!
//! What a user writes decides whether his object can be read, and never whether others can: an item of a list is taken as
//! raw text first, which reads any depth, and then decoded within the limits of its own. One that cannot be decoded still
//! has its metadata and, nearly always, its status, so that it can be refused, ended and released.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::object::{HasSpec, HasStatus};
use kube::{Resource, ResourceExt};
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_plan::VALUE_WEIGHT;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::metadata;

/// Largest object, as JSON in bytes, that is kept whole: of a larger one the cache keeps what decisions look at, and whoever wants
/// the rest reads it again. What people write by hand is smaller, and 5,000 of them take 20 MiB.
pub(crate) const MAX_WHOLE: usize = 4096;
/// Values that the spec of such an object may have: `{},` as a source of a projected volume is half a kilobyte once it is decoded.
/// So few of them take 20 KB, or 50 of an Agent, whose volumes have 3 KB each.
const MAX_WHOLE_VALUES: usize = 32;

/// Levels of objects and arrays that a spec may have: serde_json's own limit, which guards its stack.
const MAX_DEPTH: usize = 128;
/// Values that a spec may have. Each takes 32 bytes once it is decoded, whatever it took to write: a megabyte of `0,` is 16 MB
/// then. What people write has some thousands.
const MAX_VALUES: usize = 50_000;
/// Most unknown fields of one object that are named.
const MAX_UNKNOWN: usize = 8;
/// Longest place and longest problem that are told, in characters.
const MAX_PLACE: usize = 80;
const MAX_PROBLEM: usize = 200;

/// A kind of object that users write.
pub(crate) trait Kind:
    Resource<DynamicType = ()>
    + HasSpec<Spec: DeserializeOwned + Default>
    + HasStatus<Status: DeserializeOwned>
    + Default
    + Clone
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = ()>
        + HasSpec<Spec: DeserializeOwned + Default>
        + HasStatus<Status: DeserializeOwned>
        + Default
        + Clone
{
}

/// An object as the API server has it, read as far as it can be read.
#[derive(Clone)]
pub(crate) struct Item<K> {
    /// Its spec is empty where it could not be read.
    object: K,
    unreadable: Option<Unreadable>,
    unknown: Vec<String>,
    bytes: usize,
    /// What only its users make larger.
    spec_bytes: usize,
    spec_values: usize,
    is_whole: bool,
}

/// What of an object cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    place: String,
    problem: String,
    is_status: bool,
}

impl<K: Kind> Item<K> {
    /// The object.
    ///
    /// # Errors
    /// What of it cannot be read.
    pub(crate) fn get(&self) -> Result<&K, &Unreadable> {
        self.unreadable.as_ref().map_or(Ok(&self.object), Err)
    }

    /// The object itself.
    ///
    /// # Errors
    /// What of it cannot be read; without its words, as this may be told to others than its owner.
    pub(crate) fn into_object(self) -> Result<K, kube::Error> {
        match &self.unreadable {
            None => Ok(self.object),
            Some(unreadable) => {
                Err(kube::Error::Service(format!("{self:?}: {} cannot be read", unreadable.place).into()))
            }
        }
    }

    /// Its status, if it has one.
    ///
    /// # Errors
    /// When the status cannot be read: nothing is known of what was done for the object.
    pub(crate) fn status(&self) -> Result<Option<&K::Status>, &Unreadable> {
        match &self.unreadable {
            Some(unreadable) if unreadable.is_status => Err(unreadable),
            _ => Ok(self.object.status()),
        }
    }

    /// Fields that this version does not know, as in `spec.podSpec.foo`; the first few.
    pub(crate) fn unknown_fields(&self) -> &[String] {
        &self.unknown
    }

    /// Size of the object as JSON, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, and half of what the values of its spec take in memory beside that: a Batch of a thousand short
    /// files is to be kept.
    pub(crate) fn weight(&self) -> usize {
        self.bytes + VALUE_WEIGHT / 2 * self.spec_values
    }

    /// What its spec takes in memory each time that it is read whole, and in each copy, as people write it; nothing where it cannot
    /// be read. Kept with the part that the cache keeps. A `Run` has no more of it: an empty list or object counts twice here.
    pub(crate) fn spec_weight(&self) -> usize {
        let weight = self.spec_bytes + VALUE_WEIGHT * self.spec_values;
        if self.unreadable.is_some() { 0 } else { weight }
    }

    /// Whether the cache keeps no more than a part of it.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes > MAX_WHOLE || self.spec_values > MAX_WHOLE_VALUES
    }

    /// Whether nothing was dropped of labels and spec.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Drops the labels and annotations that mean nothing to the operator. Of a kind whose plugins see none.
    pub(crate) fn keep_ours(&mut self) {
        metadata::keep_ours(self.object.meta_mut());
    }

    /// The same, the finalizers, which nobody here reads, and of one with a large spec what `slim` drops. What its status says
    /// makes it no larger.
    pub(crate) fn slim_if_large(&mut self, slim: impl FnOnce(&mut K)) {
        self.object.meta_mut().finalizers = None;
        if self.spec_bytes > MAX_WHOLE || self.spec_values > MAX_WHOLE_VALUES {
            self.slim(slim);
        } else {
            self.keep_ours();
        }
    }

    /// Drops the same, and what `slim` drops of the rest.
    pub(crate) fn slim(&mut self, slim: impl FnOnce(&mut K)) {
        self.is_whole = false;
        self.keep_ours();
        slim(&mut self.object);
    }

    fn read(text: &str) -> Result<Self, serde_json::Error> {
        let parts: Parts<'_> = serde_json::from_str(text)?;
        let (mut known, mut unknown, mut unreadable) = (K::default(), Vec::new(), None);
        *known.meta_mut() = parts.metadata;
        let spec_values = parts.spec.map_or(0, |spec| values(spec.get()));
        let decode_spec = |spec: &RawValue| match too_many_values::<K>(spec_values) {
            Some(unreadable) => Err(unreadable),
            None => decode(spec.get(), "spec", &mut unknown),
        };
        match parts.spec.map(decode_spec).transpose() {
            Ok(spec) => *known.spec_mut() = spec.unwrap_or_default(),
            Err(spec) => unreadable = Some(spec),
        }
        match parts.status.map(|status| decode(status.get(), "status", &mut Vec::new())).transpose() {
            Ok(status) => *known.status_mut() = status,
            Err(status) => unreadable = Some(Unreadable { is_status: true, ..status }),
        }
        let spec_bytes = parts.spec.map_or(0, |spec| spec.get().len());
        let (bytes, is_whole) = (text.len(), true);
        Ok(Self { object: known, unreadable, unknown, bytes, spec_bytes, spec_values, is_whole })
    }
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(deserialize_with = "metadata::whole")]
    metadata: ObjectMeta,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

/// Of a Batch, which may have a context for each of a thousand Tasks, nothing that could grow is kept.
fn too_many_values<K: Kind>(values: usize) -> Option<Unreadable> {
    let is_batch = K::kind(&()) == Batch::kind(&());
    (values > MAX_VALUES && !is_batch).then(|| Unreadable {
        place: "spec".to_owned(),
        problem: format!(
            "has {values} values, at most {MAX_VALUES} are allowed: leave some out, or move them into a ConfigMap or a Git \
             repository"
        ),
        is_status: false,
    })
}

/// How many values a JSON text has: each but the first stands behind a bracket or a comma.
fn values(text: &str) -> usize {
    let (mut values, mut is_string, mut is_escaped) = (1, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_string,
            b'"' => is_string = !is_string,
            b'[' | b'{' | b',' if !is_string => values += 1,
            _ => {}
        }
    }
    values
}

fn decode<T: DeserializeOwned>(
    text: &str,
    field: &'static str,
    unknown: &mut Vec<String>,
) -> Result<T, Unreadable> {
    let mut note = |path: serde_ignored::Path<'_>| {
        if unknown.len() < MAX_UNKNOWN {
            // serde_ignored writes a `?` where a field may be left out
            unknown.push(cut(&format!("{field}.{path}").replace(".?", ""), MAX_PLACE));
        }
    };
    serde_ignored::deserialize(&mut serde_json::Deserializer::from_str(text), &mut note)
        .map_err(|error| Unreadable::of::<T>(text, field, &error))
}

impl Unreadable {
    /// Decodes once more, to find the place.
    fn of<T: DeserializeOwned>(text: &str, field: &'static str, error: &serde_json::Error) -> Self {
        let again = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(text));
        let (place, problem) = match again {
            Ok(_) => (field.to_owned(), error.to_string()),
            Err(error) => (format!("{field}.{}", error.path()), error.inner().to_string()),
        };
        // serde_json has no kind of its own for this one
        let problem = if problem.starts_with("recursion limit exceeded") {
            format!("is nested more than {MAX_DEPTH} levels deep")
        } else {
            let words = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(words, _)| words);
            format!("cannot be read: {}", cut(words, MAX_PROBLEM))
        };
        Self { place: cut(&place, MAX_PLACE), problem, is_status: false }
    }

    /// Where it cannot be read: what a log may say, since the rest may hold what the user wrote.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.place, self.problem)
    }
}

fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl<'de, K: Kind> Deserialize<'de> for Item<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Self::read(text.get()).map_err(D::Error::custom)
    }
}

/// Never the body: this ends up in logs.
impl<K: Kind> fmt::Debug for Item<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.object.namespace().unwrap_or_default();
        write!(formatter, "{} {namespace}/{}", K::kind(&()), self.object.name_any())
    }
}

impl<K: Kind> Resource for Item<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.object.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.meta_mut()
    }
}

#[cfg(test)]
impl<K: Kind> From<K> for Item<K> {
    fn from(object: K) -> Self {
        let (unreadable, unknown) = (None, Vec::new());
        Self { object, unreadable, unknown, bytes: 0, spec_bytes: 0, spec_values: 0, is_whole: true }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};
    use kubeopencode_api::agent::Agent;
    use kubeopencode_api::config::KubeOpenCodeConfig;
    use kubeopencode_api::task::Task;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    fn task(name: &str, spec: &str) -> String {
        format!(
            r#"{{"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task",
                "metadata": {{"name": "{name}", "namespace": "n", "uid": "u", "resourceVersion": "1"}}, "spec": {spec},
                "status": {{"phase": "Running", "podUID": "p"}}}}"#
        )
    }

    fn read<K: Kind>(text: &str) -> Item<K> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_task_of_any_depth_harms_no_other_one_of_its_list() {
        let deep =
            task("deep", &format!(r#"{{"contexts": [{{"type": "X", "config": {}}}]}}"#, nested(9_000)));
        let agent_ref = task("ref", &format!(r#"{{"agentRef": {{"name": "x", "zz": {}}}}}"#, nested(9_000)));
        let list = format!(
            r#"{{"apiVersion": "kubeopencode.io/v1alpha1", "kind": "TaskList", "metadata": {{"resourceVersion": "5"}},
                "items": [{deep}, {}, {agent_ref}]}}"#,
            task("good", r#"{"description": "hello"}"#)
        );
        let list: ObjectList<Item<Task>> = serde_json::from_str(&list).unwrap();
        let [deep, good, agent_ref] = &list.items[..] else { panic!("three") };
        assert_eq!(good.get().unwrap().spec.description.as_deref(), Some("hello"));
        for (item, place) in [(deep, "spec.contexts[0].config.a.a"), (agent_ref, "spec.agentRef.zz.a.a")] {
            let unreadable = item.get().unwrap_err().to_string();
            assert!(unreadable.starts_with(place), "{unreadable}");
            assert!(unreadable.ends_with("… is nested more than 128 levels deep"), "{unreadable}");
            assert!(unreadable.len() < 200, "{unreadable}");
            let status = item.status().unwrap().unwrap();
            assert_eq!(status.pod_uid.as_deref(), Some("p"), "what was done for it is known");
        }
    }

    #[test]
    fn values_are_counted_outside_of_texts() {
        for (text, expected) in
            [("1", 1), (r#"{"a": [1, 2], "b": {}}"#, 6), (r#"{"a": "1, [2, {3, \" , ,", "b": "\\"}"#, 3)]
        {
            assert_eq!(values(text), expected, "{text}");
        }
    }

    #[test]
    fn a_task_is_large_by_its_text_or_by_its_values() {
        let is_large = |spec: &str| read::<Task>(&task("t", spec)).is_large();
        assert!(!is_large(
            r#"{"agentRef": {"name": "a"}, "contexts": [{"type": "Text", "name": "b", "text": "c"}]}"#
        ));
        assert!(is_large(&format!(r#"{{"description": "{}"}}"#, "x".repeat(MAX_WHOLE))));
        // less than 1 KiB, and 42 once they are decoded
        assert!(is_large(&format!(r#"{{"contexts": [{}]}}"#, [r#"{"type":"X"}"#; 64].join(","))));
    }

    #[test]
    fn what_would_grow_in_memory_is_not_decoded_but_in_a_batch() {
        let zeros = format!("[0{}]", ",0".repeat(MAX_VALUES));
        let spec = |field: &str| format!(r#"{{"{field}": [{{"type": "Jira", "config": {zeros}}}]}}"#);
        let agent = format!(
            r#"{{"metadata": {{"name": "a"}}, "spec": {}, "status": {{"running": 1}}}}"#,
            spec("contexts")
        );
        let agent: Item<Agent> = read(&agent);
        let words = "spec has 50006 values, at most 50000 are allowed: leave some out, or move them into a ConfigMap or a Git \
                     repository";
        assert_eq!(agent.get().unwrap_err().to_string(), words);
        assert!(agent.status().unwrap().is_some(), "who runs is known");
        let batch = format!(
            r#"{{"metadata": {{"name": "b"}}, "spec": {{"variableContexts": [[{{"type": "Jira", "config": {zeros}}}]]}}}}"#
        );
        assert!(read::<Batch>(&batch).get().is_ok());
    }

    #[test]
    fn an_event_of_a_watch_is_read_alike() {
        let deep = task("deep", &format!(r#"{{"contexts": [{{"type": "X", "config": {}}}]}}"#, nested(200)));
        let event = format!(r#"{{"type": "MODIFIED", "object": {deep}}}"#);
        let WatchEvent::<Item<Task>>::Modified(item) = serde_json::from_str(&event).unwrap() else {
            panic!("{event}")
        };
        assert_eq!(item.name_any(), "deep");
        assert!(item.get().is_err());
    }

    #[test]
    fn what_a_newer_version_added_is_named_and_left_out() {
        let config = r#"{"metadata": {"name": "default"},
            "spec": {"taskSecretRefs": "Deny", "cleanup": {"maxAge": 1}, "newest": [1]}}"#;
        let config: Item<KubeOpenCodeConfig> = read(config);
        assert!(config.get().unwrap().spec.task_secret_refs.is_some());
        assert_eq!(config.unknown_fields(), ["spec.cleanup.maxAge", "spec.newest"]);
    }

    #[test]
    fn a_value_that_a_newer_version_added_cannot_be_read() {
        let config: Item<KubeOpenCodeConfig> =
            read(r#"{"metadata": {"name": "default"}, "spec": {"taskSecretRefs": "OnlyNamed"}}"#);
        let unreadable = config.get().unwrap_err();
        assert_eq!(unreadable.place(), "spec.taskSecretRefs");
        assert!(
            unreadable.to_string().contains("cannot be read: unknown variant `OnlyNamed`"),
            "{unreadable}"
        );
    }

    #[test]
    fn a_status_that_cannot_be_read_is_not_taken_for_none() {
        let task: Item<Task> =
            read(r#"{"metadata": {"name": "t"}, "spec": {}, "status": {"phase": "Paused"}}"#);
        assert_eq!(task.status().unwrap_err().place(), "status.phase");
        assert!(task.get().is_err());
        let text = r#"{"metadata": {"name": "t"}, "spec": {"timeout": 5}, "status": {"phase": "Running"}}"#;
        let task: Item<Task> = read(text);
        assert_eq!(task.status().unwrap().unwrap().phase.unwrap().as_str(), "Running");
        assert_eq!(task.get().unwrap_err().place(), "spec.timeout");
    }

    #[test]
    fn of_a_kind_whose_metadata_no_plugin_sees_the_spec_alone_grows() {
        let text = r#"{"metadata": {"name": "a", "labels": {"team": "a"}, "annotations": {"team": "a"}}, "spec": {}}"#;
        let mut agent: Item<Agent> = read(text);
        agent.keep_ours();
        assert_eq!(*agent.meta(), ObjectMeta { name: Some("a".to_owned()), ..ObjectMeta::default() });
        assert!(agent.is_whole());
    }

    #[test]
    fn what_is_logged_of_an_object_is_its_name() {
        let task: Item<Task> = read(&task("t", r#"{"description": "secret"}"#));
        assert_eq!(format!("{task:?}"), "Task n/t");
    }
}
