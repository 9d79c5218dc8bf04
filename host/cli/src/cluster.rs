//! The cluster that a command asks, and what its API server's refusals are in words.
//!
//! May touch: the kubeconfig; ConfigMaps, which it reads.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Client, Config};
use kubeopencode_api::names::ObjectKey;

use crate::error::CliError;

/// How long a cluster may take to take a connection, and to answer.
const CONNECT: Duration = Duration::from_secs(5);
pub(crate) const ANSWER: Duration = Duration::from_secs(15);

/// A cluster whose ConfigMaps are read, with the rights of whoever calls.
pub(crate) struct Cluster(pub(crate) Client);

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// The ConfigMap, or `None` where there is none.
    ///
    /// # Errors
    /// Why it could not be read.
    pub(crate) async fn config_map(&self, key: &ObjectKey) -> Result<Option<ConfigMap>, String> {
        let maps = Api::<ConfigMap>::namespaced(self.0.clone(), &key.namespace);
        match tokio::time::timeout(ANSWER, maps.get_opt(&key.name)).await {
            Ok(Ok(map)) => Ok(map),
            Ok(Err(error)) => {
                Err(format!("ConfigMap \"{key}\" of the cluster cannot be read: {}", words(&error)))
            }
            Err(_) => {
                Err(format!("ConfigMap \"{key}\": the cluster did not answer in {} s", ANSWER.as_secs()))
            }
        }
    }
}

/// A client of the cluster that this file names; by default of the one that kubectl finds. It answers.
///
/// # Errors
/// Why there is none, in one line; with its address where it does not answer.
pub(crate) async fn client(kubeconfig: Option<&Path>) -> Result<Client, CliError> {
    let none = |error: String| CliError::Cluster(one_line(&error));
    let (config, context) = match kubeconfig {
        None => {
            let config = Config::infer().await.map_err(|error| none(error.to_string()))?;
            // in a Pod there is none
            (config, Kubeconfig::read().ok())
        }
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(|error| none(error.to_string()))?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(read.clone(), &options).await;
            (config.map_err(|error| none(error.to_string()))?, Some(read))
        }
    };
    reached(config, context.and_then(|read| read.current_context)).await
}

/// A client of a cluster that answers, whatever its answer: that nobody is there is told once, here, with where it was looked for.
async fn reached(mut config: Config, context: Option<String>) -> Result<Client, CliError> {
    config.connect_timeout = Some(CONNECT);
    let server = config.cluster_url.to_string();
    let server = server.trim_end_matches('/');
    let place = match context {
        Some(context) => format!("{server} (context {context} of the kubeconfig)"),
        None => server.to_owned(),
    };
    let client = kubeopencode_operator::client(config)?;
    let why = match tokio::time::timeout(ANSWER, client.apiserver_version()).await {
        Ok(Err(error @ (kube::Error::HyperError(_) | kube::Error::Service(_)))) => words(&error),
        Ok(_) => return Ok(client),
        Err(_) => format!("it did not answer in {} s", ANSWER.as_secs()),
    };
    Err(CliError::Unreachable(format!("{place}: {why}")))
}

/// What the API server, or the way to it, said, in one line.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => one_line(&status.message),
        // "client error (Connect)" says less than what it comes from
        kube::Error::HyperError(_) | kube::Error::Service(_) => one_line(&root(error).to_string()),
        other => one_line(&other.to_string()),
    }
}

/// What an error comes from.
fn root<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

pub(crate) fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the kind is there, and this object of it is not.
fn is_missing(status: &Status, name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    status.code == 404 && status.message.contains(&format!("\"{name}\" not found"))
}

/// Whether there is no such object, or no such kind.
pub(crate) fn is_not_there(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Why something could not be done with an object, and what helps.
///
/// `done` is as in "cannot be applied".
pub(crate) fn refused(kind: &str, name: &str, done: &str, error: &kube::Error) -> CliError {
    let remedy = match error {
        kube::Error::Api(status) if status.code == 403 => {
            "; bind the ClusterRole kubeopencode-plugin-installer for Plugins, and the Role of that name in the operator's \
             namespace for ConfigMaps"
        }
        kube::Error::Api(status) if status.code == 404 && status.message.starts_with("namespaces") => {
            "; say with --namespace where the operator is"
        }
        kube::Error::Api(status) if kind == "Plugin" && is_missing(status, name) => {
            return CliError::Plugin(format!(
                "there is no Plugin {name}; `kubeopencode plugin list` shows what there is"
            ));
        }
        kube::Error::Api(status) if status.code == 404 => {
            "; KubeOpenCode is not installed there, or without Plugins"
        }
        kube::Error::Api(status) if status.code == 409 => "; --force-conflicts takes the fields over",
        _ => "",
    };
    CliError::Plugin(format!("{kind} {name} cannot be {done}: {}{remedy}", words(error)))
}
