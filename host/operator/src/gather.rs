//! Everything that a Task's Pod is made from: Agent, settings, evaluated contexts, the agent's command.
//!
//! The only stage that reads the API for input. What leaves it is validated and typed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::{ConditionType, Reason};
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::plugin::{
    Entry, ErrorKind, Input, MAX_INPUT_BYTES, MAX_READS, MAX_ROUNDS, Outcome, PluginError, Required,
    Requirement, Resolved as Answer, grow_needs,
};
use kubeopencode_api::task::{Task, UsedPlugin};
use kubeopencode_plan::{
    Command, Evaluated, Granted, Item, Refusal, Resolved, ServerCommand, Settings, is_built_in,
    is_object_name, validate, validate_command, validate_server,
};
use kubeopencode_plugin_host::{CallError, Plugin, PluginHost, outcome};

use crate::metrics::Metrics;

/// Reads ConfigMaps by name.
pub trait ConfigMaps: Send + Sync {
    /// The ConfigMap, or `None` where there is none.
    fn get(&self, key: &ObjectKey) -> impl Future<Output = Result<Option<ConfigMap>, kube::Error>> + Send;
}

/// Reads them from the API server.
pub(crate) struct Live<'a>(pub &'a Client);

impl ConfigMaps for Live<'_> {
    async fn get(&self, key: &ObjectKey) -> Result<Option<ConfigMap>, kube::Error> {
        Api::namespaced(self.0.clone(), &key.namespace).get_opt(&key.name).await
    }
}

/// The plugins, and where their calls are counted.
#[derive(Clone, Copy, Debug)]
pub struct Plugins<'a> {
    /// Who calls them.
    pub host: &'a PluginHost,
    /// Who counts.
    pub metrics: &'a Metrics,
}

impl Plugins<'_> {
    fn command_builder(self, name: &str) -> Result<Arc<Plugin>, GatherError> {
        self.host.command_builder(name).ok_or_else(|| {
            GatherError::Missing(Refusal {
                condition: ConditionType::Accepted,
                reason: Reason::PluginError,
                message: format!("spec.commandBuilder: no plugin for command builder \"{name}\""),
            })
        })
    }

    /// Calls a plugin on a thread that may block: a bad one takes seconds until its epoch ends.
    async fn call<T: Send + 'static>(
        self,
        plugin: &Arc<Plugin>,
        f: impl FnOnce(&Plugin) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let (started, called) = (Instant::now(), Arc::clone(plugin));
        let answer = tokio::task::spawn_blocking(move || f(&called)).await.unwrap_or_else(|error| {
            Err(CallError::Trap { reason: format!("the thread of the call ended: {error}"), words: None })
        });
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.plugin_called(&plugin.descriptor().name, outcome(&answer), seconds);
        answer
    }
}

/// What a Task's Pod is planned from.
#[derive(Debug)]
pub struct Gathered {
    /// Task, Agent and settings, validated.
    pub resolved: Resolved,
    /// The contexts, Agent's first.
    pub contexts: Vec<Evaluated>,
    /// How the agent is run.
    pub command: Command,
    /// The plugins that were asked.
    pub plugins: Vec<UsedPlugin>,
}

/// What the server of a server-mode Agent is planned from.
#[derive(Debug)]
pub struct GatheredServer {
    /// Agent and settings, validated.
    pub resolved: Resolved,
    /// The Agent's contexts.
    pub contexts: Vec<Evaluated>,
    /// How the server is run.
    pub command: ServerCommand,
}

/// Why there is nothing to plan from.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The Task can never run as it is.
    #[error("{0}")]
    Refused(Refusal),
    /// Something is missing that may still come; what it means when it does not.
    #[error("{0}")]
    Missing(Refusal),
    /// The API server did not answer.
    #[error("reading a ConfigMap: {0}")]
    Api(#[from] kube::Error),
}

/// A plugin's answer that is no plan.
enum Unplanned {
    Refused(Refusal),
    Missing(Refusal),
    Api(kube::Error),
}

impl From<Unplanned> for GatherError {
    fn from(unplanned: Unplanned) -> Self {
        match unplanned {
            Unplanned::Refused(refusal) => Self::Refused(refusal),
            Unplanned::Missing(refusal) => Self::Missing(refusal),
            Unplanned::Api(error) => Self::Api(error),
        }
    }
}

