//! `kubeopencode.io`: Tasks with their Agents, and the servers of Agents.
//!
//! May touch: Task, Agent and settings. Must not touch: how a Pod is laid out.

mod agent_config;
mod agent_ref;
mod allowed_namespaces;
mod credentials;
mod images;
mod item;
mod pod_options;
mod server;
mod task_mount_paths;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::context::ContextItem;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::AGENT_LABEL;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::plugin::{Origin, is_plugin_name};
use kubeopencode_api::task::{Task, TaskSpec, timeout_of};

use crate::conventions::{Conventions, KUBEOPENCODE, KUBEOPENCODE_ATTACHED};
use crate::paths::AbsPath;
use crate::run::{AgentPart, Run, Server, ServerUse, Subject, TaskPart};
use crate::{Refusal, Settings};
pub use agent_ref::spec_agent;
use images::Images;
use item::Place;

/// Most context items of a Task, its Agent's included.
const MAX_ITEMS: usize = 64;

/// What workspaceDir must not be: it would hide, or be hidden by, what the Pod itself needs.
const NO_WORKSPACE: [&str; 4] = ["/tmp", "/kubeopencode", "/configmap-files", "/url-content"];

/// Reads and checks what the users wrote for one Task.
///
/// # Errors
/// The first thing that makes no sense, with object, field and remedy; or that this Task must not use the Agent.
pub fn task(task: &Task, agent: &Agent, settings: &Settings) -> Result<Run, Refusal> {
    let metadata = &task.metadata;
    let (namespace, name) = place(metadata, "Task")?;
    let key = TaskKey::new(Group::KubeOpenCode, namespace, name);
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
    let agent_key = agent_key(agent)?;
    allowed_namespaces::check(&agent.spec.allowed_namespaces, &agent_key, &key.namespace)?;
    let (part, server) = read_agent(agent_key, agent, settings)?;
    let server = match server {
        None => ServerUse::None,
        Some(server) if part.argv.is_empty() => ServerUse::AttachesTo(server),
        Some(server) => ServerUse::WaitsFor(server),
    };
    let attaches = matches!(server, ServerUse::AttachesTo(_));
    let mut run = Run {
        agent: AgentPart { image: Images::new(&agent.spec, settings.defaults()).of_task(attaches), ..part },
        prompt: task.spec.description.clone().filter(|text| !text.trim().is_empty()),
        conventions: if attaches { &KUBEOPENCODE_ATTACHED } else { &KUBEOPENCODE },
        items: Vec::new(),
        skipped: Vec::new(),
        subject: Subject::Task(TaskPart { key, uid: TaskUid(uid), created, labels, annotations, server }),
    };
    // the server knows its Agent's contexts already
    let agents = if attaches { &[][..] } else { &agent.spec.contexts };
    read_items(&mut run, agents, &task.spec.contexts)?;
    Ok(run)
}

/// Whether an annotation is kubectl's or KubeOpenCode's: these change without anybody having said anything new.
fn is_tools(key: &str) -> bool {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    prefix == "kubectl.kubernetes.io" || Group::ALL.iter().any(|group| group.names().group == prefix)
}

/// What a Task of this Agent that has nothing but a prompt comes to: whether the Agent's own part makes sense.
///
/// # Errors
/// The first thing that makes no sense, with object, field and remedy.
pub fn agent_alone(agent: &Agent, settings: &Settings) -> Result<Run, Refusal> {
    let spec = TaskSpec { description: Some("Nothing.".to_owned()), ..TaskSpec::default() };
    let mut any = Task::new("any", spec);
    any.metadata.namespace.clone_from(&agent.metadata.namespace);
    any.metadata.uid = Some("any".to_owned());
    task(&any, agent, settings)
}

/// What the container `agent` of the Agent's Tasks runs: the agent itself, or a client of the Agent's server.
pub fn agent_images(agent: &Agent, settings: &Settings) -> [String; 2] {
    let images = Images::new(&agent.spec, settings.defaults());
    [false, true].map(|attaches| images.clone().of_task(attaches))
}

/// Reads and checks what the users wrote for an Agent's server.
///
/// # Errors
/// The first thing that makes no sense, with object, field and remedy.
pub fn server(agent: &Agent, settings: &Settings) -> Result<Run, Refusal> {
    let (part, server) = read_agent(agent_key(agent)?, agent, settings)?;
    let Some(server) = server else {
        return Err(Refusal::invalid_config(format!("{}: it has no spec.serverConfig", part.described)));
    };
    let mut run = Run {
        subject: Subject::Server(server),
        // the Agent's own argv is the Tasks' command
        agent: AgentPart { argv: Vec::new(), ..part },
        items: Vec::new(),
        skipped: Vec::new(),
        prompt: None,
        conventions: &KUBEOPENCODE,
    };
    read_items(&mut run, &agent.spec.contexts, &[])?;
    Ok(run)
}

/// `idleTimeout` of the Agent, else that of the settings; the schema knows no text that is none.
fn idle_seconds(agent: &Agent, settings: &Settings) -> Option<u32> {
    let text = agent.spec.idle_timeout.as_deref().or(settings.defaults().idle_timeout.as_deref())?;
    Some(u32::try_from(timeout_of(text)?.as_secs()).unwrap_or(u32::MAX))
}

