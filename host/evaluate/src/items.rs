//! Context items: each is asked of its plugin in rounds, and what comes of it is checked.

use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::plugin::{
    Entry, ErrorKind, Input, Kind, MAX_INPUT_BYTES, MAX_ROUNDS, Outcome, PluginError, Required, Requirement,
    Resolved as Answer, grow_needs,
};
use kubeopencode_api::task::UsedPlugin;
use kubeopencode_plan::{Evaluated, Item, MAX_TOTAL, Refusal, Run, is_object_name, validate};
use kubeopencode_plugin_host::CallError;

use crate::EvaluateError;
use crate::calls::{CallObserver, Uncalled, told};
use crate::catalog::{Offer, Snapshot};
use crate::memory::LIGHT;
use crate::reads::{ConfigMapReader, ReadCache, size};

/// One evaluation of a Task or a server: what it works with, and what it holds.
pub(crate) struct Evaluation<'a, R, O> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) observer: &'a O,
    pub(crate) reads: ReadCache<'a, R>,
    /// The plugins that were asked.
    pub(crate) plugins: Vec<UsedPlugin>,
    /// Bytes of the items' text and files so far.
    pub(crate) held: usize,
    pub(crate) room: Room,
}

/// How much one evaluation may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// [`LIGHT`] bytes. With more it stops, and may begin again with the budget of a heavy one.
    Light,
    /// It has its part of the budget, and all that a Task may have.
    Heavy,
}

impl<'a, R: ConfigMapReader, O: CallObserver> Evaluation<'a, R, O> {
    /// Nothing is evaluated yet.
    pub(crate) fn new(snapshot: &'a Snapshot, reads: &'a R, observer: &'a O, room: Room) -> Self {
        let reads = ReadCache::new(reads, &snapshot.memory);
        Self { snapshot, observer, reads, plugins: Vec::new(), held: 0, room }
    }

    /// Evaluates all items, in their order.
    pub(crate) async fn items(&mut self, run: &Run) -> Result<Vec<Evaluated>, EvaluateError<R::Error>> {
        let mut contexts = Vec::with_capacity(run.items().len());
        for item in run.items() {
            let before = self.held;
            let evaluated = self.item(run, item).await.and_then(|context| {
                self.held = before;
                self.hold(run, context.bytes()).map(|()| context)
            });
            contexts.push(match evaluated {
                Err(error) if item.optional => {
                    let refusal = error.into_refusal()?;
                    self.held = before;
                    Evaluated::skipped(item, &refusal)
                }
                evaluated => evaluated?,
            });
        }
        Ok(contexts)
    }

    /// Counts what is held from now on: refused as soon as it is too much, before anything else is read.
    pub(crate) fn hold(&mut self, run: &Run, bytes: usize) -> Result<(), EvaluateError<R::Error>> {
        self.held += bytes;
        if self.held > MAX_TOTAL {
            return Err(EvaluateError::Refused(run.too_much(self.held)));
        }
        if self.is_outgrown(run) { Err(EvaluateError::NoMemory) } else { Ok(()) }
    }

    /// Whether it is light and holds more than that.
    pub(crate) fn is_outgrown(&self, run: &Run) -> bool {
        self.room == Room::Light && run.weight() + self.held + self.reads.bytes() > LIGHT
    }

    async fn item(&mut self, run: &Run, item: &Item) -> Result<Evaluated, EvaluateError<R::Error>> {
        let type_ = (Kind::ContextType, item.type_.as_str());
        let offer = self.snapshot.offer(type_, &item.namespace, item, || item.no_plugin())?;
        self.used(&item.type_, offer);
        let item = &run.typed(item, offer.descriptor()).map_err(EvaluateError::Refused)?;
        let checked = offer.check(&item.namespace, &item.payload).await;
        if let Err(error) = checked.map_err(|error| unanswered(item, error))? {
            let refused = EvaluateError::Refused(item.refused(&error));
            self.observer.evaluated(item, Err(&CallError::Plugin(error.into())));
            return Err(refused);
        }
        let (mut inputs, mut needs) = (Vec::<Input>::new(), Vec::<Required>::new());
        for _ in 0..=MAX_ROUNDS {
            let weight = item.weight() + inputs.iter().map(|input| answered(&input.value)).sum::<usize>();
            let (type_name, settings) = (&offer.descriptor().name, offer.settings.clone());
            let request = run.evaluate_request(item, type_name, settings, std::mem::take(&mut inputs));
            let answer = offer
                .call(self.observer, &item.namespace, weight, move |plugin| plugin.evaluate(request))
                .await;
            if let Some(answer) = told(&answer) {
                self.observer.evaluated(item, answer);
            }
            match answer.map_err(|error| unanswered(item, error))? {
                Outcome::Ready(plan) => {
                    let evaluated =
                        validate(run, item, &offer.granted, plan).map_err(EvaluateError::Refused)?;
                    return self.embed(run, item, evaluated).await;
                }
                Outcome::Needs(now) => {
                    grow_needs(&needs, &now).map_err(|error| broken(item, &error.to_string()))?;
                    needs = now;
                    inputs = self.inputs(run, item, &needs).await?;
                }
                // the plugin host knows none
                Outcome::Extended(extension) => return Err(unknown(item, &extension.kind)),
            }
        }
        Err(broken(item, &format!("asks for more after {MAX_ROUNDS} rounds")))
    }

