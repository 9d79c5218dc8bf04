//! The command line.
//!
//! May touch: words. Must not touch: what is done with them.

use std::path::PathBuf;

use clap::builder::styling::Styles;
use clap::{Parser, Subcommand, ValueEnum};
use kubeopencode_api::release::VERSION;

const EXAMPLES: &str = "\
Examples:
  # one line, then its log, then its exit code
  kubectl kubeopencode run -p 'Update the dependencies' --git https://github.com/org/service --follow
  # why does it wait, why did it fail
  kubectl kubeopencode describe run-x7k2p
  # is everything there that a Task needs
  kubectl kubeopencode doctor";

/// Runs coding agents on Kubernetes: Tasks and Agents of kubeopencode.io, with the rights of your kubeconfig.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-kubeopencode",
    bin_name = "kubectl kubeopencode",
    version = VERSION,
    about,
    after_help = EXAMPLES,
    styles = Styles::plain(),
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    /// Which cluster and namespace.
    #[command(flatten)]
    pub(crate) place: Place,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Which cluster and namespace, as kubectl's flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Place {
    /// Namespace; by default that of the context
    #[arg(short, long, global = true, value_name = "NAMESPACE", value_parser = object_name)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig; by default its current one
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The kubeconfig; by default those of KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl Place {
    /// The same without flags whose value is empty, which kubectl takes as not given.
    pub(crate) fn given(&self) -> Self {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Self {
            namespace: given(&self.namespace),
            context: given(&self.context),
            kubeconfig: self.kubeconfig.clone(),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a Task, and with --wait or --follow wait for its end
    Run(Run),
    /// Print what the agent of a Task wrote, or its init containers while they run
    Logs(Logs),
    /// List Tasks: reason, place in line, cost
    Get(Get),
    /// Say why a Task is where it is: conditions, contexts, its Pod, its use
    Describe(Describe),
    /// Print what the agent of a finished Task said at its end
    Result(ResultOf),
    /// Stop Tasks
    Stop(Stop),
    /// Make a copy of a Task that is over
    Rerun(Rerun),
    /// List Agents: what runs, their limits, who waits, what was spent
    Top(Top),
    /// Look whether everything is there that a Task needs
    Doctor(Doctor),
    /// Print the completions of a shell
    Completion(Completion),
    /// What kubectl asks for completions
    #[command(name = "__complete", hide = true)]
    Complete(Complete),
}

/// Flags of `run`.
#[derive(Debug, Default, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true), after_help = "\
Exit codes with --wait or --follow: 0 Completed, 1 Failed or stopped, 2 refused before the agent ran, 3 lost contact.
Ctrl-C ends the waiting alone. The Task goes on: logs -f follows it again, stop ends it.

Examples:
  kubectl kubeopencode run -p 'Say hello'
  kubectl kubeopencode run -f prompt.md --agent reviewer --timeout 30m --wait
  git diff main | kubectl kubeopencode run - --agent platform/reviewer --follow
  kubectl kubeopencode run -p 'Fix the tests' --git git@github.com:org/service.git@develop --file notes.md=docs/notes.md
  kubectl kubeopencode run -p 'Say hello' --wait -o json | jq -r .status.result.summary")]
pub(crate) struct Run {
    /// The prompt
    #[arg(short, long, value_name = "TEXT", group = "what", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// File with the prompt; - reads stdin
    #[arg(short, long, value_name = "FILE", group = "what")]
    pub(crate) filename: Option<PathBuf>,
    /// Read the prompt from stdin
    #[arg(value_name = "-", value_parser = ["-"], group = "what")]
    pub(crate) stdin: Option<String>,
    /// The Agent; by default the one named "default"
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(crate) agent: Option<String>,
    /// Repository that is cloned into the workspace, under its own name; may be given several times
    #[arg(long, value_name = "URL[@REF]")]
    pub(crate) git: Vec<String>,
    /// Text file that is put into the workspace; may be given several times
    #[arg(long, value_name = "LOCAL=PATH")]
    pub(crate) file: Vec<String>,
    /// Maximum duration of the Task, for example 90s or 2h30m; by default the Agent's
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) timeout: Option<String>,
    /// What else is done.
    #[command(flatten)]
    pub(crate) then: Then,
}

/// What is done when a Task was made.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Then {
    /// Wait for the end of the Task
    #[arg(long, conflicts_with = "follow")]
    pub(crate) wait: bool,
    /// Wait for the end of the Task and print its log meanwhile
    #[arg(long, conflicts_with = "output")]
    pub(crate) follow: bool,
    /// Print the Task in place of a line: as it was made, with --wait as it ended
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<ObjectFormat>,
}

/// How an object is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectFormat {
    /// As JSON
    Json,
    /// As kind and name
    Name,
}

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl kubeopencode logs run-x7k2p
  # from the init containers through the agent to its end, also of a Task that still waits
  kubectl kubeopencode logs -f run-x7k2p
  kubectl kubeopencode logs run-x7k2p -c git-init-0")]
