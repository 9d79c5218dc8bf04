//! `kubeopencode plugin`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use kubeopencode_plugin_host::{Kind, LimitClass};

use super::duration;
use crate::plugin::{Grant, Version};

/// What is done with plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Begin a plugin: a folder that builds, with a first golden case
    New(NewPlugin),
    /// Build the component with the command of plugin.toml, and print that
    Build(BuildPlugin),
    /// Run the golden cases of tests/*.yaml as the operator would run them: exit code 1 if one fails
    Test(TestPlugin),
    /// Show what an item, a Task or a golden case comes to: rounds, reads, plan, and what the agent will read; exit code 1 for an
    /// error that no golden case expects
    Eval(EvalPlugin),
    /// Say what the types take, what they are to be granted, and how a Task uses them; `explain Jira` of one alone
    Explain(ExplainPlugin),
    /// Say what a component is, and what keeps it from being installed: exit code 1 if anything does
    Check(CheckPlugin),
    /// Measure the calls of golden cases against the limits
    Bench(BenchPlugin),
    /// Print the objects that install a component
    Pack(PackPlugin),
    /// Push a component into an OCI registry, and print the line that names it in a Plugin
    Push(PushPlugin),
    /// Pull a component out of an OCI registry into a file
    Pull(PullPlugin),
    /// Install a component in a cluster and wait until it serves: exit code 1 if it does not
    Install(InstallPlugin),
    /// Take a Plugin and its component out of a cluster
    Uninstall(UninstallPlugin),
    /// Print what the operator's log has of a Plugin
    Logs(LogsOfPlugin),
    /// List the types that there are: built in, and of the cluster's Plugins
    List(ListPlugins),
}

/// A component, and what it is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Component {
    /// The component (.wasm, .wasm.gz or .wasm.zst), or a folder with a plugin.toml that names it; by default this folder
    #[arg(value_name = "COMPONENT")]
    pub(crate) file: Option<PathBuf>,
    /// context-type or command-builder; needed where the component is both
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    /// Limits: default, or large for a component that brings an interpreter; by default those of plugin.toml
    #[arg(long, value_parser = class)]
    pub(crate) class: Option<LimitClass>,
}

/// Flags of `kubeopencode plugin new`.
#[derive(Debug, clap::Args)]
pub(crate) struct NewPlugin {
    /// Name of the folder and of the Plugin, as in team-rules; its type is TeamRules
    pub(crate) name: String,
    /// Language of the source
    #[arg(long)]
    pub(crate) language: Language,
    /// Folder to make it in
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) parent: PathBuf,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Languages that a plugin is begun in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Small and fast: 0.3 MB
    Rust,
    /// With an interpreter: 1.1 MB
    Javascript,
    /// With an interpreter: 19 MB, limits class large
    Python,
    /// 3.4 MB
    Go,
}

