//! The page about a Task: why it is where it is.
//!
//! May touch: text made of objects. Must not touch: a client, a clock.

use std::fmt::Write;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, Event, Pod};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::TaskCondition;
use kubeopencode_api::context::ContextItem;
use kubeopencode_api::literals::FINALIZER;
use kubeopencode_api::report::Usage;
use kubeopencode_api::task::{Task, TaskStatus, UsedPlugin};

use crate::output::{Paint, Style};
use crate::table::{Cell, Table, harmless};
use crate::task::{condition, cost, duration, paint, status};
use crate::units::age;

/// Most Events that are shown, the newest.
const MAX_EVENTS: usize = 5;

/// Hex digits of a digest that are shown.
const DIGEST: usize = 12;

/// What was read for the page. What could not be read says why.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) task: Task,
    pub(crate) agent: Result<Option<Agent>, String>,
    pub(crate) pod: Result<Option<Pod>, String>,
    pub(crate) events: Result<Vec<Event>, String>,
}

/// The page.
pub(crate) fn page(facts: &Facts, now: Timestamp, style: Style) -> String {
    let mut text = head(&facts.task, now, style);
    text.push_str(&conditions(&facts.task, now, style));
    text.push_str(&contexts(facts));
    text.push_str(&pod(facts, now, style));
    let result = status(&facts.task).result.unwrap_or_default();
    for (title, words) in [("Result", result.summary), ("Agent's error", result.error)] {
        if let Some(words) = words {
            let lines: String =
                harmless(words.trim_end()).lines().map(|line| format!("  {line}\n")).collect();
            let _ = write!(text, "\n{title}:\n{lines}");
        }
    }
    text
}

/// What a Task that is being deleted still waits for.
fn held_by(task: &Task) -> String {
    let (ours, others): (Vec<_>, Vec<_>) =
        task.metadata.finalizers.iter().flatten().partition(|finalizer| *finalizer == FINALIZER);
    let ours = ours.first().map(|ours| format!("the operator removes {ours} once the Pod has ended"));
    let others = others.iter().map(|other| format!("whoever put {other} there has to remove it"));
    let waits = ours.into_iter().chain(others).collect::<Vec<_>>().join("; ");
    if waits.is_empty() {
        "nothing holds it any more".to_owned()
    } else {
        format!("its finalizers hold it: {waits}")
    }
}

fn head(task: &Task, now: Timestamp, style: Style) -> String {
    let (of, key) = (status(task), task.key());
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{:<10} {value}", format!("{name}:"));
    };
    field("Task", &key.to_string());
    field("Agent", &agent_of(task, &of));
    let place = of.queue_position.map(|place| format!(", place {place} in line")).unwrap_or_default();
    let phase = style.paint(paint(task), task.phase().as_str());
    field("Phase", &format!("{phase}{place}"));
    if let Some(deleted) = &task.metadata.deletion_timestamp {
        field("Deletion", &format!("asked for {} ago; {}", age(deleted.0, now), held_by(task)));
    }
    match of.reason.as_deref().filter(|reason| !reason.is_empty()) {
        Some(reason) => {
            field("Reason", reason);
            field("Why", &indented(of.message.as_deref().unwrap_or_default()));
            let help = env!("CARGO_PKG_REPOSITORY");
            field("Help", &format!("{help}/blob/main/docs/troubleshooting.md#{}", reason.to_lowercase()));
        }
        None => field("Why", "no operator has seen it yet; kubectl kubeopencode doctor looks for one"),
    }
    let since = |time: Option<Timestamp>| time.map(|time| format!("{} ago", age(time, now)));
    let times = [
        ("made", task.metadata.creation_timestamp.as_ref().map(|time| time.0)),
        ("launched", of.start_time.as_ref().map(|time| time.0)),
        ("agent started", of.agent_started.as_ref().map(|time| time.0)),
        ("over", of.completion_time.as_ref().map(|time| time.0)),
    ];
    let times: Vec<_> =
        times.into_iter().filter_map(|(what, time)| Some(format!("{what} {}", since(time)?))).collect();
    field("Times", &times.join(", "));
    if let Some(took) = duration(task, now) {
        let limit =
            task.spec.timeout.as_deref().map(|limit| format!(" of at most {limit}")).unwrap_or_default();
        field("Duration", &format!("{took}{limit}"));
    }
    if let Some(used) = of.usage.as_ref().map(|usage| used(usage, task)).filter(|used| !used.is_empty()) {
        field("Usage", &used);
    }
    text
}

