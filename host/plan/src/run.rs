//! A Task, or the server of an Agent, that can be evaluated and planned: every reference read, every field checked.
//! Only a `frontend` makes one, and no later stage looks at a spec.
//!
//! May touch: these types. Must not touch: a spec, an answer of a plugin.

pub(crate) mod credential;
pub(crate) mod pod_options;
mod requests;

use jiff::Timestamp;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::config::{CaBundle, Proxy, PullPolicy, TaskSecretRefs};
use kubeopencode_api::git::GitIdentity;
use kubeopencode_api::literals::TOOLS_DIR;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::plugin::SecretKey;

use crate::conventions::{Conventions, Program};
use crate::item::Item;
use crate::paths::AbsPath;
use crate::refusal::Refusal;
use crate::settings::Network;
use credential::Credential;
use pod_options::PodOptions;

/// Most bytes of text and files of a Task, 4 MiB: docs/contract.md, section 7.
pub const MAX_TOTAL: usize = 4 << 20;

/// A Task, or the server of an Agent, that can be evaluated and planned.
#[derive(Clone, Debug)]
pub struct Run {
    pub(crate) subject: Subject,
    pub(crate) agent: AgentPart,
    pub(crate) items: Vec<Item>,
    /// what became of items that are not among them: optional ones that made no sense, and those that others replaced
    pub(crate) notices: Vec<(Reason, String)>,
    pub(crate) prompt: Option<String>,
    pub(crate) conventions: &'static Conventions,
}

/// What the Pod is made for.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Task(TaskPart),
    /// The server of the Agent.
    Server(Server),
}

/// What only a Task has.
#[derive(Clone, Debug)]
pub(crate) struct TaskPart {
    pub(crate) key: TaskKey,
    pub(crate) uid: TaskUid,
    pub(crate) created: Timestamp,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) server: ServerUse,
}

/// What a Task does with the server of its Agent.
#[derive(Clone, Debug)]
pub(crate) enum ServerUse {
    /// The Agent has none.
    None,
    /// The agent starts once it answers, and does with it what it likes.
    WaitsFor(Server),
    /// The agent is its client.
    AttachesTo(Server),
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) url: String,
    pub(crate) password: Option<SecretKey>,
}

/// How the agent is run.
#[derive(Clone, Debug)]
pub(crate) struct AgentPart {
    pub(crate) key: AgentKey,
    pub(crate) uid: String,
    /// The object that says so, as in `Agent team/default`.
    pub(crate) described: String,
    pub(crate) workspace: AbsPath,
    /// Name of the plugin that builds the command.
    pub(crate) builder: String,
    /// Replaces the builder's argv.
    pub(crate) argv: Vec<String>,
    /// JSON text, byte for byte.
    pub(crate) config: Option<String>,
    /// Brings the agent's program; `None`: the builder's choice, else the default.
    pub(crate) tools_image: Option<String>,
    /// That default.
    pub(crate) default_tools_image: String,
    /// What the agent's program runs in.
    pub(crate) image: String,
    /// Of all images but the system's; `None`: as Kubernetes does it.
    pub(crate) image_pull_policy: Option<PullPolicy>,
    pub(crate) system_image: String,
    pub(crate) system_image_pull_policy: PullPolicy,
    pub(crate) service_account: String,
    pub(crate) credentials: Vec<Credential>,
    /// Whose commits the agent makes; `None`: nobody said so here.
    pub(crate) git_identity: Option<GitIdentity>,
    pub(crate) pod: PodOptions,
    pub(crate) proxy: Proxy,
    pub(crate) ca_bundle: Option<CaBundle>,
    pub(crate) cluster_domain: String,
    pub(crate) result_summary: bool,
    /// Seconds without output after which the agent is ended.
    pub(crate) idle_seconds: Option<u32>,
    pub(crate) task_secret_refs: TaskSecretRefs,
    pub(crate) network: Network,
    /// Where contexts of Tasks may be mounted; `None`: it was not said.
    pub(crate) task_mount_paths: Option<Vec<AbsPath>>,
}

