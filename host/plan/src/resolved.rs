//! Task, Agent and settings, read and checked: everything that the later stages need, typed. No later stage looks at
//! a raw spec.
//!
//! May touch: the specs. Must not touch: what plugins made of the contexts.

pub(crate) mod agent_config;
pub(crate) mod credentials;
pub(crate) mod images;
pub(crate) mod namespaces;
pub(crate) mod pod_options;

use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::{PullPolicy, TaskSecretRefs};
use kubeopencode_api::literals::{AGENT_LABEL, TOOLS_DIR};
use kubeopencode_api::names::{Naming, ObjectKey, TaskNames, TaskUid};
use kubeopencode_api::plugin::{BuildRequest, EvaluateRequest, Input, Mode, Origin, TaskView};
use kubeopencode_api::task::Task;

use crate::evaluated::Evaluated;
use crate::item::{Item, Place};
use crate::paths::AbsPath;
use crate::{Refusal, Settings};
use credentials::Credential;
use images::Images;
use pod_options::PodOptions;

/// Most context items of a Task, its Agent's included.
const MAX_ITEMS: usize = 64;

/// The prompt, in the workspace.
const PROMPT: &str = "task.md";

/// What workspaceDir must not be: it would hide, or be hidden by, what the Pod itself needs.
const NO_WORKSPACE: [&str; 4] = ["/tmp", "/kubeopencode", "/configmap-files", "/url-content"];

/// A Task that can be evaluated: references read, every field checked.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub(crate) task: ObjectKey,
    pub(crate) uid: TaskUid,
    pub(crate) agent: ObjectKey,
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
    task_labels: Vec<(String, String)>,
    items: Vec<Item>,
    /// optional items that made no sense
    pub(crate) skipped: Vec<String>,
}

impl Resolved {
    /// Reads and checks what the user wrote.
    ///
    /// # Errors
    /// The first thing that makes no sense, with object, field and remedy; or that this Task must not use the Agent.
    pub fn new(task: &Task, agent: &Agent, settings: &Settings) -> Result<Self, Refusal> {
        let uid = TaskUid(task.metadata.uid.clone().unwrap_or_default());
        let task_key = key(task.metadata.namespace.as_deref(), task.metadata.name.as_deref(), "Task")?;
        let agent_key = key(agent.metadata.namespace.as_deref(), agent.metadata.name.as_deref(), "Agent")?;
        if uid.0.is_empty() {
            return Err(Refusal::invalid_config(format!("Task {task_key}: metadata.uid is missing")));
        }
        namespaces::check(&agent.spec.allowed_namespaces, &agent_key, &task_key.namespace)?;
        let holder = format!("Agent {agent_key}");
        let workspace = workspace(agent.spec.workspace_dir(), &holder)?;
        let builder = builder(agent.spec.command_builder(), &holder)?;
        let mut this = Self {
            prompt: task.spec.description.clone().filter(|text| !text.trim().is_empty()),
            builder,
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
            // the operator writes this one itself at the launch: a plan that saw it would change
            task_labels: task
                .metadata
                .labels
                .iter()
                .flatten()
                .filter(|(key, _)| *key != AGENT_LABEL)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            items: Vec::new(),
            skipped: Vec::new(),
            task: task_key,
            agent: agent_key,
            uid,
            workspace,
        };
        this.read_items(task, agent)?;
        Ok(this)
    }

