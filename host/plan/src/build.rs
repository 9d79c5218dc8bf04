//! The Pod and the ConfigMaps of a Task, the server of an Agent: the last pure stage.
//!
//! `layout` decides what goes where and how it gets there, `path_conflicts` whether that can be, `config_map_packing`
//! what lies in which ConfigMap; `init`, `agent`, `env` and `volumes` write it down as a Pod, `server` as a Deployment
//! and what belongs to it. Names and digest are put in here, last.
//!
//! May touch: checked input. Must not touch: specs, plans, a client.

mod agent;
mod config_map_packing;
pub(crate) mod context_text;
mod env;
mod init;
pub(crate) mod layout;
mod mounts;
mod nested_mounts;
pub(crate) mod network;
pub(crate) mod optional;
pub(crate) mod path_conflicts;
mod reader;
mod server;
mod shared_mounts;
mod volumes;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::string::FromUtf8Error;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSchedulingGate, PodSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::{
    AGENT_CONTAINER, APP_LABEL, DEFAULT_CONTAINER_ANNOTATION, LAUNCH_GATE, PLAN_ANNOTATION,
    TASK_NAME_ANNOTATION,
};
use kubeopencode_api::names::{Naming, TaskNames, hex, label_value};
use serde::ser::Error;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::evaluated::Evaluated;
use crate::run::pod_options::IgnoredKeys;
use crate::run::{Subject, TaskPart};
use crate::{Command, Refusal, Run};
use config_map_packing::Data;
use layout::Layout;
use optional::leave_out;
pub use server::{ServerObjects, build_server};

/// An agent runs at most once: one that is moved to another node, so that a node can be saved, is work that is lost.
const STAYS: [(&str, &str); 2] =
    [("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"), ("karpenter.sh/do-not-disrupt", "true")];

/// Names of the plan's ConfigMaps, by their numbers.
type ContextNames<'a> = &'a dyn Fn(usize) -> String;

/// What is to be made for a Task, under its plain names.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionPlan {
    /// The Pod, held back by its scheduling gate.
    pub pod: Pod,
    /// The ConfigMaps that it mounts.
    pub config_maps: Vec<ConfigMap>,
    /// `sha256:` and the digest of all of them, the same under either naming; they carry it as an annotation.
    pub digest: String,
    /// What the user should know although all went well: messages of the Contexts condition.
    pub notices: Vec<(Reason, String)>,
    /// What the Agent says of itself although it is accepted.
    pub agent_notice: Option<(Reason, String)>,
    /// the same under the names with the Task's UID
    with_uid: Renamed,
}

/// What of a plan has its names in it.
#[derive(Clone, Debug, PartialEq)]
struct Renamed {
    pod: String,
    volumes: Option<Vec<Volume>>,
    config_maps: Vec<String>,
}

impl ExecutionPlan {
    /// The same plan under the names with the Task's UID, for a plain name that is held by an object of somebody else.
    pub fn into_with_uid(mut self) -> Self {
        let Renamed { pod, volumes, config_maps } = &self.with_uid;
        self.pod.metadata.name = Some(pod.clone());
        if let Some(spec) = &mut self.pod.spec {
            spec.volumes.clone_from(volumes);
        }
        for (map, name) in self.config_maps.iter_mut().zip(config_maps) {
            map.metadata.name = Some(name.clone());
        }
        self
    }
}

