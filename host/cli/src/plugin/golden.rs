//! Golden cases: what is given to a plugin, and what is to come of it. docs/plugins-authors.md has their form.
//!
//! May touch: the files of cases. Must not touch: how an item is evaluated, which is the operator's way (`session`).

mod compare;
mod documents;
mod update;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kubeopencode_api::plugin_object::Plugin as PluginObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::seen::Seen;
use super::session::{Ran, Session};
use super::transcript::{Asked, Failure};
use crate::error::CliError;
use crate::render::input::{self, Document};
use crate::render::objects::{Objects, Reader};
pub(super) use compare::{Difference, compare};
pub(super) use update::update;

/// Namespace of what names none.
pub(super) const NAMESPACE: &str = "default";
/// Where command builders have their files, which are no matter of a context type.
const TOOLS: &str = "/tools/";
/// What the host makes of a command builder's `resultReader`.
const READER: &str = "/tools/result-reader.json";
/// Begins what stands in a file of its own.
const FILE: &str = "file:";

/// A case, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Case {
    /// What it shows, in a few words.
    pub(super) name: String,
    /// A context item.
    item: Option<Value>,
    /// Or a whole Task.
    task: Option<Value>,
    /// Or the Agent whose server is asked for.
    pub(super) server: Option<Value>,
    /// The Agent that the Task names; by default one with nothing but a name.
    agent: Option<Value>,
    /// `spec.config` of the Plugin.
    settings: Option<Value>,
    /// `spec.grants` of the Plugin.
    grants: Option<Value>,
    #[serde(default)]
    given: Given,
    /// What is to come of it.
    pub(super) expect: Option<Expect>,
}

/// What there is to be read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    /// ConfigMaps of the Task's namespace: name, key, text or `file:`.
    #[serde(default)]
    config_maps: BTreeMap<String, BTreeMap<String, String>>,
    responses: Option<Value>,
}

/// One of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Expect {
    /// What the agent reads, delimiters and all: text or `file:`.
    pub(super) context_file: Option<String>,
    /// The contexts' files by their paths in the Pod: text or `file:`.
    pub(super) files: Option<BTreeMap<String, Value>>,
    /// What the plugin answered.
    pub(super) plan: Option<Value>,
    /// Why there is no plan.
    pub(super) error: Option<Expected>,
}

/// An error; what is not written may be anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Expected {
    pub(super) kind: Option<String>,
    pub(super) field: Option<String>,
    pub(super) message: Option<String>,
}

/// A case, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) case: Case,
    /// The file, as it is shown.
    pub(super) file: PathBuf,
    /// Line of its first word.
    pub(super) line: usize,
}

/// What came of a case.
#[derive(Clone, Debug, Default)]
pub(super) struct Came {
    /// All that plugins were asked.
    pub(super) asked: Vec<Asked>,
    /// Why there is nothing to make.
    pub(super) failure: Option<Failure>,
    pub(super) seen: Seen,
    /// Plans of the plugin: of one item as it is, of several as a list.
    pub(super) plan: Value,
    /// What the user is told although all went well.
    pub(super) notices: Vec<String>,
}

