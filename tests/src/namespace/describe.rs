//! Everything that explains why a scenario failed.

use kube::ResourceExt;
use kube::api::{ListParams, LogParams};

use super::TestNamespace;
use crate::audit::AuditLog;
use crate::record::{Kind, Revision};

/// Lines of a container's log that a failed test shows.
const LAST_LINES: i64 = 20;

impl TestNamespace {
    /// Everything that explains a failure.
    pub async fn describe(&self) -> String {
        let mut text = format!("--- namespace {}\n", self.name);
        {
            let history = self.record.history();
            for kind in [Kind::Task, Kind::KubeTask, Kind::Batch, Kind::Agent] {
                for object in history.all(kind) {
                    text += &format!(
                        "--- {kind:?} {}\n{}",
                        object.name(),
                        serde_norway::to_string(&object.object).unwrap()
                    );
                }
            }
            for pod in history.all(Kind::Pod) {
                let gate = if pod.is_gated() { " gated" } else { "" };
                text += &format!("--- Pod {} {}{gate} {}\n", pod.name(), pod.uid(), pod.object["status"]);
            }
            text += "--- what happened to Tasks and Pods\n";
            let mut revisions: Vec<_> = history
                .revisions
                .iter()
                .filter(|r| !matches!(r.kind, Kind::ConfigMap | Kind::Event))
                .collect();
            revisions.sort_by_key(|revision| revision.version);
            let start = revisions.len().saturating_sub(200);
            for revision in &revisions[start..] {
                text += &format!("{}\n", line(revision));
            }
        }
        for event in self.record.history().all(Kind::Event) {
            let about = event.text("/regarding/name");
            text += &format!("Event {about}: {} {}\n", event.text("/reason"), event.text("/note"));
        }
        text += &format!("--- writes of the operator: {:#?}\n", AuditLog::count(&self.writes()));
        if self.kubelet.is_none() {
            text += &self.last_words().await;
        }
        text
    }

    /// The last lines of each container of the Pods that a real kubelet runs here.
    async fn last_words(&self) -> String {
        let mut text = String::new();
        let Ok(pods) = self.pods().list(&ListParams::default()).await else { return text };
        for pod in pods {
            let name = pod.name_any();
            let spec = pod.spec.unwrap_or_default();
            let containers = spec.init_containers.into_iter().flatten().chain(spec.containers);
            for container in containers.map(|container| container.name) {
                let params = LogParams {
                    container: Some(container.clone()),
                    tail_lines: Some(LAST_LINES),
                    timestamps: true,
                    ..LogParams::default()
                };
                let log = self.pods().logs(&name, &params).await.unwrap_or_else(|error| error.to_string());
                text += &format!("--- log of {name}, {container}\n{log}\n");
            }
        }
        text
    }
}

/// A revision on one line.
fn line(revision: &Revision) -> String {
    let Revision { kind, version, gone, .. } = revision;
    let more = match kind {
        Kind::Pod if revision.is_gated() => "gated".to_owned(),
        Kind::Pod => revision.text("/status/phase").to_owned(),
        Kind::Task | Kind::KubeTask | Kind::Batch => {
            let deleting =
                if revision.text("/metadata/deletionTimestamp").is_empty() { "" } else { " deleting" };
            format!("{} {}{deleting}", revision.text("/status/phase"), revision.text("/status/podUID"))
        }
        Kind::Agent => format!("admitted {}", revision.list("/status/admitted").len()),
        Kind::ConfigMap | Kind::Event => String::new(),
    };
    let gone = if *gone { " gone" } else { "" };
    format!("{version} {kind:?} {} {} {more}{gone}", revision.name(), revision.uid())
}
