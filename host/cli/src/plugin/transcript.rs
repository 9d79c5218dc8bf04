//! What plugins were asked and what they answered, as it is shown to their author.
//!
//! May touch: answers. Must not touch: what becomes of them.

use kubeopencode_api::plugin::{
    CommandPlan, Outcome, PluginError, Required, Requirement, Resolved, ServerPlan,
};
use kubeopencode_evaluate::CallObserver;
use kubeopencode_plan::Item;
use kubeopencode_plugin_host::{CallError, Used, outcome};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::readable::readable;
use super::said::{self, Line, Logged};

/// What one item's type, or the command builder, was asked and answered. Its JSON is read by scripts: fields are added, never
/// renamed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    /// Place and name of the item, as in `spec.contexts[0] "ticket" of Task default/fix`; none: the command builder.
    pub(super) item: Option<String>,
    /// Type of the item; none: the command builder.
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    /// Its calls, each with what was read after it.
    pub(super) rounds: Vec<Round>,
    /// The plan that it answered with in the end.
    pub(super) plan: Option<Value>,
    /// Or why there is none.
    pub(super) error: Option<Failure>,
}

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Round {
    /// What it asked for.
    pub(super) needs: Vec<Need>,
    pub(super) fuel: u64,
    pub(super) memory_bytes: usize,
    pub(super) micros: u64,
    /// What it logged, which stands in a list of its own.
    #[serde(skip)]
    pub(super) lines: Vec<Line>,
}

/// All that was logged, in its order.
pub(super) fn logged(asked: &[Asked]) -> Vec<Logged> {
    let of = |one: &Asked| {
        let line =
            |(i, line): (usize, &Line)| Logged::new(one.item.as_deref(), one.type_.as_deref(), i + 1, line);
        let rounds = one.rounds.iter().enumerate();
        rounds
            .flat_map(|(i, round)| round.lines.iter().map(move |line| (i, line)))
            .map(line)
            .collect::<Vec<_>>()
    };
    asked.iter().flat_map(of).collect()
}

/// Something that it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Need {
    pub(super) id: String,
    /// In words, as `ConfigMap rules (a.md)`.
    pub(super) what: String,
    /// What became of it, in words; none: it was not read.
    pub(super) answer: Option<String>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    /// The plugin's own word for it, as `invalid-config`; how a call broke, as `trap` or `fuel`; or the reason in the
    /// Task's condition, as `PluginError`, where the host refuses.
    pub(super) kind: String,
    /// RFC 6901 pointer into the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    pub(super) message: String,
}

impl From<&CallError> for Failure {
    fn from(error: &CallError) -> Self {
        let kind = outcome(&Err::<(), _>(error.clone())).to_owned();
        match error {
            CallError::Plugin(PluginError { message, field, .. }) => Self {
                kind,
                field: field.clone().filter(|field| !field.is_empty()),
                message: message.clone(),
            },
            other => Self { kind, field: None, message: other.to_string() },
        }
    }
}

/// Hears of the calls for one Task.
#[derive(Debug, Default)]
pub(super) struct Transcript(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    asked: Vec<Asked>,
    /// What the call took whose answer comes next.
    call: Option<Round>,
}

impl Transcript {
    pub(super) fn into_asked(self) -> Vec<Asked> {
        self.0.into_inner().asked
    }
}

impl CallObserver for Transcript {
    fn called(&self, _: &str, _: &'static str, seconds: f64, used: Used) {
        let Used { fuel, memory } = used;
        let micros = (seconds * 1e6) as u64;
        let lines = said::take();
        self.0.lock().call = Some(Round { needs: Vec::new(), fuel, memory_bytes: memory, micros, lines });
    }

