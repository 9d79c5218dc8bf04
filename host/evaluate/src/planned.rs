//! The whole way: items, command, plan.

use kubeopencode_api::condition::{Reason, TaskCondition};
use kubeopencode_api::plugin::{CommandPlan, ErrorKind, Kind, PluginError, ServerPlan};
use kubeopencode_api::task::UsedPlugin;
use kubeopencode_plan::{
    ExecutionPlan, Granted, Refusal, Run, ServerObjects, build, build_server, validate_command,
    validate_server,
};
use kubeopencode_plugin_host::{CallError, Plugin};
use serde_json::Value;

use crate::EvaluateError;
use crate::calls::{CallObserver, Uncalled, told};
use crate::catalog::Snapshot;
use crate::items::{Evaluation, Room};
use crate::memory::{Held, LIGHT};
use crate::reads::ConfigMapReader;

/// What is to be made for a Task. What it was made from is gone; the memory that it may have is held with it.
#[derive(Debug)]
pub struct Planned {
    /// Pod and ConfigMaps under their plain names.
    pub plan: ExecutionPlan,
    /// The plugins that were asked, by the digest of their bytes.
    pub plugins: Vec<UsedPlugin>,
    /// For as long as the plan is there.
    pub held: Option<Held>,
}

/// What is to be made for a server-mode Agent, with the memory that it may have.
#[derive(Debug)]
pub struct PlannedServer {
    /// The objects.
    pub objects: ServerObjects,
    /// For as long as they are there.
    pub held: Option<Held>,
}

impl Snapshot {
    /// The memory for an evaluation, and the launch that comes of it, that reads objects of this weight, as far as that is known:
    /// bytes, and more for each value of their JSON. To be taken before they are read. `None`: light ones need none.
    ///
    /// # Errors
    /// [`EvaluateError::NoMemory`]: others have it.
    pub async fn hold<E>(&self, weight: usize) -> Result<Option<Held>, EvaluateError<E>> {
        if weight <= LIGHT { Ok(None) } else { heavy(self, weight).await.map(Some) }
    }
}

/// Evaluates a Task's contexts, asks for its command, and plans its Pod: everything that can be wrong with it is known
/// afterwards. `held` is what [`Snapshot::hold`] gave.
///
/// # Errors
/// See [`EvaluateError`].
pub async fn evaluate<R: ConfigMapReader>(
    snapshot: &Snapshot,
    reads: &R,
    observer: &impl CallObserver,
    run: Run,
    held: Option<Held>,
) -> Result<Planned, EvaluateError<R::Error>> {
    let mut held = or_by_itself(held, snapshot, &run).await?;
    loop {
        let mut evaluation = Evaluation::new(snapshot, reads, observer, Room::of(&held));
        match evaluation.task(&run).await {
            Err(EvaluateError::NoMemory) if evaluation.is_outgrown(&run) => {
                drop(evaluation);
                held = Some(heavy(snapshot, run.weight()).await?);
            }
            plan => return Ok(Planned { plan: plan?, plugins: evaluation.plugins, held }),
        }
    }
}

/// Evaluates the contexts of a server-mode Agent, asks for its server's command, and plans its objects. `held` is what
/// [`Snapshot::hold`] gave.
///
/// # Errors
/// See [`EvaluateError`].
pub async fn evaluate_server<R: ConfigMapReader>(
    snapshot: &Snapshot,
    reads: &R,
    observer: &impl CallObserver,
    run: Run,
    held: Option<Held>,
) -> Result<PlannedServer, EvaluateError<R::Error>> {
    let mut held = or_by_itself(held, snapshot, &run).await?;
    loop {
        let mut evaluation = Evaluation::new(snapshot, reads, observer, Room::of(&held));
        match evaluation.server(&run).await {
            Err(EvaluateError::NoMemory) if evaluation.is_outgrown(&run) => {
                drop(evaluation);
                held = Some(heavy(snapshot, run.weight()).await?);
            }
            objects => return Ok(PlannedServer { objects: objects?, held }),
        }
    }
}