/// Evaluates a Task's contexts and asks for its command.
///
/// # Errors
/// See [`GatherError`].
pub async fn gather(
    plugins: Plugins<'_>,
    reads: &impl ConfigMaps,
    task: &Task,
    agent: &Agent,
    settings: &Settings,
) -> Result<Gathered, GatherError> {
    let resolved = Resolved::new(task, agent, settings).map_err(GatherError::Refused)?;
    let (contexts, mut asked) = contexts(plugins, reads, &resolved).await?;
    let name = resolved.command_builder();
    let builder = plugins.command_builder(name)?;
    used(&mut asked, name, &builder);
    let request = resolved.build_request(&contexts);
    let plan = plugins.call(&builder, move |builder| builder.build(&request)).await;
    let plan = plan.map_err(|error| unbuilt(name, error))?;
    let command = validate_command(&resolved, &Granted::none(), plan).map_err(GatherError::Refused)?;
    Ok(Gathered { resolved, contexts, command, plugins: asked })
}

/// Evaluates the contexts of a server-mode Agent and asks for its server's command.
///
/// # Errors
/// See [`GatherError`].
pub async fn gather_server(
    plugins: Plugins<'_>,
    reads: &impl ConfigMaps,
    agent: &Agent,
    settings: &Settings,
) -> Result<GatheredServer, GatherError> {
    let resolved = Resolved::server(agent, settings).map_err(GatherError::Refused)?;
    let (contexts, _) = contexts(plugins, reads, &resolved).await?;
    let name = resolved.command_builder();
    let builder = plugins.command_builder(name)?;
    if !builder.has_server() {
        return Err(GatherError::Refused(Refusal::invalid_config(format!(
            "spec.serverConfig: command builder \"{name}\" cannot run a server: remove serverConfig, or name another builder"
        ))));
    }
    let request = resolved.serve_request(&contexts);
    let plan = plugins.call(&builder, move |builder| builder.serve(&request)).await;
    let plan = plan.map_err(|error| unbuilt(name, error))?;
    let command = validate_server(&resolved, &Granted::none(), plan).map_err(GatherError::Refused)?;
    Ok(GatheredServer { resolved, contexts, command })
}

/// Evaluates all items, and says which plugins did.
async fn contexts(
    plugins: Plugins<'_>,
    reads: &impl ConfigMaps,
    resolved: &Resolved,
) -> Result<(Vec<Evaluated>, Vec<UsedPlugin>), GatherError> {
    let mut known = Known { reads, read: HashMap::new() };
    let (mut contexts, mut asked) = (Vec::with_capacity(resolved.items().len()), Vec::new());
    for item in resolved.items() {
        let context = match evaluate(plugins, &mut known, resolved, item, &mut asked).await {
            Ok(context) => context,
            Err(Unplanned::Refused(refusal) | Unplanned::Missing(refusal)) if item.optional => {
                Evaluated::skipped(item, refusal.message)
            }
            Err(unplanned) => return Err(unplanned.into()),
        };
        contexts.push(context);
    }
    Ok((contexts, asked))
}

/// The ConfigMaps that this Task's evaluation has read: each once.
struct Known<'a, R> {
    reads: &'a R,
    read: HashMap<ObjectKey, Option<ConfigMap>>,
}

impl<R: ConfigMaps> Known<'_, R> {
    async fn get(&mut self, key: &ObjectKey) -> Result<Option<&ConfigMap>, kube::Error> {
        if !self.read.contains_key(key) {
            let answer = self.reads.get(key).await?;
            self.read.insert(key.clone(), answer);
        }
        Ok(self.read.get(key).and_then(Option::as_ref))
    }
}

async fn evaluate(
    plugins: Plugins<'_>,
    known: &mut Known<'_, impl ConfigMaps>,
    resolved: &Resolved,
    item: &Item,
    asked: &mut Vec<UsedPlugin>,
) -> Result<Evaluated, Unplanned> {
    let Some(plugin) = plugins.host.context_type(&item.type_) else {
        return Err(Unplanned::Missing(item.no_plugin()));
    };
    used(asked, &item.type_, &plugin);
    if let Err(error) = plugin.check_payload(&item.payload) {
        return Err(Unplanned::Refused(item.refused(error)));
    }
    let (mut inputs, mut needs) = (Vec::new(), Vec::<Required>::new());
    for _ in 0..=MAX_ROUNDS {
        let request = resolved.evaluate_request(item, std::mem::take(&mut inputs));
        let outcome = plugins.call(&plugin, move |plugin| plugin.evaluate(&request)).await;
        match outcome.map_err(|error| unplanned(item, error))? {
            Outcome::Ready(plan) => {
                let granted =
                    if is_built_in(&item.type_) { Granted::builtin(&item.type_) } else { Granted::none() };
                let evaluated = validate(resolved, item, &granted, plan).map_err(Unplanned::Refused)?;
                return embed(known, resolved, item, evaluated).await;
            }
            Outcome::Needs(now) => {
                grow_needs(&needs, &now).map_err(|error| broken(item, &error.to_string()))?;
                if now.len() > MAX_READS {
                    return Err(broken(item, &format!("asks for more than {MAX_READS} reads")));
                }
                needs = now;
                let mut bytes = 0;
                for required in &needs {
                    let value = read(known, item, required).await?;
                    bytes += size(&value);
                    inputs.push(Input { id: required.id.clone(), value });
                }
                if bytes > MAX_INPUT_BYTES {
                    let problem = format!("its ConfigMaps have {bytes} bytes, {MAX_INPUT_BYTES} at most");
                    return Err(Unplanned::Refused(item.refused(problem)));
                }
            }
        }
    }
    Err(broken(item, &format!("asks for more after {MAX_ROUNDS} rounds")))
}

