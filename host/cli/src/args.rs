//! The command line of what platform teams and authors of plugins call.
//!
//! May touch: words. Must not touch: what is done with them.

mod plugin;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use kubeopencode_api::network::{Entry, OwnNetwork};
use kubeopencode_api::release::VERSION;
use kubeopencode_operator::{PluginSources, SourceKind};

pub(crate) use plugin::{
    BenchPlugin, BuildPlugin, CheckPlugin, Component, EvalPlugin, ExplainPlugin, InstallPlugin,
    InstalledPlugin, Language, ListPlugins, LogsOfPlugin, NewPlugin, Output, PackPlugin, PluginCommand,
    PullPlugin, PushPlugin, Registry, TestOutput, TestPlugin, UninstallPlugin,
};

/// Runs coding agents on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "kubeopencode", version = VERSION, about)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the operator
    Controller(Controller),
    /// Print the objects that the operator would create for the Tasks and servers in files, without a cluster
    Render(Render),
    /// Print the objects of kubeopencode.io that do what those of kubetask.io in files do, without a cluster
    Migrate(Migrate),
    /// Say what becomes of the objects of the Go KubeOpenCode in files, without a cluster: exit code 1 where one has to be changed
    CheckUpgrade(CheckUpgrade),
    /// Write, test, check, pack, push and list plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print the CustomResourceDefinitions as YAML
    Crds,
    /// Print what lets a shell complete these commands, for example: source <(kubeopencode completion bash)
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Remove the operator's finalizers from all Tasks, as before the operator is uninstalled
    ReleaseFinalizers(ReleaseFinalizers),
    /// Wait for the end of a Task, as the chart's test does: exit code 1 unless it is Completed
    WaitTask(WaitTask),
}

/// Flags of `kubeopencode controller`.
#[derive(Debug, clap::Args)]
pub(crate) struct Controller {
    /// Address of /metrics; 0 turns it off
    #[arg(long, default_value = ":8080", value_parser = address)]
    pub(crate) metrics_bind_address: Address,
    /// Address of /healthz and /readyz; 0 turns it off
    #[arg(long, default_value = ":8081", value_parser = address)]
    pub(crate) health_probe_bind_address: Address,
    /// Work only while holding the lease "kubeopencode.io" in the operator's namespace
    #[arg(long)]
    pub(crate) leader_elect: bool,
    /// Folder for compiled plugins
    #[arg(long, default_value = "/var/cache/kubeopencode")]
    pub(crate) plugin_cache_dir: PathBuf,
    /// Load no plugins but those that come with the program: the definition of Plugin is not installed
    #[arg(long)]
    pub(crate) without_plugins: bool,
    #[command(flatten)]
    pub(crate) sources: Sources,
    /// Do nothing about Tasks of kubetask.io: their definitions are not installed
    #[arg(long)]
    pub(crate) without_kubetask: bool,
    #[command(flatten)]
    pub(crate) namespaces: Namespaces,
    /// Namespace of the operator
    #[arg(long, env = "POD_NAMESPACE", default_value = kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE)]
    pub(crate) namespace: String,
    /// Domain of the cluster's Services; by default the one that /etc/resolv.conf names, else cluster.local
    #[arg(long, value_parser = domain)]
    pub(crate) cluster_domain: Option<String>,
    /// Identity of this operator in the lease
    #[arg(long, env = "POD_NAME")]
    pub(crate) identity: Option<String>,
}

/// Where the operator works, for those of its commands that ask for more than one namespace.
#[derive(Debug, clap::Args)]
pub(crate) struct Namespaces {
    /// Look only into this namespace and the operator's own, with rights there alone; may be repeated, or name several
    #[arg(long = "watch-namespace", value_name = "NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    watch: Vec<String>,
}

impl Namespaces {
    /// Them, with the operator's `own`; none: all that there are.
    pub(crate) fn with(self, own: &str) -> Vec<String> {
        let mut all = self.watch;
        if !all.is_empty() {
            all.push(own.to_owned());
            all.sort();
            all.dedup();
        }
        all
    }
}