/// Makes Pod and ConfigMaps of a Task.
///
/// # Errors
/// Contexts that cannot be there together or are too much, and variables that are set twice.
pub fn build(run: &Run, contexts: &[Evaluated], command: &Command) -> Result<ExecutionPlan, Refusal> {
    let Subject::Task(task) = &run.subject else {
        return Err(Refusal::invalid_config(format!("{} is no Task", run.described())));
    };
    let fewer;
    let (layout, contexts) = match Layout::new(run, contexts, command) {
        Ok(layout) => (layout, contexts),
        Err(obstacle) => {
            fewer = leave_out(run, contexts, command, obstacle)?;
            (Layout::new(run, &fewer, command).map_err(|obstacle| obstacle.refusal)?, fewer.as_slice())
        }
    };
    let names = |naming| TaskNames::new(&task.key, &task.uid, run.pod_namespace(), naming);
    let (plain, uid_names) = (names(Naming::Plain), names(Naming::WithUid));
    let mut pod = self::pod(&layout, task, &plain);
    let volumes_with_uid = some(volumes::volumes(&layout, &|i| uid_names.context(i)));
    let maps = layout.into_config_maps().into_iter().enumerate();
    let metadata = metadata(run, task);
    let mut config_maps: Vec<_> = maps
        .map(|(i, data)| {
            let mut labels = labels_of(run, task);
            labels.extend([namespace_label(run, task)]);
            let metadata =
                ObjectMeta { name: Some(plain.context(i)), labels: Some(labels), ..metadata.clone() };
            config_map(data, metadata)
        })
        .collect();
    // the same plan under another name is the same plan
    let digest = digest(&(&pod, &config_maps))?;
    let maps = config_maps.iter_mut().map(|map| &mut map.metadata);
    for metadata in maps.chain([&mut pod.metadata]) {
        annotate(metadata, &digest);
    }
    let with_uid = Renamed {
        pod: uid_names.pod(),
        volumes: volumes_with_uid,
        config_maps: (0..config_maps.len()).map(|i| uid_names.context(i)).collect(),
    };
    let (notices, agent_notice) = (notices(run, contexts, command), command.agent_notice.clone());
    Ok(ExecutionPlan { pod, config_maps, digest, notices, agent_notice, with_uid })
}

