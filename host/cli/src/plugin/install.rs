//! `plugin install`: applies what installs a component, and waits until it serves, or until the operator says why it does
//! not.
//!
//! May touch: one Plugin and its ConfigMaps in a cluster. Must not touch: what makes a component good, which the operator
//! says in the Plugin's status.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use kubeopencode_api::literals::{DEFAULT_OPERATOR_NAMESPACE, PLUGIN_NAME_ANNOTATION, SHA256_ANNOTATION};
use kubeopencode_api::plugin_object::{Plugin, PluginStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::pack::Objects;
use super::report::json;
use crate::args::{InstallPlugin, Output};
use crate::cluster::{client, one_line, refused};
use crate::error::CliError;
use crate::yaml;

/// Who applies, in `metadata.managedFields`.
const FIELD_MANAGER: &str = "kubeopencode-plugin";

/// What came of it. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Installed {
    /// Name of the Plugin.
    plugin: String,
    /// Of the component that was to serve.
    digest: String,
    /// It serves.
    ok: bool,
    /// The objects that were applied, by kind and name.
    applied: Vec<String>,
    /// From the first of them to the operator's word.
    millis: u64,
    /// What serves, if it does.
    serves: Option<Serves>,
    /// Why it does not, and what stays.
    problem: Option<String>,
}

/// A component that serves.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Serves {
    /// As users write them.
    types: Vec<String>,
    version: Option<String>,
    /// How long the operator took to load it.
    loaded_millis: Option<i64>,
}

impl Installed {
    fn text(&self) -> String {
        let mut text: String = self.applied.iter().map(|object| format!("{object} applied\n")).collect();
        let name = &self.plugin;
        if let Some(Serves { types, version, loaded_millis }) = &self.serves {
            let (types, seconds) = (types.join(","), self.millis as f64 / 1000.0);
            let loaded = loaded_millis.map(|millis| format!(", loaded in {millis} ms")).unwrap_or_default();
            let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            let _ =
                writeln!(text, "Plugin {name}: Ready after {seconds:.1} s{loaded}: serves {types}{version}");
        }
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "Plugin {name}: {problem}");
        }
        text
    }
}

/// Applies the objects and waits; what is to be printed, and whether the component serves.
///
/// # Errors
/// When the cluster cannot be asked.
pub(super) fn install(flags: &InstallPlugin, objects: Objects) -> Result<(String, bool), CliError> {
    let name = plugin_name(&objects).map_err(CliError::Usage)?;
    crate::runtime()?.block_on(async {
        let client = client(flags.cluster.kubeconfig.as_deref()).await?;
        let begun = Instant::now();
        let applied = apply(&client, flags, &objects, &name.plugin).await?;
        let verdict = wait(&client, flags, &name, &begun).await?;
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (serves, problem) = match verdict {
            Ok(serves) => (Some(serves), None),
            Err(problem) => (None, Some(problem)),
        };
        let Name { plugin, digest } = name;
        let ok = serves.is_some();
        let installed = Installed { plugin, digest, ok, applied, millis, serves, problem };
        let said = match flags.pack.output {
            Output::Text => installed.text(),
            Output::Json => json(&installed)?,
        };
        Ok((said, ok))
    })
}

/// What is done with what serves: it lies in the operator's namespace, and its Tasks do not.
pub(super) fn next(namespace: &str) -> String {
    format!(
        "try it: write a Task with the example of `kubeopencode plugin explain` into try.yaml, then kubectl apply --namespace NAMESPACE --filename try.yaml; \
         NAMESPACE is that of your Tasks, and not the operator's, {namespace}"
    )
}

/// What is to be installed, and the digest of its component.
#[derive(Debug, PartialEq)]
struct Name {
    plugin: String,
    digest: String,
}

fn plugin_name(objects: &Objects) -> Result<Name, String> {
    let Some(first) = objects.config_maps.first() else {
        // its component lies elsewhere
        let Some(plugin) = objects.plugin.as_ref().filter(|plugin| plugin.spec.source.config_map.is_none())
        else {
            return Err("there is no ConfigMap with a component in it".to_owned());
        };
        let plugin_name = plugin.name_any();
        let sha256 = plugin.spec.sha256.as_ref().ok_or_else(|| {
            format!("Plugin {plugin_name} does not say which component it means: add spec.sha256, the digest of it")
        })?;
        return Ok(Name { plugin: plugin_name, digest: format!("sha256:{sha256}") });
    };
    let annotation = |key: &str| first.annotations().get(key).cloned();
    let name = annotation(PLUGIN_NAME_ANNOTATION).unwrap_or_else(|| first.name_any());
    let sha256 = annotation(SHA256_ANNOTATION).ok_or_else(|| {
        let of = first.name_any();
        format!(
            "ConfigMap {of} does not say which component it holds: it has no annotation {SHA256_ANNOTATION}; make it with \
             `kubeopencode plugin pack`"
        )
    })?;
    let plugin = objects.plugin.as_ref().map_or(name, ResourceExt::name_any);
    Ok(Name { plugin, digest: format!("sha256:{sha256}") })
}