/// A ConfigMap that cannot be mounted by name, because the Pod runs in another namespace, is copied.
async fn embed(
    known: &mut Known<'_, impl ConfigMaps>,
    resolved: &Resolved,
    item: &Item,
    mut evaluated: Evaluated,
) -> Result<Evaluated, Unplanned> {
    for mount in evaluated.embeds(resolved) {
        let key = ObjectKey::new(item.namespace.clone(), mount.name.clone());
        match known.get(&key).await.map_err(Unplanned::Api)? {
            Some(map) => evaluated.embed(&mount, entries(map)).map_err(Unplanned::Refused)?,
            None if mount.optional => evaluated.embed(&mount, Vec::new()).map_err(Unplanned::Refused)?,
            None => {
                let problem = format!("ConfigMap {} not found", mount.name);
                return Err(Unplanned::Missing(item.refused(problem)));
            }
        }
    }
    Ok(evaluated)
}

async fn read(
    known: &mut Known<'_, impl ConfigMaps>,
    item: &Item,
    required: &Required,
) -> Result<Answer, Unplanned> {
    match &required.what {
        Requirement::ConfigMap(name) if !is_object_name(name) => {
            Err(Unplanned::Refused(item.refused(format!("\"{name}\" is no name of a ConfigMap"))))
        }
        Requirement::ConfigMap(name) => {
            let key = ObjectKey::new(item.namespace.clone(), name.clone());
            let map = known.get(&key).await.map_err(Unplanned::Api)?;
            Ok(map.map_or(Answer::Missing, |map| Answer::ConfigMap(entries(map))))
        }
        Requirement::Extended(extension) => {
            Err(broken(item, &format!("asks for \"{}\", which is unknown", extension.kind)))
        }
    }
}

fn entries(map: &ConfigMap) -> Vec<Entry> {
    let text = map.data.iter().flatten().map(|(key, value)| (key, value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key, value.0.clone()));
    let mut entries: Vec<_> =
        text.chain(binary).map(|(key, value)| Entry { key: key.clone(), value }).collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

fn size(value: &Answer) -> usize {
    match value {
        Answer::ConfigMap(entries) => entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum(),
        Answer::Missing | Answer::Extended(_) => 0,
    }
}

/// A command builder's answer that is no plan.
fn unbuilt(name: &str, error: CallError) -> GatherError {
    let reason = match &error {
        CallError::Plugin(PluginError {
            kind: ErrorKind::InvalidConfig | ErrorKind::Unsatisfied, ..
        }) => Reason::InvalidConfig,
        _ => Reason::PluginError,
    };
    let message = match error {
        CallError::Plugin(own) => own.message,
        other => format!("command builder \"{name}\": {other}"),
    };
    GatherError::Refused(Refusal { condition: ConditionType::Accepted, reason, message })
}

fn used(plugins: &mut Vec<UsedPlugin>, type_: &str, plugin: &Plugin) {
    if plugins.iter().all(|known| known.type_ != type_) {
        plugins.push(UsedPlugin { type_: type_.to_owned(), digest: plugin.digest().to_owned() });
    }
}

fn unplanned(item: &Item, error: CallError) -> Unplanned {
    let CallError::Plugin(PluginError { kind, message, field }) = &error else {
        return broken(item, &error.to_string());
    };
    let problem = match field.as_deref().filter(|field| !field.is_empty()) {
        Some(field) => format!("{}: {message}", field.trim_start_matches('/').replace('/', ".")),
        None => message.clone(),
    };
    match kind {
        ErrorKind::InvalidConfig => Unplanned::Refused(item.refused(problem)),
        ErrorKind::Unsatisfied => Unplanned::Missing(item.refused(problem)),
        ErrorKind::Unsupported | ErrorKind::Internal => broken(item, &problem),
    }
}

fn broken(item: &Item, what: &str) -> Unplanned {
    Unplanned::Refused(Refusal::plugin(format!("{item}: plugin \"{}\": {what}", item.type_)))
}
