//! An API server in memory: as much of one as the operator asks for. Decides nothing by itself and does nothing later:
//! garbage collection, the scheduler and the kubelet are steps of the model.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use kubeopencode_tests::record::{Kind, Revision};
use serde_json::{Value, json};

/// Plural, namespace and name.
pub(crate) type Id = (String, String, String);

/// An answer.
pub(crate) type Answer = Result<Value, (StatusCode, &'static str)>;

const CONFLICT: (StatusCode, &str) = (StatusCode::CONFLICT, "Conflict");
const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "NotFound");
const INVALID: (StatusCode, &str) = (StatusCode::UNPROCESSABLE_ENTITY, "Invalid");

/// What a watch is told.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) plural: String,
    /// `ADDED`, `MODIFIED` or `DELETED`
    pub(crate) what: &'static str,
    pub(crate) version: u64,
    pub(crate) object: Value,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) plural: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) selector: Option<(String, String)>,
    pub(crate) watch_from: Option<u64>,
    /// The first list is asked for as a stream, which this API server, an older one, does not know.
    pub(crate) streams_list: bool,
    pub(crate) body: Value,
}

impl Call {
    /// Reads the path of a request, as in `/api/v1/namespaces/team/pods/fix`.
    pub(crate) fn new(method: Method, path: &str, query: &str, body: &[u8]) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        let versions = if parts.next() == Some("api") { 1 } else { 2 };
        for _ in 0..versions {
            parts.next();
        }
        let namespaced = parts.next_if_eq(&"namespaces").is_some();
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let namespace = if namespaced { next() } else { String::new() };
        let (plural, name, subresource) = (next(), next(), next());
        let parameter = |key: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .into_iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.replace("%3D", "=").replace("%2F", "/"))
        };
        let watch = parameter("watch").is_some();
        let streams_list = parameter("sendInitialEvents").is_some();
        let selector = parameter("labelSelector").and_then(|selector| {
            selector.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        });
        let watch_from = parameter("resourceVersion")
            .filter(|_| watch && !streams_list)
            .and_then(|version| version.parse().ok());
        let body = serde_json::from_slice(body).unwrap_or_default();
        Self { method, plural, namespace, name, subresource, selector, watch_from, streams_list, body }
    }

    /// Whether it is one of those that fill the caches, or an Event: nothing hangs on when it is answered.
    pub(crate) fn is_background(&self) -> bool {
        let of_one_task = self.selector.as_ref().is_some_and(|(key, _)| key.ends_with("/task-uid"));
        self.plural == "events" || (self.name.is_empty() && self.method == Method::GET && !of_one_task)
    }
}

/// All objects, and all that happened to them.
#[derive(Debug, Default)]
pub(crate) struct ApiServer {
    pub(crate) objects: BTreeMap<Id, Value>,
    pub(crate) log: Vec<Change>,
    version: u64,
    uids: u64,
    /// What a write would have broken had the rules of the definitions not refused it.
    pub(crate) refused: Vec<String>,
}

impl ApiServer {
    /// The record that invariants are checked on.
    pub(crate) fn record(&self) -> impl Iterator<Item = Revision> {
        self.log.iter().filter_map(|change| {
            let kind = match change.plural.as_str() {
                "tasks" => Kind::Task,
                "agents" => Kind::Agent,
                "pods" => Kind::Pod,
                "configmaps" => Kind::ConfigMap,
                _ => return None,
            };
            let (version, object) = (change.version, change.object.clone());
            Some(Revision { kind, version, since: version, gone: change.what == "DELETED", object })
        })
    }