/// The objects that `plugin pack` wrote into a file.
///
/// # Errors
/// When there are others, or none.
pub(super) fn read(path: &Path) -> Result<Objects, CliError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| CliError::File { path: path.to_owned(), error })?;
    let wrong = |problem: String| CliError::Object { place: path.display().to_string(), problem };
    let (mut plugin, mut config_maps) = (None, Vec::new());
    for document in yaml::documents(&text).map_err(wrong)?.into_iter().flat_map(items) {
        match document["kind"].as_str().unwrap_or_default() {
            "Plugin" if plugin.is_none() => plugin = Some(object::<Plugin>(document).map_err(wrong)?),
            "ConfigMap" => config_maps.push(object::<ConfigMap>(document).map_err(wrong)?),
            kind => {
                let problem = format!(
                    "it holds a {kind}: there may be one Plugin and its ConfigMaps, as `kubeopencode plugin pack` prints them"
                );
                return Err(wrong(problem));
            }
        }
    }
    Ok(Objects { plugin, config_maps, summary: String::new() })
}

/// The objects of a document: those of a List, as `plugin pack` prints it as JSON, or the one that it is.
fn items(mut document: Value) -> Vec<Value> {
    if document["kind"] == "List"
        && let Value::Array(items) = document["items"].take()
    {
        return items;
    }
    vec![document]
}

fn object<T: DeserializeOwned>(document: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(document).map_err(|error| format!("{}: {}", error.path(), error.inner()))
}

async fn apply(
    client: &Client,
    flags: &InstallPlugin,
    objects: &Objects,
    plugin: &str,
) -> Result<Vec<String>, CliError> {
    let params = PatchParams { force: flags.force_conflicts, ..PatchParams::apply(FIELD_MANAGER) };
    let mut done = Vec::new();
    // the Plugin first: otherwise the operator would make one of its own
    if let Some(object) = &objects.plugin {
        let name = object.name_any();
        let plugins = Api::<Plugin>::all(client.clone());
        let applied = plugins.patch(&name, &params, &Patch::Apply(object)).await;
        applied.map_err(|error| refused("Plugin", &name, "applied", &error))?;
        done.push(format!("Plugin {name}"));
    }
    for config_map in &objects.config_maps {
        let (namespace, name) =
            (config_map.namespace().unwrap_or(flags.pack.namespace.clone()), config_map.name_any());
        let full_name = format!("{namespace}/{name}");
        let config_maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
        let applied = config_maps.patch(&name, &params, &Patch::Apply(config_map)).await;
        applied.map_err(|error| {
            let refused = refused("ConfigMap", &full_name, "applied", &error);
            if done.is_empty() {
                refused
            } else {
                let said: String = done.iter().map(|object| format!("{object} applied\n")).collect();
                CliError::Plugin(format!("{refused}\n{said}{}", removal(plugin, flags)))
            }
        })?;
        done.push(format!("ConfigMap {full_name}"));
    }
    Ok(done)
}

/// What serves in the end, or why nothing of these bytes does.
async fn wait(
    client: &Client,
    flags: &InstallPlugin,
    name: &Name,
    begun: &Instant,
) -> Result<Result<Serves, String>, CliError> {
    let plugins = Api::<Plugin>::all(client.clone());
    let is_known = |plugin: Option<&Plugin>| verdict(plugin, &name.digest).is_some();
    let known = await_condition(plugins.clone(), &name.plugin, is_known);
    let plugin = match tokio::time::timeout(flags.timeout, known).await {
        Ok(Ok(plugin)) => plugin,
        Ok(Err(error)) => {
            return Err(CliError::Plugin(format!(
                "Plugin {} cannot be watched: {}",
                name.plugin,
                one_line(&error.to_string())
            )));
        }
        Err(_) => plugins
            .get_opt(&name.plugin)
            .await
            .map_err(|error| refused("Plugin", &name.plugin, "read", &error))?,
    };
    Ok(verdict(plugin.as_ref(), &name.digest).unwrap_or_else(|| {
        let (why, seconds) = (unknown(plugin.as_ref(), flags), begun.elapsed().as_secs_f64());
        Err(format!("{why}, after {seconds:.0} s\n{}", removal(&name.plugin, flags)))
    }))
}

/// What the operator says of these bytes, once it has looked at them. Pure.
fn verdict(plugin: Option<&Plugin>, digest: &str) -> Option<Result<Serves, String>> {
    let plugin = plugin?;
    let status = plugin.status.as_ref()?;
    if status.observed_generation != plugin.metadata.generation {
        return None;
    }
    let serves = status.digest.as_deref() == Some(digest);
    let is_ready =
        |status: &PluginStatus| status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    if serves && is_ready(status) {
        return Some(Ok(serving(status)));
    }
    if status.wanted.as_deref() != Some(digest) {
        return None;
    }
    let why = false_conditions(status)?;
    Some(Err(match &status.digest {
        Some(last) if is_ready(status) => format!("{why}\nwhat served before serves on: {last}"),
        _ => why,
    }))
}