    /// What the plugin asked for; refused at the first read that exceeds the limit.
    async fn inputs(
        &mut self,
        run: &Run,
        item: &Item,
        needs: &[Required],
    ) -> Result<Vec<Input>, EvaluateError<R::Error>> {
        let (mut inputs, mut bytes) = (Vec::with_capacity(needs.len()), 0);
        for required in needs {
            let value = self.read(run, item, required).await?;
            self.observer.read(item, required, &value);
            bytes += answered(&value);
            if bytes > MAX_INPUT_BYTES {
                let problem =
                    format!("what it reads has more than the {MAX_INPUT_BYTES} bytes that a plugin may read");
                return Err(EvaluateError::Refused(item.refused(problem)));
            }
            inputs.push(Input { id: required.id.clone(), value });
        }
        Ok(inputs)
    }

    async fn read(
        &mut self,
        run: &Run,
        item: &Item,
        required: &Required,
    ) -> Result<Answer, EvaluateError<R::Error>> {
        match &required.what {
            Requirement::ConfigMap(asked) if !is_object_name(&asked.name) => {
                let problem = format!("\"{}\" is no name of a ConfigMap", asked.name);
                Err(EvaluateError::Refused(item.refused(problem)))
            }
            Requirement::ConfigMap(asked) => {
                let key = ObjectKey::new(item.namespace.clone(), asked.name.clone());
                self.reads.read(&key).await?;
                self.hold(run, 0)?;
                let is_asked = |entry: &&Entry| asked.keys.is_empty() || asked.keys.contains(&entry.key);
                let entries = self.reads.last().map(|all| all.iter().filter(is_asked).cloned().collect());
                Ok(entries.map_or(Answer::Missing, Answer::ConfigMap))
            }
            Requirement::Prompt => {
                Ok(run.prompt().map_or(Answer::Missing, |prompt| Answer::Prompt(prompt.to_owned())))
            }
            // the plugin host knows neither
            Requirement::Fetch(_) => Err(unknown(item, "fetch")),
            Requirement::Extended(extension) => Err(unknown(item, &extension.kind)),
        }
    }

    /// A ConfigMap that cannot be mounted by name, because the Pod runs in another namespace, is copied.
    async fn embed(
        &mut self,
        run: &Run,
        item: &Item,
        mut evaluated: Evaluated,
    ) -> Result<Evaluated, EvaluateError<R::Error>> {
        for mount in evaluated.embeds(run) {
            let key = ObjectKey::new(item.namespace.clone(), mount.name.clone());
            self.reads.read(&key).await?;
            self.hold(run, self.reads.last().map_or(0, size))?;
            let content = match self.reads.last() {
                Some(entries) => entries.to_vec(),
                None if mount.optional => Vec::new(),
                None => {
                    let problem = format!("ConfigMap {} not found", mount.name);
                    return Err(EvaluateError::Missing(item.refused(problem)));
                }
            };
            evaluated.embed(&mount, content).map_err(EvaluateError::Refused)?;
        }
        Ok(evaluated)
    }

    /// A plugin is asked, and stands in the Task's status.
    pub(crate) fn used(&mut self, type_: &str, offer: &Offer) {
        if self.plugins.iter().all(|known| known.type_ != type_) {
            self.plugins.push(UsedPlugin {
                type_: type_.to_owned(),
                digest: offer.plugin.digest().to_owned(),
                version: Some(offer.descriptor().version.clone()),
            });
        }
    }
}

fn answered(value: &Answer) -> usize {
    match value {
        Answer::ConfigMap(entries) => size(entries),
        Answer::Prompt(prompt) => prompt.len(),
        Answer::Missing | Answer::Extended(_) => 0,
    }
}

fn unanswered<E>(item: &Item, error: Uncalled) -> EvaluateError<E> {
    let error = match error {
        Uncalled::Busy => return EvaluateError::Busy(item.type_.clone()),
        Uncalled::Paused(pause) => return broken(item, &pause.to_string()),
        Uncalled::Failed(error) => error,
    };
    let CallError::Plugin(PluginError { kind, message, field }) = &error else {
        return broken(item, &error.to_string());
    };
    let problem = match field.as_deref().filter(|field| !field.is_empty()) {
        Some(field) => format!("{}: {message}", field.trim_start_matches('/').replace('/', ".")),
        None => message.clone(),
    };
    match kind {
        ErrorKind::InvalidConfig => EvaluateError::Refused(item.refused(problem)),
        ErrorKind::Unsatisfied => EvaluateError::Missing(item.refused(problem)),
        ErrorKind::Unsupported | ErrorKind::Internal => broken(item, &problem),
    }
}

fn unknown<E>(item: &Item, kind: &str) -> EvaluateError<E> {
    broken(item, &format!("asks for \"{kind}\", which this version does not have: upgrade KubeOpenCode"))
}

fn broken<E>(item: &Item, what: &str) -> EvaluateError<E> {
    EvaluateError::Refused(Refusal::plugin(format!("{item}: plugin \"{}\": {what}", item.type_)))
}