    pub(crate) fn handle(&mut self, call: &Call) -> Answer {
        let id = (call.plural.clone(), call.namespace.clone(), call.name.clone());
        match (&call.method, call.name.is_empty()) {
            (&Method::GET, true) if call.streams_list => Err(INVALID),
            (&Method::GET, true) => Ok(self.list(call)),
            (&Method::GET, false) => self.objects.get(&id).cloned().ok_or(NOT_FOUND),
            (&Method::POST, _) => self.create(&call.plural, &call.namespace, call.body.clone()),
            (&Method::PATCH, _) => self.patch(&id, &call.subresource, &call.body),
            (&Method::DELETE, _) => self.delete(&id, &call.body),
            _ => Err((StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")),
        }
    }

    fn list(&self, call: &Call) -> Value {
        let items: Vec<_> = self
            .objects
            .iter()
            .filter(|((plural, namespace, _), object)| {
                let selected = call
                    .selector
                    .as_ref()
                    .is_none_or(|(key, value)| object["metadata"]["labels"][key].as_str() == Some(value));
                *plural == call.plural
                    && (call.namespace.is_empty() || *namespace == call.namespace)
                    && selected
            })
            .map(|(_, object)| object)
            .collect();
        json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }

    pub(crate) fn create(&mut self, plural: &str, namespace: &str, mut object: Value) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let id = (plural.to_owned(), namespace.to_owned(), name);
        if self.objects.contains_key(&id) {
            return Err((StatusCode::CONFLICT, "AlreadyExists"));
        }
        self.uids += 1;
        let metadata = &mut object["metadata"];
        metadata["namespace"] = namespace.into();
        metadata["uid"] = format!("{}-{}", &plural[..1], self.uids).into();
        metadata["generation"] = 1.into();
        metadata["creationTimestamp"] = jiff::Timestamp::now().strftime("%FT%TZ").to_string().into();
        if plural == "pods" {
            object["status"] = json!({"phase": "Pending"});
        }
        self.put(id, object, "ADDED")
    }

    fn put(&mut self, id: Id, mut object: Value, what: &'static str) -> Answer {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let change = Change { plural: id.0.clone(), what, version: self.version, object: object.clone() };
        self.log.push(change);
        if what == "DELETED" {
            self.objects.remove(&id);
        } else {
            self.objects.insert(id, object.clone());
        }
        Ok(object)
    }

    /// A merge patch, or a strategic one where that takes something out of a list.
    pub(crate) fn patch(&mut self, id: &Id, subresource: &str, patch: &Value) -> Answer {
        let before = self.objects.get(id).ok_or(NOT_FOUND)?;
        for field in ["uid", "resourceVersion"] {
            let wanted = &patch["metadata"][field];
            if !wanted.is_null() && *wanted != before["metadata"][field] {
                return Err(CONFLICT);
            }
        }
        let (mut after, mut patch) = (before.clone(), patch.clone());
        if let Some(fields) = patch.as_object_mut() {
            // a subresource takes nothing else, and the whole takes no subresource
            fields.retain(|field, _| field == "metadata" || (field == "status") == (subresource == "status"));
            if subresource == "status" {
                fields.remove("metadata");
            }
        }
        merge(&mut after, &patch);
        if after["spec"] != before["spec"] {
            let generation = after["metadata"]["generation"].as_u64().unwrap_or_default();
            after["metadata"]["generation"] = (generation + 1).into();
        }
        if let Some(problem) = forbidden(id, before, &after) {
            self.refused.push(problem);
            return Err(INVALID);
        }
        if after == *before {
            return Ok(after);
        }
        let deleted = !after["metadata"]["deletionTimestamp"].is_null();
        let held = after["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if deleted && !held && id.0 != "pods" {
            return self.put(id.clone(), after, "DELETED");
        }
        self.put(id.clone(), after, "MODIFIED")
    }

    pub(crate) fn delete(&mut self, id: &Id, options: &Value) -> Answer {
        let mut object = self.objects.get(id).ok_or(NOT_FOUND)?.clone();
        for (field, wanted) in options["preconditions"].as_object().into_iter().flatten() {
            if !wanted.is_null() && *wanted != object["metadata"][field] {
                return Err(CONFLICT);
            }
        }
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        // the kubelet takes away what has a node, everything else goes at once
        let graceful = options["gracePeriodSeconds"] != json!(0) && object["spec"]["nodeName"].is_string();
        if !(held || id.0 == "pods" && graceful) {
            return self.put(id.clone(), object, "DELETED");
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] =
                jiff::Timestamp::now().strftime("%FT%TZ").to_string().into();
            return self.put(id.clone(), object, "MODIFIED");
        }
        Ok(object)
    }

    /// Takes away what has an owner that is no longer there.
    pub(crate) fn collect_garbage(&mut self) {
        let uids: Vec<_> = self.objects.values().map(|object| object["metadata"]["uid"].clone()).collect();
        let orphaned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().all(|owner| !uids.contains(&owner["uid"])))
        };
        let orphans: Vec<_> =
            self.objects.iter().filter(|(_, object)| orphaned(object)).map(|(id, _)| id.clone()).collect();
        for id in orphans {
            self.delete(&id, &Value::Null).ok();
        }
    }
}

/// RFC 7386, and `$patch: delete` in lists of things that have a name.
fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (field, value) in fields {
                let there = target.as_object_mut().and_then(|target| target.get_mut(field));
                match (there, value) {
                    (_, Value::Null) => drop(target.as_object_mut().and_then(|target| target.remove(field))),
                    (Some(there), _) => merge(there, value),
                    (None, _) => {
                        let mut new = Value::Null;
                        merge(&mut new, value);
                        target[field] = new;
                    }
                }
            }
        }
        Value::Array(items) if items.iter().any(|item| item["$patch"] == "delete") => {
            if let Some(there) = target.as_array_mut() {
                there.retain(|element| items.iter().all(|item| item["name"] != element["name"]));
            }
        }
        _ => *target = patch.clone(),
    }
}

/// The rules of the definition of Tasks that matter here.
fn forbidden(id: &Id, before: &Value, after: &Value) -> Option<String> {
    if id.0 != "tasks" {
        return None;
    }
    let (pod, phase) = (&before["status"]["podUID"], &before["status"]["phase"]);
    if !pod.is_null() && *pod != after["status"]["podUID"] {
        return Some(format!(
            "Task {} was to change its podUID from {pod} to {}",
            id.2, after["status"]["podUID"]
        ));
    }
    if (phase == "Completed" || phase == "Failed") && *phase != after["status"]["phase"] {
        return Some(format!("Task {} was to go from {phase} to {}", id.2, after["status"]["phase"]));
    }
    None
}