impl Placed {
    /// All cases of a file, or of the files in a folder.
    ///
    /// # Errors
    /// There is no such place, or what stands there is none.
    pub(super) fn all(name: &Path) -> Result<Vec<Self>, CliError> {
        let usage = CliError::Usage;
        let files = input::files(name).map_err(|error| {
            usage(format!("{error}: write golden cases there, as docs/plugins-authors.md shows them"))
        })?;
        let mut cases = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| usage(format!("{}: {error}", file.display())))?;
            for document in documents::of(&text) {
                let place =
                    |problem: String| usage(format!("{}:{}: {problem}", file.display(), document.line));
                let Some(value) = document.value().map_err(place)? else { continue };
                let case = Case::read(value).map_err(place)?;
                cases.push(Self { case, file: file.clone(), line: document.line });
            }
        }
        Ok(cases)
    }

    /// What it comes to.
    ///
    /// # Errors
    /// A file that it names cannot be read.
    pub(super) async fn run(&self, session: &Session) -> Result<Came, CliError> {
        let documents = self.documents(session)?;
        let objects = match Objects::read(&documents, NAMESPACE) {
            Ok(objects) => objects,
            Err(CliError::Refused(problems)) => return Ok(Came::refused("Invalid", problems.join("\n"))),
            Err(error) => return Err(error),
        };
        let object = match self.case.plugin(session)? {
            Ok(object) => object,
            Err(problem) => return Ok(Came::refused("Invalid", problem)),
        };
        Ok(Came::of(session, object, objects, self.case.server.is_some()).await)
    }

    fn documents(&self, session: &Session) -> Result<Vec<Document>, CliError> {
        let Case { item, task, server, agent, given, .. } = &self.case;
        let place = format!("{}:{}", self.file.display(), self.line);
        let first = match (item, task, server) {
            (Some(item), None, None) => task_with(&json!([item])),
            (None, Some(whole), None) | (None, None, Some(whole)) => whole.clone(),
            (None, None, None) if session.builder().is_some() => task_with(&json!([])),
            _ => return Err(CliError::Usage(format!("{place}: write one of item, task and server"))),
        };
        let namespace = first["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE).to_owned();
        let mut objects = vec![first];
        objects.extend(agent.clone());
        for (name, entries) in &given.config_maps {
            let mut data = BTreeMap::new();
            for (key, text) in entries {
                data.insert(key, self.text(text)?);
            }
            let metadata = json!({"name": name, "namespace": namespace});
            objects
                .push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}));
        }
        // no line of the file: an expected error stays the same when a line is added above
        let document = |value| Document { place: "the case".to_owned(), value };
        Ok(objects.into_iter().map(document).collect())
    }

    /// A text, or that of the file that it names.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn text(&self, written: &str) -> Result<String, CliError> {
        let Some(path) = self.path(written) else { return Ok(written.to_owned()) };
        std::fs::read_to_string(&path).map_err(|error| {
            let place = format!("{}:{}", self.file.display(), self.line);
            CliError::Usage(format!("{place}: {}: {error}", path.display()))
        })
    }

    /// The file that `file:…` names, from the folder of the case.
    fn path(&self, written: &str) -> Option<PathBuf> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        written.strip_prefix(FILE).map(|path| folder.join(path.trim()))
    }
}

/// The Task around items.
pub(super) fn task_with(items: &Value) -> Value {
    json!({
        "apiVersion": "kubeopencode.io/v1alpha1",
        "kind": "Task",
        "metadata": {"name": "task", "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"description": "Do it.", "contexts": items},
    })
}

impl Case {
    /// # Errors
    /// What makes no sense, with its field.
    pub(super) fn read(value: Value) -> Result<Self, String> {
        let case: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let field = error.path().to_string();
            let field = if field == "." { String::new() } else { format!("{field}: ") };
            format!("{field}{}", error.into_inner())
        })?;
        if let Some(server) = &case.server {
            if server["kind"] != "Agent" || !server["spec"]["serverConfig"].is_object() {
                return Err("server: write a whole Agent with spec.serverConfig".to_owned());
            }
            if case.agent.is_some() {
                return Err(
                    "agent: it is the Agent of a Task, and server is one itself: leave one of them out"
                        .to_owned(),
                );
            }
        }
        if case.given.responses.is_some() {
            return Err("given.responses: it belongs to the feature fetch, which this version does not have: leave it out".to_owned());
        }
        if let Some(Expect { context_file, files, plan, error }) = &case.expect {
            let written = [context_file.is_some(), files.is_some(), plan.is_some(), error.is_some()];
            if written.into_iter().filter(|is| *is).count() != 1 {
                return Err("expect: write one of contextFile, files, plan and error".to_owned());
            }
        }
        Ok(case)
    }

    /// The Plugin that installs it so, or why the API server would not take that one.
    fn plugin(&self, session: &Session) -> Result<Result<PluginObject, String>, CliError> {
        let mut object = serde_json::to_value(session.object())?;
        let spec = &mut object["spec"];
        spec["source"] = json!({"configMap": {"name": session.name}});
        for (field, value) in [("config", &self.settings), ("grants", &self.grants)] {
            if let Some(value) = value {
                spec[field] = value.clone();
            }
        }
        plugin_object(&object).map(|object| object.map_err(|problems| problems.join("\n")))
    }
}

/// A Plugin, as the API server takes it.
pub(super) fn plugin_object(value: &Value) -> Result<Result<PluginObject, Vec<String>>, CliError> {
    let reader = Reader::new(NAMESPACE)?;
    let read = reader.of("Plugin", value).and_then(|reader| match reader {
        Some(reader) => reader.object::<PluginObject>("Plugin", value.clone()).map(|(_, object)| object),
        None => Err(vec!["apiVersion and kind are those of no Plugin".to_owned()]),
    });
    Ok(read)
}