/// Flags of `kubeopencode plugin build`.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildPlugin {
    /// Folder with the plugin.toml
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Form of what is printed; as JSON, what the command prints goes to standard error
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Flags of `kubeopencode plugin test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestPlugin {
    #[command(flatten)]
    pub(crate) component: Component,
    /// File or folder of golden cases; by default the folder tests beside the plugin.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,
    /// Write what came as what is expected, where it differs
    #[arg(long)]
    pub(crate) update: bool,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: TestOutput,
}

/// Flags of `kubeopencode plugin eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct EvalPlugin {
    #[command(flatten)]
    pub(crate) component: Component,
    /// File or directory with an item, or golden cases, or a Task with its Agent, its ConfigMaps and the Plugin that has
    /// settings and grants; - reads stdin
    #[arg(short, long, required = true, value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Read ConfigMaps that stand in no file from the cluster, from its current namespace where the Task names none
    #[arg(long)]
    pub(crate) in_cluster: bool,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Flags of `kubeopencode plugin explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainPlugin {
    #[command(flatten)]
    pub(crate) component: Component,
    /// Only this one of its types
    #[arg(long = "type", value_name = "NAME")]
    pub(crate) type_: Option<String>,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Flags of `kubeopencode plugin check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckPlugin {
    #[command(flatten)]
    pub(crate) component: Component,
    /// Version of the operator that is to load it, as in 0.2.0; by default this one
    #[arg(long, value_name = "VERSION")]
    pub(crate) host: Option<Version>,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Flags of `kubeopencode plugin bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchPlugin {
    #[command(flatten)]
    pub(crate) component: Component,
    /// File or folder of golden cases; by default the folder tests beside the plugin.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,
    /// How often each case is run
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) runs: u32,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Flags of `kubeopencode plugin pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct PackPlugin {
    #[command(flatten)]
    pub(crate) component: Component,
    /// Name of ConfigMap and Plugin; by default that of plugin.toml, or of the component's first type
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it may do: git, url, secret, env=NAME, image=IMAGE, host=HOST, or secret=NAME:HOST,HOST
    #[arg(long, value_name = "GRANT")]
    pub(crate) grant: Vec<Grant>,
    /// Another ConfigMap for each version, for whoever removes the old ones
    #[arg(long)]
    pub(crate) versioned: bool,
    /// Where it lies in a registry, as `push` prints it: registry/repository@sha256:...; there is no ConfigMap then
    #[arg(long, value_name = "IMAGE", value_parser = pushed, conflicts_with = "versioned")]
    pub(crate) image: Option<String>,
    /// Namespace of the operator
    #[arg(short, long, default_value = kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE)]
    pub(crate) namespace: String,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

impl PackPlugin {
    /// Whether any flag says how a component is to be packed.
    pub(crate) fn says_what_to_pack(&self) -> bool {
        let Component { kind, class, .. } = &self.component;
        let is_named =
            self.name.is_some() || self.versioned || self.image.is_some() || !self.grant.is_empty();
        is_named || kind.is_some() || class.is_some()
    }
}

/// How a registry is reached.
#[derive(Debug, clap::Args)]
pub(crate) struct Registry {
    /// Docker configuration with the credentials; by default that of docker login
    #[arg(long, value_name = "FILE")]
    pub(crate) registry_config: Option<PathBuf>,
    /// Certificate authorities beside the machine's own, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Without TLS, for a registry on this machine alone
    #[arg(long)]
    pub(crate) plain_http: bool,
}

/// Flags of `kubeopencode plugin push`.
#[derive(Debug, clap::Args)]
pub(crate) struct PushPlugin {
    /// Where it goes: registry/repository:tag
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) component: Component,
    #[command(flatten)]
    pub(crate) registry: Registry,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Flags of `kubeopencode plugin pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct PullPlugin {
    /// What is pulled: registry/repository:tag or registry/repository@sha256:...
    pub(crate) image: String,
    /// File to write; by default the last part of the repository's name with .wasm
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: Registry,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Which cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    /// File that says where the cluster is; by default as kubectl finds it
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// Flags of `kubeopencode plugin install`.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallPlugin {
    /// What to install; the component may also be a file with what `pack` printed (.yaml or .json)
    #[command(flatten)]
    pub(crate) pack: PackPlugin,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Take over fields that somebody else applied
    #[arg(long)]
    pub(crate) force_conflicts: bool,
    /// How long to wait until it serves, for example 90s or 4m
    #[arg(long, default_value = "2m", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// A Plugin of a cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct InstalledPlugin {
    /// Name of the Plugin
    pub(crate) name: String,
    /// Namespace of the operator
    #[arg(short, long, default_value = kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE)]
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

/// Flags of `kubeopencode plugin uninstall`.
#[derive(Debug, clap::Args)]
pub(crate) struct UninstallPlugin {
    #[command(flatten)]
    pub(crate) plugin: InstalledPlugin,
    /// How long to wait until it is gone, for example 90s or 4m
    #[arg(long, default_value = "2m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Flags of `kubeopencode plugin logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsOfPlugin {
    #[command(flatten)]
    pub(crate) plugin: InstalledPlugin,
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what is newer than this, for example 90s or 4m
    #[arg(long, value_parser = duration)]
    pub(crate) since: Option<Duration>,
    /// Form of what is printed; as JSON, the lines of the operator's log as they are
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// Flags of `kubeopencode plugin list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListPlugins {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Form of what is printed
    #[arg(short, long, default_value = "text")]
    pub(crate) output: Output,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The form of what `plugin test` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestOutput {
    /// For people
    Text,
    /// For programs
    Json,
    /// XML as JUnit writes it, for CI
    Junit,
}

/// As `spec.source.oci.image` of a Plugin takes it.
fn pushed(text: &str) -> Result<String, String> {
    let is_hex = |digest: &str| digest.len() == 64 && digest.chars().all(|c| "0123456789abcdef".contains(c));
    let is_name = |name: &str| !name.is_empty() && !name.contains('@') && !name.contains(char::is_whitespace);
    match text.split_once("@sha256:") {
        Some((name, digest)) if is_name(name) && is_hex(digest) => Ok(text.to_owned()),
        _ => Err("write registry/repository@sha256:..., as `kubeopencode plugin push` prints it".to_owned()),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    let known = [Kind::ContextType, Kind::CommandBuilder];
    let found = known.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| format!("write {} or {}", known[0], known[1]))
}

fn class(text: &str) -> Result<LimitClass, String> {
    LimitClass::parse(text).ok_or_else(|| "write default or large".to_owned())
}