impl Run {
    /// The context items in their order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What the Task asks of its agent, if it says it there.
    pub fn prompt(&self) -> Option<&str> {
        self.prompt.as_deref()
    }

    /// Bytes of the Agent's configuration, which is most of what its command builder is asked with.
    pub fn config_bytes(&self) -> usize {
        self.agent.config.as_ref().map_or(0, String::len)
    }

    /// Memory that it has by itself, in bytes: the prompt, the Agent's configuration, what the items say. Whoever reads the
    /// objects knows what the rest of them takes.
    pub fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        text(&self.prompt) + self.config_bytes() + self.items.iter().map(Item::weight).sum::<usize>()
    }

    /// So many bytes are more than the [`MAX_TOTAL`] that it may have.
    pub fn too_much(&self, bytes: usize) -> Refusal {
        Refusal::context(format!(
            "{} has {bytes} bytes of text and files, at most {MAX_TOTAL} are allowed: fetch big ones with Git or URL",
            self.described()
        ))
    }

    /// The namespace that the Pod runs in: the Agent's.
    pub fn pod_namespace(&self) -> &str {
        &self.agent.key.namespace
    }

    /// Name of the plugin that builds the command.
    pub fn command_builder(&self) -> &str {
        &self.agent.builder
    }

    /// Whether the Pod is the server of its Agent.
    pub(crate) fn is_server(&self) -> bool {
        matches!(self.subject, Subject::Server(_))
    }

    /// The server that the Pod is, or deals with.
    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.subject {
            Subject::Server(server) => Some(server),
            Subject::Task(_) => self.waits_for(),
        }
    }

    /// The server that has to answer before the agent starts.
    pub(crate) fn waits_for(&self) -> Option<&Server> {
        match &self.subject {
            Subject::Task(TaskPart { server: ServerUse::WaitsFor(server), .. }) => Some(server),
            _ => self.attaches_to(),
        }
    }

    /// The server that the agent is a client of.
    pub(crate) fn attaches_to(&self) -> Option<&Server> {
        match &self.subject {
            Subject::Task(TaskPart { server: ServerUse::AttachesTo(server), .. }) => Some(server),
            _ => None,
        }
    }

    /// The object that the Pod is made for, as in `Task team/fix`.
    pub(crate) fn described(&self) -> String {
        match &self.subject {
            Subject::Task(task) => format!("Task {}", task.key),
            Subject::Server(_) => self.agent.described.clone(),
        }
    }

    /// Namespace of that object.
    pub(crate) fn namespace(&self) -> &str {
        match &self.subject {
            Subject::Task(task) => &task.key.namespace,
            Subject::Server(_) => self.pod_namespace(),
        }
    }

    pub(crate) fn is_cross_namespace(&self) -> bool {
        self.namespace() != self.pod_namespace()
    }

    /// Whether the agent's container has the tools volume, and the command in it.
    pub(crate) fn has_tools(&self) -> bool {
        self.conventions.program == Program::Builder
    }

    /// Where containers that work in the workspace start; `None`: where their image says.
    pub(crate) fn working_dir(&self) -> Option<String> {
        self.conventions.workspace.as_ref().map(|_| self.agent.workspace.as_str().to_owned())
    }

    pub(crate) fn prompt_path(&self) -> AbsPath {
        self.agent.workspace.join(self.conventions.prompt_file)
    }

    /// The file of the contexts without mountPath, where they have one.
    pub(crate) fn context_path(&self) -> Option<AbsPath> {
        self.conventions.context_text.file.map(|file| self.agent.workspace.join(file))
    }

    /// `/tools/opencode.json` for the builder `opencode`.
    pub(crate) fn config_path(&self) -> String {
        format!("{TOOLS_DIR}/{}.json", self.agent.builder)
    }
}
