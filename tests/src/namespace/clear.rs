//! How a namespace, or what is in it, goes.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task as KubeTask;
use serde_json::{Value, json};

use super::TestNamespace;
use crate::record::{Kind, Revision};

/// How long the deletion of a namespace may take, with Pods that end in their own time.
const NAMESPACE_PATIENCE: Duration = Duration::from_secs(180);

impl TestNamespace {
    /// Ends the scenario. Where an operator is installed, it lets go of the Tasks, so that the namespace goes; elsewhere
    /// nothing may wait for an operator or a kubelet that is about to go itself.
    pub async fn tear_down(self) {
        if self.host.is_none() {
            self.goes().await;
            return;
        }
        self.release().await;
        let _ = self.namespaces().delete(&self.name, &DeleteParams::background()).await;
    }

    /// Removes all of it where no operator is (any more).
    pub async fn clear_away(self) {
        self.record.catch_up().await;
        self.release().await;
        self.goes().await;
    }

    /// Deletes the namespace and waits until it is gone.
    pub async fn delete_namespace(&self) {
        self.goes().await;
    }

    async fn goes(&self) {
        // a scenario may have deleted it already
        let _ = self.namespaces().delete(&self.name, &DeleteParams::background()).await;
        let is_gone = |there: Option<&Namespace>| there.is_none();
        let gone = await_condition(self.namespaces(), &self.name, is_gone);
        tokio::time::timeout(NAMESPACE_PATIENCE, gone).await.expect("the namespace can be deleted").unwrap();
    }

    /// Takes the finalizers off all Tasks and removes all Pods at once.
    pub async fn release(&self) {
        self.release_but("").await;
    }

    /// Removes all Tasks and Pods but this Task and its Pod, where no operator is (any more). Agents keep nobody in
    /// mind who went.
    pub async fn clear_but(&self, task: &str) {
        self.release_but(task).await;
        let others = ListParams::default().fields(&format!("metadata.name!={task}"));
        // a Batch would have a Task that went count as failed, and the next operator would go on with it
        let _ = self.api::<Batch>().delete_collection(&DeleteParams::background(), &others).await;
        let _ = self.tasks().delete_collection(&DeleteParams::background(), &others).await;
        let _ = self.api::<KubeTask>().delete_collection(&DeleteParams::background(), &others).await;
        let stays = |entry: &Value| entry["taskName"] == task;
        let agents: Vec<_> = self.record.history().all(Kind::Agent).cloned().collect();
        for agent in agents {
            let admitted = agent.list("/status/admitted");
            if !admitted.iter().all(stays) {
                let left: Vec<_> = admitted.iter().filter(|entry| stays(entry)).collect();
                let patch = Patch::Merge(json!({"status": {"admitted": left}}));
                self.agents().patch_status(agent.name(), &PatchParams::default(), &patch).await.unwrap();
            }
        }
        let pod = format!("{task}-pod");
        self.until("the namespace is clear", |history| {
            let tasks = history.tasks().all(|other| other.name() == task);
            let pods = history.all(Kind::Pod).all(|other| other.name() == pod);
            let slots =
                history.all(Kind::Agent).all(|agent| agent.list("/status/admitted").iter().all(stays));
            (tasks && pods && slots).then_some(())
        })
        .await;
    }

    async fn release_but(&self, task: &str) {
        let held: Vec<(Kind, String)> = {
            let history = self.record.history();
            let is_ours =
                |finalizer: &Value| Group::ALL.iter().any(|group| finalizer == group.names().finalizer);
            let has_finalizer = |task: &&Arc<Revision>| task.list("/metadata/finalizers").iter().any(is_ours);
            let held = history.tasks().filter(has_finalizer).filter(|held| held.name() != task);
            held.map(|task| (task.kind, task.name().to_owned())).collect()
        };
        let patch = json!({"metadata": {"finalizers": null}});
        let released = futures::stream::iter(held).for_each_concurrent(16, async |(kind, task)| {
            let tasks =
                Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.name, &kind.resource());
            let _ = tasks.patch(&task, &PatchParams::default(), &Patch::Merge(&patch)).await;
        });
        released.await;
        let at_once = DeleteParams::default().grace_period(0);
        let others = ListParams::default().fields(&format!("metadata.name!={task}-pod"));
        let _ = self.pods().delete_collection(&at_once, &others).await;
    }
}