impl Came {
    /// What the operator makes of the first Task, or of the server of the first Agent.
    async fn of(session: &Session, object: PluginObject, mut objects: Objects, is_server: bool) -> Self {
        objects.stand_in(session.builder());
        let snapshot = match session.snapshot(object) {
            Ok(snapshot) => snapshot,
            Err(failure) => return Self { failure: Some(failure), ..Self::default() },
        };
        let ran = match (objects.tasks.first(), objects.agents.first()) {
            (Some((_, task)), _) => session.run(&snapshot, &objects, task).await,
            (None, Some((_, agent))) if is_server => session.serve(&snapshot, &objects, agent).await,
            _ => return Self::refused("Invalid", "there is no Task".to_owned()),
        };
        Self::from(session, ran)
    }

    pub(super) fn from(session: &Session, Ran { asked, result }: Ran) -> Self {
        let mut came = Self { plan: plan_of(session, &asked), asked, ..Self::default() };
        match result {
            Ok(made) => {
                came.seen = made.seen;
                let is_builder = session.builder().is_some();
                came.seen.files.retain(|path, _| path != READER && (is_builder || !path.starts_with(TOOLS)));
                let notice = |(reason, message): &(_, String)| format!("{reason}: {message}");
                came.notices = made.notices.iter().map(notice).collect();
            }
            Err(refusal) => {
                let own = came.asked.last().and_then(|asked| asked.error.clone());
                let hosts =
                    Failure { kind: refusal.reason.to_string(), field: None, message: refusal.message };
                came.failure = Some(own.unwrap_or(hosts));
            }
        }
        came
    }

    fn refused(kind: &str, message: String) -> Self {
        let failure = Failure { kind: kind.to_owned(), field: None, message };
        Self { failure: Some(failure), ..Self::default() }
    }

    /// Calls, fuel, microseconds and the most memory of the plugin.
    pub(super) fn cost(&self, session: &Session) -> Cost {
        let rounds = self.asked.iter().filter(|asked| is_own(session, asked)).flat_map(|asked| &asked.rounds);
        rounds.fold(Cost::default(), |sum, round| Cost {
            rounds: sum.rounds + 1,
            fuel: sum.fuel + round.fuel,
            micros: sum.micros + round.micros,
            memory_bytes: sum.memory_bytes.max(round.memory_bytes),
        })
    }
}

/// What the plugin's calls took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) rounds: usize,
    pub(super) fuel: u64,
    pub(super) micros: u64,
    pub(super) memory_bytes: usize,
}

/// Whether it is the plugin that was asked, and none of those that come with the program.
fn is_own(session: &Session, asked: &Asked) -> bool {
    match &asked.type_ {
        None => session.builder().is_some(),
        Some(type_) => session.plugin.type_named(type_).is_some(),
    }
}

fn plan_of(session: &Session, asked: &[Asked]) -> Value {
    let own = asked.iter().filter(|asked| is_own(session, asked));
    let mut plans: Vec<_> = own.filter_map(|asked| asked.plan.clone()).collect();
    if plans.len() == 1 { plans.remove(0) } else { Value::Array(plans) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_case_is_named_with_its_field() {
        for (value, words) in [
            (json!({"item": {}}), "missing field `name`"),
            (
                json!({"name": "a", "itm": {}}),
                "itm: unknown field `itm`, expected one of `name`, `item`, `task`",
            ),
            (json!({"name": "a", "given": {"configmaps": {}}}), "given.configmaps: unknown field"),
            (
                json!({"name": "a", "given": {"configMaps": {"a": {"b": 1}}}}),
                "given.configMaps.a.b: invalid type: integer",
            ),
            (
                json!({"name": "a", "given": {"responses": []}}),
                "given.responses: it belongs to the feature fetch",
            ),
            (
                json!({"name": "a", "server": {"kind": "Agent"}}),
                "server: write a whole Agent with spec.serverConfig",
            ),
            (
                json!({"name": "a", "server": {"kind": "Task", "spec": {"serverConfig": {}}}}),
                "server: write a whole Agent with spec.serverConfig",
            ),
            (
                json!({"name": "a", "server": {"kind": "Agent", "spec": {"serverConfig": {}}}, "agent": {}}),
                "agent: it is the Agent of a Task, and server is one itself: leave one of them out",
            ),
            (json!({"name": "a", "expect": {}}), "expect: write one of contextFile, files, plan and error"),
            (json!({"name": "a", "expect": {"plan": {}, "error": {}}}), "expect: write one of"),
            (
                json!({"name": "a", "expect": {"error": {"reason": "x"}}}),
                "expect.error.reason: unknown field",
            ),
        ] {
            let error = Case::read(value.clone()).unwrap_err();
            assert!(error.starts_with(words), "{value}: {error}");
        }
    }
}
