//! Everything that an API group decides about the Pods of its Tasks and that is not in their specs. The stages behind a
//! frontend ask here and nowhere else what differs between groups.
//!
//! May touch: names, paths, and functions of the stages that do it the group's way. Must not touch: a spec.

use kubeopencode_api::group::Group;
use kubeopencode_api::literals::AGENT_NAME_ANNOTATION;

use crate::build::context_text::{self, TextFile};
use crate::build::layout::Secrets;
use crate::build::optional::Obstacle;
use crate::build::path_conflicts::{self, PathUse};
use crate::evaluated::Evaluated;
use crate::run::Run;

/// What a group decides.
#[derive(Debug)]
pub(crate) struct Conventions {
    /// `apiVersion` of owners, labels, ends of names.
    pub(crate) group: Group,
    /// Annotation of Pods: the name of the object that says how the agent is run.
    pub(crate) agent_annotation: Option<&'static str>,
    /// Kind of that object, in messages.
    pub(crate) agent_kind: &'static str,
    /// Who says what the agent's container runs.
    pub(crate) program: Program,
    /// Variables of every container that works in the workspace, before those of the Task.
    pub(crate) base_env: &'static [(&'static str, &'static str)],
    /// The volume that the agent works in. Without one only single files are mounted there, and the image's own working
    /// directory stays.
    pub(crate) workspace: Option<Workspace>,
    /// Whether a clone or a ConfigMap may be the workspace itself.
    pub(crate) whole_workspace: bool,
    /// Name of the prompt's file in the workspace.
    pub(crate) prompt_file: &'static str,
    /// Where the text of contexts without mountPath goes.
    pub(crate) context_text: ContextText,
    /// Decides about things that go to one path, or below one another. A group whose higher layers win leaves out the
    /// lower ones' items in its frontend.
    pub(crate) conflicts: fn(&[PathUse]) -> Result<(), Obstacle>,
    /// What no context, credential or workspace may cover or lie in: the parts of the Pod that are not theirs.
    pub(crate) reserved_paths: &'static [&'static str],
    /// What only the Agent's own contexts may replace: the programs of the image and what they are told. `None`: whoever
    /// writes a context may replace all that an image has.
    pub(crate) image_paths: Option<&'static [&'static str]>,
}

/// Who says what the agent's container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The command builder, or the Agent in its place; the tools volume holds what it runs.
    Builder,
    /// Its image, by its own entrypoint. Nothing of ours is in that container.
    Image,
}

/// The volume that the agent works in.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Name of the volume.
    pub(crate) volume: &'static str,
    /// Variable with its path.
    pub(crate) variable: &'static str,
}

/// Where the text of contexts without mountPath goes.
#[derive(Debug)]
pub(crate) struct ContextText {
    /// A file of its own, below the workspace.
    pub(crate) file: Option<&'static str>,
    /// Whether it is the prompt: nothing else says what is to be done.
    pub(crate) is_prompt: bool,
    /// The files that it and the prompt become.
    pub(crate) files: ContextFiles,
}

/// From a run, its contexts and the Secrets that are read so far to files of text.
pub(crate) type ContextFiles = for<'a> fn(&'a Run, &[Evaluated], &mut Secrets) -> Vec<TextFile<'a>>;

/// `kubeopencode.io`.
pub(crate) static KUBEOPENCODE: Conventions = TASKS;

/// `kubeopencode.io`, for clients of an Agent's server: it works in a Pod where none of their files are.
pub(crate) static KUBEOPENCODE_ATTACHED: Conventions = Conventions {
    context_text: ContextText { file: None, is_prompt: false, files: context_text::before_prompt },
    ..TASKS
};

/// `kubetask.io`, in an image of its user's.
pub(crate) static KUBETASK: Conventions = PIECES;

/// `kubetask.io`, by OpenCode in the executor image.
pub(crate) static KUBETASK_OPENCODE: Conventions = Conventions {
    program: Program::Builder,
    base_env: TASKS.base_env,
    workspace: TASKS.workspace,
    reserved_paths: &[
        "/tools",
        "/git",
        "/proc",
        "/sys",
        "/dev",
        "/var/run/secrets/kubernetes.io/serviceaccount",
        "/run/secrets/kubernetes.io/serviceaccount",
    ],
    ..PIECES
};

/// "No reserved paths": what is reserved is what cannot be.
const PIECES: Conventions = Conventions {
    group: Group::KubeTask,
    agent_annotation: None,
    agent_kind: "WorkspaceConfig",
    program: Program::Image,
    base_env: &[],
    workspace: None,
    whole_workspace: false,
    prompt_file: "task.md",
    context_text: ContextText { file: None, is_prompt: true, files: context_text::joined_pieces },
    conflicts: path_conflicts::refuse,
    reserved_paths: &[
        "/proc",
        "/sys",
        "/dev",
        "/var/run/secrets/kubernetes.io/serviceaccount",
        "/run/secrets/kubernetes.io/serviceaccount",
    ],
    image_paths: None,
};

const TASKS: Conventions = Conventions {
    group: Group::KubeOpenCode,
    agent_annotation: Some(AGENT_NAME_ANNOTATION),
    agent_kind: "Agent",
    program: Program::Builder,
    base_env: &[("HOME", "/tmp"), ("SHELL", "/bin/bash")],
    workspace: Some(Workspace { volume: "workspace", variable: "WORKSPACE_DIR" }),
    whole_workspace: true,
    prompt_file: "task.md",
    context_text: ContextText {
        file: Some(".kubeopencode/context.md"),
        is_prompt: false,
        files: context_text::tagged_file,
    },
    conflicts: path_conflicts::refuse,
    reserved_paths: &[
        "/tools",
        "/git",
        "/etc/kubeopencode",
        "/proc",
        "/sys",
        "/dev",
        "/var/run/secrets",
        "/run/secrets",
    ],
    image_paths: Some(&IMAGE_PATHS),
};

/// Programs and libraries; what the loader, the shell, name resolution, TLS, ssh and git read by themselves; OpenCode's own
/// directory and those of Claude Code and Codex, which hold what wins over all other settings. `/etc/alternatives` is where Debian's
/// `/usr/bin` leads to.
const IMAGE_PATHS: [&str; 43] = [
    "/bin",
    "/sbin",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/claude-code",
    "/etc/codex",
    "/etc/crypto-policies",
    "/etc/environment",
    "/etc/gai.conf",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/gshadow",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld-musl-aarch64.path",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/nsswitch.conf",
    "/etc/opencode",
    "/etc/pam.d",
    "/etc/passwd",
    "/etc/pki",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/resolv.conf",
    "/etc/shadow",
    "/etc/ssh",
    "/etc/ssl",
    "/etc/ssl1.1",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/zsh",
];
