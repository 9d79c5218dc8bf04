//! `plugin eval`: what items, Tasks and golden cases come to.
//!
//! May touch: files, stdout, stderr. Must not touch: how an item is evaluated, which is the operator's way (`session`).

use std::fmt::Write;

use kube::Client;
use kubeopencode_api::plugin_object::Plugin as PluginObject;
use kubeopencode_plugin_host::Limits;
use serde::Serialize;
use serde_json::{Value, json};

use super::golden::{Came, Case, NAMESPACE, Placed, compare, plugin_object, task_with};
use super::project::Project;
use super::readable::{count, indented, mebibytes, millis};
use super::report::{self, Bytes};
use super::said::{Logged, shown};
use super::session::Session;
use super::transcript::{Asked, Failure, Round, logged};
use crate::args::{EvalPlugin, Output};
use crate::cluster::{Cluster, client};
use crate::error::CliError;
use crate::render::input::{self, Document};
use crate::render::objects::Objects;
use crate::yaml;

/// One Task and what came of it. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Evaluated {
    /// Where it stands.
    place: String,
    /// There is a plan, or the error that a golden case expects.
    ok: bool,
    /// It is of an Agent's server, and of no Task.
    #[serde(skip)]
    is_server: bool,
    /// It is a golden case, and its error the one that it expects.
    #[serde(skip)]
    is_expected: bool,
    items: Vec<Asked>,
    /// What was logged in the calls.
    log: Vec<Logged>,
    error: Option<Failure>,
    notices: Vec<String>,
    context_file: String,
    files: Value,
}

impl Evaluated {
    fn of(place: String, came: Came) -> Self {
        let Came { asked, failure, seen, notices, plan: _ } = came;
        let files = json!(seen.files);
        Self {
            place,
            ok: failure.is_none(),
            is_server: false,
            is_expected: false,
            log: logged(&asked),
            items: asked,
            error: failure,
            notices,
            context_file: seen.context_file,
            files,
        }
    }
}

/// Evaluates what the files hold; what is to be printed, and whether all is well.
///
/// # Errors
/// The component does not load, or what the files hold makes no sense.
pub(super) fn eval(flags: &EvalPlugin) -> Result<(String, bool), CliError> {
    let project = Project::of(&flags.component)?;
    let documents = input::documents(&flags.filename)?;
    let session = Session::of(&project)?;
    let runtime = crate::runtime()?;
    let cluster = match flags.in_cluster {
        true => Some(runtime.block_on(client(flags.cluster.kubeconfig.as_deref()))?),
        false => None,
    };
    let all = runtime.block_on(evaluated(&session, documents, cluster.as_ref()))?;
    if all.is_empty() {
        let names: Vec<_> = flags.filename.iter().map(|name| name.display().to_string()).collect();
        let problem = "there is no item, no Task and no golden case in it";
        return Err(CliError::Usage(format!("{}: {problem}", names.join(", "))));
    }
    let ok = all.iter().all(|one| one.ok);
    let text = match flags.output {
        Output::Text => {
            // beside what came: it would stand in the operator's log
            for line in all.iter().flat_map(|one| shown(&one.log)) {
                eprintln!("log  {line}");
            }
            all.iter().map(|one| text(one, &session)).collect::<Vec<_>>().join("\n")
        }
        Output::Json => report::json(&all)?,
    };
    Ok((text, ok))
}

async fn evaluated(
    session: &Session,
    documents: Vec<Document>,
    cluster: Option<&Client>,
) -> Result<Vec<Evaluated>, CliError> {
    let (mut objects, mut cases, mut plugin) = (Vec::new(), Vec::new(), None);
    // one Task for each document with items
    let mut tasks_of_items = 0;
    for Document { place, value } in documents {
        let refuse = |problem: String| CliError::Object { place: place.clone(), problem };
        if value.get("apiVersion").is_some() {
            if value["kind"] == "Plugin" {
                plugin = Some(plugin_object(&value)?.map_err(CliError::Refused)?);
            }
            objects.push(Document { place, value });
        } else if let Some(items) = items(&value) {
            tasks_of_items += 1;
            let mut task = task_with(&items);
            if tasks_of_items > 1 {
                task["metadata"]["name"] = format!("task-{tasks_of_items}").into();
            }
            objects.push(Document { place, value: task });
        } else {
            let case = Case::read(value)
                .map_err(|problem| refuse(format!("no object, no item, no golden case: {problem}")))?;
            let file = place.split(": document").next().unwrap_or_default().into();
            cases.push((place, Placed { case, file, line: 1 }));
        }
    }
    let mut all = Vec::new();
    for (place, placed) in &cases {
        let came = placed.run(session).await?;
        let expects_error = placed.case.expect.as_ref().is_some_and(|expect| expect.error.is_some());
        let is_expected = expects_error && compare(placed, &came)?.is_empty();
        let mut one = Evaluated::of(format!("{place}: {}", placed.case.name), came);
        one.is_server = placed.case.server.is_some();
        (one.ok, one.is_expected) = (one.ok || is_expected, is_expected);
        all.push(one);
    }
    if objects.iter().any(|document| document.value["kind"] != "Plugin") {
        all.extend(tasks(session, &objects, plugin, cluster).await?);
    }
    Ok(all)
}

