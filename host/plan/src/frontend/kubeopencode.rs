//! `kubeopencode.io`: Tasks with their Agents, and the servers of Agents.
//!
//! May touch: Task, Agent and settings. Must not touch: how a Pod is laid out.

mod agent_config;
mod agent_ref;
mod allowed_namespaces;
mod item;
mod pod_options;
mod server;
mod task_mount_paths;

use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::context::ContextItem;
use kubeopencode_api::git::GitIdentity;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::AgentKey;
use kubeopencode_api::plugin::{Origin, is_plugin_name};
use kubeopencode_api::task::{Task, TaskSpec};

use super::credentials;
use super::images::Images;
use super::item::Place;
use super::parts::{MAX_ITEMS, default_agent, idle_seconds, place, task_part};
use crate::conventions::{Conventions, KUBEOPENCODE, KUBEOPENCODE_ATTACHED};
use crate::paths::AbsPath;
use crate::run::{AgentPart, Run, Server, ServerUse, Subject, TaskPart};
use crate::{Refusal, Settings};
pub use agent_ref::spec_agent;

/// What workspaceDir must not be: it would hide, or be hidden by, what the Pod itself needs.
const NO_WORKSPACE: [&str; 4] = ["/tmp", "/kubeopencode", "/configmap-files", "/url-content"];

/// Reads and checks what the users wrote for one Task.
///
/// # Errors
/// The first thing that makes no sense, with object, field and remedy; or that this Task must not use the Agent.
pub fn task(task: &Task, agent: &Agent, settings: &Settings) -> Result<Run, Refusal> {
    let part = task_part(Group::KubeOpenCode, &task.metadata)?;
    let agent_key = agent_key(agent)?;
    allowed_namespaces::check(&agent.spec.allowed_namespaces, &agent_key, &part.key.namespace)?;
    let (agent_part, server) = read_agent(agent_key, agent, settings)?;
    let server = match server {
        None => ServerUse::None,
        Some(server) if agent_part.argv.is_empty() => ServerUse::AttachesTo(server),
        Some(server) => ServerUse::WaitsFor(server),
    };
    let attaches = matches!(server, ServerUse::AttachesTo(_));
    let mut run = Run {
        agent: AgentPart {
            image: Images::new(&agent.spec, settings.defaults()).of_task(attaches),
            ..agent_part
        },
        prompt: task.spec.description.clone().filter(|text| !text.trim().is_empty()),
        conventions: if attaches { &KUBEOPENCODE_ATTACHED } else { &KUBEOPENCODE },
        items: Vec::new(),
        notices: Vec::new(),
        subject: Subject::Task(TaskPart { server, ..part }),
    };
    // the server knows its Agent's contexts already
    let agents = if attaches { &[][..] } else { &agent.spec.contexts };
    read_items(&mut run, agents, &task.spec.contexts)?;
    Ok(run)
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
        notices: Vec::new(),
        prompt: None,
        conventions: &KUBEOPENCODE,
    };
    read_items(&mut run, &agent.spec.contexts, &[])?;
    Ok(run)
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
        service_account: agent.spec.service_account_name.clone(),
        credentials: credentials::read(&agent.spec.credentials, &workspace, &described, &KUBEOPENCODE)?,
        git_identity: git_identity(agent, &described)?,
        pod: pod_options::read(agent.spec.pod_spec.as_ref(), defaults, &described)?,
        idle_seconds: idle_seconds(agent.spec.idle_timeout.as_deref(), settings),
        task_mount_paths: task_mount_paths::read(
            agent.spec.task_mount_paths.as_deref(),
            &workspace,
            &described,
        )?,
        ..default_agent(settings, key, described, workspace)
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
            let place = Place { origin: *origin, namespace, holder, workspace, conventions: run.conventions };
            match item::read(spec, index, &place) {
                Ok(item) => run.items.push(item),
                Err(refusal) if spec.optional == Some(true) => {
                    run.notices.push((Reason::OptionalSkipped, refusal.message));
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }
    Ok(())
}

fn git_identity(agent: &Agent, described: &str) -> Result<Option<GitIdentity>, Refusal> {
    let Some(identity) = agent.spec.git.as_ref().and_then(|git| git.identity.clone()) else {
        return Ok(None);
    };
    let refuse = |problem| Refusal::invalid_config(format!("spec.git.identity of {described}: {problem}"));
    identity.check().map_err(refuse)?;
    Ok(Some(identity))
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
