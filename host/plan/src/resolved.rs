//! Task, Agent and settings, read and checked: everything that the later stages need, typed. No later stage looks at
//! a raw spec.
//!
//! May touch: the specs. Must not touch: what plugins made of the contexts.

pub(crate) mod agent_config;
pub(crate) mod credentials;
pub(crate) mod images;
pub(crate) mod namespaces;
pub(crate) mod pod_options;
mod requests;
pub(crate) mod server;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::{PullPolicy, TaskSecretRefs};
use kubeopencode_api::context::ContextItem;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{AGENT_LABEL, TOOLS_DIR};
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::plugin::{Origin, is_plugin_name};
use kubeopencode_api::task::Task;

use crate::item::{Item, Place};
use crate::paths::AbsPath;
use crate::{Refusal, Settings};
use credentials::Credential;
use images::Images;
use pod_options::PodOptions;
use server::{Role, Server};

/// Most context items of a Task, its Agent's included.
const MAX_ITEMS: usize = 64;

/// The prompt, in the workspace.
const PROMPT: &str = "task.md";

/// What workspaceDir must not be: it would hide, or be hidden by, what the Pod itself needs.
const NO_WORKSPACE: [&str; 4] = ["/tmp", "/kubeopencode", "/configmap-files", "/url-content"];

/// A Task, or the server of an Agent, that can be evaluated: references read, every field checked.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// `None`: the Pod is the Agent's server
    pub(crate) task: Option<TaskPart>,
    pub(crate) agent: AgentKey,
    pub(crate) agent_uid: String,
    pub(crate) role: Role,
    /// of a server-mode Agent
    pub(crate) server: Option<Server>,
    pub(crate) prompt: Option<String>,
    pub(crate) workspace: AbsPath,
    pub(crate) builder: String,
    /// replaces the builder's argv
    pub(crate) argv: Vec<String>,
    /// JSON text, byte for byte
    pub(crate) config: Option<String>,
    pub(crate) images: Images,
    pub(crate) system_image: String,
    pub(crate) system_image_pull_policy: PullPolicy,
    pub(crate) service_account: String,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) pod: PodOptions,
    pub(crate) result_summary: bool,
    pub(crate) task_secret_refs: TaskSecretRefs,
    items: Vec<Item>,
    /// optional items that made no sense
    pub(crate) skipped: Vec<String>,
}

/// What only a Task has.
#[derive(Clone, Debug)]
pub(crate) struct TaskPart {
    pub(crate) key: TaskKey,
    pub(crate) uid: TaskUid,
    labels: Vec<(String, String)>,
}

impl Resolved {
    /// Reads and checks what the users wrote for one Task.
    ///
    /// # Errors
    /// The first thing that makes no sense, with object, field and remedy; or that this Task must not use the Agent.
    pub fn new(task: &Task, agent: &Agent, settings: &Settings) -> Result<Self, Refusal> {
        let part = TaskPart::read(task)?;
        let agent_key = key_of(agent)?;
        namespaces::check(&agent.spec.allowed_namespaces, &agent_key, &part.key.namespace)?;
        let mut this = Self::of_agent(agent_key, agent, settings)?;
        this.task = Some(part);
        this.prompt = task.spec.description.clone().filter(|text| !text.trim().is_empty());
        if this.server.is_some() && this.argv.is_empty() {
            this.role = Role::Attach;
        }
        // the server knows its Agent's contexts already
        let agents = if this.role == Role::Attach { &[][..] } else { &agent.spec.contexts };
        this.read_items(agents, &task.spec.contexts)?;
        Ok(this)
    }

    /// Reads and checks what the users wrote for an Agent's server.
    ///
    /// # Errors
    /// The first thing that makes no sense, with object, field and remedy.
    pub fn server(agent: &Agent, settings: &Settings) -> Result<Self, Refusal> {
        let agent_key = key_of(agent)?;
        let mut this = Self::of_agent(agent_key, agent, settings)?;
        if this.server.is_none() {
            return Err(Refusal::invalid_config(format!(
                "Agent {}: it has no spec.serverConfig",
                this.agent
            )));
        }
        this.role = Role::Serve;
        // it is the Tasks' command
        this.argv.clear();
        this.read_items(&agent.spec.contexts, &[])?;
        Ok(this)
    }

    /// The server that the Task's process is a client of.
    pub(crate) fn attaches_to(&self) -> Option<&Server> {
        self.server.as_ref().filter(|_| self.role == Role::Attach)
    }