/// What it has, or the budget of a heavy one, where the specs alone say that it is one.
async fn or_by_itself<E>(
    held: Option<Held>,
    snapshot: &Snapshot,
    run: &Run,
) -> Result<Option<Held>, EvaluateError<E>> {
    match held {
        None => snapshot.hold(run.weight()).await,
        held => Ok(held),
    }
}

async fn heavy<E>(snapshot: &Snapshot, weight: usize) -> Result<Held, EvaluateError<E>> {
    snapshot.memory.heavy(weight).await.ok_or(EvaluateError::NoMemory)
}

impl Room {
    fn of(held: &Option<Held>) -> Self {
        if held.is_some() { Self::Heavy } else { Self::Light }
    }
}

impl<R: ConfigMapReader, O: CallObserver> Evaluation<'_, R, O> {
    async fn task(&mut self, run: &Run) -> Result<ExecutionPlan, EvaluateError<R::Error>> {
        let contexts = self.items(run).await?;
        let command = match run.own_command(&contexts).map_err(EvaluateError::Refused)? {
            Some(own) => own,
            None => {
                let ask = |settings: &Value| run.build_request(&contexts, settings.clone());
                let tell = |observer: &O, answer: Result<&CommandPlan, &CallError>| observer.built(answer);
                let (plan, granted) =
                    self.command(run, ask, |builder, request| builder.build(&request), tell).await?;
                validate_command(run, &granted, plan).map_err(EvaluateError::Refused)?
            }
        };
        self.hold(run, command.bytes())?;
        build(run, &contexts, &command).map_err(EvaluateError::Refused)
    }

    async fn server(&mut self, run: &Run) -> Result<ServerObjects, EvaluateError<R::Error>> {
        let contexts = self.items(run).await?;
        let ask = |settings: &Value| run.serve_request(&contexts, settings.clone());
        let tell = |observer: &O, answer: Result<&ServerPlan, &CallError>| observer.served(answer);
        let (plan, granted) =
            self.command(run, ask, |builder, request| builder.serve(&request), tell).await?;
        let server = validate_server(run, &granted, plan).map_err(EvaluateError::Refused)?;
        self.hold(run, server.command().bytes())?;
        build_server(run, &contexts, &server).map_err(EvaluateError::Refused)
    }

    /// Asks the command builder, and says what its answer may hold.
    async fn command<Q: Send + 'static, T: Send + 'static>(
        &mut self,
        run: &Run,
        request: impl FnOnce(&Value) -> Q,
        ask: impl FnOnce(&Plugin, Q) -> Result<T, CallError> + Send + 'static,
        tell: impl FnOnce(&O, Result<&T, &CallError>),
    ) -> Result<(T, Granted), EvaluateError<R::Error>> {
        let name = run.command_builder();
        let nobody = || Refusal {
            condition: TaskCondition::Accepted,
            reason: Reason::PluginError,
            message: format!("spec.commandBuilder: no plugin for command builder \"{name}\""),
        };
        let type_ = (Kind::CommandBuilder, name);
        let offer = self.snapshot.offer(type_, run.pod_namespace(), &"spec.commandBuilder", nobody)?;
        self.used(name, offer);
        let request = request(&offer.settings);
        let call = move |plugin: &Plugin| ask(plugin, request);
        let plan = offer.call(self.observer, run.pod_namespace(), run.config_bytes(), call).await;
        if let Some(answer) = told(&plan) {
            tell(self.observer, answer);
        }
        plan.map(|plan| (plan, offer.granted.clone())).map_err(|error| unbuilt(name, error))
    }
}

/// A command builder's answer that is no plan.
fn unbuilt<E>(name: &str, error: Uncalled) -> EvaluateError<E> {
    let error = match error {
        Uncalled::Busy => return EvaluateError::Busy(name.to_owned()),
        Uncalled::Paused(pause) => {
            let message = format!("command builder \"{name}\": {pause}");
            return EvaluateError::Refused(Refusal {
                condition: TaskCondition::Accepted,
                reason: Reason::PluginError,
                message,
            });
        }
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
