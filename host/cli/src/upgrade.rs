//! `kubeopencode check-upgrade`: what becomes of the objects of users of the Go KubeOpenCode, without a cluster.
//!
//! What is refused, the code of `render` says; what it takes and yet does otherwise stands in `differences`. What is said
//! of the Go operator is what docs/spec/architecture.md says.
//!
//! May touch: files, stdout. Must not touch: a cluster.

mod differences;
mod finding;
mod progress;

use std::collections::HashSet;
use std::io::Write;

use kubeopencode_api::agent::Agent;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{DEFAULT_CLUSTER_DOMAIN, GROUP};
use kubeopencode_api::names::AgentKey;
use kubeopencode_api::task::{Task, TaskSpec};
use kubeopencode_evaluate::Catalog;
use kubeopencode_plan::frontend::kubeopencode::spec_agent;
use serde_json::Value;

use crate::args::CheckUpgrade;
use crate::error::CliError;
use crate::plugin_host;
use crate::render::input::{self, Document};
use crate::render::objects::{Objects, Reader};
use crate::render::offline::Offline;
use finding::{Finding, Report};

/// Says it, object by object, and whether nothing has to be changed.
///
/// # Errors
/// Files that cannot be read, and objects that have to be changed.
pub(crate) fn main(flags: &CheckUpgrade) -> Result<(), CliError> {
    let documents = input::documents(&flags.filename)?;
    let host = plugin_host::at(plugin_host::cache_dir()?)?;
    let built_in = host.load_built_in().map_err(|error| CliError::Plugins(error.to_string()))?;
    let catalog = Catalog::new(built_in);
    let mut examined = Examined::read(&documents, flags)?;
    let offline = Offline {
        snapshot: catalog.snapshot(),
        objects: &examined.objects,
        operator_namespace: &flags.operator_namespace,
        cluster_domain: DEFAULT_CLUSTER_DOMAIN,
    };
    let planned = crate::runtime()?.block_on(plan(&offline, &examined.wrong_agents));
    for (place, findings) in planned {
        examined
            .reports
            .iter_mut()
            .filter(|report| report.place == place)
            .for_each(|report| report.add(&findings));
    }
    let mut out = std::io::stdout().lock();
    for report in &examined.reports {
        write!(out, "{report}")?;
    }
    let to_change = examined.reports.iter().filter(|report| report.has_to_change()).count();
    match (examined.reports.len(), to_change) {
        (0, _) => Err(CliError::Upgrade(
            "no Task, Agent or KubeOpenCodeConfig: name a file that holds one with -f".to_owned(),
        )),
        (_, 0) => Ok(()),
        (all, some) => {
            Err(CliError::Upgrade(format!("{some} of {all} objects have to be changed, at each \"change\"")))
        }
    }
}

/// What the documents by themselves say.
struct Examined {
    objects: Objects,
    reports: Vec<Report>,
    /// Those that are there and cannot be used.
    wrong_agents: HashSet<AgentKey>,
}

impl Examined {
    fn read(documents: &[Document], flags: &CheckUpgrade) -> Result<Self, CliError> {
        let reader = Reader::new(&flags.namespace)?;
        let (mut objects, mut reports) = (Objects::default(), Vec::new());
        let mut wrong_agents = HashSet::new();
        for Document { place, value } in documents {
            let kind = value["kind"].as_str().unwrap_or_default();
            let group = group_of(value);
            let namespace = value["metadata"]["namespace"].as_str().unwrap_or(&flags.namespace);
            let name = value["metadata"]["name"].as_str().unwrap_or_default();
            let is_ours = [GROUP, Group::KubeTask.names().group].contains(&group);
            let file = place.split(": document").next().unwrap_or(place);
            let mut report = Report::new(if is_ours && !name.is_empty() {
                format!("{file}: {kind} {namespace}/{name}")
            } else {
                place.clone()
            });
            let progress = if group == GROUP && kind == "Task" { progress::of(value) } else { Vec::new() };
            // who is over is run by nobody, whatever it holds
            let is_over = progress::is_over(value);
            let problems = if is_over {
                Vec::new()
            } else {
                objects.add(&reader, place, value.clone()).err().unwrap_or_default()
            };
            if !problems.is_empty() && kind == "Agent" {
                wrong_agents.insert(AgentKey { namespace: namespace.to_owned(), name: name.to_owned() });
            }
            let refused = problems.iter().map(|problem| Finding::refused(problem, &[&report.place, place]));
            let mut findings: Vec<_> = refused.chain(progress).collect();
            if group == GROUP && !is_over {
                findings.extend(differences::of(kind, name, namespace == flags.operator_namespace, value));
            } else if is_ours && !is_over {
                findings.push(differences::kubetask());
            }
            report.add(&findings);
            if is_ours || !problems.is_empty() {
                reports.push(report);
            }
        }
        Ok(Self { objects, reports, wrong_agents })
    }
}

fn group_of(value: &Value) -> &str {
    value["apiVersion"].as_str().and_then(|version| version.split_once('/')).map_or("", |(group, _)| group)
}

/// What the operator would say of each object: of an Agent by a Task that asks for nothing else.
async fn plan(offline: &Offline<'_>, wrong: &HashSet<AgentKey>) -> Vec<(String, Vec<Finding>)> {
    let (mut said, mut wrong) = (Vec::new(), wrong.clone());
    let mut of_agents = HashSet::new();
    for (place, agent) in offline.objects.agents() {
        let mut findings = task(offline, &task_of(agent)).await;
        if agent.spec.server_config.is_some() {
            findings.extend(offline.server(agent).await.err().map(|refusal| Finding::refusal(&refusal)));
        }
        findings.dedup();
        if findings.iter().any(Finding::has_to_change) {
            wrong.insert(AgentKey::of(agent));
        }
        of_agents.extend(findings.iter().cloned());
        said.push((place.clone(), findings));
    }
    for (place, own) in &offline.objects.tasks {
        let findings = match spec_agent(own) {
            Ok(agent) if wrong.contains(&agent) => vec![Finding::of_wrong_agent(&agent)],
            // what is the Agent's is said there
            _ => {
                task(offline, own).await.into_iter().filter(|finding| !of_agents.contains(finding)).collect()
            }
        };
        said.push((place.clone(), findings));
    }
    said
}

async fn task(offline: &Offline<'_>, task: &Task) -> Vec<Finding> {
    match offline.plan(task, &()).await {
        Ok(planned) => {
            planned.plan.notices.iter().map(|(reason, message)| Finding::ignored(*reason, message)).collect()
        }
        Err(refusal) => vec![Finding::refusal(&refusal)],
    }
}

/// A Task of an Agent, which no file holds.
fn task_of(agent: &Agent) -> Task {
    let key = AgentKey::of(agent);
    let spec = TaskSpec {
        description: Some("look".to_owned()),
        agent_ref: Some(key.name.into()),
        ..TaskSpec::default()
    };
    let mut task = Task::new("check-upgrade", spec);
    task.metadata.uid.clone_from(&agent.metadata.uid);
    task.metadata.namespace = Some(key.namespace);
    task
}