/// Flags of `kubeopencode controller` about where the components of Plugins come from.
#[derive(Debug, clap::Args)]
pub(crate) struct Sources {
    /// Sources that Plugins may have: configMap, oci, https, directory
    #[arg(long, value_name = "SOURCE", value_delimiter = ',', value_parser = source_kind,
        default_values = ["configMap", "oci", "https", "directory"])]
    pub(crate) plugin_sources: Vec<SourceKind>,
    /// Refuse components of Plugins without spec.signature
    #[arg(long)]
    pub(crate) require_plugin_signature: bool,
    /// Folder with the public keys of spec.signature, NAME.pub each
    #[arg(long, value_name = "DIR", default_value = "/etc/kubeopencode/cosign-keys")]
    pub(crate) plugin_keys_dir: PathBuf,
    /// Folder with the credentials of registries: Docker configurations, NAME.json each
    #[arg(long, value_name = "DIR", default_value = "/etc/kubeopencode/registries")]
    pub(crate) plugin_registries_dir: PathBuf,
    /// Certificate authorities of registries and web servers, beside those of the image
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin_ca_file: Option<PathBuf>,
    /// Hosts (registry.corp, *.corp) at private addresses and networks (10.1.0.0/16) that components may be fetched from
    #[arg(long, value_name = "HOST|NETWORK", value_delimiter = ',')]
    pub(crate) plugin_private_addresses: Vec<Entry>,
    /// Folder with the volumes of directory sources
    #[arg(long, value_name = "DIR", default_value = "/plugins")]
    pub(crate) plugin_volumes_dir: PathBuf,
}

impl From<Sources> for PluginSources {
    fn from(flags: Sources) -> Self {
        Self {
            taken: flags.plugin_sources,
            require_signature: flags.require_plugin_signature,
            keys: flags.plugin_keys_dir,
            registries: flags.plugin_registries_dir,
            authorities: flags.plugin_ca_file,
            network: OwnNetwork { private: flags.plugin_private_addresses },
            volumes: flags.plugin_volumes_dir,
            ..Self::default()
        }
    }
}

/// Flags of `kubeopencode release-finalizers`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseFinalizers {
    /// Leave Tasks of kubetask.io alone
    #[arg(long)]
    pub(crate) without_kubetask: bool,
    #[command(flatten)]
    pub(crate) namespaces: Namespaces,
}

/// Flags of `kubeopencode wait-task`.
#[derive(Debug, clap::Args)]
pub(crate) struct WaitTask {
    /// Name of the Task, in the namespace of this Pod, or in the kubeconfig's
    pub(crate) name: String,
    /// How long to wait, for example 90s or 4m
    #[arg(long, default_value = "4m", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Flags of `kubeopencode render`.
#[derive(Debug, clap::Args)]
pub(crate) struct Render {
    /// File or directory with Tasks, Agents, ConfigMaps and KubeOpenCodeConfigs, or with Tasks, Batches and WorkspaceConfigs of
    /// kubetask.io; - reads stdin
    #[arg(short, long, required = true, value_name = "FILE", num_args = 1..)]
    pub(crate) filename: Vec<PathBuf>,
    /// Component of a plugin (.wasm, .wasm.gz or .wasm.zst), installed under the name that it gives itself
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Vec<PathBuf>,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
    /// Namespace of the operator, whose KubeOpenCodeConfig holds for all
    #[arg(long, default_value = kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE)]
    pub(crate) operator_namespace: String,
    /// Domain of the cluster's Services
    #[arg(long, default_value = kubeopencode_api::literals::DEFAULT_CLUSTER_DOMAIN, value_parser = domain)]
    pub(crate) cluster_domain: String,
}

/// Flags of `kubeopencode migrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    /// File or directory with objects of kubetask.io, and the ConfigMaps that they name; - reads stdin
    #[arg(short, long, required = true, value_name = "FILE", num_args = 1..)]
    pub(crate) filename: Vec<PathBuf>,
    /// Write the Tasks of a Batch as a chart to this folder, in place of printing them
    #[arg(long, value_name = "DIR")]
    pub(crate) helm: Option<PathBuf>,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
}

