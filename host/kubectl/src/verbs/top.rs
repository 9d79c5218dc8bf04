//! `top`: Agents by what runs and what was spent.
//!
//! May touch: lists of Agents and Tasks, stdout.

mod rows;

use jiff::Timestamp;
use kube::api::ListParams;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::task::Task;

use crate::args::{Place, Top};
use crate::cluster::Cluster;
use crate::error::{Asked, Failure};
use crate::output::{Style, print, remark};

/// Prints the Agents.
///
/// # Errors
/// When Agents or Tasks may not be listed.
pub(crate) async fn main(flags: Top, place: &Place) -> Result<(), Failure> {
    let cluster = Cluster::connect(place).await?;
    let namespace = (!flags.all_namespaces).then_some(cluster.namespace.as_str());
    let all = ListParams::default();
    let agents = cluster.list::<Agent>(namespace, &all).await;
    let agents = agents.map_err(|error| Asked::all("Agents", namespace).failed(&error))?;
    if agents.is_empty() {
        let place =
            namespace.map_or("any namespace".to_owned(), |namespace| format!("namespace {namespace}"));
        remark(&format!("No Agents in {place}: docs/agent.md says how to write one"));
        return Ok(());
    }
    // Tasks of other namespaces use these Agents too
    let tasks = match cluster.list::<Task>(None, &all).await {
        Err(kube::Error::Api(status)) if status.code == 403 && namespace.is_some() => {
            remark("QUEUED and SPEND are of this namespace alone: your rights show no Tasks of others");
            cluster.list(namespace, &all).await
        }
        listed => listed,
    };
    let tasks = tasks.map_err(|error| Asked::all("Tasks", namespace).failed(&error))?;
    print(rows::table(&agents, &tasks, flags.all_namespaces, Timestamp::now(), Style::of_stdout()))
}