    fn of_agent(key: AgentKey, agent: &Agent, settings: &Settings) -> Result<Self, Refusal> {
        let holder = format!("Agent {key}");
        let workspace = workspace(agent.spec.workspace_dir(), &holder)?;
        Ok(Self {
            task: None,
            agent_uid: agent.metadata.uid.clone().unwrap_or_default(),
            role: Role::Run,
            server: Server::read(agent.spec.server_config.as_ref(), &key)?,
            prompt: None,
            builder: builder(agent.spec.command_builder(), &holder)?,
            argv: agent.spec.command.clone(),
            config: agent_config::read(agent.spec.config.as_ref(), &holder)?,
            images: Images::new(&agent.spec),
            system_image: settings.system_image().to_owned(),
            system_image_pull_policy: settings.system_image_pull_policy(),
            service_account: agent.spec.service_account_name.clone(),
            credentials: credentials::read(&agent.spec.credentials, &workspace, &holder)?,
            pod: PodOptions::read(agent.spec.pod_spec.as_ref(), &holder)?,
            result_summary: settings.result_summary(),
            task_secret_refs: settings.task_secret_refs(),
            items: Vec::new(),
            skipped: Vec::new(),
            agent: key,
            workspace,
        })
    }

    fn read_items(&mut self, agents: &[ContextItem], tasks: &[ContextItem]) -> Result<(), Refusal> {
        let number = agents.len() + tasks.len();
        if number > MAX_ITEMS {
            return Err(Refusal::context(format!(
                "{} has {number} contexts, those of Agent {} included, at most {MAX_ITEMS} are allowed: join some",
                self.subject(),
                self.agent
            )));
        }
        let layers = [
            (Origin::Agent, agents, self.agent.namespace.clone(), format!("Agent {}", self.agent)),
            (Origin::Task, tasks, self.namespace().to_owned(), self.subject()),
        ];
        for (origin, specs, namespace, holder) in layers {
            for (index, spec) in specs.iter().enumerate() {
                let place = Place {
                    origin,
                    namespace: &namespace,
                    holder: &holder,
                    index,
                    workspace: &self.workspace,
                };
                let item = Item::read(spec, &place).and_then(|item| match self.role {
                    Role::Attach => server::check_item(item, &self.agent.name),
                    Role::Run | Role::Serve => Ok(item),
                });
                match item {
                    Ok(item) => self.items.push(item),
                    Err(refusal) if spec.optional == Some(true) => self.skipped.push(refusal.message),
                    Err(refusal) => return Err(refusal),
                }
            }
        }
        Ok(())
    }

    /// The context items in their order: the Agent's first, then the Task's.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The namespace that the Pod runs in: the Agent's.
    pub fn pod_namespace(&self) -> &str {
        &self.agent.namespace
    }

    /// Name of the plugin that builds the command.
    pub fn command_builder(&self) -> &str {
        &self.builder
    }

    /// The server that has to answer before the agent starts.
    pub(crate) fn waits_for(&self) -> Option<&Server> {
        self.server.as_ref().filter(|_| self.role != Role::Serve)
    }

    /// What the Pod is made for, as in `Task team/fix`.
    pub(crate) fn subject(&self) -> String {
        match &self.task {
            Some(task) => format!("Task {}", task.key),
            None => format!("Agent {}", self.agent),
        }
    }

    /// The subject's namespace.
    fn namespace(&self) -> &str {
        self.task.as_ref().map_or(&self.agent.namespace, |task| &task.key.namespace)
    }

    pub(crate) fn is_cross_namespace(&self) -> bool {
        self.namespace() != self.agent.namespace
    }

    pub(crate) fn prompt_path(&self) -> AbsPath {
        self.workspace.join(PROMPT)
    }

    pub(crate) fn context_path(&self) -> AbsPath {
        self.workspace.join(".kubeopencode").join("context.md")
    }

    /// `/tools/opencode.json` for the builder `opencode`.
    pub(crate) fn config_path(&self) -> String {
        format!("{TOOLS_DIR}/{}.json", self.builder)
    }
}

impl TaskPart {
    fn read(task: &Task) -> Result<Self, Refusal> {
        let metadata = &task.metadata;
        let (namespace, name) = place(metadata, "Task")?;
        let key = TaskKey::new(Group::KubeOpenCode, namespace, name);
        let Some(uid) = metadata.uid.clone().filter(|uid| !uid.is_empty()) else {
            return Err(Refusal::invalid_config(format!("Task {key}: metadata.uid is missing")));
        };
        // the operator writes this label itself at the launch: a plan that saw it would change
        let labels = metadata.labels.iter().flatten().filter(|(key, _)| *key != AGENT_LABEL);
        let labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Self { key, uid: TaskUid(uid), labels })
    }
}

fn key_of(agent: &Agent) -> Result<AgentKey, Refusal> {
    place(&agent.metadata, "Agent").map(|(namespace, name)| AgentKey::new(namespace, name))
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

fn workspace(written: &str, holder: &str) -> Result<AbsPath, Refusal> {
    let refuse = |problem: String| {
        Err(Refusal::invalid_config(format!("{holder}: spec.workspaceDir \"{written}\" {problem}")))
    };
    let path = match AbsPath::parse(written, None) {
        Ok(path) => path,
        Err(problem) => return refuse(problem.to_owned()),
    };
    if let Some(reserved) = path.touches_reserved() {
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
