//! The whole way: items, command, plan.

use kubeopencode_api::condition::{Reason, TaskCondition};
use kubeopencode_api::names::Naming;
use kubeopencode_api::plugin::{ErrorKind, Kind, PluginError};
use kubeopencode_api::task::UsedPlugin;
use kubeopencode_plan::{
    Command, Evaluated, ExecutionPlan, Granted, Refusal, Run, ServerObjects, build, build_server,
    validate_command, validate_server,
};
use kubeopencode_plugin_host::{CallError, Plugin};

use crate::EvaluateError;
use crate::calls::{CallObserver, Uncalled};
use crate::catalog::Snapshot;
use crate::items::Evaluation;
use crate::reads::{ConfigMapReader, ReadCache};

/// What is to be made for a Task, and what it was made from.
#[derive(Debug)]
pub struct Planned {
    plain: ExecutionPlan,
    run: Run,
    contexts: Vec<Evaluated>,
    command: Command,
    plugins: Vec<UsedPlugin>,
}

impl Planned {
    /// Pod and ConfigMaps under their plain names.
    pub fn plain(&self) -> &ExecutionPlan {
        &self.plain
    }

    /// The same plan under the names with the Task's UID, for a plain name that is held by an object of somebody else.
    ///
    /// # Errors
    /// None that [`evaluate`] did not find before.
    pub fn with_uid(&self) -> Result<ExecutionPlan, Refusal> {
        build(&self.run, &self.contexts, &self.command, Naming::WithUid)
    }

    /// The plugins that were asked, by the digest of their bytes.
    pub fn plugins(&self) -> &[UsedPlugin] {
        &self.plugins
    }
}

/// Evaluates a Task's contexts, asks for its command, and plans its Pod: everything that can be wrong with it is known
/// afterwards.
///
/// # Errors
/// See [`EvaluateError`].
pub async fn evaluate<R: ConfigMapReader>(
    snapshot: &Snapshot,
    reads: &R,
    observer: &impl CallObserver,
    run: Run,
) -> Result<Planned, EvaluateError<R::Error>> {
    let mut evaluation = Evaluation { snapshot, observer, reads: ReadCache::new(reads), plugins: Vec::new() };
    let contexts = evaluation.items(&run).await?;
    let request = run.build_request(&contexts);
    let plan = evaluation.command(&run, move |builder| builder.build(&request)).await?;
    let command = validate_command(&run, &Granted::none(), plan).map_err(EvaluateError::Refused)?;
    let plugins = evaluation.plugins;
    let plain = build(&run, &contexts, &command, Naming::Plain).map_err(EvaluateError::Refused)?;
    Ok(Planned { plain, run, contexts, command, plugins })
}

/// Evaluates the contexts of a server-mode Agent, asks for its server's command, and plans its objects.
///
/// # Errors
/// See [`EvaluateError`].
pub async fn evaluate_server<R: ConfigMapReader>(
    snapshot: &Snapshot,
    reads: &R,
    observer: &impl CallObserver,
    run: Run,
) -> Result<ServerObjects, EvaluateError<R::Error>> {
    let mut evaluation = Evaluation { snapshot, observer, reads: ReadCache::new(reads), plugins: Vec::new() };
    let contexts = evaluation.items(&run).await?;
    let request = run.serve_request(&contexts);
    let plan = evaluation.command(&run, move |builder| builder.serve(&request)).await?;
    let command = validate_server(&run, &Granted::none(), plan).map_err(EvaluateError::Refused)?;
    build_server(&run, &contexts, &command).map_err(EvaluateError::Refused)
}

impl<R: ConfigMapReader, O: CallObserver> Evaluation<'_, R, O> {
    /// Asks the command builder.
    async fn command<T: Send + 'static>(
        &mut self,
        run: &Run,
        ask: impl FnOnce(&Plugin) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, EvaluateError<R::Error>> {
        let name = run.command_builder();
        let Some(offer) = self.snapshot.find(Kind::CommandBuilder, name) else {
            return Err(EvaluateError::Missing(Refusal {
                condition: TaskCondition::Accepted,
                reason: Reason::PluginError,
                message: format!("spec.commandBuilder: no plugin for command builder \"{name}\""),
            }));
        };
        self.used(name, &offer.plugin);
        offer.call(self.observer, ask).await.map_err(|error| unbuilt(name, error))
    }
}

/// A command builder's answer that is no plan.
fn unbuilt<E>(name: &str, error: Uncalled) -> EvaluateError<E> {
    let error = match error {
        Uncalled::Busy => return EvaluateError::Busy(name.to_owned()),
        Uncalled::Failed(CallError::NoSuchFunction("serve")) => {
            return EvaluateError::Refused(Refusal::invalid_config(format!(
                "spec.serverConfig: command builder \"{name}\" cannot run a server: remove serverConfig, or name another builder"
            )));
        }
        Uncalled::Failed(error) => error,
    };
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
    EvaluateError::Refused(Refusal { condition: TaskCondition::Accepted, reason, message })
}