    fn read_items(&mut self, task: &Task, agent: &Agent) -> Result<(), Refusal> {
        let number = agent.spec.contexts.len() + task.spec.contexts.len();
        if number > MAX_ITEMS {
            return Err(Refusal::context(format!(
                "Task {} has {number} contexts together with its Agent {}, at most {MAX_ITEMS} are allowed: join some",
                self.task, self.agent
            )));
        }
        let layers = [
            (Origin::Agent, &agent.spec.contexts, self.agent.clone(), "Agent"),
            (Origin::Task, &task.spec.contexts, self.task.clone(), "Task"),
        ];
        for (origin, specs, object, kind) in layers {
            let holder = format!("{kind} {object}");
            for (index, spec) in specs.iter().enumerate() {
                let place = Place {
                    origin,
                    namespace: &object.namespace,
                    holder: &holder,
                    index,
                    workspace: &self.workspace,
                };
                match Item::read(spec, &place) {
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

    /// The Task.
    pub fn task(&self) -> &ObjectKey {
        &self.task
    }

    /// The Task's UID.
    pub fn task_uid(&self) -> &TaskUid {
        &self.uid
    }

    /// The Agent.
    pub fn agent(&self) -> &ObjectKey {
        &self.agent
    }

    /// The namespace that the Pod runs in: the Agent's.
    pub fn pod_namespace(&self) -> &str {
        &self.agent.namespace
    }

    /// Name of the plugin that builds the command.
    pub fn command_builder(&self) -> &str {
        &self.builder
    }

    /// Names of the Task's objects.
    pub fn names(&self, naming: Naming) -> TaskNames<'_> {
        TaskNames {
            task_namespace: &self.task.namespace,
            task: &self.task.name,
            uid: &self.uid,
            pod_namespace: self.pod_namespace(),
            naming,
        }
    }

    /// The question for the item's plugin, with what it asked for so far.
    pub fn evaluate_request(&self, item: &Item, inputs: Vec<Input>) -> EvaluateRequest {
        EvaluateRequest {
            task: TaskView {
                name: self.task.name.clone(),
                namespace: self.task.namespace.clone(),
                uid: self.uid.0.clone(),
                labels: self.task_labels.clone(),
                agent_name: self.agent.name.clone(),
                agent_namespace: self.agent.namespace.clone(),
                workspace_dir: self.workspace.as_str().to_owned(),
            },
            origin: item.origin,
            item_name: item.name.clone(),
            mount_path: item.mount_path.as_ref().map(|mount| mount.written.clone()),
            file_mode: item.file_mode,
            payload: item.payload.clone(),
            inputs,
            extensions: Vec::new(),
        }
    }

    /// The question for the command builder.
    pub fn build_request(&self, contexts: &[Evaluated]) -> BuildRequest {
        let prompt_path = self.prompt_path();
        // whether nothing is to be done is the builder's word: other agents may need no prompt. With a command of the
        // Agent's own the builder's argv is dropped, and a missing prompt is no business of anybody.
        let has_prompt = self.prompt.is_some()
            || !self.argv.is_empty()
            || contexts.iter().any(|context| context.may_hold(&prompt_path, &self.workspace));
        BuildRequest {
            task_name: self.task.name.clone(),
            task_namespace: self.task.namespace.clone(),
            task_uid: self.uid.0.clone(),
            agent_name: self.agent.name.clone(),
            agent_namespace: self.agent.namespace.clone(),
            workspace_dir: self.workspace.as_str().to_owned(),
            tools_dir: TOOLS_DIR.to_owned(),
            prompt_path: has_prompt.then(|| prompt_path.as_str().to_owned()),
            context_path: contexts
                .iter()
                .any(Evaluated::has_context_text)
                .then(|| self.context_path().as_str().to_owned()),
            mode: Mode::Run,
            config: self.config.clone(),
            config_path: self.config.is_some().then(|| self.config_path()),
            extensions: Vec::new(),
        }
    }

    pub(crate) fn is_cross_namespace(&self) -> bool {
        self.task.namespace != self.agent.namespace
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

fn key(namespace: Option<&str>, name: Option<&str>, kind: &str) -> Result<ObjectKey, Refusal> {
    match (namespace, name) {
        (Some(namespace), Some(name)) => Ok(ObjectKey::new(namespace, name)),
        _ => Err(Refusal::invalid_config(format!("{kind}: metadata.name or metadata.namespace is missing"))),
    }
}

fn builder(name: &str, holder: &str) -> Result<String, Refusal> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 63 && name.chars().all(word) {
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