fn agent_key(agent: &Agent) -> Result<AgentKey, Refusal> {
    place(&agent.metadata, "Agent").map(|(namespace, name)| AgentKey::new(namespace, name))
}

fn read_agent(
    key: AgentKey,
    agent: &Agent,
    settings: &Settings,
) -> Result<(AgentPart, Option<Server>), Refusal> {
    let described = format!("Agent {key}");
    let workspace = workspace(agent.spec.workspace_dir(), &described, &KUBEOPENCODE)?;
    let defaults = settings.defaults();
    let images = Images::new(&agent.spec, defaults);
    let server = server::read(agent.spec.server_config.as_ref(), &key, settings.cluster_domain())?;
    let part = AgentPart {
        uid: agent.metadata.uid.clone().unwrap_or_default(),
        builder: builder(agent.spec.command_builder(), &described)?,
        argv: agent.spec.command.clone(),
        config: agent_config::read(agent.spec.config.as_ref(), defaults.config.as_ref(), &described)?,
        image: images.executor,
        tools_image: images.agent,
        default_tools_image: images.default_agent,
        image_pull_policy: agent.spec.image_pull_policy.or(defaults.image_pull_policy),
        system_image: settings.system_image().to_owned(),
        system_image_pull_policy: settings.system_image_pull_policy(),
        service_account: agent.spec.service_account_name.clone(),
        credentials: credentials::read(&agent.spec.credentials, &workspace, &described, &KUBEOPENCODE)?,
        pod: pod_options::read(agent.spec.pod_spec.as_ref(), defaults, &described)?,
        proxy: settings.proxy().clone(),
        ca_bundle: settings.ca_bundle().cloned(),
        cluster_domain: settings.cluster_domain().to_owned(),
        result_summary: settings.result_summary(),
        idle_seconds: idle_seconds(agent, settings),
        task_secret_refs: settings.task_secret_refs(),
        network: settings.network().clone(),
        task_mount_paths: task_mount_paths::read(
            agent.spec.task_mount_paths.as_deref(),
            &workspace,
            &described,
        )?,
        key,
        described,
        workspace,
    };
    Ok((part, server))
}

/// Reads the Agent's items, then the Task's.
fn read_items(run: &mut Run, agents: &[ContextItem], tasks: &[ContextItem]) -> Result<(), Refusal> {
    let (agent, described) = (run.agent.described.clone(), run.described());
    let number = agents.len() + tasks.len();
    if number > MAX_ITEMS {
        return Err(Refusal::context(format!(
            "{described} has {number} contexts, those of {agent} included, at most {MAX_ITEMS} are allowed: join some"
        )));
    }
    let layers = [
        (Origin::Agent, agents, run.pod_namespace().to_owned(), agent),
        (Origin::Task, tasks, run.namespace().to_owned(), described),
    ];
    for (origin, specs, namespace, holder) in &layers {
        for (index, spec) in specs.iter().enumerate() {
            let workspace = &run.agent.workspace;
            let place =
                Place { origin: *origin, namespace, holder, index, workspace, conventions: run.conventions };
            match item::read(spec, &place) {
                Ok(item) => run.items.push(item),
                Err(refusal) if spec.optional == Some(true) => run.skipped.push(refusal.message),
                Err(refusal) => return Err(refusal),
            }
        }
    }
    Ok(())
}

fn place<'a>(metadata: &'a ObjectMeta, kind: &str) -> Result<(&'a str, &'a str), Refusal> {
    match (metadata.namespace.as_deref(), metadata.name.as_deref()) {
        (Some(namespace), Some(name)) => Ok((namespace, name)),
        _ => Err(Refusal::invalid_config(format!("{kind}: metadata.name or metadata.namespace is missing"))),
    }
}

fn builder(name: &str, holder: &str) -> Result<String, Refusal> {
    if is_plugin_name(name) {
        return Ok(name.to_owned());
    }
    Err(Refusal::invalid_config(format!(
        "{holder}: spec.commandBuilder \"{name}\" cannot be the name of a plugin: use letters, digits and -"
    )))
}

fn workspace(written: &str, holder: &str, conventions: &Conventions) -> Result<AbsPath, Refusal> {
    let refuse = |problem: String| {
        Err(Refusal::invalid_config(format!("{holder}: spec.workspaceDir \"{written}\" {problem}")))
    };
    let path = match AbsPath::parse(written, None) {
        Ok(path) => path,
        Err(problem) => return refuse(problem.to_owned()),
    };
    if let Some(reserved) = path.touches(conventions.reserved_paths) {
        return refuse(format!("reaches into {reserved}, which is reserved: choose another directory"));
    }
    if NO_WORKSPACE.contains(&path.as_str()) || path.as_str().starts_with("/configmap-dir-") {
        return refuse("is reserved: choose another directory".to_owned());
    }
    if !path.is_mountable() {
        return refuse("holds \":\", which no mount path may: choose another directory".to_owned());
    }
    Ok(path)
}
