//! The parts of a Run that every group reads the same way: a Task's metadata, and what the settings alone say.
//!
//! May touch: metadata and settings. Must not touch: what only one group has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{AGENT_LABEL, DEFAULT_COMMAND_BUILDER};
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::task::timeout_of;

use super::images::Images;
use crate::paths::AbsPath;
use crate::run::pod_options::PodOptions;
use crate::run::{AgentPart, ServerUse, TaskPart};
use crate::{Refusal, Settings};

/// Most context items of a Task, those of its Agent or of other layers included.
pub(super) const MAX_ITEMS: usize = 64;

/// What a Task's metadata say.
pub(super) fn task_part(group: Group, metadata: &ObjectMeta) -> Result<TaskPart, Refusal> {
    let (namespace, name) = place(metadata, "Task")?;
    let key = TaskKey::new(group, namespace, name);
    let Some(uid) = metadata.uid.clone().filter(|uid| !uid.is_empty()) else {
        return Err(Refusal::invalid_config(format!("Task {key}: metadata.uid is missing")));
    };
    // the operator writes this label itself at the launch: a plan that saw it would change
    let labels = metadata.labels.iter().flatten().filter(|(key, _)| *key != AGENT_LABEL);
    let labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
    let annotations = metadata.annotations.iter().flatten().filter(|(key, _)| !is_tools(key));
    let annotations = annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
    // only an object that no API server has made has no time: one that is rendered from a file
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default();
    Ok(TaskPart { key, uid: TaskUid(uid), created, labels, annotations, server: ServerUse::None })
}

/// Whether an annotation is kubectl's or KubeOpenCode's: these change without anybody having said anything new.
fn is_tools(key: &str) -> bool {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    prefix == "kubectl.kubernetes.io" || Group::ALL.iter().any(|group| group.names().group == prefix)
}

pub(super) fn place<'a>(metadata: &'a ObjectMeta, kind: &str) -> Result<(&'a str, &'a str), Refusal> {
    match (metadata.namespace.as_deref(), metadata.name.as_deref()) {
        (Some(namespace), Some(name)) => Ok((namespace, name)),
        _ => Err(Refusal::invalid_config(format!("{kind}: metadata.name or metadata.namespace is missing"))),
    }
}

/// How an agent is run of which nothing is said but where: as the settings have it, and by default.
pub(super) fn default_agent(
    settings: &Settings,
    key: AgentKey,
    described: String,
    workspace: AbsPath,
) -> AgentPart {
    let defaults = settings.defaults();
    let images = Images::of_settings(defaults);
    AgentPart {
        key,
        uid: String::new(),
        described,
        workspace,
        builder: DEFAULT_COMMAND_BUILDER.to_owned(),
        argv: Vec::new(),
        config: None,
        tools_image: images.agent,
        default_tools_image: images.default_agent,
        image: images.executor,
        image_pull_policy: defaults.image_pull_policy,
        system_image: settings.system_image().to_owned(),
        system_image_pull_policy: settings.system_image_pull_policy(),
        service_account: String::new(),
        credentials: Vec::new(),
        git_identity: None,
        pod: PodOptions::default(),
        proxy: settings.proxy().clone(),
        ca_bundle: settings.ca_bundle().cloned(),
        cluster_domain: settings.cluster_domain().to_owned(),
        result_summary: settings.result_summary(),
        idle_seconds: idle_seconds(None, settings),
        task_secret_refs: settings.task_secret_refs(),
        network: settings.network().clone(),
        task_mount_paths: None,
    }
}

/// `idleTimeout` as it is written, else that of the settings; the schema knows no text that is none.
pub(super) fn idle_seconds(written: Option<&str>, settings: &Settings) -> Option<u32> {
    let text = written.or(settings.defaults().idle_timeout.as_deref())?;
    Some(u32::try_from(timeout_of(text)?.as_secs()).unwrap_or(u32::MAX))
}