fn serving(status: &PluginStatus) -> Serves {
    let types = status.type_names.as_deref().unwrap_or_default().split(',');
    let types = types.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Serves { types, version: status.version.clone(), loaded_millis: status.compile_millis }
}

fn false_conditions(status: &PluginStatus) -> Option<String> {
    let is_false = status.conditions.iter().filter(|condition| condition.status == "False");
    let lines: Vec<_> = is_false.map(|c| format!("{}=False {}: {}", c.type_, c.reason, c.message)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What is said where the operator has said nothing of these bytes.
fn unknown(plugin: Option<&Plugin>, flags: &InstallPlugin) -> String {
    let status = plugin.and_then(|plugin| plugin.status.as_ref());
    if let Some(why) = status.and_then(false_conditions) {
        return why;
    }
    let namespace = &flags.pack.namespace;
    format!(
        "no operator has looked at it: see whether one runs in namespace {namespace}, with `kubectl -n {namespace} get pods`, and say \
         with --namespace where it is"
    )
}

/// How what was applied is removed.
fn removal(name: &str, flags: &InstallPlugin) -> String {
    let namespace = &flags.pack.namespace;
    let mut command = format!("kubeopencode plugin uninstall {name}");
    if namespace != DEFAULT_OPERATOR_NAMESPACE {
        let _ = write!(command, " --namespace {namespace}");
    }
    if let Some(kubeconfig) = &flags.cluster.kubeconfig {
        let _ = write!(command, " --kubeconfig {}", kubeconfig.display());
    }
    format!("what was applied stays there: `{command}` removes it")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:new";

    fn plugin(status: Value) -> Plugin {
        serde_json::from_value(json!({
            "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Plugin", "metadata": {"name": "jira", "generation": 2},
            "spec": {"kind": "context-type", "source": {"configMap": {"name": "jira"}}}, "status": status,
        }))
        .unwrap()
    }

    fn condition(type_: &str, is: &str, reason: &str) -> Value {
        json!({"type": type_, "status": is, "reason": reason, "message": "the words",
            "lastTransitionTime": "2026-01-02T03:04:05Z"})
    }

    fn of(status: Value) -> Option<Result<Serves, String>> {
        verdict(Some(&plugin(status)), DIGEST)
    }

    #[test]
    fn it_is_waited_for_until_the_operator_has_seen_these_bytes() {
        let ready = condition("Ready", "True", "Ready");
        assert_eq!(verdict(None, DIGEST), None);
        assert_eq!(of(json!(null)), None);
        assert_eq!(
            of(json!({"observedGeneration": 1, "digest": DIGEST, "wanted": DIGEST, "conditions": [ready]})),
            None
        );
        let old = json!({"observedGeneration": 2, "digest": "sha256:old", "wanted": "sha256:old",
            "conditions": [ready, condition("Verified", "False", "DigestMismatch")]});
        assert_eq!(of(old), None, "of the old bytes");
        let loading =
            json!({"observedGeneration": 2, "digest": "sha256:old", "wanted": DIGEST, "conditions": [ready]});
        assert_eq!(of(loading), None);
    }

    #[test]
    fn what_serves_is_described() {
        let status = json!({"observedGeneration": 2, "digest": DIGEST, "wanted": DIGEST, "compileMillis": 160,
            "typeNames": "Jira,JiraSearch", "version": "1.2.0", "conditions": [condition("Ready", "True", "Ready")]});
        let serves = of(status).unwrap().unwrap();
        let types = ["Jira", "JiraSearch"].map(str::to_owned).into();
        let version = Some("1.2.0".to_owned());
        assert_eq!(serves, Serves { types, version, loaded_millis: Some(160) });
        let installed = Installed {
            plugin: "jira".to_owned(),
            digest: DIGEST.to_owned(),
            ok: true,
            applied: vec!["ConfigMap system/jira".to_owned()],
            millis: 449,
            serves: Some(serves),
            problem: None,
        };
        let words = "ConfigMap system/jira applied\nPlugin jira: Ready after 0.4 s, loaded in 160 ms: serves Jira,JiraSearch 1.2.0\n";
        assert_eq!(installed.text(), words);
    }

    #[test]
    fn what_does_not_says_why_and_what_serves_on() {
        let compiled = condition("Compiled", "False", "CompileFailed");
        let first = json!({"observedGeneration": 2, "wanted": DIGEST,
            "conditions": [compiled, condition("Ready", "False", "CompileFailed")]});
        let words = "Compiled=False CompileFailed: the words\nReady=False CompileFailed: the words";
        assert_eq!(of(first), Some(Err(words.to_owned())));
        let update = json!({"observedGeneration": 2, "wanted": DIGEST, "digest": "sha256:old",
            "conditions": [compiled, condition("Ready", "True", "Ready")]});
        let words = "Compiled=False CompileFailed: the words\nwhat served before serves on: sha256:old";
        assert_eq!(of(update), Some(Err(words.to_owned())));
    }
}
