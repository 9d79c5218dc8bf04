//! The cluster that the documents run on, and the programs that talk to it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::repository;

/// Where the operator is.
const SYSTEM_NAMESPACE: &str = "kubeopencode-system";
const DEPLOYMENT: &str = "deployment/kubeopencode";

/// A cluster with an operator and a stand-in for a model in it.
pub(crate) struct Cluster {
    /// A kubeconfig with one context.
    pub(crate) kubeconfig: String,
    /// The folder of kubectl and helm.
    pub(crate) tools: PathBuf,
    /// The namespace of the stand-in for a model.
    pub(crate) model_namespace: String,
}

impl Cluster {
    /// The one that the environment names, or the local one.
    ///
    /// # Errors
    /// What it lacks, and what to do.
    pub(crate) fn find() -> Result<Self, String> {
        let tools = script("tools.sh", "clients").ok_or("kubectl and helm could not be had: see above")?;
        let tools = PathBuf::from(tools);
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let (kubeconfig, context) =
            match (set("KUBEOPENCODE_E2E_KUBECONFIG"), set("KUBECONFIG"), set("DEMO_CONTEXT")) {
                (Some(whole), ..) => (Some(whole), None),
                (None, None, None) => {
                    let local = script("cluster.sh", "kubeconfig");
                    let local = local.ok_or(
                        "the local cluster does not run: make demo, or set KUBECONFIG or DEMO_CONTEXT",
                    )?;
                    (Some(OsString::from(local)), None)
                }
                (None, kubeconfig, context) => (kubeconfig, context),
            };
        let mut flatten = Command::new(tools.join("kubectl"));
        flatten.args(["config", "view", "--raw", "--flatten", "--minify"]);
        flatten.envs(kubeconfig.map(|path| ("KUBECONFIG", path)));
        if let Some(context) = context {
            flatten.arg("--context").arg(context);
        }
        let kubeconfig = said(&mut flatten).map_err(|words| format!("no context of a cluster: {words}"))?;
        let mut cluster = Self { kubeconfig, tools, model_namespace: String::new() };
        let ready = ["--namespace", SYSTEM_NAMESPACE, "rollout", "status", DEPLOYMENT, "--timeout=60s"];
        cluster.kubectl(&ready).map_err(|words| {
            format!("no operator runs in namespace {SYSTEM_NAMESPACE} of the cluster: make demo\n{words}")
        })?;
        let stub = ["get", "services", "--all-namespaces", "--field-selector", "metadata.name=model-stub"];
        let stub =
            cluster.kubectl(&[&stub[..], &["-o", "jsonpath={.items[*].metadata.namespace}"]].concat())?;
        let namespace = stub.split_whitespace().next();
        cluster.model_namespace =
            namespace.ok_or("no stand-in for a model runs in the cluster: make demo")?.to_owned();
        Ok(cluster)
    }

    /// What kubectl says.
    ///
    /// # Errors
    /// What it says when it fails.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let kubeconfig = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(kubeconfig.path(), &self.kubeconfig).map_err(|error| error.to_string())?;
        said(Command::new(self.tools.join("kubectl")).args(arguments).env("KUBECONFIG", kubeconfig.path()))
    }
}

/// What a script of deploy/local prints; `None`: it failed, and said why on stderr.
fn script(name: &str, argument: &str) -> Option<String> {
    let path = repository().join("deploy/local").join(name);
    let output = Command::new(path).arg(argument).stderr(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let Output { status, stdout, stderr } = output;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
}
