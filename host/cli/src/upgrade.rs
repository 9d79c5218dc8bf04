//! `kubeopencode check-upgrade`: what becomes of the objects of users of the Go KubeOpenCode, without a cluster.
//!
//! What is refused or ignored, the code of `render` says; what it takes and yet does otherwise stands in `differences`.
//! What is said of the Go operator is what docs/spec/architecture.md says.
//!
//! May touch: files, stdout. Must not touch: a cluster.

mod differences;
mod report;

use std::collections::{HashMap, HashSet};
use std::io::Write;

use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{DEFAULT_CLUSTER_DOMAIN, GROUP};
use kubeopencode_api::names::AgentKey;
use kubeopencode_evaluate::Planned;
use kubeopencode_plan::Refusal;
use kubeopencode_plan::frontend::kubeopencode::spec_agent;

use crate::args::CheckUpgrade;
use crate::error::CliError;
use crate::plugin_host;
use crate::render::input::{self, Document};
use crate::render::objects::{Objects, Reader, named};
use crate::render::offline::Offline;
use report::{Finding, Report};

/// Says it, object by object.
///
/// # Errors
/// Files that cannot be read, and objects that have to be changed.
pub(crate) fn main(flags: &CheckUpgrade) -> Result<(), CliError> {
    let Given { objects, mut reports, wrong } = Given::read(&input::documents(&flags.filename)?, flags)?;
    if reports.is_empty() {
        let problem = "no Task, Agent or KubeOpenCodeConfig: name a file that holds one with -f";
        return Err(CliError::Refused(vec![problem.to_owned()]));
    }
    let (_host, catalog) = plugin_host::with_built_in()?;
    let offline = Offline {
        snapshot: catalog.snapshot(),
        objects: &objects,
        operator_namespace: &flags.operator_namespace,
        cluster_domain: DEFAULT_CLUSTER_DOMAIN,
    };
    let mut planned = crate::runtime()?.block_on(plan(&offline, wrong));
    let mut out = std::io::stdout().lock();
    for report in &mut reports {
        report.add(planned.remove(&report.place).unwrap_or_default());
        write!(out, "{report}")?;
    }
    match reports.iter().filter(|report| report.is_to_change()).count() {
        0 => Ok(()),
        to_change => {
            Err(CliError::Refused(vec![format!("to be changed: {to_change} of {} objects", reports.len())]))
        }
    }
}

/// What the files hold, and what is said of it before anything is planned.
#[derive(Default)]
struct Given {
    objects: Objects,
    reports: Vec<Report>,
    /// Agents that cannot be used as they are.
    wrong: HashSet<AgentKey>,
}

impl Given {
    fn read(documents: &[Document], flags: &CheckUpgrade) -> Result<Self, CliError> {
        let reader = Reader::new(&flags.namespace)?;
        let mut given = Self::default();
        for Document { place, value } in documents {
            let (metadata, kind) = (&value["metadata"], value["kind"].as_str().unwrap_or_default());
            let name = metadata["name"].as_str().unwrap_or_default();
            let namespace = metadata["namespace"].as_str().unwrap_or(&flags.namespace);
            let version = value["apiVersion"].as_str().unwrap_or_default();
            let group = version.split_once('/').map_or("", |(group, _)| group);
            // `migrate` is for these
            if group == Group::KubeTask.names().group {
                continue;
            }
            let is_ours = group == GROUP;
            // nobody runs again what is over, whatever it holds
            let problems = if is_ours && differences::is_over(value) {
                Vec::new()
            } else {
                given.objects.add(&reader, place, value.clone()).err().unwrap_or_default()
            };
            if !is_ours && problems.is_empty() {
                continue;
            }
            if is_ours && kind == "Agent" && !problems.is_empty() {
                given.wrong.insert(AgentKey::new(namespace, name));
            }
            let shown = if name.is_empty() { place.clone() } else { named(place, kind, namespace, name) };
            let mut findings: Vec<_> =
                problems.iter().map(|problem| Finding::problem(problem, [shown.as_str(), place])).collect();
            if is_ours {
                let is_the_operators = namespace == flags.operator_namespace;
                findings.extend(differences::of(kind, name, value, is_the_operators));
            }
            let mut report = Report::new(shown);
            report.add(findings);
            given.reports.push(report);
        }
        Ok(given)
    }
}

/// What the operator would say of Agents and Tasks, by their places.
async fn plan(offline: &Offline<'_>, mut wrong: HashSet<AgentKey>) -> HashMap<String, Vec<Finding>> {
    let (mut said, mut of_agents) = (HashMap::new(), Vec::new());
    for (place, agent) in &offline.objects.agents {
        let mut findings = said_of(offline.agent(agent).await);
        if agent.spec.server_config.is_some() {
            findings.extend(offline.server(agent, &()).await.err().map(|refusal| Finding::refusal(&refusal)));
            findings.dedup();
        }
        if findings.iter().any(Finding::is_change) {
            wrong.insert(AgentKey::of(agent));
        }
        of_agents.extend_from_slice(&findings);
        said.insert(place.clone(), findings);
    }
    for (place, task) in &offline.objects.tasks {
        let findings = match spec_agent(task) {
            Ok(agent) if wrong.contains(&agent) => vec![Finding::of_wrong_agent(&agent)],
            _ => {
                let mut findings = said_of(offline.plan(task, &()).await);
                // what is the Agent's is said there
                findings.retain(|finding| !of_agents.contains(finding));
                findings
            }
        };
        said.insert(place.clone(), findings);
    }
    said
}

fn said_of(planned: Result<Planned, Refusal>) -> Vec<Finding> {
    match planned {
        Ok(planned) => planned.plan.notices.iter().map(Finding::notice).collect(),
        Err(refusal) => vec![Finding::refusal(&refusal)],
    }
}