/// Flags of `kubeopencode check-upgrade`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckUpgrade {
    /// File or directory with Tasks, Agents and KubeOpenCodeConfigs of kubeopencode.io, and the ConfigMaps that they name; - reads
    /// stdin
    #[arg(short, long, required = true, value_name = "FILE", num_args = 1..)]
    pub(crate) filename: Vec<PathBuf>,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
    /// Namespace of this operator, whose KubeOpenCodeConfig holds for all
    #[arg(long, default_value = kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE)]
    pub(crate) operator_namespace: String,
}

/// Where to listen; `None`: nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) Option<SocketAddr>);

/// Reads an address as Go programs do: `:8080` is every interface, `0` is none.
fn address(text: &str) -> Result<Address, String> {
    if text == "0" {
        return Ok(Address(None));
    }
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    let wrong = |_| format!("\"{text}\" is no address; write :PORT, IP:PORT, or 0 to turn it off");
    full.parse().map(|address| Address(Some(address))).map_err(wrong)
}

fn source_kind(text: &str) -> Result<SourceKind, String> {
    let known = SourceKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    let words = SourceKind::ALL.map(SourceKind::as_str).join(", ");
    known.ok_or_else(|| format!("\"{text}\" is no source; there are {words}"))
}

fn namespace(text: &str) -> Result<String, String> {
    if kubeopencode_plan::is_namespace_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("\"{text}\" is no name of a namespace; write one, or several with commas between them"))
}

fn domain(text: &str) -> Result<String, String> {
    if kubeopencode_plan::is_object_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("\"{text}\" is no domain; write it in lower case and without a dot at its end"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = kubeopencode_api::task::timeout_flag(text)?;
    Ok(Duration::from_secs(read.as_secs().unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_in_go() {
        assert_eq!(address("0"), Ok(Address(None)));
        assert_eq!(address(":8080").unwrap().0.unwrap().to_string(), "[::]:8080");
        assert_eq!(address("127.0.0.1:1").unwrap().0.unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(
            address("8080").unwrap_err(),
            "\"8080\" is no address; write :PORT, IP:PORT, or 0 to turn it off"
        );
    }

    #[test]
    fn a_domain_goes_into_addresses_as_it_is() {
        assert_eq!(domain("k8s.example.com").unwrap(), "k8s.example.com");
        for wrong in ["", "K8s.example", "cluster.local.", "a/b", ".local"] {
            assert!(domain(wrong).unwrap_err().contains("is no domain"), "{wrong}");
        }
    }

    #[test]
    fn namespaces_are_repeated_or_listed_and_the_operators_own_is_one() {
        let read = |flags: &[&str]| {
            let all = ["kubeopencode", "controller"].iter().chain(flags);
            Args::try_parse_from(all).map(|args| match args.command {
                Command::Controller(flags) => flags.namespaces.with("system"),
                _ => unreachable!(),
            })
        };
        assert_eq!(read(&[]).unwrap(), [""; 0], "all that there are");
        let several = ["--watch-namespace=team-b,team-a", "--watch-namespace", "team-b"];
        assert_eq!(read(&several).unwrap(), ["system", "team-a", "team-b"]);
        for wrong in ["", "a,", "Team", "a b"] {
            let said = read(&["--watch-namespace", wrong]).unwrap_err().to_string();
            assert!(said.contains("is no name of a namespace"), "{said}");
        }
    }

    #[test]
    fn a_duration_is_written_as_in_a_task() {
        assert_eq!(duration("1h30m").unwrap(), Duration::from_secs(5400));
        for wrong in ["", "240", "4 m", "0s"] {
            assert!(duration(wrong).unwrap_err().contains("is no duration"), "{wrong}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let Command::Controller(flags) = Args::parse_from(["kubeopencode", "controller"]).command else {
            panic!()
        };
        assert_eq!(flags.metrics_bind_address.0.unwrap().port(), 8080);
        assert_eq!(flags.health_probe_bind_address.0.unwrap().port(), 8081);
        assert!(!flags.leader_elect);
    }
}