pub(crate) struct Logs {
    /// The Task
    #[arg(value_parser = task_name)]
    pub(crate) task: String,
    /// Go on until the agent ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// This container, in place of the one that the phase means
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Only so many of the last lines
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// With the time of each line
    #[arg(long)]
    pub(crate) timestamps: bool,
}

/// Flags of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl kubeopencode get
  kubectl kubeopencode get -w
  kubectl kubeopencode get -A -l kubeopencode.io/agent=reviewer -o wide")]
pub(crate) struct Get {
    /// Tasks; by default all
    #[arg(value_parser = task_name)]
    pub(crate) tasks: Vec<String>,
    /// Print each change, until you end it
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with = "tasks")]
    pub(crate) all_namespaces: bool,
    /// Only Tasks with these labels
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "tasks")]
    pub(crate) selector: Option<String>,
    /// How
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<ListFormat>,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// With Pod and message
    Wide,
    /// As kinds and names
    Name,
}

/// Flags of `describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl kubeopencode describe run-x7k2p")]
pub(crate) struct Describe {
    /// The Task
    #[arg(value_parser = task_name)]
    pub(crate) task: String,
}

/// Flags of `result`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: as those of run --wait; 1 also for a Task that is not over.

Examples:
  kubectl kubeopencode result run-x7k2p
  kubectl kubeopencode result run-x7k2p -o json | jq .usage")]
pub(crate) struct ResultOf {
    /// The Task
    #[arg(value_parser = task_name)]
    pub(crate) task: String,
    /// With phase, reason and usage
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<ResultFormat>,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    /// As JSON
    Json,
}

/// Flags of `stop`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl kubeopencode stop run-x7k2p")]
pub(crate) struct Stop {
    /// The Tasks
    #[arg(required = true, value_parser = task_name)]
    pub(crate) tasks: Vec<String>,
}

/// Flags of `rerun`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A Task whose agent started may have done its work, a pushed branch for example: it is copied with --force alone.

Examples:
  kubectl kubeopencode rerun run-x7k2p --follow
  kubectl kubeopencode rerun run-x7k2p --force")]
pub(crate) struct Rerun {
    /// The Task
    #[arg(value_parser = task_name)]
    pub(crate) task: String,
    /// Also where the agent started, or the Task is not over
    #[arg(long)]
    pub(crate) force: bool,
    /// What else is done.
    #[command(flatten)]
    pub(crate) then: Then,
}

/// Flags of `top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubectl kubeopencode top
  kubectl kubeopencode top -A")]
pub(crate) struct Top {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 when nothing is wrong, 1 when something is, 2 without a cluster, 3 when the API server does not answer.
What your rights do not show is marked with ? and is not wrong.

Examples:
  kubectl kubeopencode doctor -n team")]
pub(crate) struct Doctor {
    /// Namespace of the operator
    #[arg(
        long,
        value_name = "NAMESPACE",
        value_parser = object_name,
        default_value = kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE
    )]
    pub(crate) operator_namespace: String,
}

impl Doctor {
    /// The namespace of the operator; an empty one counts as not given.
    pub(crate) fn operators(&self) -> &str {
        match self.operator_namespace.as_str() {
            "" => kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE,
            namespace => namespace,
        }
    }
}

/// Flags of `completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  # for kubectl-kubeopencode in this shell
  source <(kubectl kubeopencode completion bash)
  # for kubectl kubeopencode, in any shell that kubectl completes in
  kubectl kubeopencode completion kubectl > ~/.local/bin/kubectl_complete-kubeopencode
  chmod +x ~/.local/bin/kubectl_complete-kubeopencode")]
pub(crate) struct Completion {
    /// The shell
    pub(crate) shell: Completed,
}

/// What completions are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Completed {
    /// bash
    Bash,
    /// elvish
    Elvish,
    /// fish
    Fish,
    /// PowerShell
    #[value(name = "powershell")]
    PowerShell,
    /// zsh
    Zsh,
    /// kubectl's own completion, which asks a program on the PATH about its plugins
    Kubectl,
}

/// The words that are completed.
#[derive(Debug, clap::Args)]
pub(crate) struct Complete {
    /// The words, the last one being the one that is written.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

fn timeout(text: &str) -> Result<String, String> {
    kubeopencode_api::task::timeout_flag(text).map(|_| text.to_owned())
}

/// The name of a Task, as it is or as `-o name` prints it.
fn task_name(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        None => text,
        Some(("task" | "tasks" | "tk" | "task.kubeopencode.io" | "tasks.kubeopencode.io", name)) => name,
        Some(_) => return Err("write it as NAME or task/NAME, and its namespace with -n".to_owned()),
    };
    if name.is_empty() {
        return Err("no object has an empty name".to_owned());
    }
    object_name(name)
}

/// The name of an object as it stands in an address; an empty one counts as none, as of a variable that is not set.
fn object_name(name: &str) -> Result<String, String> {
    let may_be = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if !name.chars().all(may_be) {
        return Err("a name has only lower case letters, digits, - and .".to_owned());
    }
    // .. would be the folder above in an address
    if name.starts_with(['-', '.']) || name.ends_with(['-', '.']) {
        return Err("a name begins and ends with a letter or a digit".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
