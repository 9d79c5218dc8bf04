//! `kubetask.io`: Tasks with their WorkspaceConfigs, and with the Batches that made them.
//!
//! May touch: Task, Batch, WorkspaceConfig and settings. Must not touch: how a Pod is laid out.

mod item;
mod layers;

use kubeopencode_api::config::Defaults;
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_api::kubetask::workspace_config::{WorkspaceConfig, WorkspaceConfigSpec};
use kubeopencode_api::literals::{DEFAULT_NAME, DEFAULT_WORKSPACE_DIR};
use kubeopencode_api::names::AgentKey;

use super::images::Images;
use super::parts::{default_agent, place, task_part};
use super::{credentials, own_keys};
use crate::conventions::{Conventions, KUBETASK, KUBETASK_OPENCODE};
use crate::paths::AbsPath;
use crate::run::pod_options::PodOptions;
use crate::run::{AgentPart, Run, Subject};
use crate::{Refusal, Settings};
use layers::Layer;

/// `WorkspaceConfig.spec.serviceAccountName` when it is not set.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// The Batch that a Task was made by, and which of its lists of contexts is the Task's.
#[derive(Clone, Copy, Debug)]
pub struct BatchPart<'a> {
    /// The Batch.
    pub batch: &'a Batch,
    /// Place in its `variableContexts`, from 0.
    pub index: usize,
}

/// Name of the Task's WorkspaceConfig, in the Task's namespace.
pub fn workspace_name(task: &Task) -> &str {
    task.spec.workspace_config_ref.as_deref().unwrap_or(DEFAULT_NAME)
}

/// Whether the Task says so itself: it must be there then. Without it the built-in pair of images runs the Task where there
/// is no WorkspaceConfig `default`.
pub fn is_explicit(task: &Task) -> bool {
    task.spec.workspace_config_ref.is_some()
}

/// There is no such WorkspaceConfig, and the Task names it.
pub fn workspace_not_found(task: &Task) -> Refusal {
    let (name, namespace) = (workspace_name(task), task.metadata.namespace.as_deref().unwrap_or_default());
    Refusal::workspace_config(format!(
        "WorkspaceConfig \"{name}\" not found in namespace \"{namespace}\": create it, or name another in \
         spec.workspaceConfigRef"
    ))
}

/// What the container `agent` of the WorkspaceConfig's Tasks runs; without one, of the built-in pair.
pub fn agent_images(workspace: Option<&WorkspaceConfig>, settings: &Settings) -> [String; 2] {
    let image = match agent_image(workspace) {
        Some(image) => image.to_owned(),
        None => Images::of_settings(settings.defaults()).of_task(false),
    };
    [image.clone(), image]
}

/// Reads and checks what the users wrote for one Task. Without a WorkspaceConfig the built-in pair of images runs it.
///
/// # Errors
/// The first thing that makes no sense, with object, field and remedy.
pub fn task(
    task: &Task,
    batch: Option<BatchPart<'_>>,
    workspace: Option<&WorkspaceConfig>,
    settings: &Settings,
) -> Result<Run, Refusal> {
    let part = task_part(Group::KubeTask, &task.metadata)?;
    let conventions = if agent_image(workspace).is_some() { &KUBETASK } else { &KUBETASK_OPENCODE };
    let mut run = Run {
        agent: read_workspace(workspace, &part.key.namespace, conventions, settings)?,
        items: Vec::new(),
        notices: Vec::new(),
        // what is to be done stands in the contexts alone
        prompt: None,
        conventions,
        subject: Subject::Task(part),
    };
    let layers = Layer::all(task, batch, workspace, &run)?;
    layers::read(&mut run, &layers)?;
    Ok(run)
}

fn agent_image(workspace: Option<&WorkspaceConfig>) -> Option<&str> {
    workspace?.spec.agent_image.as_deref().filter(|image| !image.is_empty())
}

/// How the agent is run, in the place where an Agent would say so.
fn read_workspace(
    workspace: Option<&WorkspaceConfig>,
    namespace: &str,
    conventions: &Conventions,
    settings: &Settings,
) -> Result<AgentPart, Refusal> {
    let dir = AbsPath::parse(DEFAULT_WORKSPACE_DIR, None).map_err(Refusal::invalid_config)?;
    let (key, described) = match workspace {
        Some(object) => {
            let (namespace, name) = place(&object.metadata, "WorkspaceConfig")?;
            let key = AgentKey::new(namespace, name);
            let described = format!("WorkspaceConfig {key}");
            (key, described)
        }
        None => (AgentKey::new(namespace, DEFAULT_NAME), "the built-in images".to_owned()),
    };
    let none = WorkspaceConfigSpec::default();
    let spec = workspace.map_or(&none, |object| &object.spec);
    let refuse = |refusal: Refusal| Refusal::workspace_config(refusal.message);
    let credentials = credentials::read(&spec.credentials, &dir, &described, conventions).map_err(refuse)?;
    let pod = pod_options(spec, settings.defaults(), &described)?;
    let (image, name) = (agent_image(workspace), spec.service_account_name.as_deref());
    let config = settings.defaults().config.as_ref();
    let part = default_agent(settings, key, described, dir);
    Ok(AgentPart {
        uid: workspace.and_then(|object| object.metadata.uid.clone()).unwrap_or_default(),
        // it is OpenCode's: nobody reads it in an image of the user's
        config: config.filter(|_| image.is_none()).map(ToString::to_string),
        image: image.map_or(part.image, str::to_owned),
        service_account: name.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_SERVICE_ACCOUNT).to_owned(),
        credentials,
        pod,
        ..part
    })
}

/// Labels and scheduling, and what the settings say of Pods that a WorkspaceConfig has no words for.
fn pod_options(
    spec: &WorkspaceConfigSpec,
    defaults: &Defaults,
    described: &str,
) -> Result<PodOptions, Refusal> {
    let (labels, ignored) = own_keys::labels("spec.podLabels", &spec.pod_labels)
        .map_err(|problem| Refusal::workspace_config(format!("spec.podLabels of {described}: {problem}")))?;
    let scheduling = spec.scheduling.clone().unwrap_or_default();
    Ok(PodOptions {
        labels,
        ignored: ignored.into_iter().collect(),
        node_selector: scheduling.node_selector,
        tolerations: scheduling.tolerations,
        affinity: scheduling.affinity,
        resources: defaults.resources.clone(),
        pod_security_context: defaults.pod_security_context.clone(),
        image_pull_secrets: defaults.image_pull_secrets.clone(),
        ..PodOptions::default()
    })
}
