//! `describe`: why a Task is where it is.
//!
//! May touch: a Task, its Agent, its Pod and the Pod's Events, which it reads; stdout.

mod page;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::task::Task;

use self::page::{Facts, page};
use crate::args::{Describe, Place};
use crate::cluster::Cluster;
use crate::error::{Asked, Failure};
use crate::output::{Style, print};
use crate::task::status;

/// Prints the page.
///
/// # Errors
/// When the Task is not there, or may not be read. What else may not be read is said on the page.
pub(crate) async fn main(flags: Describe, place: &Place) -> Result<(), Failure> {
    let cluster = Cluster::connect(place).await?;
    let task = cluster.task(&flags.task).await?;
    let facts = facts(&cluster, task).await?;
    print(page(&facts, Timestamp::now(), Style::of_stdout()))
}

async fn facts(cluster: &Cluster, task: Task) -> Result<Facts, Failure> {
    let of = status(&task);
    let agent = match &of.agent_ref {
        Some(agent) => {
            let asked = Asked::object("Agent", &agent.namespace, &agent.name);
            asked.seen(cluster.of::<Agent>(&agent.namespace).get_opt(&agent.name).await)?
        }
        None => Ok(None),
    };
    let (mut pod, mut events) = (Ok(None), Ok(Vec::new()));
    if let Some(name) = &of.pod_name {
        let namespace = of.pod_namespace.as_deref().unwrap_or(&cluster.namespace);
        let asked = Asked::object("Pod", namespace, name);
        let found = cluster.of::<Pod>(namespace).get_opt(name).await;
        // another Pod of the name is none of this Task's
        let is_it = |pod: &Pod| of.pod_uid.is_none() || pod.metadata.uid == of.pod_uid;
        pod = asked.seen(found.map(|pod| pod.filter(is_it)))?;
        if let Ok(Some(there)) = &pod {
            let uid = there.metadata.uid.as_deref().unwrap_or_default();
            let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
            let asked = Asked::all("Events", Some(namespace));
            events = asked.seen(cluster.list::<Event>(Some(namespace), &about).await)?;
        }
    }
    Ok(Facts { task, agent, pod, events })
}