    fn evaluated(&self, item: &Item, answer: Result<&Outcome, &CallError>) {
        let mut state = self.0.lock();
        let call = state.call.take();
        let asked = state.of(item);
        match answer {
            Ok(Outcome::Needs(needs)) => {
                let need = |required: &Required| Need {
                    id: required.id.clone(),
                    what: in_words(&required.what),
                    answer: None,
                };
                let needs: Vec<_> = needs.iter().map(need).collect();
                // a Task that outgrows what light ones may hold begins again
                let is_again = |round: &Round| {
                    round.needs.iter().map(|need| &need.id).eq(needs.iter().map(|need| &need.id))
                };
                if let Some(again) = asked.rounds.iter().position(is_again) {
                    asked.rounds.truncate(again);
                }
                asked.rounds.push(Round { needs, ..call.unwrap_or_default() });
            }
            Ok(Outcome::Ready(plan)) => {
                asked.rounds.extend(call);
                asked.plan = Some(readable(plan));
            }
            Ok(Outcome::Extended(_)) => asked.rounds.extend(call),
            Err(error) => {
                asked.rounds.extend(call);
                asked.error = Some(error.into());
            }
        }
    }

    fn read(&self, item: &Item, asked: &Required, answer: &Resolved) {
        let mut state = self.0.lock();
        let needs = state.of(item).rounds.last_mut().into_iter().flat_map(|round| &mut round.needs);
        for need in needs.filter(|need| need.id == asked.id) {
            need.answer = Some(found(answer));
        }
    }

    fn built(&self, answer: Result<&CommandPlan, &CallError>) {
        self.0.lock().built(answer);
    }

    fn served(&self, answer: Result<&ServerPlan, &CallError>) {
        // that it knows nothing of servers is the host's to say
        if !matches!(answer, Err(CallError::NoSuchFunction(_))) {
            self.0.lock().built(answer);
        }
    }
}

impl State {
    /// The command builder answered.
    fn built(&mut self, answer: Result<&impl Serialize, &CallError>) {
        let rounds = self.call.take().into_iter().collect();
        self.asked.push(Asked {
            item: None,
            type_: None,
            rounds,
            plan: answer.ok().map(readable),
            error: answer.err().map(Failure::from),
        });
    }

    /// What an item was asked so far.
    fn of(&mut self, item: &Item) -> &mut Asked {
        let name = item.to_string();
        let is_it = |asked: &Asked| asked.item.as_deref() == Some(&name);
        let at = match self.asked.iter().position(is_it) {
            // a Task that outgrows what light ones may hold begins again
            Some(at) if self.asked[at].plan.is_some() || self.asked[at].error.is_some() => {
                self.asked.truncate(at);
                None
            }
            found => found,
        };
        let at = at.unwrap_or_else(|| {
            self.asked.push(Asked {
                item: Some(name),
                type_: Some(item.type_.clone()),
                rounds: Vec::new(),
                plan: None,
                error: None,
            });
            self.asked.len() - 1
        });
        &mut self.asked[at]
    }
}

fn in_words(what: &Requirement) -> String {
    match what {
        Requirement::ConfigMap(read) if read.keys.is_empty() => format!("ConfigMap {}", read.name),
        Requirement::ConfigMap(read) => format!("ConfigMap {} ({})", read.name, read.keys.join(", ")),
        Requirement::Prompt => "the prompt".to_owned(),
        Requirement::Fetch(request) => format!("fetch {}", request.url),
        Requirement::Extended(extension) => extension.kind.clone(),
    }
}

fn found(answer: &Resolved) -> String {
    match answer {
        Resolved::Missing => "is not there".to_owned(),
        Resolved::ConfigMap(entries) => {
            let bytes: usize = entries.iter().map(|entry| entry.value.len()).sum();
            let keys = if entries.len() == 1 { "key" } else { "keys" };
            format!("{} {keys}, {bytes} bytes", entries.len())
        }
        Resolved::Prompt(prompt) => format!("{} bytes", prompt.len()),
        Resolved::Extended(_) => "given".to_owned(),
    }
}