fn agent_of(task: &Task, of: &TaskStatus) -> String {
    match (&of.agent_ref, &task.spec.agent_ref) {
        (Some(agent), _) => format!("{}/{}", agent.namespace, agent.name),
        (None, Some(wanted)) => {
            match (wanted["namespace"].as_str(), wanted["name"].as_str().or(wanted.as_str())) {
                (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
                (_, name) => name.unwrap_or(kubeopencode_api::literals::DEFAULT_NAME).to_owned(),
            }
        }
        (None, None) => kubeopencode_api::literals::DEFAULT_NAME.to_owned(),
    }
}

fn used(usage: &Usage, task: &Task) -> String {
    let tokens = [
        (usage.input_tokens, "tokens in"),
        (usage.output_tokens, "out"),
        (usage.reasoning_tokens, "for reasoning"),
        (usage.cache_read_tokens, "from the cache"),
    ];
    let tokens = tokens.into_iter().filter_map(|(count, what)| Some(format!("{} {what}", count?)));
    let cost = cost(task).map(crate::units::Dollars::shown);
    tokens.chain(cost).collect::<Vec<_>>().join(", ")
}

/// A message of several lines under its first.
fn indented(text: &str) -> String {
    harmless(text.trim_end()).replace('\n', &format!("\n{:11}", ""))
}

fn conditions(task: &Task, now: Timestamp, style: Style) -> String {
    let mut table = Table::new(&["  CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for type_ in TaskCondition::ALL {
        let Some(one) = condition(task, *type_) else { continue };
        let paint = match one.status.as_str() {
            "True" if *type_ == TaskCondition::Queued => Paint::Warn,
            "False" if *type_ == TaskCondition::Queued => Paint::Plain,
            "True" => Paint::Good,
            "False" => Paint::Bad,
            _ => Paint::Warn,
        };
        table.row(vec![
            format!("  {type_}").into(),
            Cell::painted(one.status.clone(), paint),
            one.reason.clone().into(),
            age(one.last_transition_time.0, now).into(),
            one.message.clone().into(),
        ]);
    }
    if task.conditions().is_empty() {
        return String::new();
    }
    format!("\nConditions:\n{}", table.print(style))
}

fn contexts(facts: &Facts) -> String {
    let of = status(&facts.task);
    let mut table = Table::new(&["  CONTEXT", "OF", "TYPE", "WHERE", "PLUGIN"]);
    let agents =
        facts.agent.as_ref().ok().and_then(Option::as_ref).map(|agent| agent.spec.contexts.as_slice());
    let agents = agents.unwrap_or_default().iter().map(|item| (item, "Agent"));
    let all: Vec<_> = agents.chain(facts.task.spec.contexts.iter().map(|item| (item, "Task"))).collect();
    for (i, (item, whose)) in all.iter().enumerate() {
        table.row(vec![
            format!("  {}", item.name.clone().unwrap_or_else(|| format!("#{i}"))).into(),
            (*whose).into(),
            item.type_.clone().into(),
            place(item).into(),
            digest(&of.plugins, &item.type_).into(),
        ]);
    }
    let hidden = facts
        .agent
        .as_ref()
        .err()
        .map(|why| format!("  those of the Agent are not shown: {}\n", harmless(why)));
    let hidden = hidden.unwrap_or_default();
    let table = if all.is_empty() { String::new() } else { table.print(Style { colours: false }) };
    let builder = of.plugins.iter().find(|plugin| plugin.type_ == "opencode" || is_builder(facts, plugin));
    let builder = builder
        .map(|plugin| format!("  command by {} {}\n", plugin.type_, digest(&of.plugins, &plugin.type_)));
    let text = format!("{table}{hidden}{}", builder.unwrap_or_default());
    if text.is_empty() { text } else { format!("\nContexts:\n{text}") }
}

fn is_builder(facts: &Facts, plugin: &UsedPlugin) -> bool {
    let agent = facts.agent.as_ref().ok().and_then(Option::as_ref);
    agent.is_some_and(|agent| agent.spec.command_builder() == plugin.type_)
}

/// Where an item goes, and where it comes from.
fn place(item: &ContextItem) -> String {
    let target = item.mount_path.clone().unwrap_or_else(|| "context file".to_owned());
    let source = if let Some(git) = &item.git {
        let at = git.ref_.as_deref().map(|ref_| format!("@{ref_}")).unwrap_or_default();
        format!("{}{at}", git.repository)
    } else if let Some(url) = &item.url {
        url.source.clone()
    } else if let Some(config_map) = &item.config_map {
        format!("ConfigMap {}", config_map.name)
    } else {
        return target;
    };
    format!("{target}, from {source}")
}

fn digest(plugins: &[UsedPlugin], type_: &str) -> String {
    let used = plugins.iter().find(|plugin| plugin.type_ == type_);
    let short = |plugin: &UsedPlugin| {
        let digest = plugin.digest.strip_prefix("sha256:").unwrap_or(&plugin.digest);
        format!("sha256:{}", digest.get(..DIGEST).unwrap_or(digest))
    };
    used.map_or("<none>".to_owned(), short)
}

fn pod(facts: &Facts, now: Timestamp, style: Style) -> String {
    let of = status(&facts.task);
    let Some(name) = of.pod_name else { return String::new() };
    let name = format!("{}/{name}", of.pod_namespace.unwrap_or_default());
    let pod = match &facts.pod {
        Ok(Some(pod)) => pod,
        Ok(None) => return format!("\nPod {name}: it is gone, and its log with it\n"),
        Err(why) => return format!("\nPod {name}: not shown: {}\n", harmless(why)),
    };
    let seen = pod.status.clone().unwrap_or_default();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node = node.map(|node| format!(" on {node}")).unwrap_or_default();
    let mut text = format!("\nPod {name}: {}{node}\n", seen.phase.as_deref().unwrap_or("Pending"));
    let unplaced =
        seen.conditions.iter().flatten().find(|one| one.type_ == "PodScheduled" && one.status == "False");
    if let Some(message) = unplaced.and_then(|one| one.message.as_deref()) {
        let _ = writeln!(text, "  not scheduled: {}", harmless(message));
    }
    let statuses: Vec<_> = seen
        .init_container_statuses
        .iter()
        .flatten()
        .chain(seen.container_statuses.iter().flatten())
        .collect();
    if !statuses.is_empty() {
        let mut table = Table::new(&["  CONTAINER", "STATE", "MESSAGE"]);
        for one in statuses {
            let (state, paint, message) = container(one.state.as_ref());
            table.row(vec![format!("  {}", one.name).into(), Cell::painted(state, paint), message.into()]);
        }
        text.push_str(&table.print(style));
    }
    text.push_str(&events(&facts.events, now));
    text
}

fn container(state: Option<&ContainerState>) -> (String, Paint, String) {
    match state {
        Some(ContainerState { running: Some(_), .. }) => ("running".to_owned(), Paint::Busy, String::new()),
        Some(ContainerState { terminated: Some(ended), .. }) if ended.exit_code == 0 => {
            ("ended".to_owned(), Paint::Good, String::new())
        }
        Some(ContainerState { terminated: Some(ended), .. }) => {
            // the agent's own message is a report, whose words the Task has
            let message = ended.message.clone().filter(|text| !text.starts_with('{')).unwrap_or_default();
            let reason = ended.reason.as_deref().filter(|reason| *reason != "Error");
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            (format!("exit code {}{reason}", ended.exit_code), Paint::Bad, message)
        }
        Some(ContainerState { waiting: Some(waiting), .. }) => {
            let reason = waiting.reason.clone().unwrap_or_else(|| "waiting".to_owned());
            let is_usual = matches!(reason.as_str(), "PodInitializing" | "ContainerCreating");
            let paint = if is_usual { Paint::Plain } else { Paint::Bad };
            (reason, paint, waiting.message.clone().unwrap_or_default())
        }
        _ => ("waiting".to_owned(), Paint::Plain, String::new()),
    }
}

/// The newest warnings about the Pod, the newest last.
fn events(events: &Result<Vec<Event>, String>, now: Timestamp) -> String {
    let events = match events {
        Ok(events) => events,
        Err(why) => return format!("  its Events are not shown: {}\n", harmless(why)),
    };
    let time = |event: &Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or(event.event_time.as_ref().map(|time| time.0)).or(event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0))
    };
    let mut warnings: Vec<_> =
        events.iter().filter(|event| event.type_.as_deref() == Some("Warning")).collect();
    warnings.sort_by_key(|event| time(event));
    let shown = warnings.iter().skip(warnings.len().saturating_sub(MAX_EVENTS));
    shown
        .map(|event| {
            let ago = time(event).map(|time| format!("{} ago: ", age(time, now))).unwrap_or_default();
            let message = event.message.as_deref().unwrap_or_default().trim();
            format!("  {ago}{}: {}\n", event.reason.as_deref().unwrap_or_default(), harmless(message))
        })
        .collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