fn pod(layout: &Layout<'_>, task: &TaskPart, names: &TaskNames<'_>) -> Pod {
    let run = layout.run;
    let mut labels = run.agent.pod.labels.clone();
    labels.extend(labels_of(run, task));
    labels.extend(run.is_cross_namespace().then(|| namespace_label(run, task)));
    let mut annotations = BTreeMap::from(STAYS.map(|(key, value)| (key.to_owned(), value.to_owned())));
    annotations.extend(run.agent.pod.annotations.clone());
    annotations.extend([
        (TASK_NAME_ANNOTATION.to_owned(), task.key.name.clone()),
        // what `kubectl logs` and `kubectl exec` take without being told
        (DEFAULT_CONTAINER_ANNOTATION.to_owned(), AGENT_CONTAINER.to_owned()),
    ]);
    annotations
        .extend(run.conventions.agent_annotation.map(|key| (key.to_owned(), run.agent.key.name.clone())));
    Pod {
        metadata: ObjectMeta {
            name: Some(names.pod()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..metadata(run, task)
        },
        spec: Some(PodSpec {
            restart_policy: Some("Never".to_owned()),
            scheduling_gates: Some(vec![PodSchedulingGate { name: LAUNCH_GATE.to_owned() }]),
            ..pod_spec(layout, &|i| names.context(i), agent::container(layout))
        }),
        status: None,
    }
}

/// What the Pods of Tasks and servers have in common.
fn pod_spec(layout: &Layout<'_>, names: ContextNames<'_>, worker: Container) -> PodSpec {
    let run = layout.run;
    let given = run.agent.pod.clone();
    PodSpec {
        service_account_name: Some(run.agent.service_account.clone()),
        security_context: Some(given.pod_security_context()),
        runtime_class_name: given.runtime_class_name,
        priority_class_name: given.priority_class_name,
        scheduler_name: given.scheduler_name,
        topology_spread_constraints: some(given.topology_spread_constraints),
        termination_grace_period_seconds: given.termination_grace_period_seconds,
        host_aliases: some(given.host_aliases),
        dns_config: given.dns_config,
        image_pull_secrets: some(given.image_pull_secrets),
        node_selector: some_map(given.node_selector),
        tolerations: some(given.tolerations),
        affinity: given.affinity,
        init_containers: some(init::containers(layout)),
        containers: vec![worker],
        volumes: some(volumes::volumes(layout, names)),
        ..PodSpec::default()
    }
}

fn config_map(content: Data, metadata: ObjectMeta) -> ConfigMap {
    let (mut data, mut binary) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in content {
        match text(value) {
            Ok(text) => {
                data.insert(key, text);
            }
            Err(value) => {
                binary.insert(key, ByteString(value));
            }
        }
    }
    ConfigMap { metadata, data: some_map(data), binary_data: some_map(binary), immutable: Some(true) }
}

/// Bytes that a request can carry as text, else the bytes. Control characters grow sixfold in JSON, so they go the binary
/// way.
fn text(value: Vec<u8>) -> Result<String, Vec<u8>> {
    let plain = |byte: &u8| !byte.is_ascii_control() || matches!(byte, b'\n' | b'\r' | b'\t');
    if !value.iter().all(plain) {
        return Err(value);
    }
    String::from_utf8(value).map_err(FromUtf8Error::into_bytes)
}

fn labels_of(run: &Run, task: &TaskPart) -> BTreeMap<String, String> {
    let names = run.conventions.group.names();
    BTreeMap::from([
        (APP_LABEL.to_owned(), names.app.to_owned()),
        (names.task_label.to_owned(), label_value(&task.key.name)),
        (names.task_uid_label.to_owned(), task.uid.0.clone()),
    ])
}

fn namespace_label(run: &Run, task: &TaskPart) -> (String, String) {
    (run.conventions.group.names().task_namespace_label.to_owned(), task.key.namespace.clone())
}

/// Namespace and, where it can be, the owner. Across namespaces there is none: the Task's finalizer cleans up.
fn metadata(run: &Run, task: &TaskPart) -> ObjectMeta {
    let owner = owner(run, "Task", &task.key.name, &task.uid.0);
    ObjectMeta {
        namespace: Some(run.pod_namespace().to_owned()),
        owner_references: (!run.is_cross_namespace()).then(|| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn owner(run: &Run, kind: &str, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: run.conventions.group.api_version(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn annotate(metadata: &mut ObjectMeta, digest: &str) {
    metadata.annotations.get_or_insert_default().insert(PLAN_ANNOTATION.to_owned(), digest.to_owned());
}

/// The digest of objects as JSON, which is never there as a whole.
fn digest(objects: &impl Serialize) -> Result<String, Refusal> {
    let refused =
        |error: &dyn Display| Refusal::invalid_config(format!("the Pod cannot be written as JSON: {error}"));
    // JSON is written a few bytes at a time
    let mut json = BufWriter::new(Hash(Sha256::new()));
    serde_json::to_writer(&mut json, objects).map_err(|error| refused(&error))?;
    let Hash(hash) = json.into_inner().map_err(|error| refused(&error))?;
    Ok(format!("sha256:{}", hex(&hash.finalize())))
}

/// What is written is hashed.
struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON with sorted keys is the same for the same object, and stays so where a later version has its fields in another order:
/// a server is restarted when its digest is another one.
struct Sorted<'a, T>(&'a T);

impl<T: Serialize> Serialize for Sorted<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::to_value(self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

fn sorted<T>(objects: &[T]) -> Vec<Sorted<'_, T>> {
    objects.iter().map(Sorted).collect()
}

fn notices(run: &Run, contexts: &[Evaluated], command: &Command) -> Vec<(Reason, String)> {
    let left_out = run.notices.iter().cloned();
    let evaluated = contexts.iter().flat_map(|context| context.notices.clone());
    let ignored = run.agent.pod.ignored.iter().map(|IgnoredKeys { field, keys }| {
        let message = format!(
            "{field} of {}: {} ignored, these keys are KubeOpenCode's own",
            run.agent.described,
            keys.join(", ")
        );
        (Reason::LabelsIgnored, message)
    });
    let warnings = command
        .warnings
        .iter()
        .map(|warning| (Reason::Resolved, format!("command builder \"{}\": {warning}", run.agent.builder)));
    left_out.chain(evaluated).chain(ignored).chain(warnings).collect()
}

fn some_map<T>(map: BTreeMap<String, T>) -> Option<BTreeMap<String, T>> {
    (!map.is_empty()).then_some(map)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_all_the_json() {
        let objects = vec!["text".repeat(1000); 20];
        let json = serde_json::to_vec(&objects).unwrap();
        assert_eq!(digest(&objects).unwrap(), format!("sha256:{}", hex(&Sha256::digest(&json))));
    }
}