/// The items of a document: one, or a list of them as in `contexts` of a Task.
fn items(document: &Value) -> Option<Value> {
    match document {
        Value::Array(items) if !items.is_empty() && items.iter().all(|item| item.get("type").is_some()) => {
            Some(document.clone())
        }
        item => item.get("type").map(|_| json!([item])),
    }
}

async fn tasks(
    session: &Session,
    documents: &[Document],
    plugin: Option<PluginObject>,
    cluster: Option<&Client>,
) -> Result<Vec<Evaluated>, CliError> {
    let mut objects = Objects::read(documents, cluster.map_or(NAMESPACE, Client::default_namespace))?;
    objects.cluster = cluster.cloned().map(Cluster);
    objects.stand_in(session.builder());
    let refuse = |failure: Failure| CliError::Object { place: "Plugin".to_owned(), problem: failure.message };
    let snapshot = session.snapshot(plugin.unwrap_or_else(|| session.object())).map_err(refuse)?;
    let mut all = Vec::new();
    for (place, task) in &objects.tasks {
        let came = Came::from(session, session.run(&snapshot, &objects, task).await);
        all.push(Evaluated::of(place.clone(), came));
    }
    Ok(all)
}

fn text(one: &Evaluated, session: &Session) -> String {
    let limits = Limits::of(session.plugin.class());
    let mut text = format!("{}\n", one.place);
    // what the default command builder answers is no matter of a context type
    let is_of_interest = |asked: &&Asked| asked.item.is_some() || session.builder().is_some();
    for asked in one.items.iter().filter(is_of_interest) {
        let title = match (&asked.item, &asked.type_) {
            (Some(item), Some(type_)) => format!("{item}: {type_}"),
            _ => "the command builder".to_owned(),
        };
        let _ = writeln!(text, "  {title}");
        for (number, round) in asked.rounds.iter().enumerate() {
            let Round { needs, fuel, memory_bytes, micros, lines: _ } = round;
            let words = match (needs.is_empty(), &asked.plan) {
                (false, _) => "asks for more".to_owned(),
                (true, Some(plan)) => format!("answers: {}", actions(plan)),
                (true, None) => "fails".to_owned(),
            };
            let fuel = format!("{} fuel of {}", count(*fuel), count(limits.fuel));
            let memory = format!("{} of {}", mebibytes(*memory_bytes), mebibytes(limits.memory));
            let _ = writeln!(
                text,
                "    call {}      {words}   {fuel}, {memory}, {}",
                number + 1,
                millis(*micros)
            );
            for need in needs {
                let answer = need.answer.as_deref().unwrap_or("not read");
                let _ = writeln!(text, "      needs     {}: {answer}", need.what);
            }
        }
        if let Some(plan) = &asked.plan {
            // what can be JSON can be YAML
            let plan = yaml::document(plan).unwrap_or_default();
            let _ = writeln!(text, "    plan\n{}", indented(&plan, 6));
        }
        if let Some(error) = &asked.error {
            text.push_str(&failed(error, "    "));
        }
    }
    for notice in &one.notices {
        let _ = writeln!(text, "  notice      {notice}");
    }
    match &one.error {
        Some(error) => {
            if one.items.last().is_none_or(|asked| asked.error.as_ref() != Some(error)) {
                text.push_str(&failed(error, "  "));
            }
            let as_expected = if one.is_expected { ", as the case expects" } else { "" };
            let _ = match one.is_server {
                true => writeln!(text, "the Agent has no server{as_expected}: nothing is made for it"),
                false => writeln!(text, "the Task fails{as_expected}: nothing is made of it"),
            };
        }
        None => text.push_str(&agent_reads(one)),
    }
    text
}

fn agent_reads(one: &Evaluated) -> String {
    let mut text = String::new();
    match one.context_file.as_str() {
        "" => text.push_str("the agent reads no .kubeopencode/context.md: no context gives text\n"),
        words => {
            let _ = writeln!(text, "what the agent reads in .kubeopencode/context.md:\n{words}");
        }
    }
    for (path, content) in one.files.as_object().into_iter().flatten() {
        let content = match content {
            Value::String(content) => {
                format!("({})\n{}", Bytes(content.len()), indented(content.trim_end(), 2))
            }
            other => format!("({} bytes, no text)", other["bytes"]),
        };
        let _ = writeln!(text, "file {path} {content}");
    }
    text
}

fn failed(error: &Failure, indent: &str) -> String {
    let field = error.field.as_deref().map(|field| format!(" at {field}")).unwrap_or_default();
    format!("{indent}error       {}{field}\n{}\n", error.kind, indented(&error.message, indent.len() + 12))
}

/// The actions of a plan in words, as in `inline, 2 write-file`.
fn actions(plan: &Value) -> String {
    let Some(actions) = plan["actions"].as_array() else {
        return if plan.get("command").is_some() { "a command" } else { "nothing" }.to_owned();
    };
    let mut words: Vec<(String, usize)> = Vec::new();
    for name in actions.iter().filter_map(|action| action.as_object()?.keys().next()) {
        match words.iter_mut().find(|(known, _)| known == name) {
            Some((_, number)) => *number += 1,
            None => words.push((name.clone(), 1)),
        }
    }
    let words =
        words.into_iter().map(|(name, number)| if number == 1 { name } else { format!("{number} {name}") });
    words.collect::<Vec<_>>().join(", ")
}
